"""All cases, by their names."""

from __future__ import annotations

from . import floods, frames, impersonation, slow_connections, web
from .case import Case

CASES: tuple[type[Case], ...] = (
    *frames.CASES,
    *slow_connections.CASES,
    *impersonation.CASES,
    *web.CASES,
    *floods.CASES,
)
BY_NAME = {case.name: case for case in CASES}
