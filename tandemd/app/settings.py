"""Settings of each part of a node, made from the configuration.

A setting has the name of its configuration key, and its default is declared there only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar

import msgspec
from twisted.internet.interfaces import IReactorTime

from .. import __version__
from ..archive.writer import WriterSettings
from ..auth.authenticator import TokenAuthenticator
from ..auth.ice_servers import IceServerProvider, IceServerSettings, TurnSecretError
from ..auth.keys import KeyFileError
from ..config import Config, Limits
from ..messages import FEATURES, PROTOCOL, DriftPolicy
from ..ratelimit import Bounds, MessageRates, SpendingRates
from ..ratelimit.connections import ConnectionLimits
from ..rooms.joining.limits import JoinLimits
from ..rooms.playback_settings import PlaybackSyncSettings
from ..rules.engine import Rules
from ..rules.local_titles import LOCAL_ORIGIN
from ..rules.settings import RuleSettings
from ..rules.title_allowlist import TitleAllowlist
from ..store.redis.settings import RedisSettings
from ..util.directories import unreadable_directory
from ..util.services import StartupError
from ..web.client_config import ClientConfig, ClientLimits
from ..web.settings import WebSettings
from ..websocket.factory import ProtocolSettings
from ..websocket.send_queue import SendQueueLimits

SettingsT = TypeVar("SettingsT", bound=msgspec.Struct)

MAIL_SLACK_SECONDS = 15
"""Time that Redis keeps a mailbox beyond the grace period of its member."""

NO_LIMITS = {
    "connections": 0,
    "connections_per_address": 0,
    "connections_per_minute": 0,
    "requests_per_minute": 0,
    "penalty": 0.0,
    "longest_penalty": 0.0,
    "join_timeout": 0.0,
    "members_per_room": 1_000_000,
    "members_per_address": 0,
    "rooms_per_address": 0,
    "rooms_per_node": 0,
    "joins": 0,
    "room_creations": 0,
    "pin_tries_per_room": 0,
    "pin_tries_per_address": 0,
    "pending_joins": 0,
    "code_lookups": 0,
    "code_lookups_total": 0,
}
"""The keys that `limits.enabled: false` sets. The others limit lengths, or belong to an object that such a node does not make."""


def limits_of(config: Config) -> Limits:
    """Return the limits; `limits.enabled: false` removes some."""
    limits = config.limits
    return limits if limits.enabled else dataclasses.replace(limits, **NO_LIMITS)  # type: ignore[arg-type]


def from_sections(kind: type[SettingsT], *sections: object, **values: object) -> SettingsT:
    """Return settings whose fields are the keys of the same names in these sections.

    values: fields that are not configuration keys. Raises TypeError for a required field that is in neither.
    """
    for field in msgspec.structs.fields(kind):
        for section in sections:
            if field.name not in values and hasattr(section, field.name):
                values[field.name] = getattr(section, field.name)
    return kind(**values)


def authenticator_of(config: Config, clock: IReactorTime) -> TokenAuthenticator | None:
    """Return the authenticator that the configuration asks for, or None for an open server. Raises StartupError."""
    auth = config.auth
    if auth.mode == "open":
        return None
    if not auth.keys:
        raise StartupError("auth.keys: auth.mode is token, which needs a key to check tokens with; name its file")
    try:
        return TokenAuthenticator(auth.keys, auth.audience, auth.leeway, clock)
    except KeyFileError as error:
        raise StartupError(f"auth.keys: {error}") from None


def ice_servers_of(config: Config, clock: IReactorTime, wall: Callable[[], float]) -> IceServerProvider:
    """Return the provider of ICE servers. wall: see `IceServerProvider`. Raises StartupError."""
    try:
        return IceServerProvider(from_sections(IceServerSettings, config.calls), clock, wall)
    except TurnSecretError as error:
        raise StartupError(f"calls.turn_secret_file: {error}") from None


def rule_settings_of(config: Config) -> RuleSettings:
    """Return the settings of the rules."""
    return from_sections(RuleSettings, config.rooms, limits_of(config), drift_policy=drift_policy_of(config))


def drift_policy_of(config: Config) -> DriftPolicy:
    """Return the corrections that clients make to their players."""
    return from_sections(DriftPolicy, config.sync)


def rules_of(config: Config) -> Rules:
    """Return the rules as the configuration sets them."""
    return Rules(rule_settings_of(config), title_allowlist_of(config), features_of(config))


def title_allowlist_of(config: Config) -> TitleAllowlist:
    """Return the allow-list of titles."""
    return TitleAllowlist(config.titles.allowed, config.limits.url_length, bool(config.web.videos_dir))


def features_of(config: Config) -> tuple[str, ...]:
    """Return the abilities of the node, see `messages.features`."""
    configured = {"auth": config.auth.mode == "token"}
    return tuple(name for name in FEATURES if configured.get(name, True))


def client_config_of(config: Config) -> ClientConfig:
    """Return the answer of /api/config."""
    limits = limits_of(config)
    return ClientConfig(
        protocol=PROTOCOL,
        features=features_of(config),
        titles=title_allowlist_of(config).entries,
        limits=ClientLimits(
            frame_bytes=limits.frame_bytes,
            title_length=limits.url_length,
            chat_length=limits.chat_length,
            username_length=limits.username_length,
            members_per_room=limits.members_per_room,
        ),
    )


def playback_sync_settings_of(config: Config) -> PlaybackSyncSettings:
    """Return the settings of playback synchronisation."""
    return from_sections(PlaybackSyncSettings, config.rooms)


def message_rates_of(config: Config) -> MessageRates:
    """Return the rates of one connection."""
    return from_sections(MessageRates, config.limits)


def spending_rates_of(config: Config) -> SpendingRates:
    """Return the rates of rooms and addresses."""
    return from_sections(SpendingRates, config.limits)


def connection_limits_of(config: Config) -> ConnectionLimits:
    """Return the limits to WebSockets and HTTP requests."""
    return from_sections(ConnectionLimits, limits_of(config))


def join_limits_of(config: Config) -> JoinLimits:
    """Return the limits to JOINs."""
    return from_sections(JoinLimits, limits_of(config))


def bounds_of(config: Config) -> Bounds:
    """Return the bytes that a room may hold."""
    return from_sections(Bounds, config.limits)


def protocol_settings_of(config: Config) -> ProtocolSettings:
    """Return the settings of a WebSocket connection."""
    send_queue = from_sections(SendQueueLimits, config.limits)
    return from_sections(ProtocolSettings, config, limits_of(config), send_queue=send_queue)


def redis_settings_of(config: Config) -> RedisSettings:
    """Return the settings of the Redis store."""
    mail_seconds = int(config.rooms.grace) + MAIL_SLACK_SECONDS
    return from_sections(RedisSettings, config.rooms, config.redis, bounds=bounds_of(config), mail_seconds=mail_seconds)


def writer_settings_of(config: Config) -> WriterSettings:
    """Return the settings of the archive writer."""
    return from_sections(WriterSettings, config.archive)


def web_settings_of(config: Config, page_directory: str, client_directory: str) -> WebSettings:
    """Return the settings of HTTP. page_directory, client_directory: the files of the party page and the client library."""
    return from_sections(
        WebSettings,
        config.web,
        config.tls,
        limits_of(config),
        node_id=config.node_id,
        version=__version__,
        page_directory=page_directory,
        client_directory=client_directory,
        # These titles are on no other server.
        titles=[url for url in config.titles.allowed if not url.startswith(LOCAL_ORIGIN)],
        admin_token=config.admin.token,
        client_config=client_config_of(config),
    )


def check_videos_dir(path: str) -> None:
    """Raise StartupError unless this process can list the directory."""
    fault = unreadable_directory(path)
    if fault:
        raise StartupError(
            f"web.videos_dir: {path}: {fault}; name a directory that this user can read, or remove the key"
        )
