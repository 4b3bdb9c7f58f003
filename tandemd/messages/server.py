"""What the server sends."""

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
    """What the server says."""


class Logged(ServerMessage, frozen=True, kw_only=True):
    """A message that belongs to a change of the room; everybody gets these in the same order, without hole or double.

    seq: the number of the change. It grows; not every number carries a message. Absent in what you alone are told.
    prev: the seq of the change before it that carried messages: if you have not seen that one, you missed something.
    part: [which, of how many], from 1, if the change carries several messages.
    replayed: true if you missed it and are told now, after a resume. Show it; do not let it drive the player.
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
    """The command with this id was carried out, and never will be again.

    id: of the command.
    seq: the change it made, or the room's last if it made none; absent if the command concerns no room.
    """

    id: Count
    seq: Count | None = None


class Error(ServerMessage, tag="ERROR", frozen=True, kw_only=True):
    """A command was not carried out and will not be; the connection stays.

    code: what a program can act on.
    message: what a person can read.
    id: of the command, if it had one.
    retryAfterMs: when trying again may help.
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
    """A seek that waits.

    currentTime: where it leads to.
    waitingFor: user ids of those who are not READY yet.
    """

    current_time: float
    waiting_for: list[str]


class RoomState(ServerMessage, tag="ROOM_STATE", frozen=True, kw_only=True):
    """The room as it is; the answer to JOIN, and sent again whenever the server cannot tell what you missed.

    seq: of the state; the messages that follow have a greater one.
    epoch: of the numbering; a change of it means that numbers start anew.
    prev: the last seq that carried a message.
    currentTime, isPlaying: the film at `serverTime`.
    hostUserId: the host, or null while there is none.
    serverTime: the server's clock, a timestamp.
    token: a secret, if you asked for one: keep it, and give it in your next JOIN.
    resumed: in the answer to a `resume`: whether everything that you missed came before this.
    gate: while a seek waits for somebody: the position, and for whom.
    locked: whether nobody new comes in.
    controllers: user ids of those to whom control is delegated.
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


class UserJoined(Logged, tag="USER_JOINED", frozen=True, kw_only=True):
    """Somebody joined, or came back with a fresh page: offer a new video connection."""

    user_id: str
    username: str | None


class UserLeft(Logged, tag="USER_LEFT", frozen=True, kw_only=True):
    """Somebody left; LEAVE comes before it.

    reason: there if it was the host's doing.
    """

    user_id: str
    reason: Literal["kicked", "banned"] | None = None


class Left(Logged, tag="LEAVE", frozen=True, kw_only=True):
    """Somebody left: drop the video connection."""

    user_id: str


class HostChanged(Logged, tag="HOST_CHANGED", frozen=True, kw_only=True):
    """Who the host is; also sent when it is the same as before.

    hostUserId: null while there is none.
    """

    host_user_id: str | None


class GuestControl(Logged, tag="GUEST_CONTROL", frozen=True, kw_only=True):
    """Whether guests may control the film. Without `seq`: whether you may, to whom control is or was delegated."""

    enabled: bool


class ControlDelegated(Logged, tag="CONTROL_DELEGATED", frozen=True, kw_only=True):
    """Whether this member may control the film, even if guests may not."""

    user_id: str
    enabled: bool


class RoomLocked(Logged, tag="ROOM_LOCKED", frozen=True, kw_only=True):
    """Whether nobody new comes in."""

    locked: bool


class UsernameUpdated(Logged, tag="USERNAME_UPDATED", frozen=True, kw_only=True):
    """A member has a new name.

    username: the new name.
    """

    user_id: str
    username: str


class Played(Logged, tag="PLAY_PAUSE", frozen=True, kw_only=True):
    """Play or pause.

    userId: who did it; "server" when a seek is over or you are being brought in step.
    currentTime: where the film is at `timestamp`.
    timestamp: the server's clock.
    """

    user_id: str
    control: Literal["play", "pause"]
    current_time: float
    timestamp: int


class SeekPause(Logged, tag="SEEK_PAUSE", frozen=True, kw_only=True):
    """Go to this position, pause, and answer READY when you could play.

    userId: always "server", so that the one who seeked does the same.
    by: who seeked.
    """

    user_id: str
    current_time: float
    timestamp: int
    by: str = ""


class UrlChanged(Logged, tag="URL_CHANGE", frozen=True, kw_only=True):
    """Go to this title."""

    user_id: str
    url: str


class Said(Logged, tag="CHAT", frozen=True, kw_only=True):
    """Somebody said something."""

    user_id: str
    username: str | None
    text: str
    timestamp: int


class Heartbeat(ServerMessage, tag="HOST_HEARTBEAT", frozen=True, kw_only=True):
    """Where the film is: to guests every 3 s while it plays, and to one that is elsewhere; not to the host.

    seq: of the state it was made from.
    timestamp: the server's clock.
    """

    user_id: str
    current_time: float
    is_playing: bool
    timestamp: int
    seq: Count


class Synced(ServerMessage, tag="SYNC_RESPONSE", frozen=True, kw_only=True):
    """Where the film is: the answer to REQUEST_SYNC, or what another member says of its player.

    to: you.
    url: the title; "" if you may choose it yourself.
    seq: of the state it was made from.
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
    """A WebRTC offer to you.

    from, userId: who made it.
    """

    sender: str = msgspec.field(name="from")
    user_id: str
    to: str
    offer: SessionDescription


