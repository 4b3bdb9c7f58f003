"""The section of video calls, and the kind of its ICE servers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from ..messages import IceServer
from .declaration import key
from .value_types import SWITCH, Kind, WrongItemError, duration, text

MAX_ICE_SERVERS = 8
_ICE_URL = re.compile(r"(?:stuns?:(?P<stun>[^\s?/]+)|turns?:(?P<turn>[^\s?/]+?)(?:\?transport=(?:udp|tcp))?)", re.ASCII)
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?", re.ASCII)


def _url(written: object) -> str:
    match = _ICE_URL.fullmatch(written) if isinstance(written, str) else None
    host = _HOST.fullmatch(match["stun"] or match["turn"]) if match is not None else None
    if host is None or not 0 < int(host["port"] or 3478) < 65536:
        raise WrongItemError(
            f"{written!r} is no URL such as stun:HOST:3478, turn:HOST:3478?transport=udp or turns:HOST:5349"
        )
    return str(written)


def _ice_server(written: object) -> IceServer:
    fields: dict[Any, Any] = written if isinstance(written, dict) else {"urls": written}
    unknown = [str(name) for name in fields if name not in ("urls", "username", "credential")]
    if unknown:
        raise WrongItemError(f"a server has urls, username and credential, not {unknown[0]!r}")
    urls = fields.get("urls")
    urls = urls if isinstance(urls, list) else [urls]
    if not urls:
        raise WrongItemError("a server has no URL in urls")
    server = IceServer(
        urls=[_url(url) for url in urls], username=fields.get("username"), credential=fields.get("credential")
    )
    for name, value in (("username", server.username), ("credential", server.credential)):
        if value is not None and (not isinstance(value, str) or not value or not value.isprintable()):
            raise WrongItemError(f"the {name} of {server.urls[0]} is not text; put a number in quotes")
    if (server.username is None) != (server.credential is None):
        raise WrongItemError(
            f"{server.urls[0]} needs both username and credential, or neither with calls.turn_secret_file"
        )
    if server.username is not None and not server.is_turn:
        raise WrongItemError(f"{server.urls[0]} needs no username, because STUN has none")
    return server


def _ice_servers(value: object) -> tuple[IceServer, ...]:
    if isinstance(value, str):
        if value.lstrip().startswith(("[", "- ")):
            try:
                value = yaml.safe_load(value)
            except (yaml.YAMLError, RecursionError):
                raise WrongItemError("it begins as a list, and is neither YAML nor JSON") from None
        else:
            value = [item.strip() for item in value.split(",") if item.strip()]
    if not isinstance(value, (list, tuple)) or len(value) > MAX_ICE_SERVERS:
        raise ValueError
    return tuple(_ice_server(item) for item in value)


ICE_SERVERS: Kind[tuple[IceServer, ...]] = Kind(
    f"a list of at most {MAX_ICE_SERVERS} servers, each a URL such as stun:HOST:3478, or urls with username and credential",
    _ice_servers,
    secret=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """Voice and video between members. tandemd relays only the signalling. The existing extension has STUN servers of its own."""

    ice_servers: tuple[IceServer, ...] = key(
        ICE_SERVERS,
        [],
        "STUN and TURN servers for members' calls. Each is a URL (stun:HOST:PORT, turn:HOST:PORT?transport=udp, "
        "turns:HOST:PORT), or a mapping with urls, and username and credential of a TURN account that all members share. In the "
        "environment: URLs separated by commas, or JSON. Empty: calls work only between members that reach each other directly.",
    )
    turn_secret_file: str = key(
        text("the path of a file"),
        "",
        "A file with the secret that the TURN servers know too (coturn: static-auth-secret). Each member then gets a "
        "time-limited credential of its own for the TURN servers without username. The first line signs. During a rotation a "
        "second line may hold the other secret. The node reads the file again when it changes, and on SIGHUP.",
    )
    turn_ttl: float = key(
        duration("1m", "7d"),
        "4h",
        "How long a credential from turn_secret_file opens new connections. Clients ask for a new one in time.",
    )
    relay_only: bool = key(
        SWITCH,
        False,
        "Have the clients use TURN servers only, so that members of a call do not learn each other's addresses.",
    )
