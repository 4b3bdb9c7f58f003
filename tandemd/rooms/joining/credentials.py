"""Credentials of members: auth tokens to check, and accounts at TURN servers to issue."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from ... import messages as m
from ...interfaces import Claims


class JoinCredentials(Struct, frozen=True):
    """Checks and issues credentials.

    authenticate: returns the claims of a JOIN's auth token, None if this server needs no token. Raises RequestError.
    ice_servers: returns the ICE servers of a member, by its user id.
    """

    authenticate: Callable[[m.Join], Claims | None]
    ice_servers: Callable[[str], m.IceServers]
