"""The sections of the process: log, TLS and administration."""

from __future__ import annotations

from dataclasses import dataclass

from .declaration import key
from .value_types import choice, duration, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The log, on standard output."""

    level: str = key(
        choice("debug", "info", "warn", "error", "critical", also={"warning": "warn", "fatal": "critical"}),
        "info",
        "The least important events to log.",
        env="LOG_LEVEL",
    )
    format: str = key(choice("json", "text"), "json", "json: one object a line, for programs. text: for people.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """TLS without a proxy: https and wss on `port`. The node reads the files again when they change, and on SIGHUP."""

    certificate: str = key(
        text("the path of a file"),
        "",
        "A PEM file with the server's certificate and, after it, the intermediate certificates. Empty: no TLS.",
    )
    hsts: float = key(
        duration("0s", "730d"),
        "0s",
        "Time during which browsers use only https with this host name, on all its ports (Strict-Transport-Security). "
        "0 sends no such header.",
    )
    key: str = key(
        text("the path of a file"),
        "",
        "A PEM file with the private key, without passphrase. Empty: the file of the certificate.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSettings:
    """The administration API at /admin/v1, which tandemctl uses. Without a token it is off."""

    token: str = key(
        text("at least 32 letters, digits and other visible characters", r"(?:[\x21-\x7e]{32,1024})?", secret=True),
        "",
        "The secret that administrators present, such as from `openssl rand -hex 32`; best in a file (token_file).",
    )
