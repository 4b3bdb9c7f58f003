"""The configuration: declared in `schema`, read by `load`, documented by `reference`.

May import: rules, ratelimit, messages.
"""

from .loader import ConfigError, WrittenValue, load, load_with_sources
from .schema import AdminSettings, Archive, Config, Limits, Log, Postgres, Redis, Rooms, TitleSettings, Web

__all__ = [
    "AdminSettings",
    "Archive",
    "Config",
    "ConfigError",
    "Limits",
    "Log",
    "Postgres",
    "Redis",
    "Rooms",
    "TitleSettings",
    "Web",
    "WrittenValue",
    "load",
    "load_with_sources",
]
