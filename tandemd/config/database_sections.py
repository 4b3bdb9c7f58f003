"""The sections of servers: PostgreSQL and Redis."""

from __future__ import annotations

from dataclasses import dataclass

from .declaration import key
from .value_types import OPTIONAL_HOST, SWITCH, integer, sentinel, size, text, texts, url


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """PostgreSQL as the archive; used when host or url is set."""

    host: str = key(
        text("a host name, an address or the directory of a Unix socket", OPTIONAL_HOST),
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
        text("a host name, an address or the path of a Unix socket", OPTIONAL_HOST),
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
        "A PEM file with the certificates of trusted authorities. Empty: those of the system.",
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
        "The sentinels that know the master; they replace host and port, and url. The master and its replicas need "
        "min-replicas-to-write 1, because a disconnected master would accept changes that are lost later.",
    )
    sentinel_master: str = key(text("a name", r"\S+"), "mymaster", "The sentinels' name of the master.")
    sentinel_username: str = key(text("a name"), "", "The sentinels' ACL user; empty for the default user.")
    sentinel_password: str = key(text("a password", secret=True), "", "The sentinels' password.")
    journal_length: int = key(
        integer(1000, 100_000_000), 200_000, "Changes kept in Redis while PostgreSQL cannot store them."
    )
    journal_bytes: int = key(
        size("64K", "100G"),
        "96M",
        "Maximum size of these changes; set at most a quarter of Redis' maxmemory.",
    )
