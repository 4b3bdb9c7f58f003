"""What one member sends to one other who is connected to another node, or not at all for a moment."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from twisted.python.failure import Failure

from ..errors import Refused
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

REMEMBERED = 1000
"""How many delivered letters a node remembers."""


class Mail:
    """Mailboxes. A letter is put into the mailbox first and told of then; who takes it out delivers it, nobody else.

    keep: seconds for which letters are kept.
    """

    def __init__(self, access: Access, tasks: Tasks, keep: int):
        self._access = access
        self._tasks = tasks
        self._keep = b"%d" % keep
        self._follower: IFollower | None = None
        self._delivered: dict[bytes, None] = {}

    def attach(self, follower: IFollower) -> None:
        """Set who delivers."""
        self._follower = follower

    def relay(self, code: str, user_id: str, frame: bytes, done: Callable[[Refused | None], None]) -> None:
        """As IRoomStore says."""
        self._send(code, user_id, secrets.token_hex(NAME // 2).encode() + frame, done)

    def _send(self, code: str, user_id: str, letter: bytes, done: Callable[[Refused | None], None]) -> None:
        def later(failure: Failure | None = None) -> None:
            # Whether a lost question was carried out is not known; a letter that comes twice is delivered once.
            if failure is None or failure.check(Disconnected):
                self._access.wait(
                    lambda: self._send(code, user_id, letter, done), lambda: done(unavailable())
                )  # fmt: skip
            else:
                self._access.suspend(str(failure.value))
                done(unavailable())

        if not self._access.usable:
            later()
            return
        self._access.link.run(
            scripts.RELAY,
            [mail_key(code, user_id)],
            letter,
            b"%d" % LETTERS,
            self._keep,
            room_key(code),
            b"r" + user_id.encode() + b"\x00" + letter,
        ).addCallbacks(lambda answer: done(None), later)

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
            self._hand_over(code, user_id, letter)

    def _hand_over(self, code: str, user_id: str, letter: bytes) -> None:
        assert self._follower is not None
        if not self._follower.present(code, user_id):  # gone just now: it may come back, here or elsewhere
            self._send(code, user_id, letter, lambda error: None)
        elif self._is_new(letter):
            self._follower.relayed(code, user_id, letter[NAME:])

    def _is_new(self, letter: bytes) -> bool:
        """Say whether a letter was not delivered here before, and take it for delivered."""
        name = letter[:NAME]
        if name in self._delivered:
            return False
        self._delivered[name] = None
        if len(self._delivered) > REMEMBERED:
            del self._delivered[next(iter(self._delivered))]
        return True

    async def deliver_all(self, code: str, users: Sequence[str]) -> None:
        """Deliver what is in the mailboxes of members who are connected here: it may not have been told of."""
        asked = [(user, self._access.link.run(scripts.EMPTY, [mail_key(code, user)])) for user in users]
        for user, answer in asked:
            try:
                letters = await answer
            except (Disconnected, RedisError):
                continue
            for letter in letters:
                self._hand_over(code, user, letter)

    async def take(self, code: str, user_id: str) -> Sequence[bytes]:
        """As IRoomStore says."""
        await self._access.available()
        try:
            letters = await self._access.link.run(scripts.EMPTY, [mail_key(code, user_id)])
        except (Disconnected, RedisError):
            raise unavailable() from None
        return [letter[NAME:] for letter in letters if self._is_new(letter)]

    def drop(self, code: str, user_id: str) -> None:
        """As IRoomStore says."""
        self._access.link.call(b"DEL", mail_key(code, user_id)).addErrback(lambda failure: None)
