"""The declaration of configuration keys: a key is a field of a section, with its kind, default and meaning."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeVar

from .value_types import Kind

T = TypeVar("T")


@dataclass(frozen=True)
class ConfigKey:
    """The declaration of one key.

    path: where it is, such as "rooms.grace". default: as it would be written. older: an older environment name, or "".
    """

    path: str
    kind: Kind[Any]
    default: object
    doc: str
    older: str

    @property
    def env(self) -> tuple[str, ...]:
        """The environment names, the one to document first."""
        own = "TANDEMD_" + self.path.upper().replace(".", "_")
        return (self.older, own) if self.older else (own,)


def key(kind: Kind[T], default: object, doc: str, *, env: str = "") -> T:
    """Declare a key of a section; env: an older environment name."""
    declared = {"kind": kind, "default": default, "doc": doc, "env": env}
    return dataclasses.field(default=kind.parse(default), repr=not kind.secret, metadata=declared)


def section(kind: type[T]) -> T:
    """Declare a section."""
    return dataclasses.field(default_factory=kind, metadata={"section": kind})
