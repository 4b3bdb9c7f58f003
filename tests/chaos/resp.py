"""One command to a Redis server, without a client library. Blocks."""

from __future__ import annotations

import socket
from typing import Any


def ask(path: str, *words: str, timeout: float = 10.0) -> Any:
    """Return the answer to one command: int, str, list or None; "" if the server ended instead. Raises OSError, ValueError."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(path)
        parts = [f"*{len(words)}\r\n".encode()]
        for word in words:
            parts.append(f"${len(word.encode())}\r\n{word}\r\n".encode())
        connection.sendall(b"".join(parts))
        with connection.makefile("rb") as file:
            return _read(file)


def _read(file: Any) -> Any:
    line = file.readline()[:-2]
    kind, rest = line[:1], line[1:].decode()
    if kind == b"-":
        raise ValueError(rest)
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == "-1" else file.read(int(rest) + 2)[:-2].decode()
    if kind == b"*":
        return [_read(file) for _ in range(int(rest))]
    return rest
