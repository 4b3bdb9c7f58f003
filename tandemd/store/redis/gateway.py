"""The access to Redis: availability, the incarnation of its data, and its clock.

Redis may restart with older data or none. So its data carries the run_id of the server that has written it. A node that finds
another run_id opens a new incarnation. Before it is used, nodes offer the rooms that they hold.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ...errors import ErrorCode, RequestError
from ...interfaces import IStoreEventHandler
from ...util.server_time import ServerTime
from ...util.services import StartupError, Tasks
from . import scripts
from .connection import DisconnectedError, RedisConnection, RedisError
from .errors import full, is_server_unusable, is_transient, remedy
from .events import NoEvents
from .keys import PROBE, STORE, room_key
from .memory_pressure import Pressure

COMMAND_TIMEOUT_SECONDS = 2.0
"""Seconds for which a command waits for Redis. Later, Redis rejects it."""
RESTARTED_WITHIN_SECONDS = 10
"""Up to this uptime, the server has lost its data and all its connections together."""
STALLED_SECONDS = 0.7
"""Seconds without an answer after which the node sends no commands. An unsent command is certainly not executed."""


HEARTBEAT_SECONDS = 2.0
"""Seconds between two heartbeats of a node."""
UNNOTICED_SECONDS = HEARTBEAT_SECONDS + 0.5
"""Seconds after which a connected node has noticed an unannounced loss of data."""
AWAY_SECONDS = 5.0
"""Seconds without a heartbeat of any node, after which the store itself was away."""

UNGUARDED = (
    "min-replicas-to-write is 0, so a master that is cut off goes on acknowledging changes, which are lost when another "
    "has taken over; set it to 1, and min-replicas-max-lag to 5, on the master and its replicas"
)


def unavailable() -> RequestError:
    return RequestError(
        ErrorCode.UNAVAILABLE, "The server cannot reach its store at the moment.", int(COMMAND_TIMEOUT_SECONDS * 1000)
    )


class RedisGateway:
    """Owns the connection for commands, and opens incarnations.

    link: the connection; usable also without an incarnation.
    time: server time, steered to Redis' clock.
    random: the source of ids.
    events: the receiver of other nodes' events.
    incarnation: the number that commits must name; None while Redis is unavailable.
    warning: a risk in the server's configuration, for operators; or "".
    fresh: whether the server had no data when this node opened the incarnation.
    fatal: whether waiting cannot repair the failure.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: IStreamClientEndpoint,
        options: dict[str, Any],
        tasks: Tasks,
        offer_seconds: float,
        offer: Callable[[], Awaitable[None]],
        opened: Callable[[bool], None],
        pressure: Pressure,
    ):
        """offer: offers Redis the rooms that are open here. It has `offer_seconds`; if connections may have survived the loss
        of data, UNNOTICED_SECONDS more.
        opened: called when Redis becomes available, also after a silence, with whether its data may have changed.
        """
        self.link = RedisConnection("commands", clock, endpoint, options, self._up, self._down)
        self.time = ServerTime(clock)
        self.incarnation: bytes | None = None
        self.fresh = False
        self.warning = ""
        self.fatal = False
        self.stopping = False
        self.clock = clock
        self.random = self.link.random
        self.tasks = tasks
        self.pressure = pressure
        self.events: IStoreEventHandler = NoEvents()
        self._offer_seconds = offer_seconds
        self.longest_offer_seconds = offer_seconds + UNNOTICED_SECONDS
        self._emptied = False
        self._offer = offer
        self._opened = opened
        self._entering: object = None
        self._known = b""
        self._failure = ""
        self._stalled = False
        self._waiting: dict[_Waiting, None] = {}

    def start(self) -> None:
        self.link.start()

    def cancel_waiters(self) -> None:
        """End all waits, now and later, because the node stops."""
        self.stopping = True
        for waiting in list(self._waiting):
            waiting.expired()

    def ready(self) -> str:
        """Return '' if Redis is available, else the reason, for operators."""
        if self.incarnation is None:
            return (
                self.link.failure
                or self._failure
                or f"{self.link.where} is being checked, and receives the rooms that it may lack"
            )
        if not self.usable:
            return f"{self.link.where} does not answer"
        return ""

    @property
    def usable(self) -> bool:
        """Whether Redis will probably answer a command at once."""
        if self.incarnation is None or self._stalled:
            return False
        if self.link.silent > STALLED_SECONDS:
            self._stalled = True
            # Answers come in order, so this one shows that Redis has answered all commands before it.
            self.link.call(b"PING").addCallbacks(self._responsive_again, lambda failure: None)
            return False
        return True

    def _responsive_again(self, answer: Any) -> None:
        self._stalled = False
        if self.incarnation is not None:
            self._opened(False)
        self._go_on()

    # -- waiting

    def wait(self, go_on: Callable[[], None], give_up: Callable[[], None]) -> None:
        """Call `go_on` when Redis becomes available, or `give_up` after COMMAND_TIMEOUT_SECONDS."""
        if self.stopping:
            give_up()
        else:
            self._waiting[_Waiting(self.clock, self._waiting, go_on, give_up)] = None

    async def available(self) -> None:
        """Wait for Redis. Raises RequestError after COMMAND_TIMEOUT_SECONDS."""
        if self.usable:
            return
        came: Deferred[None] = Deferred()
        self.wait(lambda: came.callback(None), lambda: came.errback(unavailable()))
        await came

    async def on_available(self) -> None:
        """Wait until Redis is available or the node stops, without a limit."""
        while self.incarnation is None and not self.stopping:
            await deferLater(self.clock, 0.05)

    def _go_on(self) -> None:
        for waiting in list(self._waiting):
            waiting.over()

    # -- entering

    def _up(self) -> None:
        self.tasks.spawn("entering Redis", self._enter())

    def _down(self) -> None:
        self.incarnation = None
        self._stalled = False

    def incarnation_changed(self) -> None:
        """Reopen the data set: its incarnation has changed without a loss of the connection, as after FLUSHALL."""
        if self.incarnation is not None:
            self.incarnation = None
            self._emptied = True
            self._log.warn("redis: data set replaced without a reconnect; reopening it", event="redis_data_replaced")
            self._up()

    def announced(self, number: bytes) -> None:
        """Handle the announcement of an incarnation."""
        if number != self.incarnation:
            self.incarnation_changed()

    def mark_unavailable(self, error: str) -> None:
        """Handle an error of a command. If the server would reject other commands, too, wait until it accepts them."""
        if full(error):
            self.pressure.refused()
        elif self.incarnation is not None and is_server_unusable(error):
            self.incarnation = None
            self._fail(error)
            self._up()

    async def _enter(self) -> None:
        """Open the incarnation, with retries."""
        entering = self._entering = object()
        wait = 0.1
        while self.link.usable and self._entering is entering and not self.stopping:
            try:
                await self._try_to_enter(entering)
                return
            except DisconnectedError:
                return
            except (RedisError, StartupError) as error:
                self.fatal = isinstance(error, StartupError) or not is_transient(str(error))
                self._fail(str(error))
            except Exception as error:
                # Without a retry, the node would wait for the loss of the connection.
                if repr(error) not in self._failure:
                    self._log.failure("redis: failed to open the data set; trying again", event="redis_open_failed")
                self._fail(repr(error))
            await deferLater(self.clock, wait)
            wait = min(2 * wait, 1.0)

    async def _try_to_enter(self, entering: object) -> None:
        await self.link.load_scripts()
        about = info(await self.link.call(b"INFO"))
        reason = _unsuitable(about)
        if reason:
            raise StartupError(reason)
        self._warn(f"{self.link.where}: {UNGUARDED}" if self.link.failover and _unguarded(about) else "")
        missing = await self.link.run(scripts.PROBE, [PROBE], {"channel": room_key("")})
        if missing:
            raise StartupError(f"NOPERM: its user may not use {', '.join(map(bytes.decode, missing))}")
        asked = self.clock.seconds()
        patient = self.longest_offer_seconds
        lately = int(about.get("uptime_in_seconds", "0")) <= RESTARTED_WITHIN_SECONDS
        # Other nodes may still be connected, to a server without data or to a replaced master.
        if_other = patient if self.link.left else self._offer_seconds
        if_empty = if_other if lately and not self._emptied else patient
        number, left, now, fresh, shared = await self.link.run(
            scripts.OPEN_INCARNATION,
            [STORE],
            {
                "run_id": about["run_id"].encode(),
                "offer_seconds": b"%f" % if_other,
                "offer_seconds_if_empty": b"%f" % if_empty,
                "channel": STORE,
                "max_offer_seconds": b"%f" % patient,
                "away_seconds": b"%f" % AWAY_SECONDS,
            },
        )
        answered = self.clock.seconds()
        self.time.sample(asked, answered, float(now))
        if not self._known:
            # After a change of Redis' clock, other nodes and stored rooms may still have an earlier time.
            self.time.begin(float(shared) + (answered - asked) / 2)
        renewed = bool(self._known) and number != self._known
        if renewed:
            self._log.warn(
                "redis: another server, or restarted: incarnation {number}",
                event="redis_server_changed",
                number=number.decode(),
            )
            await self._offer()
        wait = float(left) - (self.clock.seconds() - answered)
        if wait > 0:
            await deferLater(self.clock, wait + 0.02)
        if not self.link.usable or self._entering is not entering:
            return
        # Only now, because an interrupted offer must be repeated.
        self._known = self.incarnation = number
        self.fresh = self.fresh or fresh == b"1"
        self.fatal, self._failure, self._emptied, self.link.left = False, "", False, False
        self._opened(renewed)
        self._go_on()

    def _warn(self, warning: str) -> None:
        if warning and warning != self.warning:
            self._log.warn("redis: {reason}", event="redis_misconfigured", reason=warning)
        self.warning = warning

    def _fail(self, error: str) -> None:
        reason = f"{self.link.where} cannot be used: {error}{remedy(error)}"
        if reason != self._failure:
            self._log.error("redis: {reason}", event="redis_unusable", reason=reason)
        self._failure = reason


