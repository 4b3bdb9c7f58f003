"""Settings of each part of a node, made from the configuration."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from ..auth.authenticator import TokenAuthenticator
from ..auth.keys import KeyFileError
from ..config import Config
from ..util.services import StartupError


def authenticator_of(config: Config, clock: IReactorTime) -> TokenAuthenticator | None:
    """Return the authenticator that the configuration asks for, or None for an open server. Raises StartupError."""
    auth = config.auth
    if auth.mode == "open":
        return None
    if not auth.keys:
        raise StartupError("auth.keys: auth.mode is token, so there must be a key to check tokens with; name its file")
    try:
        return TokenAuthenticator(auth.keys, auth.audience, auth.leeway, clock)
    except KeyFileError as error:
        raise StartupError(f"auth.keys: {error}") from None
