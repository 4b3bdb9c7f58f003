"""All cases, by their names."""

from __future__ import annotations

from . import doors, floods, frames, people, web
from .case import Case

CASES: tuple[type[Case], ...] = (*frames.CASES, *doors.CASES, *people.CASES, *web.CASES, *floods.CASES)
BY_NAME = {case.name: case for case in CASES}
