"""Checks of the files, directories and addresses that the configuration names, in the daemon's way, without servers."""

from __future__ import annotations

import errno
import os
import re
import socket
import tempfile
import time
from collections.abc import Iterator

from msgspec import Struct
from twisted.internet.interfaces import IStreamServerEndpointStringParser
from twisted.plugin import getPlugins

from ..archive.errors import ArchiveError
from ..archive.factory import dialect_of
from ..archive.migrations import migrate
from ..auth.ice_servers import TurnSecretError, needs_credential, read_turn_secret
from ..auth.keys import KeyFileError, read_keys
from ..config import Config
from ..config.endpoints import local_address, tls_endpoint
from ..util.directories import unreadable_directory
from ..util.file_watcher import InvalidFileError
from .output import shown

RENEWAL_SECONDS = 14 * 86400.0
"""Time before the end of a certificate at which a new one should be in place."""


class Finding(Struct, frozen=True):
    """level: "ok", "warning" or "problem". subject: the checked thing and its state. remedy: "" if nothing is to do."""

    level: str
    subject: str
    remedy: str = ""

    @property
    def report(self) -> str:
        """The finding as text for people."""
        mark = {"ok": "ok      ", "warning": "warning ", "problem": "PROBLEM "}[self.level]
        return mark + shown(self.subject) + (f"\n        -> {self.remedy}" if self.remedy else "")


def check_files(config: Config) -> Iterator[Finding]:
    """Check all that a start would reject, as far as it needs no server, and keys without effect."""
    yield _state_directory(config.state_dir)
    yield from _endpoint(config)
    yield from _host(config)
    yield from _tls(config)
    yield from _keys(config)
    yield from _turn_secret(config)
    yield from _database(config)
    yield from _redis_authorities(config)
    yield from _videos(config)


def _videos(config: Config) -> Iterator[Finding]:
    path = config.videos_path
    if not path:
        return
    fault = unreadable_directory(path)
    if fault:
        yield Finding("problem", f"web.videos_dir: {path}: {fault}", "name a directory that the daemon's user can read")
    else:
        yield Finding("ok", f"web.videos_dir: {path}")
    if config.web.videos_access == "members" and config.auth.mode == "open":
        yield Finding(
            "warning",
            "web.videos_access: with auth.mode open, each client can start a room and so become a member",
            "set auth.mode to token",
        )


def _state_directory(path: str) -> Finding:
    if os.path.isdir(path):
        if os.access(path, os.W_OK | os.X_OK):
            return Finding("ok", f"state_dir: {path}")
        return Finding("warning", f"state_dir: {path} is not writable for this user", "run this as the daemon's user")
    existing = path
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    try:
        # Only an attempt shows whether the daemon could create the directory: some file systems allow none.
        os.rmdir(tempfile.mkdtemp(prefix=".tandemctl-", dir=existing))
    except PermissionError:
        return Finding(
            "warning",
            f"state_dir: {path} does not exist, and this user may not create it in {existing}",
            "run this as the daemon's user; if that user may not either, create it for that user, or set state_dir",
        )
    except OSError as error:
        return Finding(
            "problem",
            f"state_dir: {path} cannot be created in {existing}: {error.strerror}",
            "set state_dir to another directory",
        )
    return Finding("warning", f"state_dir: {path} does not exist", "the daemon creates it; or set state_dir")


def _endpoint(config: Config) -> Iterator[Finding]:
    endpoint, _ = tls_endpoint(config)
    kinds = [part for part in endpoint.split(":") if part]
    kind = kinds[1] if kinds[0] == "haproxy" and len(kinds) > 1 else kinds[0]
    known = {plugin.prefix for plugin in getPlugins(IStreamServerEndpointStringParser)} | {"tcp", "unix", "ssl"}
    if kind not in known:
        yield Finding(
            "problem",
            f"port: {config.port!r} is no endpoint that Twisted understands",
            "write a port number, or an endpoint such as tcp:4001:interface=127.0.0.1",
        )
    elif kind in ("tcp", "tcp6", "ssl") and not re.search(r"(?:^|:)(?:port=)?\d+(?::|$)", endpoint):
        yield Finding("problem", f"port: {config.port!r} has no port number", "write one, such as tcp:4001")


def _host(config: Config) -> Iterator[Finding]:
    address = local_address(config)
    if address is None or not address.is_chosen:
        return
    try:
        _bind(address.host, 0)
    except socket.gaierror as error:
        yield Finding(
            "problem", f"host: {address.host} is no address: {error.strerror}", "set host to one of this machine"
        )
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            yield Finding(
                "problem", f"host: {address.host} is no address of this machine", "set host to one, or to 0.0.0.0"
            )


def _bind(host: str, port: int) -> None:
    """Bind a socket to an address and close it. Raises OSError."""
    family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(place)


