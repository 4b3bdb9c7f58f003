"""The users in the ROOM_STATE of a large room, encoded once for all members that join."""

from __future__ import annotations

from collections.abc import Iterable

from .. import messages as m
from ..messages.framing import text_header
from ..rules.join import users_of
from ..rules.state import Member

LARGE_ROOM_MEMBERS = 100
"""Members beyond which a replica keeps the users of its room encoded."""

BLOCK_USERS = 256
"""Users in a block: about 20 KB, which all ROOM_STATEs share that wait for their clients."""

_EMPTY_LIST = b'"users":[]'


class _Block:
    """users: the encoded users, by user id. joined: all of them as a part of a JSON list; b"" if it is out of date."""

    __slots__ = ("joined", "users")

    def __init__(self) -> None:
        self.users: dict[str, bytes] = {}
        self.joined = b""


class UserList:
    """The members of a room as ROOM_STATE lists them, in the order of `Room.members`.

    ROOM_STATE of 4 000 members has 300 KB. Encoding it took longer than all the rest of a JOIN; and each copy would stay in
    memory until its client has read it. So the list consists of blocks, and a change of a member makes one of them again.
    """

    __slots__ = ("_block_of", "_blocks", "_joined", "_users")

    def __init__(self, members: Iterable[Member]):
        self._users: dict[str, m.User] = {}
        self._block_of: dict[str, _Block] = {}
        self._blocks: list[_Block] = []
        self._joined: list[bytes] = []
        for member in members:
            self.update(member.user_id, member)

    def update(self, user_id: str, member: Member | None) -> None:
        """Take over a member after a change. member: None if it is no member any more."""
        if member is None:
            self._remove(user_id)
            return
        (user,) = users_of((member,))
        if self._users.get(user_id) != user:
            self._users[user_id] = user
            block = self._block_of.get(user_id) or self._last_block()
            self._block_of[user_id] = block
            block.users[user_id] = m.encode(user)
            block.joined = b""
            self._joined = []

    def _last_block(self) -> _Block:
        """Return the block for a new member."""
        if not self._blocks or len(self._blocks[-1].users) >= BLOCK_USERS:
            self._blocks.append(_Block())
        return self._blocks[-1]

    def _remove(self, user_id: str) -> None:
        if self._users.pop(user_id, None) is None:
            return
        block = self._block_of.pop(user_id)
        del block.users[user_id]
        block.joined = b""
        self._joined = []
        if not block.users:
            self._blocks.remove(block)
            if self._blocks:
                # It may be the first now, which has no comma before it.
                self._blocks[0].joined = b""
        elif len(self._blocks) > 4 + 2 * len(self._users) // BLOCK_USERS:
            self._merge_blocks()

    def _merge_blocks(self) -> None:
        """Fill the blocks again after many departures."""
        blocks, self._blocks = self._blocks, []
        for old in blocks:
            for user_id, encoded in old.users.items():
                block = self._block_of[user_id] = self._last_block()
                block.users[user_id] = encoded

    def frame_parts(self, state: m.RoomState) -> list[bytes]:
        """Return the parts of the frame of a ROOM_STATE, with these users in place of its empty list."""
        # JSON strings escape quotes, so that only the field itself matches.
        before, _, after = m.encode(state).partition(_EMPTY_LIST)
        if not self._joined:
            self._joined = self._join_blocks()
        parts = [before + _EMPTY_LIST[:-1], *self._joined, _EMPTY_LIST[-1:] + after]
        parts[0] = text_header(sum(map(len, parts))) + parts[0]
        return parts

    def _join_blocks(self) -> list[bytes]:
        """Return the parts of the list between its brackets."""
        for block in self._blocks:
            if not block.joined:
                users = b",".join(block.users.values())
                block.joined = users if block is self._blocks[0] else b"," + users
        return [block.joined for block in self._blocks]
