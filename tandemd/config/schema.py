"""Every key of the configuration: its kind, default, meaning and environment name, declared once.

What is here is what `load` accepts, what `etc/tandemd.yaml` documents and what the program is given. A default is
written as an operator would write it. A key's environment name is TANDEMD_ and its path; some have an older name too.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.internet.endpoints import quoteStringArgument

from ..ratelimit import Rate
from ..rules.title_allowlist import CLIP_URL
from ..rules.title_allowlist import TitleAllowlist as AllowedTitles
from .value_types import (
    ENDPOINT,
    SWITCH,
    Kind,
    choice,
    duration,
    integer,
    number,
    origin,
    proxies,
    rate,
    sentinel,
    size,
    text,
    texts,
    url,
)

T = TypeVar("T")


@dataclass(frozen=True)
class ConfigKey:
    """The declaration of one key.

    path: where it is, such as "rooms.grace". default: as it would be written. older: an older environment name, or "".
    """

    path: str
    kind: Kind[Any]
    default: object
    doc: str
    older: str

    @property
    def env(self) -> tuple[str, ...]:
        """The environment names, the one to document first."""
        own = "TANDEMD_" + self.path.upper().replace(".", "_")
        return (self.older, own) if self.older else (own,)


def key(kind: Kind[T], default: object, doc: str, *, env: str = "") -> T:
    """Declare a key of a section; env: an older environment name."""
    declared = {"kind": kind, "default": default, "doc": doc, "env": env}
    return dataclasses.field(default=kind.parse(default), repr=not kind.secret, metadata=declared)


def section(kind: type[T]) -> T:
    """Declare a section."""
    return dataclasses.field(default_factory=kind, metadata={"section": kind})


_OPTIONAL_HOST = r"[^\s,;@]*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The log, on standard output."""

    level: str = key(
        choice("debug", "info", "warn", "error", "critical", also={"warning": "warn", "fatal": "critical"}),
        "info",
        "The least important events to log.",
        env="LOG_LEVEL",
    )
    format: str = key(choice("json", "text"), "json", "json: one object a line. text: for people.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """TLS without a proxy: https and wss, wherever `port` says. The files are read again when they change, and on SIGHUP."""

    certificate: str = key(
        text("the path of a file"),
        "",
        "A PEM file with the server's certificate and, after it, those of the authorities between it and the root. "
        "Empty: no TLS.",
    )
    hsts: float = key(
        duration("0s", "730d"),
        "0s",
        "For how long browsers are to use nothing but https with this host name, on all its ports (Strict-Transport-Security). "
        "0 does not say so.",
    )
    key: str = key(
        text("the path of a file"), "", "A PEM file with its private key, without passphrase. Empty: the same file."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """HTTP, on the same port as the WebSocket."""

    redirect_target: str = key(
        text("an absolute http(s) URL, or / for the party page", r"/|https?://[^\s/?#]+[^\s?#]*"),
        "https://www.netflix.com",
        "Where invite links lead. / is this server's own party page.",
    )
    invite_base_url: str = key(
        url("http", "https", query=False),
        "",
        "The beginning of invite links, such as https://party.example.org. Empty: as the client reached this server.",
    )
    allowed_origins: tuple[str, ...] = key(
        texts(
            "origins such as https://www.netflix.com, chrome-extension://ID or moz-extension://*, or self, titles, null, *",
            origin,
        ),
        ["self", "titles", "chrome-extension://*", "moz-extension://*", "safari-web-extension://*"],
        "Web origins whose pages may use this server. self is this server, titles the sites of titles.allowed (not its *), "
        "moz-extension://* any of a scheme, * any. null is what pages without an origin say. Programs that are no web pages "
        "say nothing, and are let in.",
    )
    trusted_proxies: int = key(
        proxies(10),
        0,
        "How many reverse proxies stand before this server and add to X-Forwarded-For. With 0 the header is ignored. "
        "unknown: clients come through proxies of which nothing is known, and rules by address apply to none of them. "
        "Proxies that speak the PROXY protocol are not counted: for them, put haproxy: before the endpoint in `port`.",
    )
    metrics_token: str = key(
        text("at least 16 letters, digits and other visible characters", r"(?:[\x21-\x7e]{16,1024})?", secret=True),
        "",
        "The bearer token that /metrics wants to see. Empty: whoever reaches the port can read the figures.",
    )
    short_id_wait: float = key(
        duration("0s", "30s"), "2s", "How long the question for a room's invite code waits for the room to be created."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """Who may join."""

    mode: str = key(
        choice("open", "token"),
        "open",
        "open: anybody, into any room. token: only with a signed token (JWT) for the room, in each JOIN. The existing "
        "extension sends none.",
    )
    keys: tuple[str, ...] = key(
        texts("paths of files (*.secret, *.pem, *.json), or of directories with such files"),
        [],
        "What tokens are checked with. NAME.secret: a secret of 32 bytes or more (HS256). NAME.pem: a public key, RSA "
        "(RS256) or Ed25519 (EdDSA). *.json: a JWK Set. A token names its key in `kid`: NAME, or the JWK's. The files are "
        "read again when they change, and on SIGHUP.",
    )
    audience: str = key(text("the audience of tokens", ".+"), "tandemd", "What `aud` of a token must be, or contain.")
    leeway: float = key(
        duration("0s", "10m"), "30s", "How far the clock of whoever made a token may differ from this server's."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TitleSettings:
    """What may be watched."""

    allowed: tuple[str, ...] = key(
        texts(
            "origins such as https://www.netflix.com, URLs with a path that a title's must begin with, or *",
            lambda entry: AllowedTitles((entry,)),
        ),
        [*(f"https://www.netflix.com/{path}" for path in ("watch", "title", "browse", "latest", "search")), CLIP_URL],
        "URLs of titles that a room may show: origins (https://www.netflix.com), URLs with a path that the title's "
        f"must begin with, or * for any http or https URL. {CLIP_URL} stands for the party page's own clip.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """The rules of a room."""

    grace: float = key(
        duration("1s", "1h"), "45s", "How long a member may be without a connection before it counts as gone."
    )
    room_ttl: float = key(duration("0s", "30d"), "4h", "How long a room is kept after its last member was lost.")
    host_gone: float = key(
        duration("0s", "1h"), "10s", "How long the host may be without a connection before guests may control."
    )
    kick: float = key(duration("1s", "7d"), "5m", "How long somebody whom the host kicked cannot come back.")
    gate_deadline: float = key(
        duration("1s", "60s"), "7s", "After a seek, playback goes on at the latest after this time."
    )
    gate_quorum: float = key(
        number(0, 1), 0.6, "After a seek, the share of those waited for that is enough after gate_quorum_after."
    )
    gate_quorum_after: float = key(duration("0s", "60s"), "2s", "After a seek, how long to wait for all in any case.")
    heartbeat: float = key(
        duration("500ms", "60s"), "3s", "How often members are told where the room is while it plays."
    )
    drift: float = key(
        duration("50ms", "10s"), "250ms", "How far the host's player may be from the room before the room follows it."
    )
    play_state_after: float = key(
        duration("0s", "60s"),
        "1500ms",
        "How long the host's player may play or pause otherwise before the room follows.",
    )
    control_quiet: float = key(
        duration("0s", "60s"), "2s", "How long the host's position is ignored after a control: it may be older."
    )
    watching_timeout: float = key(
        duration("1s", "60s"),
        "5s",
        "A member that has not told its position for this long is not waited for at a seek.",
    )
    log_length: int = key(integer(10, 100_000), 1000, "How many changes of a room are kept for clients that come back.")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """The durable record: PostgreSQL where it is configured, else SQLite."""

    sqlite_file: str = key(text("a file name", r".+"), "tandemd.sqlite", "The SQLite file; relative to state_dir.")
    flush_interval: float = key(
        duration("10ms", "10s"), "100ms", "How long a change waits to be written together with others."
    )
    positions_interval: float = key(
        duration("1s", "1h"), "15s", "How often members' positions and connection quality are written."
    )
    events_bytes: int = key(
        size("0", "1000G"),
        "10G",
        "About how much of rooms' events is kept; of more the oldest are deleted before their time. 0 keeps them.",
    )
    retention_days: int = key(
        integer(0, 36_500), 30, "After how many days archived rooms and events are deleted. 0 keeps them."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """PostgreSQL as the archive; used when host or url is set."""

    host: str = key(
        text("a host name, an address or the directory of a Unix socket", _OPTIONAL_HOST),
        "",
        "The server's name or address, or the directory of its Unix socket.",
        env="POSTGRES_HOST",
    )
    port: int = key(integer(1, 65535), 5432, "The server's port.", env="POSTGRES_PORT")
    db: str = key(text("a name", r".+"), "tandemd", "The database.", env="POSTGRES_DB")
    user: str = key(text("a name", r".+"), "tandemd", "The user.", env="POSTGRES_USER")
    password: str = key(text("a password", secret=True), "", "The password.", env="POSTGRES_PASSWORD")
    url: str = key(
        url("postgresql", "postgres", secret=True),
        "",
        "All of the above as postgresql://USER:PASSWORD@HOST:PORT/DB, with libpq's parameters; it replaces them.",
        env="DATABASE_URL",
    )
    pool_size: int = key(integer(1, 100), 10, "Connections of this node.", env="POSTGRES_POOL_SIZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Redis:
    """Redis as the store of rooms, for several nodes; used when host, url or sentinels is set. It needs PostgreSQL."""

    host: str = key(
        text("a host name, an address or the path of a Unix socket", _OPTIONAL_HOST),
        "",
        "The server's name or address, or the path of its Unix socket.",
        env="REDIS_HOST",
    )
    port: int = key(integer(1, 65535), 6379, "The server's port.", env="REDIS_PORT")
    username: str = key(text("a name"), "", "The ACL user; empty for the default user.", env="REDIS_USERNAME")
    password: str = key(text("a password", secret=True), "", "The password.", env="REDIS_PASSWORD")
    db: int = key(integer(0, 1_000_000), 0, "The number of the database.", env="REDIS_DB")
    tls: bool = key(SWITCH, False, "Whether to use TLS, with the sentinels too.", env="REDIS_TLS")
    tls_ca: str = key(
        text("the path of a file"),
        "",
        "A PEM file with the certificates of the authorities that may have signed the server's. Empty: the system's.",
    )
    url: str = key(
        url("redis", "rediss", "unix", secret=True),
        "",
        "All of the above as redis://USERNAME:PASSWORD@HOST:PORT/DB, rediss:// for TLS, or unix://PATH?db=DB; "
        "it replaces them.",
        env="REDIS_URL",
    )
    sentinels: tuple[str, ...] = key(
        texts("sentinels such as redis-a.example.org:26379 or [2001:db8::1]:26379; the port is optional", sentinel),
        [],
        "The sentinels that know where the master is; in the place of host and port, and url. "
        "The master and its replicas need min-replicas-to-write 1, or a master that is cut off takes changes that are lost.",
    )
    sentinel_master: str = key(text("a name", r"\S+"), "mymaster", "The name by which the sentinels know the master.")
    sentinel_username: str = key(text("a name"), "", "The sentinels' ACL user; empty for the default user.")
    sentinel_password: str = key(text("a password", secret=True), "", "The sentinels' password.")
    journal_length: int = key(
        integer(1000, 100_000_000), 200_000, "Changes kept in Redis while PostgreSQL cannot take them."
    )
    journal_bytes: int = key(
        size("64K", "100G"),
        "96M",
        "Bytes of these changes in Redis, at most: a quarter of its maxmemory.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSettings:
    """The administration API at /admin/v1, which tandemctl uses; there is none without a token."""

    token: str = key(
        text("at least 32 letters, digits and other visible characters", r"(?:[\x21-\x7e]{32,1024})?", secret=True),
        "",
        "The secret that whoever administers must show, such as from `openssl rand -hex 32`; best in a file of its own.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The configuration of a node. Durations are in seconds, sizes in bytes."""

    port: str = key(
        ENDPOINT,
        4001,
        "Where to listen: a port number, or a Twisted server endpoint such as systemd:domain=INET:index=0, or "
        "tls:DIRECTORY:port=443, which takes certificate and key from the PEM files there. haproxy:tcp:4001 is for "
        "a port that only proxies with the PROXY protocol (1 or 2) can reach: they say who the client is.",
        env="PORT",
    )
    host: str = key(
        text("a host name or an address", _OPTIONAL_HOST),
        "0.0.0.0",
        "The address to listen on, where port is a number.",
        env="HOST",
    )
    node_id: str = key(
        text("1 to 64 letters, digits, dots, dashes and underscores", r"[A-Za-z0-9._-]{0,64}"),
        "",
        "This node's name, unique among the nodes. Empty: the machine's name.",
        env="NODE_ID",
    )
    state_dir: str = key(
        text("the path of a directory"),
        "",
        "The directory for what the node keeps; created if there is none. Empty: the one that systemd provides "
        "(StateDirectory), else the directory `state` where the program was started.",
    )
    drain_seconds: float = key(
        duration("0s", "1h"), 20, "When the node stops, over how long it sends its clients to other nodes."
    )
    fast_path: bool = key(
        SWITCH, True, "Whether frames are read and written in the fast way. false leaves everything to Autobahn."
    )
    log: Log = section(Log)
    tls: Tls = section(Tls)
    web: Web = section(Web)
    auth: Auth = section(Auth)
    titles: TitleSettings = section(TitleSettings)
    rooms: Rooms = section(Rooms)
    limits: Limits = section(Limits)
    archive: Archive = section(Archive)
    postgres: Postgres = section(Postgres)
    redis: Redis = section(Redis)
    admin: AdminSettings = section(AdminSettings)

    @property
    def endpoint(self) -> str:
        """The server endpoint to listen on, for `serverFromString`."""
        if not self.port.isdecimal():
            return self.port
        interface = f":interface={quoteStringArgument(self.host)}" if self.host else ""
        # Twisted's own backlog of 50 makes clients wait a second and more when many come at once.
        return f"tcp:{self.port}{interface}:backlog=4096"

    @property
    def uses_postgres(self) -> bool:
        return bool(self.postgres.host or self.postgres.url)

    @property
    def uses_redis(self) -> bool:
        return bool(self.redis.host or self.redis.url or self.redis.sentinels)

    @property
    def sqlite_path(self) -> str:
        """The absolute path of the SQLite file."""
        return os.path.join(self.state_dir, self.archive.sqlite_file)


def sections() -> dict[str, type[Any]]:
    """The sections by name, in order; "" is the top level, with the keys that are in no section."""
    found: dict[str, type[Any]] = {"": Config}
    for declared in dataclasses.fields(Config):
        if "section" in declared.metadata:
            found[declared.name] = declared.metadata["section"]
    return found


def keys() -> Iterator[ConfigKey]:
    """All keys, in order."""
    for name, kind in sections().items():
        for declared in dataclasses.fields(kind):
            meta = declared.metadata
            if "kind" in meta:
                path = f"{name}.{declared.name}" if name else declared.name
                yield ConfigKey(path, meta["kind"], meta["default"], meta["doc"], meta["env"])
