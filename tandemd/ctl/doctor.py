"""tandemctl doctor: checks the servers and files of a node, and reports each fault with its remedy."""

from __future__ import annotations

import email.utils
import json
import os
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from ..archive.errors import ArchiveError
from ..archive.factory import dialect_of
from ..archive.migrations import migrate
from ..config import Config
from ..config.endpoints import local_address
from ..util.directories import is_claimed
from ..util.text import one_line
from .client import NodeUnreachableError, Trust, fetch
from .file_checks import RENEWAL_SECONDS, Finding, archive_fault, check_files, check_port
from .probes import ProbeError, RedisConnection, certificate_ends, master, redis_connection, websocket

MAX_CLOCK_SKEW_SECONDS = 0.5
"""Difference of two clocks from which doctor warns. Rooms use Redis' clock; logs and tokens use the machine's."""
MAX_START_DIFFERENCE_SECONDS = 10.0
"""Difference of two starts from which they are those of two processes: a clock may be corrected meanwhile."""


def examine(config: Config, url: str | None, trust: Trust, public_url: str) -> Iterator[Finding]:
    """Check everything, and yield the findings. Blocks.

    url: the node's URL on this machine; None if the configuration does not tell it. trust: the proof that the node must give of
    its identity. public_url: its URL for clients, "" to skip that check.
    """
    yield from check_files(config)
    yield from _archive(config)
    if config.uses_redis:
        yield from _redis(config)
    if url is not None:
        yield from _node(config, url, trust)
    else:
        yield Finding("warning", f"node: not checked, as port is {config.port!r}", "name its URL with --url")
    if public_url:
        outside = Trust(trust.authorities)
        yield from _outside(public_url.rstrip("/"), outside)
        if url is not None:
            yield from _same_name(url, trust, public_url.rstrip("/"), outside)
    else:
        yield Finding("warning", "outside: not checked", "run tandemctl doctor URL, or set web.invite_base_url")


def _archive(config: Config) -> Iterator[Finding]:
    try:
        dialect = dialect_of(config)
    except ArchiveError:
        return  # check_files has reported it
    key = "postgres" if config.uses_postgres else "archive.sqlite_file"
    if not config.uses_postgres and not os.path.exists(config.sqlite_path):
        yield Finding("warning", f"{key}: {dialect.where} does not exist yet", "the daemon creates it when it starts")
        return
    try:
        missing = migrate(dialect, dry_run=True)
    except ArchiveError as error:
        if config.uses_postgres:  # of a file, check_files has reported it
            yield archive_fault(key, error)
        return
    if missing:
        yield Finding(
            "warning", f"{key}: the schema lacks {', '.join(missing)}", "start the daemon, or run tandemctl migrate"
        )
    else:
        yield Finding("ok", f"{key}: {dialect.where}, with the current schema")
    connection = dialect.connect()
    try:
        cursor = connection.cursor()
        if config.uses_postgres:
            began = time.time()
            cursor.execute("select extract(epoch from clock_timestamp())")
            yield _clock("PostgreSQL", float(cursor.fetchone()[0]), began)
        if not missing:
            cursor.execute('select count(*) from "dead_letters"')
            count = int(cursor.fetchone()[0])
            if count:
                remedy = 'read the column "error" of each; delete the row once its cause is removed'
                yield Finding("warning", f"{key}: the database rejected {count} rows (table dead_letters)", remedy)
    except Exception as error:  # the errors of two drivers have no common class
        yield Finding("problem", f"{key}: {one_line(error)}", "give the user the rights to read tandemd's tables")
    finally:
        connection.close()


def _clock(whose: str, theirs: float, began: float) -> Finding:
    """Compare a clock with this machine's. theirs: its time. began: the time of the request."""
    now = time.time()
    skew = max(began - theirs, theirs - now, 0.0)
    if skew > MAX_CLOCK_SKEW_SECONDS:
        return Finding(
            "warning", f"clock: {whose} differs from this machine by {skew:.1f} s", "run NTP (chrony) on both"
        )
    return Finding("ok", f"clock: {whose} agrees with this machine")


