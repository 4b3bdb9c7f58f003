"""The address on which a node listens, as the configuration names it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .schema import Config

SYSTEMD_PORT = 4001
"""The port of an unchanged tandemd.socket."""
_EVERY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""An address of this machine for each wildcard address."""
_PART = re.compile(r"((?:[^:\\]|\\.)*)(?::|$)")


@dataclass(frozen=True)
class LocalAddress:
    """Where a process on the node's machine can reach the node.

    certificates: files of the node's certificate, and directories with them; empty without TLS.
    is_chosen: whether host and port are the node's own, not those of a socket of systemd.
    """

    host: str
    port: int
    certificates: tuple[str, ...]
    is_chosen: bool

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.certificates else 'http'}://{host}:{self.port}"


def tls_endpoint(config: Config) -> tuple[str, tuple[str, ...]]:
    """Return the endpoint below TLS, and the files of certificate and key; no files without TLS.

    `tls:DIRECTORY:port=443` is Twisted's, but Twisted never reads a renewed certificate, so the node implements it.
    """
    match = re.fullmatch(r"tls:(?:path=)?((?:[^:\\]|\\.)+)(?::(.*))?", config.port)
    if match is None:
        files = (config.tls.certificate, config.tls.key or config.tls.certificate)
        return config.endpoint, files if config.tls.certificate else ()
    directory, arguments = re.sub(r"\\(.)", r"\1", match[1]), match[2] or "443"
    if not re.search(r"^\d+|\bport=", arguments):
        arguments = f"port=443:{arguments}"
    backlog = "" if "backlog=" in arguments else ":backlog=4096"
    return f"tcp6:{arguments}{backlog}", (directory,)


def local_address(config: Config) -> LocalAddress | None:
    """Return the node's address, or None for an endpoint without one, such as a Unix socket or one behind a proxy."""
    endpoint, certificates = tls_endpoint(config)
    kind, *parts = [re.sub(r"\\(.)", r"\1", match[1]) for match in _PART.finditer(endpoint)]
    named = dict(part.split("=", 1) for part in parts if re.match(r"[A-Za-z]+=", part))
    port = named.get("port") or next((part for part in parts if part.isdecimal()), "")
    if kind == "ssl":
        certificates = (named.get("certKey") or named.get("privateKey") or "server.pem",)
    if kind == "systemd":
        return LocalAddress("127.0.0.1", SYSTEMD_PORT, certificates, False)
    if kind not in ("tcp", "tcp6", "ssl") or not port.isdecimal() or port == "0":
        return None
    host = named.get("interface", "::" if kind == "tcp6" else "")
    return LocalAddress(_EVERY_ADDRESS.get(host, host), int(port), certificates, True)
