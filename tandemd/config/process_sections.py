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
class AdminSettings:
    """The administration API at /admin/v1, which tandemctl uses; there is none without a token."""

    token: str = key(
        text("at least 32 letters, digits and other visible characters", r"(?:[\x21-\x7e]{32,1024})?", secret=True),
        "",
        "The secret that whoever administers must show, such as from `openssl rand -hex 32`; best in a file of its own.",
    )