def _redis(config: Config) -> Iterator[Finding]:
    redis = config.redis
    places = []
    for written in redis.sentinels:
        try:
            places.append(master(redis, written))
        except ProbeError as error:
            remedy = "check that the sentinel runs, redis.sentinel_master and redis.sentinel_password"
            yield Finding("warning", f"sentinel {written}: {error}", remedy)
    if redis.sentinels:
        if not places:
            yield Finding("problem", "redis.sentinels: no sentinel knows the master", "start them; see the lines above")
            return
        if len(set(places)) > 1:
            masters = ", ".join(f"{host}:{port}" for host, port in sorted(set(places)))
            yield Finding(
                "problem",
                f"redis.sentinels: they name different masters: {masters}",
                "run SENTINEL RESET; see their logs",
            )
    host, port = places[0] if places else (redis.host, redis.port)
    where = host if host.startswith("/") else f"{host}:{port}"
    try:
        with redis_connection(redis, host, port) as connection:
            yield from _redis_server(connection, where, redis.journal_bytes)
            if redis.sentinels and "min_slaves_good_slaves" not in connection.info("replication"):
                yield Finding(
                    "problem",
                    f"Redis at {where}: min-replicas-to-write is 0: changes that a disconnected master accepts are lost",
                    "set it to 1, and min-replicas-max-lag to 5, on the master and its replicas",
                )
    except ProbeError as error:
        remedy = "check that it runs, redis.host, redis.port, redis.password and redis.tls"
        yield Finding("problem", f"Redis at {where}: {error}", remedy)


def _redis_server(connection: RedisConnection, where: str, journal_bytes: int) -> Iterator[Finding]:
    server, replication = connection.info("server"), connection.info("replication")
    memory, keeping = connection.info("memory"), connection.info("persistence")
    yield Finding("ok", f"Redis at {where}: version {server.get('redis_version', '?')}")
    if replication.get("role") != "master":
        yield Finding(
            "problem", f"Redis at {where}: it is a replica", "name the master, or the sentinels (redis.sentinels)"
        )
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        remedy = "set it to noeviction: other policies delete rooms"
        yield Finding("problem", f"Redis at {where}: maxmemory-policy is {policy}", remedy)
    most, used = int(memory.get("maxmemory", 0)), int(memory.get("used_memory", 0))
    if most and used > 0.8 * most:
        yield Finding("warning", f"Redis at {where}: {used / most:.0%} of maxmemory is used", "raise maxmemory")
    if most and journal_bytes > most / 4:
        remedy = "lower redis.journal_bytes to a quarter of maxmemory, or raise maxmemory"
        yield Finding("warning", f"Redis at {where}: redis.journal_bytes is more than a quarter of maxmemory", remedy)
    if keeping.get("aof_enabled") != "1" and not keeping.get("rdb_last_save_time"):
        yield Finding("warning", f"Redis at {where}: it keeps nothing on disk", "set appendonly yes")
    began = time.time()
    seconds, micros = connection.ask("TIME")
    yield _clock("Redis", int(seconds) + int(micros) / 1e6, began)


