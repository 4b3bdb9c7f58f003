"""Each key of the configuration: its kind, default, meaning and environment name, declared once.

The sections are in the `*_sections` modules. `load` accepts these keys, `etc/tandemd.yaml` documents them, and the program
is given their values. A default is written as an operator writes it. A key's environment name is TANDEMD_ and its path; some
have an older name, too.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from twisted.internet.endpoints import quoteStringArgument

from .call_sections import Calls
from .database_sections import Postgres, Redis
from .declaration import ConfigKey, key, section
from .limit_sections import Limits
from .process_sections import AdminSettings, Log, Tls
from .room_sections import Archive, Rooms, Sync
from .value_types import ENDPOINT, OPTIONAL_HOST, SWITCH, duration, text
from .web_sections import Auth, TitleSettings, Web

__all__ = [
    "AdminSettings",
    "Archive",
    "Auth",
    "Calls",
    "Config",
    "ConfigKey",
    "Limits",
    "Log",
    "Postgres",
    "Redis",
    "Rooms",
    "Sync",
    "TitleSettings",
    "Tls",
    "Web",
    "keys",
    "sections",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The configuration of a node. Durations are in seconds, sizes in bytes."""

    port: str = key(
        ENDPOINT,
        4001,
        "The port to listen on: a number, or a Twisted server endpoint such as systemd:domain=INET:index=0, or "
        "tls:DIRECTORY:port=443, which reads certificate and key from the PEM files there. haproxy:tcp:4001 is for "
        "a port that only proxies with the PROXY protocol (1 or 2) can reach: they send the client's address.",
        env="PORT",
    )
    host: str = key(
        text("a host name or an address", OPTIONAL_HOST),
        "0.0.0.0",
        "The address to listen on, if port is a number.",
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
        "The directory for the node's files; the node creates it if it does not exist. Empty: the one that systemd "
        "provides (StateDirectory), else `state` in the current directory of the start.",
    )
    drain_seconds: float = key(
        duration("0s", "1h"), 20, "How long a stopping node takes to send its clients to other nodes."
    )
    fast_path: bool = key(
        SWITCH,
        True,
        "Use the optimised frame path. `false` uses Autobahn and Twisted only, without a limit on the frames of one "
        "connection in one iteration; for diagnosis.",
    )
    log: Log = section(Log)
    tls: Tls = section(Tls)
    web: Web = section(Web)
    auth: Auth = section(Auth)
    titles: TitleSettings = section(TitleSettings)
    calls: Calls = section(Calls)
    rooms: Rooms = section(Rooms)
    sync: Sync = section(Sync)
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
    def videos_path(self) -> str:
        """The absolute path of the directory with films; "" for none."""
        path = self.web.videos_dir
        return os.path.abspath(os.path.expanduser(path)) if path else ""

    @property
    def sqlite_path(self) -> str:
        """The absolute path of the SQLite file."""
        return os.path.join(self.state_dir, self.archive.sqlite_file)


def sections() -> dict[str, type[Any]]:
    """The sections by name, in order; "" is the top level, with the keys that are in no section."""
    kinds: dict[str, type[Any]] = {"": Config}
    for declared in dataclasses.fields(Config):
        if "section" in declared.metadata:
            kinds[declared.name] = declared.metadata["section"]
    return kinds


def keys() -> Iterator[ConfigKey]:
    """All keys, in order."""
    for name, kind in sections().items():
        for declared in dataclasses.fields(kind):
            meta = declared.metadata
            if "kind" in meta:
                path = f"{name}.{declared.name}" if name else declared.name
                yield ConfigKey(path, meta["kind"], meta["default"], meta["doc"], meta["env"])
