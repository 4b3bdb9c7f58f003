"""The room service of a node, put together from its parts."""

from __future__ import annotations

from collections.abc import Callable
from random import Random, SystemRandom

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from .. import messages as m
from ..interfaces import Claims, IStore
from ..ratelimit import Spending
from ..rules.engine import Rules
from ..rules.event_types import EventType
from ..rules.state import Commit, Pin, Room
from ..util.time_slicer import TimeSlicer
from .departures import Departures
from .directory import Directory
from .dispatcher import Dispatcher
from .joining.controller import JoinController
from .joining.credentials import JoinCredentials
from .joining.limits import JoinLimiter, JoinLimits
from .joining.preparation import JoinPreparer
from .joining.waits import JoinWaits
from .maintenance import RoomMaintenance
from .metrics import RoomMetrics
from .outbox import Outbox
from .playback_settings import PlaybackSyncSettings
from .playback_sync import PlaybackSync
from .registry import RoomRegistry
from .replica import RoomReplica
from .service import RoomService
from .store_events import StoreEventHandler


def make_room_service(
    store: IStore,
    conn_prefix: str,
    rules: Rules,
    clock: IReactorTime,
    outbox: Outbox,
    metrics: RoomMetrics,
    hash_pin: Callable[[str, str], Deferred[Pin]],
    positions: PlaybackSyncSettings,
    authenticate: Callable[[m.Join], Claims | None],
    limits: JoinLimits,
    spending: Spending | None = None,
    random: Random | None = None,
    ice_servers: Callable[[str], m.IceServers] = lambda user: m.IceServers(ice_servers=[]),
) -> RoomService:
    """Return a room service.

    conn_prefix: the beginning of the names of this node's connections, "node/boot/".
    hash_pin: hashes a PIN with a salt, in a thread.
    authenticate: returns the claims of a JOIN's auth token, None if this server needs no token. Raises RequestError.
    spending: the budgets of rooms and addresses, None for no limit.
    random: the source of tokens, invite codes and UUIDs; None for the system's.
    ice_servers: returns the ICE servers of a member, by its user id.
    """
    random = random or SystemRandom()
    replicas = ReplicaFactory(store, rules, clock, outbox, metrics, spending)
    slicer = TimeSlicer(clock)
    registry = RoomRegistry(store, conn_prefix, replicas.make, slicer, random)
    sync = PlaybackSync(store.clock, positions, lambda: registry, metrics, slicer)
    limiter = JoinLimiter(store, limits, clock, metrics, lambda: len(registry), random)
    waits = JoinWaits(clock, rules.settings, store, limiter, metrics, slicer)
    directory = Directory(store, registry, clock, rules, limiter.invited)
    events = StoreEventHandler(store.clock, registry, waits, sync)
    departures = Departures(store, registry, metrics)
    preparer = JoinPreparer(limiter, hash_pin, slicer, random)
    credentials = JoinCredentials(authenticate, ice_servers)
    joins = JoinController(store, registry, waits, limiter, preparer, credentials, departures, metrics)
    replicas.attach(events, CommitObserver(registry, sync, directory, waits, departures))
    return RoomService(
        registry,
        events,
        joins,
        Dispatcher(store, metrics, sync, ice_servers),
        departures,
        sync,
        directory,
        RoomMaintenance(clock, store, registry, sync, slicer),
    )


class CommitObserver:
    """Reports the commits of open rooms to the parts that depend on them."""

    def __init__(
        self,
        registry: RoomRegistry,
        positions: PlaybackSync,
        directory: Directory,
        waits: JoinWaits,
        departures: Departures,
    ):
        self._registry = registry
        self._positions = positions
        self._directory = directory
        self._waits = waits
        self._departures = departures

    def commit_applied(self, live: RoomReplica, commit: Commit) -> None:
        """Report a commit that was just applied to an open room."""
        if commit.changes:
            self._positions.commit_applied(live, commit)
        if commit.closes:
            live.renew(self._registry.blank(live.room.room_id))
        elif commit.event == EventType.USER_JOINED:
            member = live.room.members.get(commit.user)
            if member is not None:
                self._directory.member_joined(live.room.room_id, member.address)
        elif not commit.event:
            self._departures.silent_commit_applied(live, commit)
        if len(live.waiting):
            self._waits.commit_applied(live, commit)


class ReplicaFactory:
    """Makes the replicas of a node. Replicas, registry and event handler refer to each other, so `attach` completes it."""

    _events: StoreEventHandler
    _observer: CommitObserver

    def __init__(
        self,
        store: IStore,
        rules: Rules,
        clock: IReactorTime,
        outbox: Outbox,
        metrics: RoomMetrics,
        spending: Spending | None,
    ):
        self._store = store
        self._rules = rules
        self._clock = clock
        self._outbox = outbox
        self._metrics = metrics
        self._spending = spending

    def attach(self, events: StoreEventHandler, observer: CommitObserver) -> None:
        """Set the receivers of the replicas' events. Call it once, before `make`."""
        self._events = events
        self._observer = observer

    def make(self, room: Room) -> RoomReplica:
        """Return a replica of a room, with its budgets."""
        live = RoomReplica(
            room,
            self._rules,
            self._store,
            self._clock,
            self._outbox,
            self._metrics,
            self._observer.commit_applied,
            self._events,
        )
        if self._spending is not None:
            live.meter, live.rows = self._spending.room(), self._spending.rows()
        return live
