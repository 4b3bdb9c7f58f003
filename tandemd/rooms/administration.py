"""Queries and acts of administrators. Each act is in the log, and in the events of the room that it concerns."""

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
from .sync_figures import member_errors

log = Logger()

PAGE_ROOMS = 1000
"""The rooms of one query when an announcement goes to all rooms."""


class AdminCommand(QueuedCommand):
    """A command of an administrator. It is refused if the store is unavailable, because the administrator waits for the result.

    result: fires with whether the command has changed anything.
    """

    __slots__ = ("result",)

    def __init__(self, body: Close | Announce):
        super().__init__(Command("", "", body))
        self.result: Deferred[bool] = Deferred()

    @property
    def retry_when_unavailable(self) -> bool:
        return False

    def refused(self, live: RoomReplica, error: RequestError) -> None:
        self.result.errback(error)

    def done(self, live: RoomReplica, decision: Decision, seq: int) -> None:
        self.result.callback(decision.commits)


@implementer(IAdministration)
class Administration:
    """See `IAdministration`.

    rooms: the open rooms of this node.
    reports: queries of the archive.
    about: returns the result of `node`.
    drainer: disconnects the clients of this node, or accepts clients again if its argument is true. Returns their number.
    elsewhere: returns whether another node is available.
    """

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
        self._registry = rooms
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
            log.error(
                "administration: archive query failed: {error}",
                event="administration_query_failed",
                error=one_line(failure.value),
            )
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
        live = self._registry.get(room_id)
        errors = member_errors(live, now) if live is not None else {}
        return {
            "answeredBy": self._about().get("nodeId"),
            "roomId": room.room_id,
            "uuid": room.room_uuid,
            "epoch": room.epoch,
            "seq": room.seq,
            "createdAt": int(room.created_at * 1000),
            "hostUserId": room.host or None,
            "currentUrl": room.playback.url,
            "currentTime": round(room.playback.position_at(now), 3),
            "isPlaying": room.playback.playing,
            "rate": room.playback.rate,
            "guestControl": room.settings.guest_control,
            "hasPin": room.settings.pin is not None,
            "invite": room.settings.invite,
            "locked": room.moderation.locked,
            "waitForBuffering": room.settings.wait_for_buffering,
            "seekAwaits": list(room.gate.pending) if room.gate is not None else [],
            "members": [
                {
                    "userId": member.user_id,
                    "username": member.username,
                    "nodeId": member.conn.split("/")[0] or None,
                    "joinedAt": int(member.joined_at * 1000),
                    "lostAt": int(member.lost_at * 1000) if member.lost_at else None,
                    "watching": member.watching,
                    "status": member.status,
                    "delayMs": member.delay or None,
                    # Only the node of the member's connection knows it.
                    "errorMs": round(errors[member.user_id] * 1000) if member.user_id in errors else None,
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
        after, count = "", 0
        while True:
            page = await self.rooms(after, PAGE_ROOMS)
            for room in page:
                # One after another: a thousand rooms that open at once would delay all clients.
                count += await self._do(str(room["roomId"]), by, Announce(by, text))
            if len(page) < PAGE_ROOMS:
                return count
            after = str(page[-1]["roomId"])

    async def _do(self, room_id: str, by: str, body: Close | Announce) -> bool:
        command = AdminCommand(body)
        self._registry.use(room_id, lambda live: live.submit(command), command.result.errback)
        is_done = await command.result
        if is_done:
            log.info(
                "administration: {act} {room}",
                event="administration",
                act=type(body).__name__.lower(),
                room=room_id,
                by=by,
                reason=_reason_of(body),
            )
        return is_done

    def drain(self, by: str, undo: bool, force: bool) -> int:
        if not undo and not force and not self._elsewhere():
            raise RequestError(
                ErrorCode.NO_OTHER_NODE, "No other node could take the clients; use force to send them away."
            )
        count = self._drainer(undo)
        log.info(
            "administration: {act}",
            event="administration",
            act="undrain" if undo else "drain",
            by=by,
            connections=count,
        )
        return count


def _reason_of(body: Close | Announce) -> str | None:
    return body.reason if isinstance(body, Close) else body.text
