"""Messages of the server."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from .client import (
    Answer,
    IceCandidate,
    IceCandidateInit,
    Offer,
    PlaybackAck,
    Relay,
    SessionDescription,
    SyncResponse,
)
from .fields import Count


class ServerMessage(
    Struct, tag_field="type", rename="camel", frozen=True, gc=False, omit_defaults=True, kw_only=True
):  # fmt: skip
    """A message of the server."""


class SequencedMessage(ServerMessage, frozen=True, kw_only=True):
    """A message of a change of the room; all members receive these in the same order, without gaps or duplicates.

    seq: the number of the change. It grows; not every number carries a message. Absent in a message to a single member.
    prev: the seq of the last change before it that carried messages; a client that has not seen that one missed a message.
    part: [which, of how many], from 1, if the change carries several messages.
    replayed: true for a missed message, after a resume. Show it; do not let it drive the player.
    """

    seq: Count | None = None
    prev: Count = 0
    part: tuple[int, int] | None = None
    replayed: bool = False


class Pong(ServerMessage, tag="PONG", frozen=True, kw_only=True):
    """The answer to PING.

    timestamp: the server's clock.
    """

    timestamp: int


class Ack(ServerMessage, tag="ACK", frozen=True, kw_only=True):
    """The command with this id was carried out, and will not be carried out again.

    id: that of the command.
    seq: that of its change, or the room's last if it made none; absent if the command concerns no room.
    """

    id: Count
    seq: Count | None = None


class Error(ServerMessage, tag="ERROR", frozen=True, kw_only=True):
    """A command was not carried out and will not be (but for a JOIN that stays pending); the connection stays.

    code: a word for programs; see the codes of ERROR.
    message: a text for people.
    id: that of the command, if it had one.
    retryAfterMs: milliseconds after which another try may help.
    """

    code: str
    message: str
    id: Count | None = None
    retry_after_ms: Count | None = None


class User(Struct, rename="camel", frozen=True, gc=False):
    """A member, as others see it."""

    user_id: str
    username: str | None


class GateState(Struct, rename="camel", frozen=True, gc=False):
    """The ready gate of a seek.

    currentTime: the position of the seek.
    waitingFor: user ids of the members that are not READY yet.
    """

    current_time: float
    waiting_for: list[str]


class RoomState(ServerMessage, tag="ROOM_STATE", frozen=True, kw_only=True):
    """The state of the room: the answer to JOIN, and sent again when the server cannot replay the missed messages.

    seq: that of the state; later messages have a greater one.
    epoch: names the numbering; a `seq` of another epoch means nothing.
    prev: the last seq that carried a message.
    currentTime, isPlaying: the film at `serverTime`.
    hostUserId: the host, or null while the room has none.
    serverTime: the server's clock, a timestamp.
    token: a secret, if JOIN asked for one; give it in the next JOIN.
    resumed: in the answer to a `resume`: whether all missed messages came before this one.
    gate: while a seek waits for members: its position, and their user ids.
    locked: whether the room keeps newcomers out.
    controllers: user ids of the members with delegated control.
    """

    room_id: str
    url: str
    current_time: float
    is_playing: bool
    host_user_id: str | None
    guest_control_enabled: bool
    users: list[User]
    epoch: int
    seq: Count
    prev: Count
    server_time: int
    token: str | None = None
    resumed: bool | None = None
    gate: GateState | None = None
    locked: bool = False
    controllers: list[str] = []


class UserJoined(SequencedMessage, tag="USER_JOINED", frozen=True, kw_only=True):
    """A member joined, or came back with a reloaded page: offer a new video connection."""

    user_id: str
    username: str | None


class UserLeft(SequencedMessage, tag="USER_LEFT", frozen=True, kw_only=True):
    """A member left; LEAVE comes before it.

    reason: present if the host removed the member.
    """

    user_id: str
    reason: Literal["kicked", "banned"] | None = None


class LegacyLeave(SequencedMessage, tag="LEAVE", frozen=True, kw_only=True):
    """A member left: drop the video connection."""

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

    userId: the member that did it; "server" at the end of a seek, or to bring one member in step.
    currentTime: the film's position at `timestamp`, in seconds.
    timestamp: the server's clock.
    """

    user_id: str
    control: Literal["play", "pause"]
    current_time: float
    timestamp: int


