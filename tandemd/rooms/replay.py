"""Missed messages for members that resume, encoded once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from weakref import WeakValueDictionary

import msgspec

from .. import messages as m
from ..messages.framing import text_frame
from ..rules.state import Commit, Version

PIECE_BYTES = 64 * 1024
"""The approximate size of a piece of a replay, which a transport takes at once."""


class _Frames:
    """The frames of one commit."""

    __slots__ = ("__weakref__", "data")

    def __init__(self, data: bytes):
        self.data = data


class Replay:
    """The replayed frames of one room, kept while they wait for any connection.

    allows: returns whether a title is allowed now. It may have been removed from the list since its URL_CHANGE.
    """

    __slots__ = ("_allows", "_frames")

    def __init__(self, allows: Callable[[str], bool]):
        self._allows = allows
        self._frames: WeakValueDictionary[Version, _Frames] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._frames)

    def pieces(self, commits: Iterable[Commit], user: str) -> tuple[int, Iterator[bytes]]:
        """Return the bytes of the frames of commits for a member, and pieces of about `PIECE_BYTES`, which are made on demand."""
        frames = [self._of(commit) for commit in commits if commit.messages and commit.skip != user]
        return sum(len(each.data) for each in frames), _join(frames)

    def _of(self, commit: Commit) -> _Frames:
        version = commit.epoch, commit.seq
        frames = self._frames.get(version)
        if frames is None:
            frames = self._frames[version] = _Frames(
                b"".join(
                    text_frame(m.encode(msgspec.structs.replace(message, replayed=True)))
                    for message in commit.messages
                    if not isinstance(message, m.UrlChanged) or self._allows(message.url)
                )
            )
        return frames


def _join(frames: list[_Frames]) -> Iterator[bytes]:
    frames.reverse()
    while frames:
        piece, size = [], 0
        while frames and size < PIECE_BYTES:
            data = frames.pop().data
            piece.append(data)
            size += len(data)
        yield b"".join(piece)