class RelayedAnswer(ServerMessage, tag="ANSWER", frozen=True, kw_only=True):
    """A WebRTC answer to you.

    from, userId: who made it.
    """

    sender: str = msgspec.field(name="from")
    user_id: str
    to: str
    answer: SessionDescription


class RelayedIceCandidate(ServerMessage, tag="ICE_CANDIDATE", frozen=True, kw_only=True):
    """A WebRTC candidate to you.

    from, userId: whose it is.
    """

    sender: str = msgspec.field(name="from")
    user_id: str
    to: str
    candidate: IceCandidateInit | None


class RelayedPlaybackAck(ServerMessage, tag="PLAYBACK_ACK", frozen=True, kw_only=True):
    """A member has carried out your play or pause.

    from, userId: that member.
    """

    sender: str = msgspec.field(name="from")
    user_id: str
    to: str
    control: str | None = None


class Barred(Struct, rename="camel", frozen=True, gc=False, omit_defaults=True):
    """Somebody who may not come in.

    byAddress: whether newcomers from the same address may not come in either.
    until: a timestamp; absent for the life of the room.
    """

    user_id: str
    username: str | None
    by_address: bool = False
    until: int | None = None


class Bans(ServerMessage, tag="BANS", frozen=True, kw_only=True):
    """Who may not come in. To the host: after KICK, BAN and UNBAN, and after ROOM_STATE if there are any.

    bans: the kicks that have not ended, and all bans.
    """

    bans: list[Barred]


class Kicked(ServerMessage, tag="KICKED", frozen=True, kw_only=True):
    """The host has sent you out: you are in no room now. LEAVE and USER_LEFT for everybody in it follow.

    by: the host.
    banned: whether it is for the life of the room.
    reason: what the host says of it.
    retryAfterMs: when you may come back; absent if you are banned.
    """

    by: str
    banned: bool = False
    reason: str | None = None
    retry_after_ms: Count | None = None


class RoomClosed(ServerMessage, tag="ROOM_CLOSED", frozen=True, kw_only=True):
    """Whoever runs the server has ended the room: you are in no room now. LEAVE and USER_LEFT for everybody follow.

    A JOIN with the same `roomId` makes a new room.

    reason: what they say of it.
    """

    reason: str | None = None


class ServerRestart(ServerMessage, tag="SERVER_RESTART", frozen=True, kw_only=True):
    """This server is about to close the connection; nothing is lost.

    reconnectAfterMs: when to connect again.
    """

    reconnect_after_ms: Count


SERVER_MESSAGES: tuple[type[ServerMessage], ...] = (
    RoomState, UserJoined, UserLeft, Left, HostChanged, GuestControl, ControlDelegated, RoomLocked, UsernameUpdated, Played,
    SeekPause, UrlChanged, Said, Kicked, Bans, RoomClosed, Heartbeat, Synced, RelayedOffer, RelayedAnswer, RelayedIceCandidate,
    RelayedPlaybackAck, Ack, Error, Pong, ServerRestart,
)  # fmt: skip


def relayed(message: Relay, sender: str) -> ServerMessage:
    """Return what the target of a relay gets: the same, but `from` and `userId` tell who really sent it."""
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
            return Synced(
                to=message.to,
                from_user_id=sender,
                user_id=sender,
                current_time=message.current_time,
                is_playing=message.is_playing,
                url="",
            )


LoggedMessage = (
    UserJoined | UserLeft | Left | HostChanged | GuestControl | ControlDelegated | RoomLocked | UsernameUpdated | Played
    | SeekPause | UrlChanged | Said
)  # fmt: skip
