"""Mailboxes: messages for members that are connected to another node, or have no connection for a while."""

from __future__ import annotations

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
"""Messages in a mailbox."""
MESSAGE_ID_BYTES = 16
"""Bytes of the message id, the beginning of each message in Redis."""

MAX_DELIVERED_IDS = 1000
"""Ids of delivered messages that a node remembers."""


class _Mailbox:
    """A mailbox that this node reads.

    delivered: ids of delivered messages that may still be in Redis. leaving: the ids that the current read removes.
    takers: calls of `take_mail` that wait for its messages.
    again: read once more.
    busy: a read is under way.
    dropped: messages of the current read are obsolete.
    """

    __slots__ = ("again", "busy", "dropped", "delivered", "leaving", "takers")

    def __init__(self) -> None:
        self.delivered: dict[bytes, None] = {}
        self.leaving: tuple[bytes, ...] = ()
        self.takers: list[Deferred[Sequence[bytes]]] = []
        self.again = False
        self.busy = False
        self.dropped = False


@implementer(IMailboxes)
class Mailboxes:
    """Puts messages into mailboxes, and delivers them.

    A message is stored first and announced afterwards. It leaves the mailbox only after its delivery, so that a lost answer
    loses no message. A mailbox has one read at a time, which also removes the messages that the read before has brought.
    """

    def __init__(self, gateway: RedisGateway, keep: int, most_bytes: int):
        """keep: seconds after which messages expire. most_bytes: of a mailbox; a message beyond is rejected."""
        self._gateway = gateway
        self._tasks = gateway.tasks
        self._keep = b"%d" % keep
        self._most_bytes = b"%d" % most_bytes
        self._delivered: dict[bytes, None] = {}
        self._boxes: dict[tuple[str, str], _Mailbox] = {}

    def relay(
        self, room_id: str, user_id: str, frame: bytes, done: Callable[[RequestError | None], None] = lambda error: None
    ) -> None:
        """See `IMailboxes.relay`."""
        id_ = self._gateway.random.randbytes(MESSAGE_ID_BYTES // 2).hex().encode()
        self._send(room_id, user_id, id_ + frame, done)

    def _send(self, room_id: str, user_id: str, message: bytes, done: Callable[[RequestError | None], None]) -> None:
        def later(failure: Failure | None = None) -> None:
            # Redis may have executed a lost command; a duplicate is delivered once.
            if failure is None or failure.check(DisconnectedError):
                self._gateway.wait(
                    lambda: self._send(room_id, user_id, message, done), lambda: done(unavailable())
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
                "message": message,
                "max_messages": b"%d" % MAX_MESSAGES,
                "keep_seconds": self._keep,
                "channel": room_key(room_id),
                "publication": b"r" + user_id.encode() + b"\x00" + message,
                "max_bytes": self._most_bytes,
            },
        ).addCallbacks(kept, later)

    def announced(self, room_id: str, publication: bytes) -> None:
        """Handle the announcement of a message in a subscribed room."""
        user, _, message = publication.partition(b"\x00")
        user_id = user.decode()
        box = self._boxes.get((room_id, user_id))
        name = message[:MESSAGE_ID_BYTES]
        if box is not None and name in box.delivered and name not in box.leaving:
            return  # the next read removes it
        # It is read again: a JOIN of a fresh page may have dropped it, or another node may have delivered it. If this node has
        # delivered it, this is a copy, put there because the answer to the first attempt was lost, and the read removes it.
        if self._is_here(room_id, user_id):
            self._read(room_id, user_id)

    def deliver_all(self, room_id: str, users: Sequence[str]) -> None:
        """Deliver messages to members that are connected here, without an announcement."""
        for user in users:
            self._read(room_id, user)

    def tidy(self) -> None:
        """Remove delivered messages that could not be removed before."""
        for room_id, user_id in list(self._boxes):
            self._read(room_id, user_id)

    @returns_deferred
    async def take_mail(self, room_id: str, user_id: str) -> Sequence[bytes]:
        """See `IMailboxes.take_mail`."""
        await self._gateway.available()
        taker: Deferred[Sequence[bytes]] = Deferred()
        self._read(room_id, user_id, taker)
        return await taker

    def drop_mail(self, room_id: str, user_id: str) -> None:
        """See `IMailboxes.drop_mail`."""
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
            self._tasks.spawn("reading a mailbox", self._drain(room_id, user_id, box))

    async def _drain(self, room_id: str, user_id: str, box: _Mailbox) -> None:
        """Read a mailbox and deliver its messages, until it needs no further read."""
        try:
            while box.again or (box.delivered and not box.dropped):
                box.again = False
                takers, box.takers = box.takers, []
                names = box.leaving = tuple(box.delivered)
                try:
                    messages = await self._gateway.link.run(
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
                for name in names:
                    box.delivered.pop(name, None)
                box.leaving = ()
                self._deliver(room_id, user_id, box, [] if box.dropped else messages, takers)
        finally:
            box.busy = False
            if not box.delivered and self._boxes.get((room_id, user_id)) is box:
                del self._boxes[room_id, user_id]

    def _deliver(
        self,
        room_id: str,
        user_id: str,
        box: _Mailbox,
        messages: Sequence[bytes],
        takers: Sequence[Deferred[Sequence[bytes]]],
    ) -> None:
        """Deliver messages to the first taker, else to the member if it is connected here; else they stay."""
        if takers:
            frames = [message[MESSAGE_ID_BYTES:] for message in messages if self._is_new(box, message)]
            for taker in takers:
                taker.callback(frames)
                frames = []
            return
        for message in messages:
            if not self._is_here(room_id, user_id):
                return
            if self._is_new(box, message):
                self._gateway.events.relayed(room_id, user_id, message[MESSAGE_ID_BYTES:])

    def _is_new(self, box: _Mailbox, message: bytes) -> bool:
        """Return whether this node has not delivered the message before, and mark it as delivered."""
        name = message[:MESSAGE_ID_BYTES]
        box.delivered[name] = None
        if name in self._delivered:
            return False
        self._delivered[name] = None
        if len(self._delivered) > MAX_DELIVERED_IDS:
            del self._delivered[next(iter(self._delivered))]
        return True
