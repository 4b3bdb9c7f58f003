"""The frames that remove all members from the screen of an old client, which has no part in their room any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .. import messages as m
from ..messages.framing import text_frame
from ..rules import private_messages

BLOCK_USERS = 256
"""Users in a block: about 30 KB."""


class DepartureFrames:
    """The departures of all members, in blocks. Each block is encoded once, when the first of its readers is there.

    users: their user ids. 4 000 of them are 400 KB, which all sessions share whose clients have yet to read them.
    """

    def __init__(self, users: Sequence[str]):
        self._users = users
        self._blocks: list[bytes] = []

    def __len__(self) -> int:
        """Return the number of blocks."""
        return (len(self._users) + BLOCK_USERS - 1) // BLOCK_USERS

    def __iter__(self) -> Iterator[bytes]:
        for number in range(len(self)):
            # All readers begin at the first block, so that only the next one can be missing.
            if number == len(self._blocks):
                users = self._users[number * BLOCK_USERS : (number + 1) * BLOCK_USERS]
                self._blocks.append(b"".join([text_frame(m.encode(x)) for x in private_messages.departures(users)]))
            yield self._blocks[number]
