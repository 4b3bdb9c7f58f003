"""The sections of rooms: their rules and their archive."""

from __future__ import annotations

from dataclasses import dataclass

from .declaration import key
from .value_types import duration, integer, number, size, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """The rules of a room."""

    grace: float = key(
        duration("1s", "1h"),
        "45s",
        "Grace period: how long a member may be without a connection before it counts as gone.",
    )
    room_ttl: float = key(duration("0s", "30d"), "4h", "How long a room is kept after the loss of its last member.")
    host_gone: float = key(
        duration("0s", "1h"),
        "10s",
        "How long the host may be without a connection before guests may control the title.",
    )
    kick: float = key(duration("1s", "7d"), "5m", "How long a kicked user cannot join again.")
    gate_deadline: float = key(
        duration("1s", "60s"), "7s", "After a seek, the ready gate opens after this time at the latest."
    )
    gate_quorum: float = key(
        number(0, 1),
        0.6,
        "After a seek, the share of watching members that opens the ready gate after gate_quorum_after.",
    )
    gate_quorum_after: float = key(
        duration("0s", "60s"), "2s", "After a seek, how long the ready gate waits for all members that watch."
    )
    heartbeat: float = key(duration("500ms", "60s"), "3s", "How often members receive the position of a playing room.")
    drift: float = key(
        duration("50ms", "10s"), "250ms", "How far the host's player may be from the room before the room follows it."
    )
    play_state_after: float = key(
        duration("0s", "60s"),
        "1500ms",
        "How long the host's player may differ from the room in playing or pausing before the room follows.",
    )
    control_quiet: float = key(
        duration("0s", "60s"),
        "2s",
        "How long the room ignores the host's position after a control: it may be older.",
    )
    watching_timeout: float = key(
        duration("1s", "60s"),
        "5s",
        "A member that has sent no position for this time does not count as watching.",
    )
    log_length: int = key(integer(10, 100_000), 1000, "How many changes of a room are kept for clients that resume.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """The corrections that clients make to their own players; ROOM_STATE carries them."""

    jump: float = key(
        duration("250ms", "10s"), "500ms", "How far a player may be from the title before its client seeks."
    )
    steer_from: float = key(
        duration("20ms", "250ms"), "20ms", "The distance at which a client begins to catch up by the playback rate."
    )
    steer_until: float = key(duration("1ms", "20ms"), "5ms", "The distance at which it plays at the normal rate again.")
    max_rate: float = key(
        number(1.01, 1.25), 1.1, "The greatest factor of the playback rate for that; the smallest is 2 minus this."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """The durable record: PostgreSQL if it is configured, else SQLite."""

    sqlite_file: str = key(text("a file name", r".+"), "tandemd.sqlite", "The SQLite file; relative to state_dir.")
    flush_interval: float = key(
        duration("10ms", "10s"), "100ms", "How long a change waits, so that several are written together."
    )
    positions_interval: float = key(
        duration("1s", "1h"), "15s", "How often members' positions and connection quality are written."
    )
    events_bytes: int = key(
        size("0", "1000G"),
        "10G",
        "The approximate size of kept events; beyond it the oldest are deleted before their time. 0: no limit.",
    )
    retention_days: int = key(
        integer(0, 36_500), 30, "Days after which archived rooms and events are deleted. 0 keeps them."
    )
