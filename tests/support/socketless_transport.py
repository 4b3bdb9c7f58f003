"""The transport of a session without a socket, for tests of rooms."""

from __future__ import annotations

from collections.abc import Callable, Iterator


class SocketlessTransport:
    """A `rooms.session.SessionTransport` whose client reads everything and answers probes. Subclasses define `write`.

    A test that does not expect the server to close the connection fails if it does.
    """

    def write(self, data: bytes) -> None:
        raise NotImplementedError

    def stream(self, pieces: Iterator[bytes]) -> None:
        for piece in pieces:
            self.write(piece)

    def close(self, code: int, reason: str) -> None:
        raise AssertionError(f"closed: {code} {reason}")

    def close_abusive(self, reason: str) -> None:
        raise AssertionError(f"expelled: {reason}")

    def probe(self, answered: Callable[[bool], None]) -> None:
        answered(True)

    def crowded(self) -> bool:
        return False

    def settled(self) -> None:
        """Nothing."""
