"""Checks the auth tokens of JOINs. The node reads the keys again when their files change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import jwt
import msgspec
from msgspec import Struct
from twisted.application import service
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from .. import messages as m
from ..errors import ErrorCode, RequestError
from ..interfaces import Claims
from ..util.file_watcher import FileWatcher
from .keys import SUFFIXES, VerificationKey, read_keys


class _Payload(Struct):
    room: str
    sub: str
    name: str = ""
    role: Literal["host", "guest"] = "guest"


class TokenAuthenticator(service.MultiService):
    """Decides which user id a client may join as."""

    name = "authenticator"
    _log = Logger()

    def __init__(self, paths: Sequence[str], audience: str, leeway: float, clock: IReactorTime):
        """paths: see `read_keys`. audience: the required `aud`. leeway: seconds by which clocks may differ. Raises KeyFileError."""
        super().__init__()
        self._audience = audience
        self._leeway = leeway
        self._keys = FileWatcher(
            paths,
            SUFFIXES,
            lambda: read_keys(paths),
            self._changed,
            "failed to read the keys of auth.keys again: {reason}",
            clock,
        )
        self._keys.setServiceParent(self)

    def reload(self) -> None:
        """Read the files again. If they cannot be used, the present keys stay."""
        self._keys.reload()

    def _changed(self, keys: dict[str, VerificationKey]) -> None:
        self._log.info("read the keys of auth.keys again: {kids}", event="keys_reloaded", kids=", ".join(keys))

    def authenticate(self, join: m.Join) -> Claims:
        """Return the claims of the JOIN's token. Raises RequestError, with code "unauthorized", unless it allows this JOIN."""
        if not join.auth:
            raise _refused("this server requires a token; send it in `auth`")
        payload = self._verified(join.auth)
        if payload.room != join.room_id:
            raise _refused("the token in `auth` is for another room")
        if payload.sub != join.user_id:
            raise _refused("the token in `auth` is for another `userId`")
        return Claims(payload.role, payload.name)

    def _verified(self, token: str) -> _Payload:
        try:
            key = self._key(jwt.get_unverified_header(token))
            claims: dict[str, Any] = jwt.decode(
                token,
                key.material,
                algorithms=[key.algorithm],
                audience=self._audience,
                leeway=self._leeway,
                options={"require": ["exp", "aud", "sub"]},
            )
            payload = msgspec.convert(claims, _Payload)
            room, sub, name = map(m.well_formed, (payload.room, payload.sub, payload.name))
            return _Payload(room, sub, name, payload.role)
        except msgspec.ValidationError as error:
            raise _refused(f"the token in `auth` has a wrong claim: {error}") from None
        except jwt.MissingRequiredClaimError as error:
            raise _refused(f"the token in `auth` lacks the claim `{error.claim}`") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            fault = next((text for kind, text in _FAULTS if isinstance(error, kind)), "is not a signed JWT")
            raise _refused(f"the token in `auth` {fault}") from None

    def _key(self, header: dict[str, Any]) -> VerificationKey:
        keys = self._keys.content
        kid = header.get("kid")
        if kid is None and len(keys) == 1:
            return next(iter(keys.values()))
        key = keys.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise _refused("the token in `auth` does not name (`kid`) a key that this server has")
        return key


_FAULTS: tuple[tuple[type[Exception], str], ...] = (
    (jwt.ExpiredSignatureError, "has expired"),
    (jwt.ImmatureSignatureError, "is not valid yet"),
    (jwt.InvalidAudienceError, "is for another audience (`aud`)"),
    (jwt.InvalidAlgorithmError, "is signed with an algorithm that its key is not for"),
    (jwt.InvalidSignatureError, "has a wrong signature"),
)
"""Texts for faults of a token. PyJWT checks the signature before the claims, so a forged token reveals nothing about them."""


def _refused(text: str) -> RequestError:
    return RequestError(ErrorCode.UNAUTHORIZED, m.well_formed(f"JOIN: {text}."))
