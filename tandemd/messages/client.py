"""What a client may send."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from .fields import Count, Id, Nonce, Seconds, check_id


class ClientMessage(
    Struct, tag_field="type", rename="camel", frozen=True, gc=False, omit_defaults=True, kw_only=True
):  # fmt: skip
    """What every message of a client may carry.

    id: a counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id.
    """

    id: Count | None = None


class Resume(Struct, rename="camel", frozen=True, gc=False):
    """The version of the room that the client has seen all messages of.

    epoch: of the last ROOM_STATE.
    seq: of the last message that had one.
    """

    epoch: Count
    seq: Count


class Join(ClientMessage, tag="JOIN", frozen=True, kw_only=True):
    """Enter a room, which is created if there is none, or come back to it. Any number of times on one connection.

    roomId: the room.
    userId: who I am; unique in the room.
    username: the name to show; absent or empty keeps the old one. Cut to 50 characters.
    pin: the room's PIN; creates the room with it. Not needed by somebody who is still a member.
    keepsToken: the client can keep a secret: ROOM_STATE then brings a `token`.
    token: the secret of an earlier ROOM_STATE. It proves that the user id is mine.
    auth: a signed token (JWT) that lets me in, where the server wants one.
    resume: with a token: send me what I missed since then.
    nonce: a random word for this run of the client; within it its `id`s are unique. Without one, within a connection.
    """

    room_id: Id
    user_id: Id
    username: str | None = None
    pin: Annotated[str, Meta(max_length=100)] | None = None
    keeps_token: bool = False
    token: Annotated[str, Meta(max_length=1200)] | None = None
    auth: Annotated[str, Meta(max_length=8192)] | None = None
    resume: Resume | None = None
    nonce: Nonce | None = None

    def __post_init__(self) -> None:
        check_id("roomId", self.room_id)
        check_id("userId", self.user_id)


class Leave(ClientMessage, tag="LEAVE", frozen=True, kw_only=True):
    """Leave the room for good. The last one out ends it."""


class Ping(ClientMessage, tag="PING", frozen=True, kw_only=True):
    """Ask for a PONG; also before JOIN."""


class PlayPause(ClientMessage, tag="PLAY_PAUSE", frozen=True, kw_only=True):
    """Play or pause for everybody.

    currentTime: where my player is; absent: wherever the room is.
    """

    control: Literal["play", "pause"]
    current_time: Seconds | None = None


class Seek(ClientMessage, tag="SEEK", frozen=True, kw_only=True):
    """Take everybody to a position. All pause there, and go on together when they are READY.

    isPlaying: whether the film was playing, and is to go on afterwards.
    """

    current_time: Seconds
    is_playing: bool = False


class Ready(ClientMessage, tag="READY", frozen=True, kw_only=True):
    """I have paused at the position of the last SEEK_PAUSE and could play at once.

    targetTime: `currentTime` of that SEEK_PAUSE.
    """

    target_time: Seconds


class HostHeartbeat(ClientMessage, tag="HOST_HEARTBEAT", frozen=True, kw_only=True):
    """The host's player, every few seconds. Means the same as POSITION_UPDATE."""

    current_time: Seconds
    is_playing: bool


class PositionUpdate(ClientMessage, tag="POSITION_UPDATE", frozen=True, kw_only=True):
    """My player, twice a second while I watch. The room follows the host's; others' say that a seek must wait for them."""

    current_time: Seconds
    is_playing: bool


class UrlChange(ClientMessage, tag="URL_CHANGE", frozen=True, kw_only=True):
    """Take everybody to another title, which starts at its beginning.

    url: absolute, http or https, and one that the server allows.
    """

    url: Annotated[str, Meta(min_length=1, max_length=8192)]


class RequestSync(ClientMessage, tag="REQUEST_SYNC", frozen=True, kw_only=True):
    """Tell me where the film is. The answer is SYNC_RESPONSE; the host gets none."""


class SyncResponse(ClientMessage, tag="SYNC_RESPONSE", frozen=True, kw_only=True):
    """Tell one member where my player is.

    to: that member.
    """

    to: Id
    current_time: Seconds
    is_playing: bool
    url: Annotated[str, Meta(max_length=8192)] = ""


class SessionDescription(Struct, frozen=True, gc=False):
    """A WebRTC session description.

    type: as in RTCSessionDescription.
    sdp: the same.
    """

    type: Literal["offer", "answer", "pranswer", "rollback"]
    sdp: str = ""


