"""Read the configuration: defaults, then the YAML file, then the environment, then the command line."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from .call_sections import Calls
from .schema import Config, ConfigKey, Redis, keys, sections
from .value_types import WrongItemError


class ConfigError(Exception):
    """The configuration cannot be used. The text is one line that names the key or file, and the remedy."""


@dataclass(frozen=True)
class _SourcedValue:
    """A value as written, and its source: "FILE: rooms.grace" or "TANDEMD_ROOMS_GRACE"."""

    value: object
    source: str


DEFAULT = "default"
"""The source of a value that is not written anywhere."""

_Layer = dict[str, _SourcedValue]


@dataclass(frozen=True)
class WrittenValue:
    """The value of a key.

    written: as an operator writes it, such as "20/s, burst 100". source: a file, an environment name, "default" and the like.
    """

    key: ConfigKey
    written: object
    source: str


def load(
    path: str | None, environ: Mapping[str, str], overrides: Mapping[str, str], *, hostname: str | None = None
) -> Config:
    """Return the configuration.

    path: the YAML file, or None for none. environ: the environment. overrides: the command line, text by path of key.
    hostname: the default of `node_id`; None asks the system. Raises ConfigError. Reads files: call it before the
    reactor runs.
    """
    return load_with_sources(path, environ, overrides, hostname=hostname)[0]


def load_with_sources(
    path: str | None, environ: Mapping[str, str], overrides: Mapping[str, str], *, hostname: str | None = None
) -> tuple[Config, list[WrittenValue]]:
    """Return the configuration, and the written value of each key, in order. Arguments and errors as in `load`."""
    declared = {key.path: key for key in keys()}
    layers = [
        _from_yaml(path, declared) if path is not None else {},
        _from_environment(environ, declared),
        _from_command_line(overrides, declared),
    ]
    values: _Layer = {}
    for layer in layers:
        values |= _without_files(layer, declared)
    config = _build({path: _parse(declared[path], value) for path, value in values.items()})
    _check(config, values)
    config = _resolve(config, environ, socket.gethostname() if hostname is None else hostname)
    found = {
        "node_id": "the host name",
        "state_dir": "STATE_DIRECTORY" if environ.get("STATE_DIRECTORY") else "the current directory",
    }
    return config, [_written(key, values.get(key.path), config, found) for key in keys()]


def _written(key: ConfigKey, value: _SourcedValue | None, config: Config, found: Mapping[str, str]) -> WrittenValue:
    """found: the sources of the keys that `_resolve` fills in."""
    if value is not None:
        return WrittenValue(key, value.value, value.source.removesuffix(f": {key.path}"))
    if key.path in found:
        return WrittenValue(key, getattr(config, key.path), found[key.path])
    return WrittenValue(key, key.default, DEFAULT)


# ---- sources -------------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """YAML in which a repeated key is an error; PyYAML would use the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [name for name, _ in node.value if isinstance(name, yaml.ScalarNode)]
        for i, name in enumerate(names):
            if any(name.value == other.value for other in names[:i]):
                raise yaml.MarkedYAMLError(problem=f"{name.value} is given twice", problem_mark=name.start_mark)
        return super().construct_mapping(node, deep)


def _from_yaml(path: str, declared: Mapping[str, ConfigKey]) -> _Layer:
    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.load(file, _Loader)  # a SafeLoader
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; check the path and its permissions") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        remedy = "indent with spaces, not with tabs" if "'\\t'" in (error.problem or "") else "correct the YAML there"
        raise ConfigError(f"{path}{where}: {error.problem or 'is not YAML'}; {remedy}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: is not YAML: {' '.join(str(error).split())}; correct the file") from None
    layer: _Layer = {}
    for name, value in _mapping(path, "the file", content).items():
        entries = {name: value}
        if name in sections() and name:
            entries = {f"{name}.{inner}": v for inner, v in _mapping(path, name, value).items()}
        for key, entry in entries.items():
            if not _known(key, declared):
                raise ConfigError(f"{path}: {key} is not a key of the configuration{_similar(key, declared)}")
            if entry is not None:  # `key:` with nothing after it leaves the default
                layer[key] = _SourcedValue(entry, f"{path}: {key}")
    return layer


def _mapping(path: str, name: str, content: object) -> dict[str, object]:
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: {name} must contain keys with values, as etc/tandemd.yaml shows")
    return {str(key): value for key, value in content.items()}


def _from_environment(environ: Mapping[str, str], declared: Mapping[str, ConfigKey]) -> _Layer:
    layer: _Layer = {}
    known = set()
    for key in declared.values():
        for suffix in ("", "_file") if key.kind.secret else ("",):
            names = [name + suffix.upper() for name in key.env]
            known.update(names)
            # Deployment tools set an empty variable for "not set".
            present = [name for name in names if environ.get(name) and not _injected(name, environ[name])]
            if len({environ[name] for name in present}) > 1:
                raise ConfigError(f"{present[0]} and {present[1]} are two names of {key.path}: set only one")
            if present:
                layer[key.path + suffix] = _SourcedValue(environ[present[0]], present[0])
    for name in sorted(environ):
        if name.startswith("TANDEMD_") and name not in known and not _injected(name, environ[name]):
            raise ConfigError(f"{name} is not an environment name of the configuration{_similar(name, known)}")
    return layer


def _injected(name: str, value: str) -> bool:
    """Return whether a variable is no key: Kubernetes makes some for its services, and tests have their own."""
    if name.startswith(("TANDEMD_SERVICE_", "TANDEMD_PORT", "TANDEMD_TEST_")):
        return True
    return name.endswith("_PORT") and value.startswith("tcp://")


