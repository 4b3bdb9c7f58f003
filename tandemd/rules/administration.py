"""Commands of the server's administrators."""

from __future__ import annotations

from .. import messages as m
from ..errors import ErrorCode, RequestError
from .commands import Announce, Close, Decision
from .display_names import SERVER_NAME, clean_line
from .event_types import EventType
from .settings import RuleSettings
from .state import MEMBER, Room
from .text import clean_text


def close(room: Room, body: Close) -> Decision:
    """End the room: it removes all members and frees the room id. A room without commits stays as it is."""
    if not room.seq:
        return Decision()
    details = {"by": body.by, "why": clean_line(body.reason, len(body.reason or ""))}
    # The commit has no messages, because it removes all members: see `private_messages.for_closed_room`.
    return Decision(EventType.ROOM_CLOSED, {MEMBER + user: None for user in room.members}, (), details, closes=True)


def announce(settings: RuleSettings, room: Room, body: Announce, now: float) -> Decision:
    """Send a chat message of the server to the members, if the room has any.

    Raises RequestError if the text is empty, or longer than `rooms.chat_length`.
    """
    text = clean_text(body.text)
    if not text:
        raise RequestError(ErrorCode.BAD_MESSAGE, "`text` has only control characters.")
    if len(text) > settings.chat_length:
        raise RequestError(ErrorCode.BAD_MESSAGE, f"`text` is longer than {settings.chat_length} characters.")
    if not room.members:
        return Decision()
    message = m.ChatMessage(
        seq=room.seq + 1,
        prev=room.prev,
        user_id=m.SERVER,
        username=SERVER_NAME,
        text=text,
        timestamp=int(now * 1000),
    )
    # The archive keeps no chat of members. It keeps announcements, because operators account for them.
    return Decision(EventType.ANNOUNCEMENT, {}, (message,), {"by": body.by, "text": text})