class IceCandidateInit(Struct, rename="camel", frozen=True, gc=False, omit_defaults=True):
    """A WebRTC ICE candidate.

    candidate, sdpMid, sdpMLineIndex, usernameFragment: as in RTCIceCandidate.
    """

    candidate: str = ""
    sdp_mid: str | None = msgspec.field(default=None, name="sdpMid")
    sdp_m_line_index: Annotated[int, Meta(ge=0, le=65535)] | None = msgspec.field(default=None, name="sdpMLineIndex")
    username_fragment: str | None = None


class Offer(ClientMessage, tag="OFFER", frozen=True, kw_only=True):
    """A WebRTC offer to one member.

    to: that member.
    """

    to: Id
    offer: SessionDescription


class Answer(ClientMessage, tag="ANSWER", frozen=True, kw_only=True):
    """A WebRTC answer to one member.

    to: that member.
    """

    to: Id
    answer: SessionDescription


class IceCandidate(ClientMessage, tag="ICE_CANDIDATE", frozen=True, kw_only=True):
    """A WebRTC candidate to one member; null says there are no more.

    to: that member.
    """

    to: Id
    candidate: IceCandidateInit | None


class PlaybackAck(ClientMessage, tag="PLAYBACK_ACK", frozen=True, kw_only=True):
    """Tell one member that its play or pause has been carried out here.

    to: that member.
    """

    to: Id
    control: Literal["play", "pause"] | None = None


class UpdateUsername(ClientMessage, tag="UPDATE_USERNAME", frozen=True, kw_only=True):
    """Change my name.

    username: cut to 50 characters.
    """

    username: Annotated[str, Meta(min_length=1)]


class ToggleGuestControl(ClientMessage, tag="TOGGLE_GUEST_CONTROL", frozen=True, kw_only=True):
    """Let guests control the film, or not.

    enabled: which.
    """

    enabled: bool


class TransferHost(ClientMessage, tag="TRANSFER_HOST", frozen=True, kw_only=True):
    """Make another member the host.

    targetUserId: that member.
    """

    target_user_id: Id

    def __post_init__(self) -> None:
        check_id("targetUserId", self.target_user_id)


class DelegateControl(ClientMessage, tag="DELEGATE_CONTROL", frozen=True, kw_only=True):
    """Let one member control the film, or not any more. It lasts until the member leaves.

    targetUserId: that member.
    """

    target_user_id: Id
    enabled: bool

    def __post_init__(self) -> None:
        check_id("targetUserId", self.target_user_id)


class LockRoom(ClientMessage, tag="LOCK_ROOM", frozen=True, kw_only=True):
    """Let nobody new come in, or let them come in again. Members come back as always.

    locked: which.
    """

    locked: bool


class Kick(ClientMessage, tag="KICK", frozen=True, kw_only=True):
    """Send a member out. It can come back under this user id after 5 minutes.

    targetUserId: that member.
    reason: to tell it, and for the record. Cut to 200 characters.
    """

    target_user_id: Id
    reason: str | None = None

    def __post_init__(self) -> None:
        check_id("targetUserId", self.target_user_id)


class Ban(ClientMessage, tag="BAN", frozen=True, kw_only=True):
    """Send somebody out, or keep somebody out who is not in, for the life of the room.

    targetUserId: the user id that may not come in any more.
    reason: as in KICK.
    byAddress: whether newcomers from its last addresses may not come in either; never yours. BANS tells what became of it.
    withMembers: which members at these addresses go too: those that never had a token and never sent an `id`, or all. They get
    KICKED, 50 at a time: send it again for more. Never you. Without it, members stay.
    """

    target_user_id: Id
    reason: str | None = None
    by_address: bool = True
    with_members: Literal["unproven", "all"] | None = None

    def __post_init__(self) -> None:
        check_id("targetUserId", self.target_user_id)


class Unban(ClientMessage, tag="UNBAN", frozen=True, kw_only=True):
    """Let somebody come in again who was kicked or banned.

    targetUserId: the user id of the kick or ban.
    """

    target_user_id: Id

    def __post_init__(self) -> None:
        check_id("targetUserId", self.target_user_id)


class Chat(ClientMessage, tag="CHAT", frozen=True, kw_only=True):
    """Say something to everybody.

    text: up to 2000 characters.
    """

    text: Annotated[str, Meta(min_length=1)]


Relay = Offer | Answer | IceCandidate | PlaybackAck | SyncResponse
"""What goes from one member to one other, past the room's log."""

CLIENT_MESSAGES: tuple[type[ClientMessage], ...] = (
    Join, Leave, Ping, PlayPause, Seek, Ready, HostHeartbeat, PositionUpdate, UrlChange, RequestSync, UpdateUsername,
    ToggleGuestControl, TransferHost, DelegateControl, LockRoom, Kick, Ban, Unban, Chat, Offer, Answer, IceCandidate,
    PlaybackAck, SyncResponse,
)  # fmt: skip
