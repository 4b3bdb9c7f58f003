"""What whoever administers the server may ask and do; every act is in the log, and in the events of the room it concerns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from ..errors import ErrorCode, RequestError
from ..interfaces import IAdministration, IArchiveQueries, IStore
from ..rules.commands import Announce, Close, Command, Decision
from ..util.text import one_line
from .queued_command import QueuedCommand
from .registry import RoomRegistry
from .replica import RoomReplica

PAGE = 1000
"""Rooms that are read at once when all of them are spoken to."""


class AdminCommand(QueuedCommand):
    """A command of an administrator, who waits for it: if the store is away it is refused, and never done later."""

    __slots__ = ("result",)

    def __init__(self, body: Close | Announce):
        super().__init__(Command("", "", body))
        self.result: Deferred[bool] = Deferred()
        """Fires with whether there was anything to do."""

    @property
    def retry_when_unavailable(self) -> bool:
        return False

    def refused(self, live: RoomReplica, error: RequestError) -> None:
        self.result.errback(error)

    def done(self, live: RoomReplica, decision: Decision, seq: int) -> None:
        self.result.callback(decision.commits)


@implementer(IAdministration)
class Administration:
    """See IAdministration.

    rooms: those that are open here. about: tells what `node` returns. drainer: sends this node's clients away, or takes
    them again if its argument is true, and returns how many they are. elsewhere: says whether another node is there.
    """

    _log = Logger()

    def __init__(
        self,
        store: IStore,
        rooms: RoomRegistry,
        reports: IArchiveQueries,
        about: Callable[[], dict[str, object]],
        drainer: Callable[[bool], int],
        elsewhere: Callable[[], bool],
    ):
        self._store = store
        self._open = rooms
        self._reports = reports
        self._about = about
        self._drainer = drainer
        self._elsewhere = elsewhere

    def node(self) -> dict[str, object]:
        return self._about()

    def rooms(self, after: str, limit: int) -> Deferred[Sequence[dict[str, object]]]:
        return self._read(self._reports.rooms(after, limit))

    def events(self, room_id: str, limit: int) -> Deferred[Sequence[dict[str, object]] | None]:
        return self._read(self._reports.events(room_id, limit))

    def _read(self, question: Deferred[Any]) -> Deferred[Any]:
        def failed(failure: Any) -> None:
            self._log.error("an administrator could not read the archive: {error}", error=one_line(failure.value))
            raise RequestError(
                ErrorCode.UNAVAILABLE, "The archive cannot be read at the moment; the log says why.", 5000
            )

        return question.addErrback(failed)

    def room(self, room_id: str) -> Deferred[dict[str, object] | None]:
        return Deferred.fromCoroutine(self._room(room_id))

    async def _room(self, room_id: str) -> dict[str, object] | None:
        room = await self._store.rooms.load(room_id)
        if room is None:
            return None
        now = self._store.clock.now()
        return {
            "roomId": room.room_id,
            "uuid": room.room_uuid,
            "epoch": room.epoch,
            "seq": room.seq,
            "createdAt": int(room.created_at * 1000),
            "hostUserId": room.host or None,
            "currentUrl": room.playback.url,
            "currentTime": round(room.playback.position_at(now), 3),
            "isPlaying": room.playback.playing,
            "guestControl": room.settings.guest_control,
            "hasPin": room.settings.pin is not None,
            "invite": room.settings.invite,
            "locked": room.moderation.locked,
            "seekAwaits": list(room.gate.pending) if room.gate is not None else [],
            "members": [
                {
                    "userId": member.user_id,
                    "username": member.username,
                    "nodeId": member.conn.split("/")[0] or None,
                    "joinedAt": int(member.joined_at * 1000),
                    "lostAt": int(member.lost_at * 1000) if member.lost_at else None,
                    "watching": member.watching,
                }
                for member in sorted(room.members.values(), key=lambda member: member.order)
            ],
        }

    def close(self, room_id: str, by: str, reason: str | None) -> Deferred[bool]:
        return Deferred.fromCoroutine(self._do(room_id, by, Close(by, reason)))

    def announce(self, room_id: str, by: str, text: str) -> Deferred[bool]:
        return Deferred.fromCoroutine(self._do(room_id, by, Announce(by, text)))

    def announce_to_all(self, by: str, text: str) -> Deferred[int]:
        return Deferred.fromCoroutine(self._announce_to_all(by, text))

    async def _announce_to_all(self, by: str, text: str) -> int:
        after, told = "", 0
        while True:
            page = await self.rooms(after, PAGE)
            for room in page:
                # One after another: opening a thousand rooms at once would keep everybody waiting.
                told += await self._do(str(room["roomId"]), by, Announce(by, text))
            if len(page) < PAGE:
                return told
            after = str(page[-1]["roomId"])

    async def _do(self, room_id: str, by: str, body: Close | Announce) -> bool:
        act = AdminCommand(body)
        self._open.use(room_id, lambda live: live.submit(act), act.result.errback)
        done = await act.result
        if done:
            self._log.info(
                "administration: {act} {room}", act=type(body).__name__.lower(), room=room_id, by=by, reason=_why(body)
            )
        return done

    def drain(self, by: str, undo: bool, force: bool) -> int:
        if not undo and not force and not self._elsewhere():
            raise RequestError(
                ErrorCode.NO_OTHER_NODE, "No other node could take the clients; use force to send them away."
            )
        count = self._drainer(undo)
        self._log.info("administration: {act}", act="undrain" if undo else "drain", by=by, connections=count)
        return count


def _why(body: Close | Announce) -> str | None:
    return body.reason if isinstance(body, Close) else body.text
