"""Handling of one client's messages: decode, validate, limit, and pass to the room service, in order."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from .. import messages as m
from ..errors import INTERNAL, ErrorCode, RequestError
from ..interfaces import IClusterClock
from ..messages.framing import error_frame, text_frame
from ..ratelimit import MessageLimits
from ..ratelimit.message_rates import ABUSE, BUCKETS, BYTES, FRAMES, SMALL
from ..rooms.service import RoomService
from ..rooms.session import Session
from .metrics import ConnectionMetrics

log = Logger()

PACED_JOINS = 20
"""Consecutive JOINs beyond the rate of a client before its connection is closed."""

_KINDS = {kind: (str(kind.__struct_config__.tag), bucket) for kind, bucket in BUCKETS.items()}
_SUPERSEDED = frozenset((BUCKETS[m.PositionUpdate], BUCKETS[m.HostHeartbeat]))
"""Buckets whose excess messages are dropped without an ERROR, unless they have an id: the next message replaces them."""


class ClientConnection:
    """The messages of one connection.

    A client that exceeds the limits receives an ERROR. If it continues, its connection is closed.

    count: the number of messages.
    has_sent_join_or_ping: whether the client has sent a JOIN or PING.
    joining: whether a JOIN is being decided. Until `join_finished` the protocol passes no further message.
    limits: None for no limits.
    own: whether abuse gives the client's address a penalty.
    """

    __slots__ = (
        "_buckets",
        "_clock",
        "_frames",
        "_later",
        "_limits",
        "_metrics",
        "_own",
        "_paced",
        "_receive",
        "_rooms",
        "_seen",
        "count",
        "joining",
        "has_sent_join_or_ping",
        "session",
    )

    def __init__(
        self,
        session: Session,
        rooms: RoomService,
        clock: IClusterClock,
        metrics: ConnectionMetrics,
        limits: MessageLimits | None = None,
        own: bool = True,
    ):
        self.session = session
        self.count = 0
        self._frames = 0
        self._seen = 0
        self.has_sent_join_or_ping = False
        self._rooms = rooms
        self._receive: Callable[[Session, m.ClientMessage], None] = rooms.receive
        self._clock = clock
        self._metrics = metrics
        self._limits = limits
        self._own = own
        self._buckets = limits.new_buckets() if limits is not None else []
        self.joining = False
        self._paced = 0
        self._later: IDelayedCall | None = None

    def received(self, payload: bytes) -> None:
        """Handle one message of the client, unless `joining`. Never raise."""
        self.count += 1
        try:
            message = m.decode(payload)
        except (ValueError, RecursionError) as error:
            recovered = m.recover(payload, error)
            if isinstance(recovered, m.Error):
                self._reject(recovered)
                return
            message = recovered
        kind = type(message)
        tag, bucket = _KINDS[kind]
        self._metrics.received[tag] += 1
        limits = self._limits
        if limits is not None:
            # The usual case of `MessageLimits.take`, inlined: the call would double its cost.
            full_at = self._buckets[bucket]
            if full_at <= limits.full_before[bucket] and len(payload) <= SMALL:
                now = limits.now
                self._buckets[bucket] = (full_at if full_at > now else now) + limits.interval[bucket]
            elif not self._granted(limits, tag, bucket, message, payload):
                return
        try:
            if kind is m.Ping:
                self.has_sent_join_or_ping = True
                self._pong(message)
            elif kind is m.Join:
                self._paced = 0
                self._join(message)
            else:
                self._receive(self.session, message)
        except RequestError as error:
            # The rules raise some instances repeatedly, and each time would extend the traceback.
            error.__traceback__ = None
            self._metrics.refused[error.code] += 1
            self.session.send(error_frame(error, message.id))
        except Exception:
            log.failure("failed to handle {kind}", event="message_failed", kind=tag)
            self.session.send(error_frame(INTERNAL, message.id))

    def message_too_long(self, frame_bytes: int) -> None:
        """Answer a message of more than `frame_bytes`. The connection closes, so that its `id` is never read."""
        self._metrics.refused[ErrorCode.BAD_MESSAGE] += 1
        text = f"This message is too long: a message may have {frame_bytes} bytes at most (limits.frameBytes of /api/config)."
        self.session.send(error_frame(RequestError(ErrorCode.BAD_MESSAGE, text), None))

    def _join(self, join: m.Join) -> None:
        self.has_sent_join_or_ping = True
        self.joining = True
        try:
            self._rooms.join(self.session, join)
        except Exception:
            log.failure("failed to handle {kind}", event="message_failed", kind="JOIN")
            self.session.send(error_frame(INTERNAL, join.id))
            self.join_finished()

    def join_finished(self) -> None:
        """Note that the JOIN was answered. It may wait all the same."""
        self.joining = False
        self._receive = self._rooms.receiver(self.session)

    def closed(self) -> None:
        """End the client's session."""
        self._forget()
        self._rooms.closed(self.session)

    def look(self) -> bool:
        """Note whether the client has sent anything since the last call. Return whether the session waits for a sign of life."""
        seen, self._seen = self._seen, self.count + self._frames
        return self.session.check_relays(alive=seen != self._seen)

    # -- limits

    def control_frame_received(self) -> None:
        """Count a frame that is no message: a ping, a pong or a continuation."""
        self._frames += 1
        if self._limits is not None and self._limits.take(self._buckets, FRAMES):
            self._metrics.rate_limited["frames"] += 1
            self._count_abuse("too many frames")

    def _granted(self, limits: MessageLimits, tag: str, bucket: int, message: m.ClientMessage, payload: bytes) -> bool:
        """Return whether a message is within the limits. If not, reject, defer or drop it."""
        wait = limits.take(self._buckets, bucket)
        if not wait:
            if len(payload) <= SMALL:
                return True
            wait = limits.take(self._buckets, BYTES, len(payload))
            if not wait:
                return True
            self._refuse("bytes", "Byte rate limit exceeded.", wait, message.id)
        elif isinstance(message, m.Join):
            # Old clients send JOIN only once, so a rejected one would never join.
            self._metrics.rate_limited["joins"] += 1
            self._paced += 1
            if self._paced > PACED_JOINS:
                self._close_for_abuse("too many JOIN")
            else:
                self.joining = True
                self._later = limits.later(wait, self._join_later, message)
        elif bucket in _SUPERSEDED and message.id is None:
            self._metrics.rate_limited["messages"] += 1
            self._count_abuse(f"too many {tag}")
        else:
            self._refuse("messages", f"Too many {tag} messages.", wait, message.id)
        return False

    def _join_later(self, join: m.Join) -> None:
        self._later = None
        if self._limits is not None:
            self._limits.take(self._buckets, BUCKETS[m.Join])
        self._join(join)

    def _refuse(self, reason: str, text: str, wait: float, id_: int | None) -> None:
        self._metrics.rate_limited[reason] += 1
        self._metrics.refused[ErrorCode.RATE_LIMITED] += 1
        self.session.send(error_frame(RequestError(ErrorCode.RATE_LIMITED, text, ceil(wait * 1000)), id_))
        self._count_abuse(text)

    def _reject(self, error: m.Error) -> None:
        self._metrics.refused[error.code] += 1
        self.session.send(text_frame(m.encode(error)))
        self._count_abuse("too many malformed messages")

    def _count_abuse(self, reason: str) -> None:
        """Take a token from the abuse budget. Close the connection if it is empty."""
        if self._limits is not None and self._limits.take(self._buckets, ABUSE):
            self._close_for_abuse(reason)

    def _close_for_abuse(self, reason: str) -> None:
        self._metrics.rate_limited["abuse"] += 1
        self._forget()
        self.session.close_abusive(reason)
        if self._limits is not None and self._own:
            self._limits.abused(self.session.address)

    def _forget(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def _pong(self, ping: m.Ping) -> None:
        received = self._clock.now() * 1000
        if ping.t0 is None:
            self.session.send(text_frame(m.encode(m.Pong(timestamp=int(received)))))
        else:
            # Everything before it is written first, because that takes time.
            self.session.flush()
            sent = self._clock.now() * 1000
            pong = m.Pong(timestamp=int(sent), t0=ping.t0, received=round(received, 3), sent=round(sent, 3))
            self.session.send(text_frame(m.encode(pong)))
            self.session.flush()
        if ping.id is not None:
            self.session.send(text_frame(m.encode(m.Ack(id=ping.id))))
