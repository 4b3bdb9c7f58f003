"""Rooms in Redis, for any number of nodes. See docs/architecture.md for what is kept under which key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.application import service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from ...errors import RequestError
from ...interfaces import CommitResult, IArchive, IRoomStore, IStoreEventHandler
from ...ratelimit.buckets import Plan, TakeResult
from ...rules.state import Commit, Member, Room, Version
from ...util.services import Periodic, StartupError, Tasks
from . import codec, scripts
from .cluster_membership import ClusterMembership
from .commit_writer import CommitWriter
from .connection import DisconnectedError, RedisError, answers
from .gateway import RedisGateway, info
from .journal import Journal
from .journal_consumer import ABANDONED
from .keys import COMPLETING, JOURNAL, STORE, log_key, room_key
from .mailboxes import Mailboxes
from .memory_pressure import LOOK_SECONDS, SHORT_LOG, SHORT_LOG_BYTES, Pressure
from .metrics import StoreMetrics
from .rate_limits import RedisRateLimits
from .reader import RoomReader
from .reseeding import AT_ONCE, RoomReseeder
from .settings import RedisSettings
from .spool import Spool
from .subscription import Subscription

START_WITHIN = 8.0
"""Seconds in which Redis must answer when the node starts. A wrong password is no reason to wait."""
HEADS = 5.0
"""Seconds between two comparisons of all followed rooms with Redis."""
BEAT = 2.0
"""Seconds between two signs of life of a node."""
UNNOTICED_SECONDS = BEAT + 0.5
"""Seconds after which a node with connections to Redis has noticed that the data is gone, though it heard nothing of it."""
INCOMPLETE = (
    "the archive cannot be asked, and Redis may lack rooms that only the archive has since it last lost data: rooms that it "
    "does not have, new ones too, wait for the archive"
)
RECENT = 3 * ABANDONED / 1000
"""Seconds before a loss of Redis' data: what was committed in them may not be in the archive, and its node be gone too."""