class _Waiting:
    """An action that waits for Redis, for COMMAND_TIMEOUT_SECONDS at most."""

    __slots__ = ("_all", "_give_up", "_go_on", "_timer")

    def __init__(
        self,
        clock: IReactorTime,
        all_: dict[_Waiting, None],
        go_on: Callable[[], None],
        give_up: Callable[[], None],
    ):
        self._all = all_
        self._go_on = go_on
        self._give_up = give_up
        self._timer: IDelayedCall = clock.callLater(COMMAND_TIMEOUT_SECONDS, self.expired)

    def _end(self) -> None:
        del self._all[self]
        if self._timer.active():
            self._timer.cancel()

    def expired(self) -> None:
        self._end()
        self._give_up()

    def over(self) -> None:
        if self in self._all:  # an earlier action may have ended this wait
            self._end()
            self._go_on()


def info(text: bytes) -> dict[str, str]:
    """Return the fields of an answer to INFO."""
    return dict(line.split(":", 1) for line in text.decode("utf-8", "replace").splitlines() if ":" in line)


def _unguarded(about: dict[str, str]) -> bool:
    """Return whether the server accepts writes without replicas. INFO counts good replicas only if it requires some."""
    return "min_slaves_good_slaves" not in about


def _unsuitable(about: dict[str, str]) -> str:
    """Return '' if the server is suitable, else the reason in one line."""
    version = tuple(int(part) for part in about.get("redis_version", "0").split(".")[:2])
    if version < (6, 2):
        return f"it is version {about.get('redis_version')}; tandemd needs Redis 6.2 or newer"
    if about.get("cluster_enabled") == "1":
        return "it runs as a cluster, which tandemd does not use; name a single server in redis.host"
    if about.get("maxmemory", "0") != "0" and about.get("maxmemory_policy") not in (None, "noeviction"):
        return f"it may throw rooms away (its maxmemory-policy is {about['maxmemory_policy']}); set that to noeviction"
    return ""
