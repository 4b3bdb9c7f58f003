"""The STUN and TURN servers of video calls, with a time-limited TURN credential for each member.

The credential follows the "TURN REST API" scheme (draft-uberti-behave-turn-rest). The username is the end of its validity and the
user. The password is an HMAC-SHA1 of the username, with a secret that the TURN server shares. So the TURN server keeps no list of
users.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from msgspec import Struct, structs
from twisted.application import service
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from .. import messages as m
from ..util.file_watcher import FileWatcher, InvalidFileError

MIN_SECRET_BYTES = 16
MAX_SECRETS = 2
"""The secret that signs, and during a rotation the one before or after it."""
MAX_USER_CHARACTERS = 200
"""Characters of the user id in a username: a TURN username has at most 508 bytes."""


class TurnSecretError(InvalidFileError):
    """The secret of the TURN server cannot be used. Its text is one line that names the file and the remedy."""


class IceServerSettings(Struct, frozen=True, kw_only=True):
    """The keys of the same names in the section `calls` of the configuration."""

    ice_servers: tuple[m.IceServer, ...]
    turn_secret_file: str
    turn_ttl: float
    relay_only: bool


def read_turn_secret(path: str) -> bytes:
    """Return the first secret in a file: the one that signs. Raises TurnSecretError."""
    try:
        lines = Path(path).read_bytes().splitlines()
    except OSError as error:
        raise TurnSecretError(f"{path}: {error.strerror}; it must be a file that can be read") from None
    secrets = [line.strip() for line in lines if line.strip()]
    if not secrets:
        raise TurnSecretError(f"{path}: no secret; write one, such as from `openssl rand -hex 32`")
    if len(secrets) > MAX_SECRETS:
        raise TurnSecretError(f"{path}: {len(secrets)} lines; keep the new secret, and below it at most one other")
    for number, secret in enumerate(secrets, 1):
        if len(secret) < MIN_SECRET_BYTES:
            raise TurnSecretError(
                f"{path}: the secret in line {number} has {len(secret)} bytes, so each member could guess it;"
                f" take {MIN_SECRET_BYTES} or more, such as from `openssl rand -hex 32`"
            )
    return secrets[0]


def turn_credential(secret: bytes, user: str, expiry: int) -> tuple[str, str]:
    """Return username and password for a TURN server. expiry: seconds since 1970."""
    # A TURN server may prepare the username, so it is ASCII.
    username = f"{expiry}:{quote(user, safe='')[:MAX_USER_CHARACTERS]}"
    digest = hmac.new(secret, username.encode(), hashlib.sha1).digest()
    return username, b64encode(digest).decode()


class IceServerProvider(service.MultiService):
    """Makes the ICE servers of each member."""

    name = "ice servers"
    _log = Logger()

    def __init__(self, settings: IceServerSettings, clock: IReactorTime, wall: Callable[[], float]):
        """Raises TurnSecretError. wall: the wall clock in seconds since 1970, which TURN servers compare with."""
        super().__init__()
        self._settings = settings
        self._wall = wall
        self._secret: FileWatcher[bytes] | None = None
        path = settings.turn_secret_file
        if path:
            self._secret = FileWatcher(
                [path],
                (),
                lambda: read_turn_secret(path),
                self._changed,
                "failed to read calls.turn_secret_file again: {reason}",
                clock,
            )
            self._secret.setServiceParent(self)

    @property
    def has_files(self) -> bool:
        """Whether `reload` has a file to read."""
        return self._secret is not None

    def reload(self) -> None:
        """Read the secret again. If it cannot be used, the present one stays."""
        if self._secret is not None:
            self._secret.reload()

    def _changed(self, secret: bytes) -> None:
        self._log.info("read calls.turn_secret_file again", event="turn_secret_reloaded")

    def servers_for(self, user: str) -> m.IceServers:
        """Return the ICE servers of a member, with a new credential for the TURN servers that have none of their own."""
        settings, servers, ttl_ms = self._settings, [], None
        for server in settings.ice_servers:
            if self._secret is not None and needs_credential(server):
                ttl_ms = int(settings.turn_ttl * 1000)
                expiry = int(self._wall() + settings.turn_ttl)
                username, credential = turn_credential(self._secret.content, user, expiry)
                servers.append(structs.replace(server, username=username, credential=credential))
            else:
                servers.append(server)
        return m.IceServers(ice_servers=servers, ice_servers_ttl_ms=ttl_ms, relay_only=settings.relay_only)


def needs_credential(server: m.IceServer) -> bool:
    """Return whether a server is a TURN server without a credential of its own."""
    return server.username is None and server.is_turn
