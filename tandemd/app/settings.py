"""Settings of each part of a node, made from the configuration."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from ..auth.authenticator import Doorkeeper
from ..auth.keys import KeyFault
from ..config import Config
from ..util.services import CannotStart


def doorkeeper_of(config: Config, clock: IReactorTime) -> Doorkeeper | None:
    """Return the doorkeeper that the configuration asks for, or None for an open server. Raises CannotStart."""
    auth = config.auth
    if auth.mode == "open":
        return None
    if not auth.keys:
        raise CannotStart("auth.keys: auth.mode is token, so there must be a key to check tokens with; name its file")
    try:
        return Doorkeeper(auth.keys, auth.audience, auth.leeway, clock)
    except KeyFault as error:
        raise CannotStart(f"auth.keys: {error}") from None
