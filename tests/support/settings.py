"""Settings for tests: the configuration's defaults, with changes."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from tandemd.app import settings
from tandemd.archive.writer import WriterSettings
from tandemd.config import Config
from tandemd.ratelimit import Bounds
from tandemd.rooms.joining.limits import JoinLimits
from tandemd.rooms.playback_settings import PlaybackSyncSettings
from tandemd.rules.settings import RuleSettings
from tandemd.store.redis.settings import RedisSettings
from tandemd.web import WebSettings
from tandemd.websocket.factory import ProtocolSettings
from tandemd.websocket.send_queue import SendQueueLimits

T = TypeVar("T", bound=msgspec.Struct)

CONFIG = Config()


def _changed(defaults: T, changes: dict[str, Any]) -> T:
    return msgspec.structs.replace(defaults, **changes)


def rule_settings(**changes: Any) -> RuleSettings:
    return _changed(settings.rule_settings_of(CONFIG), changes)


def playback_sync_settings(**changes: Any) -> PlaybackSyncSettings:
    return _changed(settings.playback_sync_settings_of(CONFIG), changes)


def join_limits(**changes: Any) -> JoinLimits:
    return _changed(settings.join_limits_of(CONFIG), changes)


def bounds(**changes: Any) -> Bounds:
    return _changed(settings.bounds_of(CONFIG), changes)


def redis_settings(**changes: Any) -> RedisSettings:
    return _changed(settings.redis_settings_of(CONFIG), changes)


def writer_settings(**changes: Any) -> WriterSettings:
    """Return the settings of the archive writer, without deletion of old rows unless it is given."""
    return _changed(settings.writer_settings_of(CONFIG), {"retention_days": 0.0, "events_bytes": 0, **changes})


def send_queue_limits(**changes: Any) -> SendQueueLimits:
    return _changed(settings.protocol_settings_of(CONFIG).send_queue, changes)


def protocol_settings(**changes: Any) -> ProtocolSettings:
    """Return the settings of a connection, without join_timeout unless it is given."""
    return _changed(settings.protocol_settings_of(CONFIG), {"join_timeout": 0.0, **changes})


def web_settings(**changes: Any) -> WebSettings:
    return _changed(settings.web_settings_of(CONFIG, "", ""), changes)
