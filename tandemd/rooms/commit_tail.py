"""The last commits of an open room, for replays and for a store that has lost them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from ..rules.state import Commit, Room, Version

MAX_COMMITS = 100
"""The commits of one room that a node keeps."""

MAX_BYTES = 64 * 1024
"""The size of these commits together, as `size_of_changes` and the frames of their messages count it."""

CHANGE_BYTES = 300
"""The estimated size of a changed field: about that of a member."""


class CommitTail:
    """The last commits of a room, up to its current version.

    last_size: the bytes of the newest commit.
    """

    __slots__ = ("_commits", "_max_total", "_sizes", "last_size")

    def __init__(self) -> None:
        self._commits: deque[Commit] = deque(maxlen=MAX_COMMITS)
        self._sizes: deque[int] = deque(maxlen=MAX_COMMITS)
        self._max_total = 0
        self.last_size = 0

    def __len__(self) -> int:
        return len(self._commits)

    def __iter__(self) -> Iterator[Commit]:
        return iter(self._commits)

    def add(self, commit: Commit, size: int) -> None:
        """Add the newest commit. size: in bytes."""
        self._commits.append(commit)
        self._sizes.append(size)
        self.last_size = size
        self._max_total += size
        if self._max_total > MAX_BYTES:
            self._shorten()

    def clear(self) -> None:
        """Drop all commits."""
        self._commits.clear()
        self._sizes.clear()
        self._max_total = self.last_size = 0

    def since(self, after: Version, room: Room) -> list[Commit] | None:
        """Return the commits between a version and that of the room. None if the tail does not reach back to it."""
        commits = self._commits
        index = after[1] + 1 - commits[0].seq if commits else -1
        if not 0 <= index < len(commits):
            return [] if after == room.version else None
        # The first commit of an epoch follows on the version of this epoch with the seq before it.
        is_known = (
            (commits[index - 1].epoch, commits[index - 1].seq) == after if index else commits[0].epoch == after[0]
        )
        return list(islice(commits, index, None)) if is_known else None

    def _shorten(self) -> None:
        """Drop the oldest commits beyond `MAX_BYTES`, but never the newest."""
        # Less than `_max_total`, if commits have dropped out at `MAX_COMMITS`.
        size = sum(self._sizes)
        while size > MAX_BYTES and len(self._commits) > 1:
            self._commits.popleft()
            size -= self._sizes.popleft()
        self._max_total = size


def size_of_changes(changes: Mapping[str, Any]) -> int:
    """Return the estimated bytes of changed fields. Only the gate and the url may be much longer than `CHANGE_BYTES`."""
    size = CHANGE_BYTES * len(changes)
    gate = changes.get("gate")
    if gate is not None:
        # After a SEEK, the user ids of all members that watch.
        size += sum(len(user) if user.isascii() else len(user.encode()) for user in gate.pending)
    if "url" in changes:
        size += len(changes["url"])
    return size