def _from_command_line(overrides: Mapping[str, str], declared: Mapping[str, ConfigKey]) -> _Layer:
    for path in overrides:
        if not _known(path, declared):
            raise ConfigError(f"command line: {path} is not a key of the configuration{_similar(path, declared)}")
    return {path: _SourcedValue(value, f"command line: {path}") for path, value in overrides.items()}


def _known(path: str, declared: Mapping[str, ConfigKey]) -> bool:
    if path in declared:
        return True
    secret = declared.get(path.removesuffix("_file"))
    return secret is not None and secret.kind.secret


def _similar(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), 1)
    return f"; did you mean {close[0]}?" if close else "; etc/tandemd.yaml lists them all"


def _without_files(layer: _Layer, declared: Mapping[str, ConfigKey]) -> _Layer:
    """Replace keys that name a file by the content of the file."""
    result = {path: reference for path, reference in layer.items() if path in declared}
    for path, reference in layer.items():
        if path in declared:
            continue
        secret = path.removesuffix("_file")
        if secret in layer:
            raise ConfigError(f"{reference.source}: {layer[secret].source} is set too; set only one of them")
        try:
            with open(str(reference.value), encoding="utf-8") as file:
                content = file.read()
        except (OSError, UnicodeDecodeError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not a UTF-8 text file"
            raise ConfigError(
                f"{reference.source}: {reference.value} cannot be read: {reason}; check the path and its permissions"
            ) from None
        result[secret] = _SourcedValue(content.removesuffix("\n").removesuffix("\r"), reference.source)
    return result


# ---- meaning -------------------------------------------------------------------------------------------------------


def _parse(key: ConfigKey, written: _SourcedValue) -> object:
    try:
        return key.kind.parse(written.value)
    except (ValueError, OverflowError) as error:
        shown = "the value" if key.kind.secret else repr(written.value)
        name = "" if key.path in written.source else f" ({key.path})"
        hint = f": {error}" if isinstance(error, WrongItemError) else ""
        raise ConfigError(f"{written.source}{name}: {shown} is not {key.kind.says}{hint}") from None


def _build(values: Mapping[str, object]) -> Config:
    arguments: dict[str, Any] = {path: value for path, value in values.items() if "." not in path}
    for name, kind in sections().items():
        if name:
            inner = {path.removeprefix(name + "."): v for path, v in values.items() if path.startswith(name + ".")}
            arguments[name] = kind(**inner)
    return Config(**arguments)


def _check(config: Config, values: _Layer) -> None:
    """Reject values that exclude one another. Raises ConfigError."""
    redis = config.redis
    if redis.sentinels and (redis.host or redis.url):
        source = values["redis.url" if redis.url else "redis.host"].source
        raise ConfigError(
            f"{source}: the sentinels in redis.sentinels say where Redis is; remove one of the two (the rest of an "
            "URL has keys of its own: redis.username, redis.password, redis.db, redis.tls)"
        )
    if redis.tls and redis.host.startswith("/"):
        raise ConfigError(f"{values['redis.tls'].source}: a Unix socket (redis.host) has no TLS; remove redis.tls")
    if config.uses_redis and not config.uses_postgres:
        source = values["redis.url" if redis.url else "redis.host" if redis.host else "redis.sentinels"].source
        raise ConfigError(
            f"{source}: Redis needs PostgreSQL, too; set postgres.host (POSTGRES_HOST) or postgres.url "
            "(DATABASE_URL), or remove Redis"
        )
    if config.tls.key and not config.tls.certificate:
        raise ConfigError(f"{values['tls.key'].source}: a key needs a certificate; set tls.certificate, too")
    if config.tls.certificate and config.port.startswith(("tls:", "ssl:")):
        raise ConfigError(
            f"{values['tls.certificate'].source}: `port` names a certificate too ({config.port.partition(':')[0]}:); "
            "write only the number there, or remove this key"
        )
    _check_calls(config.calls, values)
    if config.rooms.gate_quorum_after > config.rooms.gate_deadline:
        raise ConfigError("rooms.gate_quorum_after is longer than rooms.gate_deadline: make it shorter")


def _check_calls(calls: Calls, values: _Layer) -> None:
    turn = [server for server in calls.ice_servers if server.is_turn]
    if not calls.turn_secret_file:
        for server in turn:
            if server.username is None:
                raise ConfigError(
                    f"{values['calls.ice_servers'].source}: {server.urls[0]} needs a username and a credential; set both, "
                    "or calls.turn_secret_file"
                )
    if calls.relay_only and not turn:
        raise ConfigError(
            f"{values['calls.relay_only'].source}: calls.ice_servers has no TURN server to relay calls; add one"
        )


def _resolve(config: Config, environ: Mapping[str, str], hostname: str) -> Config:
    """Fill in the values that depend on the machine, and split the URL of Redis."""
    systemd = environ.get("STATE_DIRECTORY", "").split(":")[0]
    return dataclasses.replace(
        config,
        node_id=config.node_id or re.sub(r"[^A-Za-z0-9._-]", "-", hostname)[:64] or "node",
        state_dir=os.path.abspath(config.state_dir or systemd or "state"),
        redis=_redis(config.redis),
    )


def _redis(redis: Redis) -> Redis:
    if not redis.url:
        return redis
    parts = urlsplit(redis.url)
    number = parse_qs(parts.query).get("db", ["0"])[0] if parts.scheme == "unix" else parts.path.strip("/") or "0"
    if not number.isdecimal():
        raise ConfigError("redis.url (REDIS_URL): the part after the host must be the number of the database")
    return dataclasses.replace(
        redis,
        host=unquote(parts.path) if parts.scheme == "unix" else cast(str, parts.hostname),
        port=parts.port or 6379,
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        db=int(number),
        tls=parts.scheme == "rediss",
    )
