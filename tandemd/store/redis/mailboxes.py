"""What one member sends to one other who is connected to another node, or not at all for a moment."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from ...errors import MAILBOX_FULL, RequestError
from ...interfaces import IMailboxes
from ...util.coroutines import returns_deferred
from . import scripts
from .connection import DisconnectedError, RedisError
from .gateway import RedisGateway, unavailable
from .keys import mail_key, room_key

MAX_MESSAGES = 200
"""How many letters are kept for a member."""
MESSAGE_ID_BYTES = 16
"""Characters before each letter that tell it from others with the same content."""

REMEMBERED = 1000
"""How many delivered letters a node remembers."""


class _Mailbox:
    """A mailbox that is read here, or was, with something left to do.

    handed: names of letters that were handed over and may still be in it. takers: who asked for what is in it. again: it
    is to be read once more. busy: it is being read. dropped: what is read from it is for nobody any more.
    """

    __slots__ = ("again", "busy", "dropped", "handed", "takers")

    def __init__(self) -> None:
        self.handed: set[bytes] = set()
        self.takers: list[Deferred[Sequence[bytes]]] = []
        self.again = False
        self.busy = False
        self.dropped = False


@implementer(IMailboxes)
class Mailboxes:
    """Mailboxes. A letter is put into the mailbox first and told of then. It is out of it only after it was handed over.

    So an answer that gets lost loses no letter. Each mailbox is read by one question at a time, which also takes out what
    the one before it brought.

    keep: seconds for which letters are kept. most_bytes: of one mailbox; what does not fit is refused.
    """

    def __init__(self, gateway: RedisGateway, keep: int, most_bytes: int):
        self._gateway = gateway
        self._tasks = gateway.tasks
        self._keep = b"%d" % keep
        self._most_bytes = b"%d" % most_bytes
        self._delivered: dict[bytes, None] = {}
        self._boxes: dict[tuple[str, str], _Mailbox] = {}

    def relay(
        self, room_id: str, user_id: str, frame: bytes, done: Callable[[RequestError | None], None] = lambda error: None
    ) -> None:
        """As IRoomStore says."""
        self._send(room_id, user_id, secrets.token_hex(MESSAGE_ID_BYTES // 2).encode() + frame, done)

    def _send(self, room_id: str, user_id: str, letter: bytes, done: Callable[[RequestError | None], None]) -> None:
        def later(failure: Failure | None = None) -> None:
            # Whether a lost question was carried out is not known; a letter that comes twice is delivered once.
            if failure is None or failure.check(DisconnectedError):
                self._gateway.wait(
                    lambda: self._send(room_id, user_id, letter, done), lambda: done(unavailable())
                )  # fmt: skip
            else:
                self._gateway.mark_unavailable(str(failure.value))
                done(unavailable())

        if not self._gateway.usable:
            later()
            return

        def kept(fits: int) -> None:
            done(None if fits else MAILBOX_FULL)

        self._gateway.link.run(
            scripts.RELAY,
            [mail_key(room_id, user_id)],
            {
                "message": letter,
                "max_messages": b"%d" % MAX_MESSAGES,
                "keep_seconds": self._keep,
                "channel": room_key(room_id),
                "publication": b"r" + user_id.encode() + b"\x00" + letter,
                "max_bytes": self._most_bytes,
            },
        ).addCallbacks(kept, later)

    def told(self, room_id: str, publication: bytes) -> None:
        """There is a letter in some mailbox of a room that is followed here."""
        name, _, letter = publication.partition(b"\x00")
        user_id = name.decode()
        # It is asked for: whoever joined as a fresh page has dropped it, or another node has handed it over.
        if self._is_here(room_id, user_id) and letter[:MESSAGE_ID_BYTES] not in self._delivered:
            self._read(room_id, user_id)

    def deliver_all(self, room_id: str, users: Sequence[str]) -> None:
        """Deliver what is in the mailboxes of members who are connected here: it may not have been told of."""
        for user in users:
            self._read(room_id, user)

    def tidy(self) -> None:
        """Take out what was handed over, where that could not be done at once."""
        for room_id, user_id in list(self._boxes):
            self._read(room_id, user_id)

    @returns_deferred
    async def take_mail(self, room_id: str, user_id: str) -> Sequence[bytes]:
        """As IRoomStore says."""
        await self._gateway.available()
        taker: Deferred[Sequence[bytes]] = Deferred()
        self._read(room_id, user_id, taker)
        return await taker

    def drop_mail(self, room_id: str, user_id: str) -> None:
        """As IRoomStore says."""
        box = self._boxes.pop((room_id, user_id), None)
        if box is not None:
            box.dropped = True
        self._gateway.link.call(b"DEL", mail_key(room_id, user_id)).addErrback(lambda failure: None)

    def _is_here(self, room_id: str, user_id: str) -> bool:
        return self._gateway.events.present(room_id, user_id)

    def _read(self, room_id: str, user_id: str, *takers: Deferred[Sequence[bytes]]) -> None:
        box = self._boxes.setdefault((room_id, user_id), _Mailbox())
        box.takers += takers
        box.again = True
        if not box.busy:
            box.busy = True
            self._tasks.spawn("letters", self._empty(room_id, user_id, box))

    async def _empty(self, room_id: str, user_id: str, box: _Mailbox) -> None:
        """Read a mailbox and hand over what is in it, until nothing is left to do."""
        try:
            while box.again or (box.handed and not box.dropped):
                box.again = False
                takers, box.takers = box.takers, []
                names = tuple(box.handed)
                try:
                    letters = await self._gateway.link.run(
                        scripts.READ_MAILBOX,
                        [mail_key(room_id, user_id)],
                        {"id_bytes": b"%d" % MESSAGE_ID_BYTES},
                        *names,
                    )
                except (DisconnectedError, RedisError) as error:
                    if isinstance(error, RedisError):
                        self._gateway.mark_unavailable(str(error))
                    takers += box.takers
                    box.takers = []
                    for taker in takers:
                        taker.errback(unavailable())
                    return
                box.handed.difference_update(names)
                self._hand_over(room_id, user_id, box, [] if box.dropped else letters, takers)
        finally:
            box.busy = False
            if not box.handed and self._boxes.get((room_id, user_id)) is box:
                del self._boxes[room_id, user_id]

    def _hand_over(
        self,
        room_id: str,
        user_id: str,
        box: _Mailbox,
        letters: Sequence[bytes],
        takers: Sequence[Deferred[Sequence[bytes]]],
    ) -> None:
        """Give letters to the first who asked, else to the member, if it is here: else they stay where they are."""
        if takers:
            frames = [letter[MESSAGE_ID_BYTES:] for letter in letters if self._is_new(box, letter)]
            for taker in takers:
                taker.callback(frames)
                frames = []
            return
        for letter in letters:
            if not self._is_here(room_id, user_id):
                return
            if self._is_new(box, letter):
                self._gateway.events.relayed(room_id, user_id, letter[MESSAGE_ID_BYTES:])

    def _is_new(self, box: _Mailbox, letter: bytes) -> bool:
        """Say whether a letter was not delivered here before, and take it for delivered: it is to be taken out."""
        name = letter[:MESSAGE_ID_BYTES]
        box.handed.add(name)
        if name in self._delivered:
            return False
        self._delivered[name] = None
        if len(self._delivered) > REMEMBERED:
            del self._delivered[next(iter(self._delivered))]
        return True
