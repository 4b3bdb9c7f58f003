"""What fields of messages may hold."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Id = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"\A[^\x00-\x1f\x7f]+\Z")]
"""A user id or room id: 1 to 100 characters, none of them a control character."""

Seconds = Annotated[float, Meta(ge=0, le=10_000_000)]
"""A position in a title."""

Count = Annotated[int, Meta(ge=0, le=2**53)]

SERVER = "server"
"""The sender of what the server does by itself. Nobody may join under this name."""