class SeekPause(SequencedMessage, tag="SEEK_PAUSE", frozen=True, kw_only=True):
    """Go to this position, pause, and answer READY when the player could play.

    userId: always "server", so that the sender of SEEK does the same.
    by: the sender of SEEK.
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


class Heartbeat(ServerMessage, tag="HOST_HEARTBEAT", frozen=True, kw_only=True):
    """The film's position: to guests every 3 s while it plays, and to a guest that is elsewhere; not to the host.

    userId: always "server".
    seq: that of the state it was made from.
    timestamp: the server's clock.
    """

    user_id: str
    current_time: float
    is_playing: bool
    timestamp: int
    seq: Count


class SyncResponseMessage(ServerMessage, tag="SYNC_RESPONSE", frozen=True, kw_only=True):
    """The film's position: the answer to REQUEST_SYNC, or the position of another member's player.

    to: the receiver.
    url: the title; "" for a member that may choose it.
    seq: that of the state it was made from.
    """

    to: str
    from_user_id: str
    current_time: float
    is_playing: bool
    url: str
    timestamp: int | None = None
    seq: Count | None = None
    user_id: str | None = None


class RelayedOffer(ServerMessage, tag="OFFER", frozen=True, kw_only=True):
    """A WebRTC offer from another member.

    from, userId: the sender.
    """

    sender: str = msgspec.field(name="from")
    user_id: str
    to: str
    offer: SessionDescription


class RelayedAnswer(ServerMessage, tag="ANSWER", frozen=True, kw_only=True):
    """A WebRTC answer from another member.

    from, userId: the sender.
    """

    sender: str = msgspec.field(name="from")
    user_id: str
    to: str
    answer: SessionDescription


class RelayedIceCandidate(ServerMessage, tag="ICE_CANDIDATE", frozen=True, kw_only=True):
    """A WebRTC candidate from another member.

    from, userId: the sender.
    """

    sender: str = msgspec.field(name="from")
    user_id: str
    to: str
    candidate: IceCandidateInit | None


class RelayedPlaybackAck(ServerMessage, tag="PLAYBACK_ACK", frozen=True, kw_only=True):
    """Another member has carried out the receiver's play or pause.

    from, userId: the sender.
    """

    sender: str = msgspec.field(name="from")
    user_id: str
    to: str
    control: str | None = None


class BanEntry(Struct, rename="camel", frozen=True, gc=False, omit_defaults=True):
    """A kick or a ban in force.

    userId: the kicked or banned user id.
    byAddress: whether newcomers from its addresses are banned too.
    until: a timestamp; absent for the life of the room.
    """

    user_id: str
    username: str | None
    by_address: bool = False
    until: int | None = None


class Bans(ServerMessage, tag="BANS", frozen=True, kw_only=True):
    """The kicks and bans in force. To the host: after KICK, BAN and UNBAN, and after ROOM_STATE unless empty.

    bans: the kicks that have not ended, and all bans.
    """

    bans: list[BanEntry]


class Kicked(ServerMessage, tag="KICKED", frozen=True, kw_only=True):
    """The host has removed the receiver, whose connection is in no room now. LEAVE and USER_LEFT for each other member follow.

    by: the host.
    banned: whether it is for the life of the room.
    reason: the host's text.
    retryAfterMs: milliseconds until the receiver may come back; absent for a ban.
    """

    by: str
    banned: bool = False
    reason: str | None = None
    retry_after_ms: Count | None = None


class RoomClosed(ServerMessage, tag="ROOM_CLOSED", frozen=True, kw_only=True):
    """The server's operator has ended the room: the connection is in no room now. LEAVE and USER_LEFT for every member follow.

    A JOIN with the same `roomId` creates a new room.

    reason: the operator's text.
    """

    reason: str | None = None


class ServerRestart(ServerMessage, tag="SERVER_RESTART", frozen=True, kw_only=True):
    """This server is about to close the connection; nothing is lost.

    reconnectAfterMs: milliseconds until the client should connect again.
    """

    reconnect_after_ms: Count


SERVER_MESSAGES: tuple[type[ServerMessage], ...] = (
    RoomState, UserJoined, UserLeft, LegacyLeave, HostChanged, GuestControl, ControlDelegated, RoomLocked, UsernameUpdated,
    PlayPauseEvent, SeekPause, UrlChanged, ChatMessage, Kicked, Bans, RoomClosed, Heartbeat, SyncResponseMessage, RelayedOffer,
    RelayedAnswer, RelayedIceCandidate, RelayedPlaybackAck, Ack, Error, Pong, ServerRestart,
)  # fmt: skip


def relayed(message: Relay, sender: str) -> ServerMessage:
    """Return a relay as its receiver gets it: the same, but `from` and `userId` are the sender's user id."""
    match message:
        case IceCandidate():
            return RelayedIceCandidate(sender=sender, user_id=sender, to=message.to, candidate=message.candidate)
        case Offer():
            return RelayedOffer(sender=sender, user_id=sender, to=message.to, offer=message.offer)
        case Answer():
            return RelayedAnswer(sender=sender, user_id=sender, to=message.to, answer=message.answer)
        case PlaybackAck():
            return RelayedPlaybackAck(sender=sender, user_id=sender, to=message.to, control=message.control)
        case SyncResponse():
            return SyncResponseMessage(
                to=message.to,
                from_user_id=sender,
                user_id=sender,
                current_time=message.current_time,
                is_playing=message.is_playing,
                url="",
            )


LoggedMessage = (
    UserJoined | UserLeft | LegacyLeave | HostChanged | GuestControl | ControlDelegated | RoomLocked | UsernameUpdated |
    PlayPauseEvent | SeekPause | UrlChanged | ChatMessage
)  # fmt: skip
