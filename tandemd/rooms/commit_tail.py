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

    commits, sizes: the commits and their bytes. `RoomReplica.apply` appends to both, because a method would cost a call for each
    message.
    last_size: the bytes of the newest commit.
    max_total: an upper bound of the sum of the sizes; beyond `MAX_BYTES`, `shorten` is due.
    """

    __slots__ = ("commits", "last_size", "max_total", "sizes")

    def __init__(self) -> None:
        self.commits: deque[Commit] = deque(maxlen=MAX_COMMITS)
        self.sizes: deque[int] = deque(maxlen=MAX_COMMITS)
        self.max_total = 0
        self.last_size = 0

    def __len__(self) -> int:
        return len(self.commits)

    def __iter__(self) -> Iterator[Commit]:
        return iter(self.commits)

    def clear(self) -> None:
        """Drop all commits."""
        self.commits.clear()
        self.sizes.clear()
        self.max_total = self.last_size = 0

    def since(self, after: Version, room: Room) -> list[Commit] | None:
        """Return the commits between a version and that of the room. None if the tail does not reach back to it."""
        commits = self.commits
        index = after[1] + 1 - commits[0].seq if commits else -1
        if not 0 <= index < len(commits):
            return [] if after == room.version else None
        # The first commit of an epoch follows on the version of this epoch with the seq before it.
        is_known = (
            (commits[index - 1].epoch, commits[index - 1].seq) == after if index else commits[0].epoch == after[0]
        )
        return list(islice(commits, index, None)) if is_known else None

    def shorten(self) -> None:
        """Drop the oldest commits beyond `MAX_BYTES`, but never the newest."""
        # Less than `max_total`, if commits have dropped out at `MAX_COMMITS`.
        size = sum(self.sizes)
        while size > MAX_BYTES and len(self.commits) > 1:
            self.commits.popleft()
            size -= self.sizes.popleft()
        self.max_total = size


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
