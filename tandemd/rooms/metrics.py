"""Metrics of rooms, their members and JOINs."""

from __future__ import annotations

from ..metrics import DRIFT_BOUNDS, Counter, Gauge, Histogram, LabeledCounter, MetricGroup
from ..ratelimit.metrics import LimitMetrics

DEFER_REASONS = (
    "joins", "creations", "rooms_per_address", "rooms_per_node", "pin_tries_per_room", "pin_tries_per_address", "hashing",
    "pending_joins", "members_per_address",
)  # fmt: skip
"""Limits that defer a JOIN; most are keys of the configuration's section `limits`."""


FIGURE_BOUNDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds between players."""
SETTLING, STEADY = "settling", "steady"
"""The phases of `tandemd_sync_error_seconds`: within 2 s of a control, and later."""


class RoomMetrics(MetricGroup):
    """Rooms, members, commands and commits of a node. rate_limited: see `LimitMetrics`."""

    def __init__(self, limits: LimitMetrics):
        self.rate_limited = limits.rate_limited

        self.rooms = Gauge("tandemd_rooms", "Rooms with members on this node")
        self.members = Gauge("tandemd_members", "Members connected to this node")

        self.refused = LabeledCounter("tandemd_messages_refused_total", "Messages answered with ERROR", "code")
        self.joins_deferred = LabeledCounter(
            "tandemd_joins_deferred_total", "JOINs that a limit deferred", "reason", DEFER_REASONS
        )
        self.pin_attempts = LabeledCounter(
            "tandemd_pin_attempts_total", "PIN attempts", "result", ("accepted", "rejected", "repeated")
        )
        self.relays = Counter("tandemd_relays_total", "Messages of one member to one other member of this node")
        self.deliveries = Counter("tandemd_deliveries_total", "Messages written to a client")

        self.commits = LabeledCounter("tandemd_commits_total", "Accepted changes of rooms", "event")
        self.conflicts = Counter(
            "tandemd_commit_conflicts_total", "Commands decided again, because the room had changed"
        )
        self.command_latency = Histogram(
            "tandemd_command_latency_seconds", "Time from a command to its answer, of about one command in 16"
        )
        self.join_latency = Histogram(
            "tandemd_join_latency_seconds", "Time from a JOIN to its acceptance, without JOINs that had to wait"
        )
        self.room_catchups = Counter(
            "tandemd_room_catchups_total", "Times a replica read its missing commits from the store"
        )

        self.host_drift = Histogram(
            "tandemd_host_drift_seconds", "Corrected distance between a room and its host", bounds=DRIFT_BOUNDS
        )
        self.guest_resyncs = Counter("tandemd_guest_resyncs_total", "Position messages to a guest that was out of sync")
        self.guests_out_of_sync = Gauge(
            "tandemd_guests_out_of_sync", "Watching guests more than 2 s away from their room"
        )
        self.sync_error = Histogram(
            "tandemd_sync_error_seconds",
            "Distance of a watching member from its playing room, once a second; settling: within 2 s of a control",
            "phase",
            FIGURE_BOUNDS,
        )
        self.room_spread = Histogram(
            "tandemd_room_spread_seconds",
            "Distance between the first and the last of a room's watching members on this node, once a second",
            bounds=FIGURE_BOUNDS,
        )
