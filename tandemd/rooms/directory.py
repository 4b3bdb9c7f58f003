"""Answers to HTTP clients about rooms: by invite code, or by the resume token of a member."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ..interfaces import IRooms, IStore
from ..rules.engine import Rules
from ..rules.state import Room
from ..util import secrets
from .registry import RoomRegistry


@implementer(IRooms)
class Directory:
    """See `IRooms`."""

    def __init__(
        self,
        store: IStore,
        rooms: RoomRegistry,
        clock: IReactorTime,
        rules: Rules,
        invited: Callable[[str, str], None],
    ):
        """invited: called with a room id and an address that knows its invite code."""
        self._store = store
        self._registry = rooms
        self._clock = clock
        self._rules = rules
        self._invited = invited
        # By room id and address.
        self._waiters: dict[tuple[str, str], list[Deferred[None]]] = {}

    def member_joined(self, room_id: str, address: str) -> None:
        """Answer the queries of an address for the invite code of a room, because a member with this address has joined."""
        for waiter in self._waiters.pop((room_id, address), ()):
            waiter.callback(None)

    def invite(self, room_id: str, address: str, wait: float) -> Deferred[str | None]:
        return Deferred.fromCoroutine(self._invite(room_id, address, wait))

    async def _invite(self, room_id: str, address: str, wait: float) -> str | None:
        if not address:
            # Without addresses members and strangers look the same.
            return None
        end = self._clock.seconds() + wait
        while True:
            room = await self._store.rooms.load(room_id)
            if room is not None and any(address == m.address for m in room.members.values()):
                return room.settings.invite
            left = end - self._clock.seconds()
            if left <= 0:
                return None
            await self._member_joins((room_id, address), left)

    async def _member_joins(self, at: tuple[str, str], wait: float) -> None:
        """Wait until a member joins a room on this node from an address.

        at: the room id and the address.
        wait: the longest time in seconds.
        """
        waiter: Deferred[None] = Deferred()
        waiters = self._waiters.setdefault(at, [])
        waiters.append(waiter)
        timeout = self._clock.callLater(wait, waiter.callback, None)
        try:
            await waiter
        finally:
            if timeout.active():
                timeout.cancel()
            if waiter in waiters:
                waiters.remove(waiter)
                if not waiters:
                    self._waiters.pop(at, None)

    def find_invite(self, invite: str, address: str) -> Deferred[str | None]:
        return self._store.rooms.find_invite(invite).addCallback(self._found, address)

    def _found(self, room_id: str | None, address: str) -> str | None:
        if room_id is not None:
            self._invited(room_id, address)
        return room_id

    def room_for_token(self, token: str) -> Deferred[dict[str, object] | None]:
        return Deferred.fromCoroutine(self._room_for_token(token))

    async def _room_for_token(self, token: str) -> dict[str, object] | None:
        owner = secrets.token_owner(token)
        # A client can name any room, so the room is read only after the token has proven its member.
        member = await self._store.rooms.member(*owner) if owner else None
        if owner is None or member is None:
            return None
        hashed = secrets.hash_token(token)
        if not any(kept and hmac.compare_digest(hashed, kept) for kept in (member.token, member.next_token)):
            return None
        live = self._registry.get(owner[0])
        if live is not None and owner[1] in live.room.members:
            return self._status_view(live.room.copy())
        # The store has just returned the member. If the room does not exist any more, it has ended.
        room = await self._store.rooms.load(owner[0], archived=False)
        return None if room is None else self._status_view(room)

    def _status_view(self, room: Room) -> dict[str, object]:
        self._rules.drop_disallowed_title(room)
        now, live = self._store.clock.now(), self._registry.get(room.room_id)
        users = []
        for member in room.members.values():
            session = live.group.get(member.user_id) if live else None
            users.append(
                {
                    "userId": member.user_id,
                    "username": member.username,
                    "currentTime": session.player.position if session else 0.0,
                    "isPlaying": session.player.playing if session else False,
                    "connectionQuality": session.quality if session else "unknown",
                }
            )
        return {
            "roomId": room.room_id,
            "connectionCount": sum(1 for member in room.members.values() if member.conn),
            "currentTime": room.playback.position_at(now),
            "isPlaying": room.playback.playing,
            "currentUrl": room.playback.url,
            "hostUserId": room.host or None,
            "users": users,
        }

    def counts(self) -> dict[str, int]:
        """Return the number of 'rooms' with members on this node, and the number of these 'members'."""
        groups = [live.group for live in self._registry if len(live.group)]
        return {"rooms": len(groups), "members": sum(map(len, groups))}