def _node(config: Config, url: str, trust: Trust) -> Iterator[Finding]:
    try:
        began = time.time()
        status, headers, _ = fetch(f"{url}/health", trust=trust)
        ready, _, content = fetch(f"{url}/health/ready", trust=trust)
    except NodeUnreachableError as error:
        yield Finding("problem", f"node: {error}", "start it, or name another one with --url")
        yield from check_port(config)
        return
    if status != 200:
        yield Finding("problem", f"node: {url}/health answers {status}", "another program listens there: see --url")
        return
    body = _json_object(content)
    if ready == 200:
        yield Finding("ok", f"node: {body.get('nodeId')} at {url} is ready")
    here = local_address(config)
    # Only while a node has the port, because the check disturbs the start of another node for an instant.
    if here is not None and url == here.url and not is_claimed(config.state_dir):
        yield Finding(
            "warning",
            f"node: the one at {url} does not use the state directory {config.state_dir}",
            "run this where the node was started, or set state_dir; if it is another node, stop it or choose another port",
        )
    for reason in body.get("reasons", ()):
        yield Finding("problem", f"node: not ready: {reason}", "docs/operations.md, TandemdNotReady")
    for warning in body.get("warnings", ()):
        yield Finding("warning", f"node: {warning}", "docs/operations.md")
    date = email.utils.parsedate_to_datetime(headers["date"]).timestamp() if "date" in headers else None
    if date is not None and abs(date + 0.5 - began) > MAX_CLOCK_SKEW_SECONDS + 1:
        yield Finding("warning", f"clock: the node's is {date - began:+.0f} s from this machine's", "run NTP on both")


def _json_object(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _same_name(url: str, trust: Trust, public_url: str, outside: Trust) -> Iterator[Finding]:
    """Compare the node's process with the one that clients reach, if both have one name."""
    try:
        here, there = (
            _json_object(fetch(f"{url}/status", trust=trust)[2]),
            _json_object(fetch(f"{public_url}/status", trust=outside)[2]),
        )
        name, other = here.get("nodeId"), there.get("nodeId")
        starts = [float(one["timestamp"]) / 1000 - float(one["uptime"]) for one in (here, there)]
    except (NodeUnreachableError, KeyError, TypeError, ValueError):
        return
    if name == other and abs(starts[0] - starts[1]) > MAX_START_DIFFERENCE_SECONDS:
        yield Finding(
            "problem",
            f"outside: two processes have the name {name}: {url} and {public_url} do not lead to the same one",
            "give each node a node_id (NODE_ID) of its own; stop a process that is left over",
        )


def _outside(url: str, trust: Trust) -> Iterator[Finding]:
    try:
        status, _, content = fetch(f"{url}/health", trust=trust)
    except NodeUnreachableError as error:
        yield Finding(
            "problem", f"outside: {error}", "check the name in DNS, the firewall, the proxy and its certificate"
        )
        return
    if status != 200 or "nodeId" not in _json_object(content):
        yield Finding("problem", f"outside: {url}/health answers {status}, but not as a node", "route / to the nodes")
        return
    yield Finding("ok", f"outside: {url} leads to node {_json_object(content)['nodeId']}")
    parts = urlsplit(url)
    if parts.scheme == "https":
        try:
            remaining = certificate_ends(parts.hostname or "", parts.port or 443, trust.context()) - time.time()
        except ProbeError as error:
            yield Finding("problem", f"outside: the certificate: {error}", "renew it")
        else:
            level = "warning" if remaining < RENEWAL_SECONDS else "ok"
            yield Finding(
                level,
                f"outside: the certificate ends in {remaining / 86400:.0f} days",
                "renew it" if remaining < RENEWAL_SECONDS else "",
            )
    elif parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        yield Finding("warning", "outside: no TLS", "pages of https sites, and so the extension, need wss")
    address = f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}{parts.path}/ws"
    try:
        seconds = websocket(address, trust.context())
    except ProbeError as error:
        remedy = "make the proxy pass Upgrade and Connection on, by HTTP/1.1 (docs/deployment.md)"
        yield Finding("problem", f"outside: {address}: {error}", remedy)
    else:
        yield Finding("ok", f"outside: {address}: PING and PONG in {seconds * 1000:.0f} ms")
    for hidden in ("metrics", "admin/v1/node"):
        try:
            status = fetch(f"{url}/{hidden}", trust=trust)[0]
        except NodeUnreachableError:
            continue
        if status in (200, 401, 429):
            yield Finding("warning", f"outside: /{hidden} is public", f"make the proxy reject /{hidden.split('/')[0]}")
