"""What whoever administers the server may do to a room."""

from __future__ import annotations

from .. import messages as m
from ..errors import ErrorCode, RequestError
from .commands import Announce, Close, Decision
from .display_names import SERVER_NAME
from .event_types import EventType
from .settings import RuleSettings
from .state import MEMBER, Room


def close(room: Room, body: Close) -> Decision:
    """End the room: everybody is out, and its code is free. Nothing, if there is no such room."""
    if not room.seq:
        return Decision()
    details = {"by": body.by, "why": body.reason}
    # The members are told by `asides.room_closed`: with this commit they are none any more.
    return Decision(EventType.ROOM_CLOSED, {MEMBER + user: None for user in room.members}, (), details, closes=True)


def announce(settings: RuleSettings, room: Room, body: Announce, now: float) -> Decision:
    """Have the server say something, as a member would. Nothing, if nobody is there to hear it."""
    if len(body.text) > settings.chat_length:
        raise RequestError(ErrorCode.BAD_MESSAGE, f"`text` is longer than {settings.chat_length} characters.")
    if not room.members:
        return Decision()
    said = m.ChatMessage(
        seq=room.seq + 1,
        prev=room.prev,
        user_id=m.SERVER,
        username=SERVER_NAME,
        text=body.text,
        timestamp=int(now * 1000),
    )
    # What members say is nobody's business. This is the operators' own, and they account for it.
    return Decision(EventType.ANNOUNCEMENT, {}, (said,), {"by": body.by, "text": body.text})
