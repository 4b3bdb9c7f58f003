"""The configuration: declared in `schema`, read by `load`, documented by `reference`."""

from .loader import ConfigError, load
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
    "load",
]