def _tls(config: Config) -> Iterator[Finding]:
    from ..util.certificate_files import CertificateFiles  # noqa: PLC0415  # slow, and only with a certificate

    _, files = tls_endpoint(config)
    if not files:
        if config.tls.hsts and not config.web.trusted_proxies and not config.port.startswith("ssl:"):
            yield Finding(
                "warning", "tls.hsts: without a certificate it has no effect", "set tls.certificate, or remove it"
            )
        return
    try:
        certificate = CertificateFiles(files)
    except InvalidFileError as error:
        subject, _, remedy = str(error).rpartition("; ")
        yield Finding("problem", subject, remedy)
        return
    remaining = certificate.certificate.not_valid_after_utc.timestamp() - time.time()
    if remaining < 0:
        yield Finding("problem", f"tls.certificate: the certificate for {certificate.names} has expired", "renew it")
    elif remaining < RENEWAL_SECONDS:
        yield Finding("warning", f"tls.certificate: it ends in {remaining / 86400:.0f} days", "renew it")
    else:
        yield Finding("ok", f"tls.certificate: it is for {certificate.names}")


def _keys(config: Config) -> Iterator[Finding]:
    auth = config.auth
    if auth.mode == "token" and not auth.keys:
        yield Finding(
            "problem", "auth.keys: auth.mode is token, which needs a key to check tokens with", "name its file"
        )
    elif auth.mode == "token":
        try:
            keys = read_keys(auth.keys)
        except KeyFileError as error:
            subject, _, remedy = str(error).rpartition("; ")
            yield Finding("problem", f"auth.keys: {subject}", remedy)
        else:
            yield Finding("ok", f"auth.keys: {', '.join(sorted(keys))}")
    elif auth.keys:
        yield Finding("warning", "auth.keys: auth.mode is open, so no token is checked", "set auth.mode to token")


def _turn_secret(config: Config) -> Iterator[Finding]:
    path = config.calls.turn_secret_file
    if not path:
        return
    try:
        read_turn_secret(path)
    except TurnSecretError as error:
        subject, _, remedy = str(error).rpartition("; ")
        yield Finding("problem", f"calls.turn_secret_file: {subject}", remedy)
        return
    if any(needs_credential(server) for server in config.calls.ice_servers):
        yield Finding("ok", f"calls.turn_secret_file: {path}")
    else:
        yield Finding(
            "warning",
            "calls.turn_secret_file: no server in calls.ice_servers uses it",
            "add a turn: URL without username and credential there, or remove it",
        )


def _database(config: Config) -> Iterator[Finding]:
    try:
        dialect = dialect_of(config)
    except ArchiveError as error:
        yield Finding("problem", f"postgres: {error}", "correct postgres.url (DATABASE_URL)")
        return
    if not config.uses_postgres and os.path.exists(config.sqlite_path):
        try:
            migrate(dialect, dry_run=True)
        except ArchiveError as error:
            yield archive_fault("archive.sqlite_file", error)


def archive_fault(key: str, error: ArchiveError) -> Finding:
    """Report an error of the database, whose text has the remedy at its end."""
    subject, _, remedy = str(error).rpartition("; ")
    return Finding(
        "problem", f"{key}: {subject or remedy}", remedy if subject else "correct the installation of tandemd"
    )


def _redis_authorities(config: Config) -> Iterator[Finding]:
    redis = config.redis
    if not redis.tls_ca:
        return
    if not redis.tls:
        yield Finding("warning", "redis.tls_ca: without redis.tls it has no effect", "set redis.tls, or remove it")
        return
    from ..util.certificate_files import trusted_authorities  # noqa: PLC0415  # see _tls

    try:
        trusted_authorities(redis.tls_ca, "redis.tls_ca")
    except InvalidFileError as error:
        subject, _, remedy = str(error).rpartition("; ")
        yield Finding("problem", subject, remedy)
    else:
        yield Finding("ok", f"redis.tls_ca: {redis.tls_ca}")


def check_port(config: Config) -> Iterator[Finding]:
    """Check whether a node could listen on its address. For a node that does not run."""
    address = local_address(config)
    if address is None or not address.is_chosen:
        return
    where = f"{address.host}:{address.port}"
    try:
        _bind(address.host, address.port)
    except socket.gaierror:
        pass  # check_files has reported it
    except OSError as error:
        match error.errno:
            case errno.EADDRINUSE:
                yield Finding("problem", f"port: another program listens on {where}", "stop it, or choose another port")
            case errno.EACCES:
                yield Finding(
                    "warning",
                    f"port: this user may not listen on {where}",
                    "run this as the daemon's user; docs/deployment.md says how a daemon gets ports below 1024",
                )
            case errno.EADDRNOTAVAIL:
                pass  # as above
            case _:
                yield Finding("problem", f"port: {where}: {error.strerror}", "choose another port or host")
