"""What one member sends to one other who is connected to another node, or not at all for a moment."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from ..interfaces import IFollower
from ..services import Tasks
from . import scripts
from .access import Access, unavailable
from .keys import mail_key, room_key
from .link import Disconnected, RedisError

LETTERS = 200
"""How many letters are kept for a member."""
NAME = 16
"""Characters before each letter that tell it from others with the same content."""


class Mail:
    """Mailboxes. A letter is put into the mailbox first and told of then; who takes it out delivers it, nobody else.

    keep: seconds for which letters are kept.
    """

    def __init__(self, access: Access, tasks: Tasks, keep: int):
        self._access = access
        self._tasks = tasks
        self._keep = b"%d" % keep
        self._follower: IFollower | None = None

    def attach(self, follower: IFollower) -> None:
        """Set who delivers."""
        self._follower = follower

    def relay(self, code: str, user_id: str, frame: bytes) -> None:
        """As IRoomStore says."""
        if not self._access.usable:
            self._access.wait(lambda: self.relay(code, user_id, frame), lambda: None)
            return
        letter = secrets.token_hex(NAME // 2).encode() + frame
        self._access.link.run(
            scripts.RELAY,
            [mail_key(code, user_id)],
            letter,
            b"%d" % LETTERS,
            self._keep,
            room_key(code),
            b"r" + user_id.encode() + b"\x00" + letter,
        ).addErrback(lambda failure: None)

    def told(self, code: str, publication: bytes) -> None:
        """There is a letter in some mailbox of a room that is followed here."""
        user_id, _, letter = publication.partition(b"\x00")
        self._tasks.spawn("a letter", self._deliver(code, user_id.decode(), letter))

    async def _deliver(self, code: str, user_id: str, letter: bytes) -> None:
        if self._follower is None or not self._follower.present(code, user_id):
            return
        try:
            taken = await self._access.link.call(b"LREM", mail_key(code, user_id), b"1", letter)
        except (Disconnected, RedisError):
            return
        if taken:
            self._hand_over(code, user_id, letter[NAME:])

    def _hand_over(self, code: str, user_id: str, frame: bytes) -> None:
        assert self._follower is not None
        if self._follower.present(code, user_id):
            self._follower.relayed(code, user_id, frame)
        else:  # gone just now: it may come back, here or elsewhere
            self.relay(code, user_id, frame)

    async def deliver_all(self, code: str, users: Sequence[str]) -> None:
        """Deliver what is in the mailboxes of members who are connected here: it may not have been told of."""
        asked = [(user, self._access.link.run(scripts.EMPTY, [mail_key(code, user)])) for user in users]
        for user, answer in asked:
            try:
                letters = await answer
            except (Disconnected, RedisError):
                continue
            for letter in letters:
                self._hand_over(code, user, letter[NAME:])

    async def take(self, code: str, user_id: str) -> Sequence[bytes]:
        """As IRoomStore says."""
        await self._access.available()
        try:
            letters = await self._access.link.run(scripts.EMPTY, [mail_key(code, user_id)])
        except (Disconnected, RedisError):
            raise unavailable() from None
        return [letter[NAME:] for letter in letters]

    def drop(self, code: str, user_id: str) -> None:
        """As IRoomStore says."""
        self._access.link.call(b"DEL", mail_key(code, user_id)).addErrback(lambda failure: None)
