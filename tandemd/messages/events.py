"""Messages of the server to all members of a room, after a change of the room."""

from __future__ import annotations

from typing import ClassVar, Literal

from .base import SequencedMessage
from .fields import MemberState


class UserJoined(SequencedMessage, tag="USER_JOINED", frozen=True, kw_only=True):
    """A member joined, or came back with a reloaded page.

    inCall: false if its client sends CALL; else offer it a new video connection.
    """

    user_id: str
    username: str | None
    in_call: bool | None = None


class UserLeft(SequencedMessage, tag="USER_LEFT", frozen=True, kw_only=True):
    """A member left: remove it, and drop its video connection.

    reason: present if the host removed the member.
    """

    user_id: str
    reason: Literal["kicked", "banned"] | None = None


class LegacyLeave(SequencedMessage, tag="LEAVE", frozen=True, kw_only=True):
    """A member left: drop the video connection. USER_LEFT always follows, and says the same.

    userId: the member.
    """

    legacy: ClassVar[bool] = True
    user_id: str


class HostChanged(SequencedMessage, tag="HOST_CHANGED", frozen=True, kw_only=True):
    """The room's host; also sent when it is the same as before.

    hostUserId: the host, or null while the room has none.
    """

    host_user_id: str | None


class GuestControl(SequencedMessage, tag="GUEST_CONTROL", frozen=True, kw_only=True):
    """Whether guests may control the film. Without `seq`, for old clients: whether this member may.

    enabled: true if they may.
    """

    enabled: bool


class ControlDelegated(SequencedMessage, tag="CONTROL_DELEGATED", frozen=True, kw_only=True):
    """Whether control of the film is delegated to a member.

    userId: the member.
    enabled: true if it may control the film, even if guests may not.
    """

    user_id: str
    enabled: bool


class RoomLocked(SequencedMessage, tag="ROOM_LOCKED", frozen=True, kw_only=True):
    """The host has locked or unlocked the room.

    locked: whether the room keeps newcomers out.
    """

    locked: bool


class UsernameUpdated(SequencedMessage, tag="USERNAME_UPDATED", frozen=True, kw_only=True):
    """A member has a new name.

    username: the new name.
    """

    user_id: str
    username: str


class PlayPauseEvent(SequencedMessage, tag="PLAY_PAUSE", frozen=True, kw_only=True):
    """Play or pause.

    userId: the member that did it; "server" at the end of a seek, while the host's player stalls, or to bring a member in step.
    currentTime: the film's position at `timestamp`, in seconds.
    timestamp: the server's clock; that of the start, if it is scheduled.
    at: only if the start is scheduled: the time on the server's clock at which the film starts, in ms with fractions. It may be
    up to 0.5 s ahead.
    rate: the playback rate, if it is not 1.
    """

    user_id: str
    control: Literal["play", "pause"]
    current_time: float
    timestamp: int
    at: float | None = None
    rate: float | None = None


class MemberStatus(SequencedMessage, tag="MEMBER_STATUS", frozen=True, kw_only=True):
    """A member has another status.

    status: as in STATUS.
    """

    user_id: str
    status: MemberState


class WaitForBufferingChanged(SequencedMessage, tag="WAIT_FOR_BUFFERING", frozen=True, kw_only=True):
    """Whether the film waits for members that buffer.

    enabled: true if it does.
    """

    enabled: bool


class RateChanged(SequencedMessage, tag="RATE_CHANGED", frozen=True, kw_only=True):
    """The film plays at another rate. It plays or stands as before.

    userId: the member that did it; "server" when the last member has left whose client follows the room.
    rate: seconds of film per second.
    currentTime: the film's position at `at`, in seconds.
    at: a time on the server's clock, in ms with fractions.
    """

    user_id: str
    rate: float
    current_time: float
    at: float


class SeekPause(SequencedMessage, tag="SEEK_PAUSE", frozen=True, kw_only=True):
    """Go to this position, pause, and answer READY when the player could play.

    userId: always "server", so that the sender of SEEK does the same.
    by: the sender of SEEK; absent if the film waits for members that buffer.
    """

    user_id: str
    current_time: float
    timestamp: int
    by: str = ""


class UrlChanged(SequencedMessage, tag="URL_CHANGE", frozen=True, kw_only=True):
    """The room has this title now."""

    user_id: str
    url: str


class ChatMessage(SequencedMessage, tag="CHAT", frozen=True, kw_only=True):
    """A chat message."""

    user_id: str
    username: str | None
    text: str
    timestamp: int


class MemberCall(SequencedMessage, tag="MEMBER_CALL", frozen=True, kw_only=True):
    """A member has joined or left the call. Members in the call offer a connection to one that joins.

    joined: true if it takes part now. A USER_JOINED of the member ends its part, too.
    """

    user_id: str
    joined: bool


LoggedMessage = (
    UserJoined | UserLeft | LegacyLeave | HostChanged | GuestControl | ControlDelegated | RoomLocked | UsernameUpdated |
    PlayPauseEvent | RateChanged | SeekPause | UrlChanged | ChatMessage | MemberStatus | WaitForBufferingChanged | MemberCall
)  # fmt: skip
"""The messages that commits carry."""

GATHERED_MESSAGES = frozenset(
    (UserJoined, UserLeft, LegacyLeave, UsernameUpdated, MemberCall, MemberStatus, ChatMessage)
)
"""Messages that move no player and change no permission, so that a large group may receive them a moment later."""
