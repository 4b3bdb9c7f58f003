"""The section of limits."""

from __future__ import annotations

from dataclasses import dataclass

from ..ratelimit import Rate
from .declaration import key
from .value_types import SWITCH, duration, integer, rate, size


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one client and of one address. A /64 of IPv6 counts as one address; a /48 has 8 times as much.

    A rate is a number a second for any length of time, and a burst after a pause. The server rejects more with an ERROR that
    tells when to retry. Normal clients do not reach the limits.
    """

    enabled: bool = key(
        SWITCH,
        True,
        "Apply limits. false removes all except those of lengths, for benchmarks only.",
    )
    frame_bytes: int = key(size("4K", "16M"), "64K", "The longest message a client may send.")
    output_bytes: int = key(
        size("64K", "1G"),
        "1M",
        "Maximum size of the send queue of a client that does not read; beyond it the connection is closed.",
    )
    output_stall: float = key(
        duration("1s", "10m"),
        "10s",
        "How long a client may read nothing of its send queue before its connection is closed.",
    )
    position_rate: Rate = key(
        rate(),
        "20/s, burst 100",
        "POSITION_UPDATEs and HOST_HEARTBEATs of one connection. More are dropped, because the next one replaces them.",
    )
    candidate_rate: Rate = key(rate(), "100/s, burst 6000", "ICE_CANDIDATEs of one connection.")
    description_rate: Rate = key(rate(), "50/s, burst 1000", "OFFERs, and ANSWERs, of one connection.")
    control_rate: Rate = key(
        rate(),
        "10/s, burst 60",
        "PLAY_PAUSEs of one connection; the same for SEEK, SET_RATE, READY, URL_CHANGE, REQUEST_SYNC, PLAYBACK_ACK, SYNC_RESPONSE.",
    )
    chat_rate: Rate = key(rate(), "5/s, burst 30", "CHATs of one connection.")
    ping_rate: Rate = key(rate(), "5/s, burst 50", "PINGs of one connection.")
    join_rate: Rate = key(
        rate(), "2/s, burst 30", "JOINs, and LEAVEs, of one connection. More JOINs are deferred, not rejected."
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
        "Bytes that a room's members store: commands, and the mailboxes of lost members. Half of the burst is reserved "
        "for controls and moderation.",
    )
    room_deliveries_rate: Rate = key(
        rate(), "10000/s, burst 600000", "Messages caused by the commands of a room's members, one for each receiver."
    )
    address_bytes_rate: Rate = key(
        rate(1024),
        "32K/s, burst 4M",
        "The same as room_bytes_rate of one address, in all rooms; replays to it may use half. A /48 of IPv6 has 8 times "
        "as much.",
    )
    address_deliveries_rate: Rate = key(
        rate(), "5000/s, burst 300000", "The same as room_deliveries_rate of one address, in all rooms."
    )
    room_events_rate: Rate = key(
        rate(),
        "2/s, burst 1200",
        "Events of title, chat and names of a room that the archive stores; more have no row there.",
    )
    abuse_rate: Rate = key(
        rate(),
        "5/s, burst 200",
        "Malformed messages, and messages beyond a rate, of one connection; more close it with 1008.",
    )
    penalty: float = key(
        duration("0s", "1d"),
        "10s",
        "Time during which the address of a connection closed for abuse may open no other (HTTP 429); it doubles each "
        "time. 0: no penalty.",
    )
    longest_penalty: float = key(duration("1s", "30d"), "1h", "The longest penalty.")
    connections: int = key(
        integer(1, 10_000_000),
        50_000,
        "WebSocket connections of this node; fewer if the system allows fewer open files.",
    )
    connections_per_address: int = key(integer(1, 1_000_000), 500, "The same of one address.")
    connections_per_minute: int = key(
        integer(1, 1_000_000), 1000, "New WebSocket connections of one address in a minute."
    )
    requests_per_minute: int = key(
        integer(60, 10_000_000),
        6000,
        "HTTP requests of one address in a minute, except for /health. The extension makes 30 a minute.",
    )
    http_connections: int = key(
        integer(10, 1_000_000),
        2000,
        "Connections that are no WebSockets, from accept to close: those that await a request or send an answer. Beyond "
        "the limit the oldest is dropped. Fewer if the system allows fewer open files.",
    )
    http_connections_per_address: int = key(
        integer(1, 1_000_000), 300, "The same of one address. A browser opens six at a time."
    )
    handshakes: int = key(
        integer(10, 1_000_000),
        2000,
        "Connections that await a request. Beyond the limit the oldest is dropped.",
    )
    handshakes_per_address: int = key(integer(1, 1_000_000), 200, "The same of one address.")
    handshake_timeout: float = key(
        duration("1s", "5m"), "10s", "How long a request, and so the handshake of a WebSocket, may take to arrive."
    )
    join_timeout: float = key(
        duration("1s", "1h"), "30s", "How long a WebSocket connection may send neither JOIN nor PING."
    )
    commit_bytes: int = key(
        size("64K", "16M"),
        "128K",
        "The largest change of a room; the server rejects a command that would make a larger one.",
    )
    log_bytes: int = key(
        size("64K", "1G"),
        "256K",
        "Maximum size of a room's log, which is kept for clients that resume; beyond it, and beyond rooms.log_length, the "
        "oldest changes are dropped.",
    )
    replay_bytes: int = key(
        size("16K", "1G"),
        "256K",
        "Maximum size of the replay for a client that resumes; beyond it the client receives the state (`resumed` false).",
    )
    mailbox_bytes: int = key(
        size("64K", "1G"),
        "256K",
        "Maximum size of the mailbox of a lost member; the server rejects further messages to it.",
    )
    members_per_room: int = key(
        integer(1, 10_000),
        250,
        "How many members a room may have. The list of users that each JOIN sends has some 70 bytes for each.",
    )
    members_per_address: int = key(
        integer(1, 10_000), 100, "How many members of a room may have one address; further JOINs are deferred."
    )
    username_length: int = key(integer(1, 200), 50, "Characters of a user's name; longer names are cut.")
    chat_length: int = key(integer(1, 20_000), 2000, "Characters of a chat message.")
    url_length: int = key(integer(100, 20_000), 2048, "Characters of a title's URL.")
    rooms_per_address: int = key(
        integer(1, 1_000_000), 200, "How many rooms created from one address within a day may exist."
    )
    rooms_per_node: int = key(
        integer(1, 10_000_000),
        50_000,
        "How many rooms a node may have open; with Redis, also the number of all rooms for each node.",
    )
    joins: int = key(integer(1, 1_000_000), 600, "JOINs of one address in a minute; more are deferred.")
    room_creations: int = key(
        integer(1, 1_000_000), 60, "Rooms that one address may create in a minute; further JOINs are deferred."
    )
    pin_tries_per_room: int = key(
        integer(1, 100_000),
        12,
        "Wrong PINs that a room answers in an hour, and as many again for clients with its invite code. Half of them are "
        "reserved for recent addresses. If none is left, JOINs with a PIN are deferred.",
    )
    pin_tries_per_address: int = key(
        integer(1, 100_000),
        10,
        "Wrong PINs that one address may try in an hour; further JOINs with a PIN are deferred.",
    )
    pending_joins: int = key(
        integer(1, 1_000_000),
        50,
        "JOINs of one address that wait at a locked or full room; of further ones, one is retried every few seconds.",
    )
    code_lookups: int = key(
        integer(1, 100_000), 120, "Invite codes that one address may look up, or request, in a minute."
    )
    code_lookups_total: int = key(
        integer(1, 10_000_000), 6000, "Look-ups of unknown invite codes that a node answers in a minute."
    )
