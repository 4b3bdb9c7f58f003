"""The types of commits, as the archive and the metrics name them."""

from enum import StrEnum


class EventType(StrEnum):
    """The `event` of a commit. Stores and archives keep these names; change none."""

    USER_JOINED = "USER_JOINED"
    USER_REJOINED = "USER_REJOINED"
    """A member came back without its resume token, or without asking for the missed messages."""
    USER_RESUMED = "USER_RESUMED"
    CONNECTION_LOST = "CONNECTION_LOST"
    NODE_LOST = "NODE_LOST"
    USER_LEFT = "USER_LEFT"
    USER_KICKED = "USER_KICKED"
    USER_BANNED = "USER_BANNED"
    USER_UNBANNED = "USER_UNBANNED"
    USERNAME_UPDATED = "USERNAME_UPDATED"
    HOST_CHANGED = "HOST_CHANGED"
    GUEST_CONTROL = "GUEST_CONTROL"
    CONTROL_DELEGATED = "CONTROL_DELEGATED"
    ROOM_LOCKED = "ROOM_LOCKED"
    PLAY_PAUSE = "PLAY_PAUSE"
    SEEK = "SEEK"
    RATE_CHANGED = "RATE_CHANGED"
    GATE_OPENED = "GATE_OPENED"
    URL_CHANGE = "URL_CHANGE"
    CHAT = "CHAT"
    ANNOUNCEMENT = "ANNOUNCEMENT"
    ROOM_EXPIRED = "ROOM_EXPIRED"
    ROOM_CLOSED = "ROOM_CLOSED"