@implementer(IRoomStore)
class RedisStore(service.Service):
    """The store of many nodes.

    name: "node/boot/", with which the names of this node's connections begin. archive: is asked for rooms that Redis does
    not have. spool: takes what the journal has no room for. journal, members: what this node knows of the journal and the nodes.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: IStreamClientEndpoint,
        options: dict[str, Any],
        name: str,
        settings: RedisSettings,
        archive: IArchive,
        metrics: StoreMetrics,
        spool: Spool,
    ):
        self._clock = clock
        self._archive = archive
        self._tasks = Tasks(clock)
        self._follower: IStoreEventHandler | None = None
        self._loops: list[Periodic] = []
        self._rooms = 0
        self._name = name
        self._settle_seconds = settings.settle_seconds
        self._complete_for: bytes | None = None
        self._pressure = Pressure(
            clock,
            metrics,
            lambda: self._tasks.spawn("shortening logs", self._shorten()),
            self._eased,
        )
        self._access = access = RedisGateway(
            clock,
            endpoint,
            options,
            self._tasks,
            settings.offer_seconds,
            UNNOTICED_SECONDS,
            self._offer,
            self._entered,
            self._pressure,
        )
        self.journal = Journal(access, settings.journal_length, settings.journal_bytes, spool, metrics)
        self.members = ClusterMembership(access.link, access.time, name, metrics)
        self._offers = RoomReseeder(access.link, settings.log_length, settings.bounds.log_bytes)
        self._counters = RedisRateLimits(access)
        self._mail = Mailboxes(access, self._tasks, settings.mail_seconds, settings.bounds.mailbox_bytes)
        self._subscription = subscription = Subscription(
            access, self._mail, clock, endpoint, options, self._tasks, metrics, name
        )
        self._reading = RoomReader(
            access,
            archive,
            self._offers,
            clock,
            subscription.subscribed,
            subscription.__contains__,
            settings.bounds.replay_bytes,
        )
        self._commits = CommitWriter(
            access,
            self.journal,
            clock,
            self._tasks,
            metrics,
            name,
            settings.log_length,
            settings.bounds,
            self._pressure,
        )

    # -- service

    def attach(self, follower: IStoreEventHandler) -> None:
        """Set who is told of everything that other nodes do. To be called once, before the service starts."""
        self._follower = follower
        self.members.attach(follower)
        self._mail.attach(follower)
        self._subscription.attach(follower)

    def startService(self) -> Deferred[None]:
        super().startService()
        self._access.start()
        self._subscription.link.start()
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        limit = self._clock.seconds() + START_WITHIN
        while reason := self.ready():
            for link in (self._access.link, self._subscription.link):
                if link.permanent_failure:
                    raise StartupError(link.failure)
            if self._access.fatal or self._clock.seconds() > limit:
                raise StartupError(reason)
            await deferLater(self._clock, 0.02)
        self._repeat("watching the subscription", 1.0, self._subscription.watch)
        self._repeat("comparing", HEADS, lambda: self._tasks.spawn("comparing", self._subscription.compare()))
        self._repeat("sign of life", BEAT, lambda: self._tasks.spawn("sign of life", self._beat()), now=True)
        self._repeat("tidying the journal", 1.0, self.journal.tidy)
        self._repeat("asking the archive", 1.0, self._ask_archive)
        self._repeat("completing Redis", 1.0, lambda: self._tasks.spawn("completing Redis", self._complete()))
        self._repeat(
            "looking at memory", LOOK_SECONDS, lambda: self._tasks.spawn("looking at memory", self._look()), now=True
        )

    def _repeat(self, name: str, seconds: float, function: Callable[[], object], *, now: bool = False) -> None:
        loop = Periodic(self._clock, seconds, function, name)
        loop.start(now=now)
        self._loops.append(loop)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for loop in self._loops:
            loop.stop()
        self._access.cancel_waiters()
        self._subscription.give_up()
        await self._tasks.finish(3.0)
        await self.journal.close()
        await self._subscription.link.stop()
        await self._access.link.stop()

    def ready(self) -> str:
        reason = self._access.ready()
        if not reason and not self._subscription.listens:
            reason = self._subscription.link.failure or "the subscription to Redis is being made"
        return reason

    def warnings(self) -> list[str]:
        """Return what is wrong and keeps no client away, for people."""
        lacking = self._access.incarnation is not None and self._complete_for != self._access.incarnation
        waits = INCOMPLETE if lacking and (self._reading.unresolved_lookup or self._archive.ready()) else ""
        return [warning for warning in (self._access.warning, self._pressure.warning(), waits) if warning]

    def now(self) -> float:
        return self._access.time.now()

    # -- incarnations

    async def _offer(self) -> None:
        if self._follower is not None:
            await self._offers.all(self._follower.held())

    def _entered(self, renewed: bool) -> None:
        if renewed:
            self._journal_again()
        if self._access.fresh:
            self._access.fresh = False
            self._tasks.spawn("bringing rooms back from the archive", self._bring_back())
        if self._follower is None:
            return
        if renewed:
            for room_id in self._subscription.codes():
                self._follower.renewed(room_id)
        self._tasks.spawn("making up", self._subscription.make_up())
        self._follower.available()

    def _journal_again(self) -> None:
        """Put into the journal what it may have lost: own commits, and recent ones of others, which may be dead by now."""
        self.journal.again()
        since = self.members.heard_at - RECENT
        for room, commits in self._follower.held() if self._follower is not None else ():
            recent = [codec.encode_commit(it, messages=False) for it in commits if it.has_row and it.at >= since]
            self.journal.put(room, recent)

    async def _bring_back(self) -> None:
        """Give a server that had nothing the rooms of the archive that nobody has offered: they must end some time too."""
        while not self._access.stopping:
            try:
                count = await self._offer_archived()
            except DisconnectedError:
                self._access.fresh = True  # as soon as the server is there again
                return
            except Exception as error:
                self._log.warn("rooms cannot be brought back from the archive yet: {error}", error=str(error))
                await deferLater(self._clock, 2.0)
            else:
                if count:
                    self._log.info("{count} rooms of the archive were given to Redis", count=count)
                return

    async def _offer_archived(self) -> int:
        """Offer the rooms of the archive; return how many there are. A node that opens one gives it a new epoch."""
        rooms = await self._archive.living()
        await self._offers.all([(room, ()) for room in rooms], absent=True)
        return len(rooms)

    async def _complete(self) -> None:
        """Have Redis hold all rooms of the archive, once in each incarnation: then nothing else need be asked for one."""
        access, call = self._access, self._access.link.call
        number = access.incarnation
        if not access.usable or number is None or number == self._complete_for:
            return
        try:
            (current, complete, opens), first = await answers(
                [
                    call(b"HMGET", STORE, b"number", b"complete", b"opens"),
                    call(b"XRANGE", JOURNAL, b"-", b"+", b"COUNT", b"1"),
                ]
            )
            if current != number:
                return
            if complete == number:
                self._complete_for = number
                return
            settled = float(opens) + self._settle_seconds
            oldest = int(first[0][0].partition(b"-")[0]) / 1000 if first else access.time.now()
            # Changes that Redis has lost may be on their way to the archive until then.
            if min(oldest, access.time.now()) < settled:
                return
            if not await call(b"SET", COMPLETING, self._name.encode(), b"NX", b"EX", b"30"):
                return  # another node is at it
            try:
                await self._offer_archived()
                if await access.link.run(scripts.COMPLETE, [STORE], number):
                    self._complete_for = number
            finally:
                await call(b"DEL", COMPLETING)
        except (DisconnectedError, RedisError):
            return
        except Exception as error:
            self._log.debug("the archive cannot be asked for all rooms yet: {error}", error=str(error))

    async def _beat(self) -> None:
        if self._access.incarnation is None:
            return
        try:
            asked = self._clock.seconds()
            now, number, dead = await self.members.beat()
            self._access.time.sample(asked, self._clock.seconds(), now)
            if number != self._access.incarnation:
                self._access.incarnation_changed()
                return
            self._rooms = await self._reading.count()
            await self.members.take_over(dead)
        except RedisError as error:
            self._access.mark_unavailable(str(error))
        except DisconnectedError:
            return
        except RequestError:
            return  # the store is away: next time

    async def _look(self) -> None:
        """Ask Redis how full it is."""
        if not self._access.link.usable:
            return
        try:
            about = info(await self._access.link.call(b"INFO", b"memory"))
        except (DisconnectedError, RedisError):
            return
        self._pressure.measured(int(about.get("used_memory", 0)), int(about.get("maxmemory", 0)))

    def _eased(self) -> None:
        if self._follower is not None:
            self._follower.available()

    async def _shorten(self) -> None:
        """Shorten the logs of the rooms that are open here; each commit does so from now on."""
        room_ids = self._subscription.codes()
        try:
            for start in range(0, len(room_ids), AT_ONCE):
                some = room_ids[start : start + AT_ONCE]
                run, words = self._access.link.run, (b"%d" % SHORT_LOG_BYTES, b"%d" % SHORT_LOG)
                await answers([run(scripts.SHORTEN, [room_key(room_id), log_key(room_id)], *words) for room_id in some])
        except (DisconnectedError, RedisError) as error:
            self._log.warn("logs of rooms could not be shortened: {error}", error=str(error))

    def _ask_archive(self) -> None:
        if self._reading.unresolved_lookup and self._access.usable:
            self._tasks.spawn("asking the archive again", self._archive_again())

    async def _archive_again(self) -> None:
        if await self._reading.ask_again() and self._follower is not None:
            self._follower.available()

    # -- IRoomStore

    def commit(self, room: Room, commits: Sequence[Commit], done: Callable[[CommitResult], None]) -> None:
        self._commits.commit(room, commits, done)

    def load(self, room_id: str, *, archived: bool = True) -> Deferred[Room | None]:
        return Deferred.fromCoroutine(self._reading.load(room_id, archived))

    def member(self, room_id: str, user_id: str) -> Deferred[Member | None]:
        return Deferred.fromCoroutine(self._reading.member(room_id, user_id))

    def replay(self, room_id: str, after: Version) -> Deferred[Sequence[Commit] | None]:
        return Deferred.fromCoroutine(self._reading.replay(room_id, after))

    def find_invite(self, invite: str) -> Deferred[str | None]:
        return Deferred.fromCoroutine(self._reading.find_invite(invite))

    def due_rooms(self, now: float) -> Deferred[Sequence[str]]:
        return Deferred.fromCoroutine(self._reading.due_rooms(now))

    def take(self, ways: Sequence[Plan]) -> Deferred[TakeResult]:
        return Deferred.fromCoroutine(self._counters.take(ways))

    def refund(self, way: Plan) -> None:
        self._counters.refund(way)

    def mark(self, name: str, seconds: float) -> None:
        self._counters.mark(name, seconds)

    def size(self) -> int:
        return -(-self._rooms // max(1, self.members.alive))

    def grace_floor(self) -> float:
        return self.members.floor

    def follow(self, room_id: str, follower: IStoreEventHandler) -> None:
        self._subscription.subscribe(room_id)

    def unfollow(self, room_id: str) -> None:
        self._subscription.unsubscribe(room_id)

    def relay(
        self, room_id: str, user_id: str, frame: bytes, done: Callable[[RequestError | None], None] = lambda error: None
    ) -> None:
        self._mail.relay(room_id, user_id, frame, done)

    def take_mail(self, room_id: str, user_id: str) -> Deferred[Sequence[bytes]]:
        return Deferred.fromCoroutine(self._mail.take(room_id, user_id))

    def drop_mail(self, room_id: str, user_id: str) -> None:
        self._mail.drop(room_id, user_id)
