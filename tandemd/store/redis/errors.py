"""Errors of Redis, explained with a remedy."""

from __future__ import annotations

import txredisapi
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import TimeoutError
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost, DNSLookupError, TCPTimedOutError

from ...util.text import one_line

_LOGIN = (
    # A part of the error, the remedy, and whether a retry is useless.
    ("called without any password configured", "it has no password: leave redis.password away", True),
    ("WRONGPASS", "check redis.username and redis.password", True),
    ("invalid password", "check redis.username and redis.password", True),
    ("NOAUTH", "set redis.password (REDIS_PASSWORD), and redis.username if it has ACL users", True),
    ("DB index is out of range", "choose another redis.db", True),
    ("SELECT is not allowed in cluster mode", "it is a cluster: name a single server in redis.host", True),
    ("NOPERM", "give redis.username the rights ~tandem:* resetchannels &tandem:* +@all -@dangerous +role +info", True),
    ("DENIED", "it wants a password, or a connection from its own machine: see its protected-mode", True),
    ("max number of clients", "raise its maxclients", False),
)

_ELSEWHERE = ("NOREPLICAS", "READONLY", "MISCONF", "MASTERDOWN")
# NOSCRIPT: another client has flushed the scripts. A node loads them again when it retries.
_NOT_NOW = ("NOREPLICAS", "READONLY", "MISCONF", "OOM ", "LOADING", "BUSY ", "MASTERDOWN", "NOSCRIPT")


class RedisUnreachableError(Exception):
    """The endpoint knows no server. The text is one line for operators, which names the key and the remedy."""


class WrongRoleError(Exception):
    """The server is not a master."""

    def __init__(self, role: str, failover: bool):
        """role: the role of the server. failover: whether the sentinels will name another server."""
        super().__init__(role)
        self.role = role
        self.failover = failover


def describe(error: BaseException) -> tuple[str, bool]:
    """Return the reason of a failed connection, to follow the server's name, and whether a retry is useless."""
    text = one_line(error)
    if isinstance(error, WrongRoleError):
        if error.failover:
            return f"is {error.role}: the sentinels have not made another the master yet", False
        if error.role == "a sentinel":
            return "is a sentinel: name it in redis.sentinels, and leave redis.host away", True
        return f"is {error.role}: name its master in redis.host, or the sentinels in redis.sentinels", True
    if isinstance(error, SSL.Error | VerificationError):
        return f"does not speak TLS as it should: {_tls(error)}; check redis.tls, redis.tls_ca and redis.host", True
    if isinstance(error, ConnectionDone | ConnectionLost):
        return "closed the connection before it was usable; check redis.tls, and its log", False
    if isinstance(error, txredisapi.TimeoutError | TCPTimedOutError | TimeoutError):
        return "does not answer; see whether it hangs, and check redis.tls", False
    if isinstance(error, ConnectError | DNSLookupError | OSError):
        return f"cannot be reached: {text}; check redis.host and redis.port, and that it runs", False
    for said, remedy, hopeless in _LOGIN:
        if said in text:
            return f"refuses the connection: {text}; {remedy}", hopeless
    return f"cannot be used: {text}", False


def is_transient(text: str) -> bool:
    """Return whether an error means that Redis executes no commands for a while."""
    return any(word in text for word in _NOT_NOW)


def full(text: str) -> bool:
    """Return whether an error means that Redis' memory is full. Redis still executes commands that free memory."""
    return "OOM " in text


def elsewhere(text: str) -> bool:
    """Return whether an error means that another server may be the master now or soon."""
    return any(word in text for word in _ELSEWHERE)


def is_server_unusable(text: str) -> bool:
    """Return whether an error concerns the whole server, not one command."""
    # "executing the script": Redis 6.2 uses it instead of NOPERM within scripts.
    return is_transient(text) or "NOPERM" in text or "executing the script" in text


def remedy(text: str) -> str:
    """Return the remedy of an error, to follow its text, or ''."""
    for said, what, _ in (
        *_LOGIN,
        ("NOREPLICAS", "its replicas do not follow it: see min-replicas-to-write and the replicas", False),
        ("MISCONF", "it cannot save to disk: see its log", False),
        ("OOM ", "its memory is full: raise its maxmemory", False),
        ("LOADING", "it is reading its data: wait", False),
    ):
        if said in text:
            return f"; {what}"
    return ""


def _tls(error: BaseException) -> str:
    if isinstance(error, VerificationError):
        return "its certificate is for another name"
    reasons = [entry[-1] for entry in error.args[0]] if error.args and isinstance(error.args[0], list) else []
    return ", ".join(reasons) or one_line(error)
