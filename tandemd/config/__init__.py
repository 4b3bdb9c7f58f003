"""The configuration: declared in `declaration`, read by `load`, documented by `reference`."""

from .loader import ConfigError, load
from .schema import Admin, Archive, Config, Limits, Log, Postgres, Redis, Rooms, Titles, Web

__all__ = [
    "Admin",
    "Archive",
    "Config",
    "ConfigError",
    "Limits",
    "Log",
    "Postgres",
    "Redis",
    "Rooms",
    "Titles",
    "Web",
    "load",
]
