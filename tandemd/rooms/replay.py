"""What members that come back are told of what they missed: encoded once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from weakref import WeakValueDictionary

import msgspec

from .. import messages as m
from ..messages.framing import text_frame
from ..rules.state import Commit, Version

PIECE_BYTES = 64 * 1024
"""About how long the pieces are in which a replay is made: what a transport is given at once."""


class _Frames:
    """The frames of one commit."""

    __slots__ = ("__weakref__", "data")

    def __init__(self, data: bytes):
        self.data = data


class Replay:
    """The replayed frames of one room, kept for as long as they wait for any connection.

    allows: whether members may still be led to a title. It may have been allowed when it was chosen.
    """

    __slots__ = ("_allows", "_frames")

    def __init__(self, allows: Callable[[str], bool]):
        self._allows = allows
        self._frames: WeakValueDictionary[Version, _Frames] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._frames)

    def pieces(self, commits: Iterable[Commit], user: str) -> tuple[int, Iterator[bytes]]:
        """Return what a member is told of commits: its bytes, and pieces of about `PIECE_BYTES`, joined when they are taken."""
        frames = [self._of(commit) for commit in commits if commit.messages and commit.skip != user]
        return sum(len(each.data) for each in frames), _join(frames)

    def _of(self, commit: Commit) -> _Frames:
        version = commit.epoch, commit.seq
        found = self._frames.get(version)
        if found is None:
            found = self._frames[version] = _Frames(
                b"".join(
                    text_frame(m.encode(msgspec.structs.replace(message, replayed=True)))
                    for message in commit.messages
                    if not isinstance(message, m.UrlChanged) or self._allows(message.url)
                )
            )
        return found


def _join(frames: list[_Frames]) -> Iterator[bytes]:
    frames.reverse()
    while frames:
        piece, size = [], 0
        while frames and size < PIECE_BYTES:
            data = frames.pop().data
            piece.append(data)
            size += len(data)
        yield b"".join(piece)
