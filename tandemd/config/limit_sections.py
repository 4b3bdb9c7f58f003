"""The section of limits."""

from __future__ import annotations

from dataclasses import dataclass

from ..ratelimit import Rate
from .declaration import key
from .value_types import SWITCH, duration, integer, rate, size


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client may ask for, and one address, of which an IPv6 client's whole /64 is one. A /48 has 8 times as much.

    A rate is so many a second for any length of time, and so many at once after a rest. What is beyond it is refused by
    an ERROR that says when to try again. Honest clients do not get there.
    """

    enabled: bool = key(
        SWITCH,
        True,
        "Whether there are limits, except to the length of things. false is for benchmarks only.",
    )
    frame_bytes: int = key(size("4K", "16M"), "64K", "The longest message a client may send.")
    output_bytes: int = key(
        size("64K", "1G"),
        "1M",
        "How much may wait for a client that does not read; beyond that its connection is closed.",
    )
    output_stall: float = key(
        duration("1s", "10m"),
        "10s",
        "For how long a client may read nothing of what waits until its connection is closed.",
    )
    position_rate: Rate = key(
        rate(),
        "20/s, burst 100",
        "POSITION_UPDATEs and HOST_HEARTBEATs of one connection. Those beyond it are dropped: the next one replaces them.",
    )
    candidate_rate: Rate = key(rate(), "100/s, burst 6000", "ICE_CANDIDATEs of one connection.")
    description_rate: Rate = key(rate(), "50/s, burst 1000", "OFFERs, and ANSWERs, of one connection.")
    control_rate: Rate = key(
        rate(),
        "10/s, burst 60",
        "PLAY_PAUSEs of one connection; the same for SEEK, READY, URL_CHANGE, REQUEST_SYNC, PLAYBACK_ACK, SYNC_RESPONSE.",
    )
    chat_rate: Rate = key(rate(), "5/s, burst 30", "CHATs of one connection.")
    ping_rate: Rate = key(rate(), "5/s, burst 50", "PINGs of one connection.")
    join_rate: Rate = key(
        rate(), "2/s, burst 30", "JOINs, and LEAVEs, of one connection. A JOIN beyond it is done later, not refused."
    )
    other_rate: Rate = key(rate(), "5/s, burst 30", "Messages of every other type of one connection.")
    frame_rate: Rate = key(
        rate(), "100/s, burst 300", "WebSocket pings, pongs and continuations of messages of one connection."
    )
    byte_rate: Rate = key(
        rate(1024), "256K/s, burst 8M", "Bytes of one connection, in messages of more than 512 bytes."
    )
    room_bytes_rate: Rate = key(
        rate(1024),
        "64K/s, burst 8M",
        "Bytes that a room's members store: with commands, and with what waits for lost members. Half of the burst is kept for "
        "controls and moderation.",
    )
    room_deliveries_rate: Rate = key(
        rate(), "10000/s, burst 600000", "Messages that the commands of a room's members cause, one for each receiver."
    )
    address_bytes_rate: Rate = key(
        rate(1024),
        "32K/s, burst 4M",
        "The same as room_bytes_rate of one address, in all rooms; what is replayed to it may use half. A /48 of IPv6 may do 8 "
        "times as much.",
    )
    address_deliveries_rate: Rate = key(
        rate(), "5000/s, burst 300000", "The same as room_deliveries_rate of one address, in all rooms."
    )
    room_events_rate: Rate = key(
        rate(),
        "2/s, burst 1200",
        "What a room's members do with film, chat and names that is written to the archive; beyond that it has no row there.",
    )
    abuse_rate: Rate = key(
        rate(),
        "5/s, burst 200",
        "Messages of one connection that are malformed, or beyond a rate, before it is closed with 1008.",
    )
    penalty: float = key(
        duration("0s", "1d"),
        "10s",
        "For how long the address of a connection that was closed for abuse may open no other (HTTP 429); twice as long "
        "with each time. 0 lets it in again.",
    )
    longest_penalty: float = key(duration("1s", "30d"), "1h", "For how long at the most.")
    connections: int = key(
        integer(1, 10_000_000),
        50_000,
        "WebSocket connections of this node; fewer where the system allows fewer open files.",
    )
    connections_per_address: int = key(integer(1, 1_000_000), 500, "The same of one address.")
    connections_per_minute: int = key(
        integer(1, 1_000_000), 1000, "New WebSocket connections of one address in a minute."
    )
    requests_per_minute: int = key(
        integer(60, 10_000_000),
        6000,
        "HTTP requests of one address in a minute, those for /health not counted. The extension makes 30 a minute.",
    )
    http_connections: int = key(
        integer(10, 1_000_000),
        2000,
        "Connections that are no WebSockets, from accept to close: those on which a request is awaited, answered, or read by "
        "a slow client. Of more, the oldest is dropped. Fewer where the system allows fewer open files.",
    )
    http_connections_per_address: int = key(
        integer(1, 1_000_000), 300, "The same of one address. A browser opens six at a time."
    )
    handshakes: int = key(
        integer(10, 1_000_000),
        2000,
        "Connections on which a request is awaited. Of more, the one that has been waited for longest is dropped.",
    )
    handshakes_per_address: int = key(integer(1, 1_000_000), 200, "The same of one address.")
    handshake_timeout: float = key(
        duration("1s", "5m"), "10s", "How long a request, and so the handshake of a WebSocket, may take to arrive."
    )
    join_timeout: float = key(
        duration("1s", "1h"), "30s", "How long a WebSocket connection may say neither JOIN nor PING."
    )
    commit_bytes: int = key(
        size("64K", "16M"), "128K", "The largest change of a room; a command that would make a larger one is refused."
    )
    log_bytes: int = key(
        size("64K", "1G"),
        "256K",
        "How much of a room's changes is kept for clients that come back; the oldest are dropped beyond that, and beyond "
        "rooms.log_length.",
    )
    replay_bytes: int = key(
        size("16K", "1G"),
        "256K",
        "How much one client that comes back is told of what it missed; of more it is told nothing (`resumed` false).",
    )
    mailbox_bytes: int = key(
        size("64K", "1G"),
        "256K",
        "How much may wait for one member whose connection is lost; what other members send it beyond that is refused.",
    )
    members_per_room: int = key(integer(1, 10_000), 250, "How many members a room may have.")
    members_per_address: int = key(
        integer(1, 10_000), 100, "How many members of a room may come from one address; the JOINs of more have to wait."
    )
    username_length: int = key(integer(1, 200), 50, "Characters of a user's name; the rest is cut off.")
    chat_length: int = key(integer(1, 20_000), 2000, "Characters of a chat message.")
    url_length: int = key(integer(100, 20_000), 2048, "Characters of a title's URL.")
    rooms_per_address: int = key(
        integer(1, 1_000_000), 200, "How many rooms created from one address within a day there may be."
    )
    rooms_per_node: int = key(
        integer(1, 10_000_000),
        50_000,
        "How many rooms a node may have open; with Redis, also how many there may be for each node.",
    )
    joins: int = key(
        integer(1, 1_000_000), 600, "JOINs that are taken from one address in a minute; more have to wait."
    )
    room_creations: int = key(
        integer(1, 1_000_000), 60, "Rooms that one address may create in a minute; the JOINs for more have to wait."
    )
    pin_tries_per_room: int = key(
        integer(1, 100_000),
        12,
        "Wrong PINs that a room answers in an hour, and as many again to those who know its invite code. Half of them are "
        "kept for addresses that have just come; JOINs with a PIN for which none are left have to wait.",
    )
    pin_tries_per_address: int = key(
        integer(1, 100_000), 10, "Wrong PINs that one address may try in an hour; more JOINs with a PIN have to wait."
    )
    pending_joins: int = key(
        integer(1, 1_000_000),
        50,
        "JOINs of one address that wait at a locked or full room; of more, one is tried every few seconds.",
    )
    code_lookups: int = key(
        integer(1, 100_000), 120, "Invite codes that one address may look up, or ask for, in a minute."
    )
    code_lookups_total: int = key(
        integer(1, 10_000_000), 6000, "Look-ups of invite codes that a node answers in vain in a minute."
    )
