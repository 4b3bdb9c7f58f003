"""The configuration: declared in `declaration`, read by `load`, documented by `reference`."""

from .declaration import Admin, Archive, Config, Limits, Log, Postgres, Redis, Rooms, Titles, Web
from .loading import ConfigError, load

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
