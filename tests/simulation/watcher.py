"""Invariants that hold all the time: gates, timelines, epochs and memory of the nodes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from tandemd.store.redis import scripts
from tandemd.store.redis.mailboxes import MAX_DELIVERED_IDS

from .cluster import Cluster, SimulatedNode
from .faults import Stage
from .world import World

SAMPLE_SECONDS = 0.5
QUIET_SECONDS = 10.0
"""After a time without faults, a gate opens within `GATE_SECONDS` of its deadline; else within `MOST_GATE_SECONDS`."""
GATE_SECONDS = 3.0
MOST_GATE_SECONDS = 60.0
SLEW = 0.06
"""How much faster or slower than the real time the timeline may run: server time is steered by 0.05, clocks drift by 0.01."""
STEP_SECONDS = 0.15
"""A step of the timeline that is none."""
MOST_ITEMS = 64
"""Items of a container in a node without members and rooms."""
BOUNDS = {"_backend.store._mail._delivered": MAX_DELIVERED_IDS}
"""The same, for containers that keep items on purpose."""


class Watcher:
    """Looks at all nodes from time to time. deadline: of gates, in seconds."""

    def __init__(self, world: World, cluster: Cluster, stage: Stage, deadline: float):
        self._world = world
        self._cluster = cluster
        self._stage = stage
        self._deadline = deadline
        self._timelines: dict[tuple[Any, ...], tuple[float, float, float]] = {}
        self._incarnations: dict[tuple[bytes, bytes], bytes] = {}
        self._offered: dict[bytes, tuple[int, bytes, int, int]] = {}
        """Rooms after the last offer: losses of Redis until then, uuid, epoch, seq."""
        self._stopped = False
        cluster.redis.on_command = self._after_command
        world.outside.callLater(SAMPLE_SECONDS, self._sample)

    def stop(self) -> None:
        self._stopped = True

    def _sample(self) -> None:
        if self._stopped:
            return
        for node in self._cluster.nodes:
            if node.machine is not None and not node.machine.frozen and node.node.status.accepts_clients():
                self._look_at(node)
        if len(self._cluster.nodes) > 1:
            self._look_at_rooms()
        self._world.outside.callLater(SAMPLE_SECONDS, self._sample)

    def _look_at(self, node: SimulatedNode) -> None:
        now = node.node._backend.store.clock.now()
        for live in node.node._rooms.open:
            room = live.room
            if room.seq:
                self._check_gate(node, room, now)
                self._check_timeline(node, room, now)

    def _check_gate(self, node: SimulatedNode, room: Any, now: float) -> None:
        if room.gate is None:
            return
        overdue = now - room.gate.since - self._deadline
        quiet = not self._stage.going_on and self._world.now > self._stage.quiet_since + QUIET_SECONDS
        if overdue > -SAMPLE_SECONDS:
            self._world.cover("gate waited for its deadline")
        if overdue > (GATE_SECONDS if quiet else MOST_GATE_SECONDS):
            self._world.problem(f"{node.name}: the gate of {room.room_id} is closed {overdue:.1f} s after its deadline")

    def _check_timeline(self, node: SimulatedNode, room: Any, now: float) -> None:
        """Between two changes of its timeline, a film moves with the time."""
        film = room.playback
        key = (node.name, node.boots, room.room_uuid, film.url, film.control_at, film.position, film.at, film.playing,
               film.rate, film.unwatched)  # fmt: skip
        time, position = self._world.now, film.position_at(now)
        before = self._timelines.setdefault(key, (time, position, now))
        self._timelines[key] = time, position, now
        passed = time - before[0]
        if not film.playing or film.unwatched or before[2] < film.at:
            moved = now - before[2]  # it stands still, or has just begun to move; the clock goes on
        else:
            moved = (position - before[1]) / film.rate
        if abs(moved - passed) > STEP_SECONDS + SLEW * passed:
            self._world.problem(
                f"{node.name}: the time of {room.room_id} at {room.version} has moved by {moved:.2f} s in {passed:.2f} s: {film}"
            )

    def _look_at_rooms(self) -> None:
        """A room has a new epoch after each restart of Redis, which may have lost commits."""
        redis = self._cluster.redis
        items = redis.server.dbs[0]._dict
        for key in [key for key in items if key.startswith(b"tandem:room:")]:
            fields = items[key].value
            version, incarnation = fields.get(b"v"), fields.get(b"i")
            if not version or not incarnation:
                continue
            epoch = version.rpartition(b":")[0]
            if self._incarnations.setdefault((key, epoch), incarnation) != incarnation:
                self._world.problem(f"{key!r} has the epoch of {epoch!r} in two incarnations of Redis")

    def _after_command(self, words: list[bytes], answer: Any) -> None:
        """An offer never replaces a room by an older one, also if nodes have different versions."""
        if words[0] != b"EVALSHA" or words[1] != scripts.RESEED.sha or isinstance(answer, Exception):
            return
        redis = self._cluster.redis
        key = words[3]
        item = redis.server.dbs[0]._dict.get(key)
        version = item.value.get(b"v") if item is not None else None
        if not version:
            return
        room_uuid, epoch, seq = version.rsplit(b":", 2)
        now = redis.losses, room_uuid, int(epoch), int(seq)
        before = self._offered.get(key, now)
        self._offered[key] = now
        if answer == 0:
            self._world.cover("an offered room was not newer")
        if before[:2] == now[:2] and now < before:
            self._world.problem(f"{key!r} went back from {before[2:]} to {now[2:]} by an offer")

    # -- in the end

    def remains(self) -> list[str]:
        """Return the remains of members and rooms in nodes and Redis after all have gone."""
        found = []
        for node in self._cluster.nodes:
            found += [f"{node.name} has {live.room.room_id} open" for live in node.node._rooms.open]
            found += [f"{node.name} has {len(node.machine.sides)} connections"] if self._has_clients(node) else []
            found += [
                f"{node.name}: {path} has {count} items"
                for path, count in sizes(node.node)
                if count > BOUNDS.get(path, MOST_ITEMS) and not path.startswith(("_service", "metrics"))
            ]
        if len(self._cluster.nodes) > 1:
            redis = self._cluster.redis
            # It drops an expired key when a command asks for it.
            items, now = redis.server.dbs[0]._dict.items(), redis.time()
            keys = [key for key, item in items if item.expireat is None or item.expireat > now]
            kinds = (b"tandem:room:", b"tandem:mail:", b"tandem:at:", b"tandem:due", b"tandem:invites")
            found += [f"Redis has {key!r}" for key in keys if key.startswith(kinds)]
        return found

    @staticmethod
    def _has_clients(node: SimulatedNode) -> bool:
        return node.machine is not None and any(not side.is_client for side in node.machine.sides)


def sizes(root: Any) -> Iterator[tuple[str, int]]:
    """Yield the containers of tandemd's objects that can be reached, and how many items each has."""
    seen: dict[int, Any] = {}
    queue: deque[tuple[str, Any]] = deque([("", root)])
    while queue:
        path, value = queue.popleft()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if isinstance(value, dict | list | set | deque | tuple):
            if not isinstance(value, tuple):
                yield path, len(value)
            items = value.values() if isinstance(value, dict) else value
            queue += [(f"{path}[]", item) for item in list(items)[:20]]
        elif type(value).__module__.partition(".")[0] == "tandemd":
            for name in _names(value):
                inner = getattr(value, name, None)
                if inner is not None:
                    queue.append((f"{path}.{name}" if path else name, inner))


def _names(value: Any) -> list[str]:
    names = list(getattr(value, "__dict__", ()))
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        names += [slots] if isinstance(slots, str) else slots
    return names
