"""Checks of library versions, for modules that use private names of a library."""

from __future__ import annotations

import re


class UnsupportedVersionError(ImportError):
    """An installed library is not among the versions whose private names tandemd knows."""


def require(library: str, installed: str, first: str, below: str) -> None:
    """Raise UnsupportedVersionError unless first <= installed < below.

    library: the name of the distribution.
    installed, first, below: versions; the first two numbers count.
    """
    if not _numbers(first) <= _numbers(installed) < _numbers(below):
        raise UnsupportedVersionError(
            f"{library} {installed} is installed, but tandemd uses private names of {library} and is tested with "
            f"{first} up to, but not including, {below}; run: pip install '{library}>={first},<{below}'"
        )


def _numbers(version: str) -> tuple[int, ...]:
    major, minor = (re.findall(r"[0-9]+", version) + ["0", "0"])[:2]
    return int(major), int(minor)
