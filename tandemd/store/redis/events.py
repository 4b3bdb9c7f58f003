"""The event handler before the room service has set its own."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from ...errors import ErrorCode, RequestError
from ...interfaces import IStoreEventHandler
from ...rules.state import Commit, Room, Version


@implementer(IStoreEventHandler)
class NoEvents:
    """Ignores events, and holds no rooms and members."""

    def committed(self, room_id: str, commits: Sequence[Commit]) -> None:
        pass

    def head(self, room_id: str, room_uuid: str, version: Version) -> None:
        pass

    def renewed(self, room_id: str) -> None:
        pass

    def held(self) -> Sequence[tuple[Room, Sequence[Commit]]]:
        return ()

    def available(self) -> None:
        pass

    def present(self, room_id: str, user_id: str) -> bool:
        return False

    def members_here(self, room_id: str) -> Sequence[str]:
        return ()

    def relayed(self, room_id: str, user_id: str, frame: bytes) -> None:
        pass

    def node_lost(self, room_id: str, prefix: str) -> Deferred[None]:
        return fail(RequestError(ErrorCode.UNAVAILABLE, "This node has no rooms yet."))

    def check_connections(self, room_id: str) -> Deferred[bool]:
        return fail(RequestError(ErrorCode.UNAVAILABLE, "This node has no rooms yet."))
