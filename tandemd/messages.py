"""The wire protocol: every message a client may send and every message the server sends, one JSON object a text frame.

The declarations are the protocol document: `docs/protocol.md` is made from them, the docstrings included. A docstring
says what the message is for; a line `name: text` in it describes the field. Field names are camelCase on the wire.
Times in messages are seconds of film unless they are called a timestamp: those are milliseconds since 1970 on the
server's clock. Fields that are not declared are ignored; so is `userId` in a client's messages, except in JOIN.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

Id = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"\A[^\x00-\x1f\x7f]+\Z")]
"""A user id or room id: 1 to 100 characters, none of them a control character."""

Seconds = Annotated[float, Meta(ge=0, le=10_000_000)]
"""A position in a title."""

Count = Annotated[int, Meta(ge=0, le=2**53)]

SERVER = "server"
"""The sender of what the server does by itself. Nobody may join under this name."""


# ---- from the client -----------------------------------------------------------------------------------------------


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
    resume: with a token: send me what I missed since then.
    nonce: a random word for this run of the client; within it its `id`s are unique. Without one, within a connection.
    """

    room_id: Id
    user_id: Id
    username: str | None = None
    pin: Annotated[str, Meta(max_length=100)] | None = None
    keeps_token: bool = False
    token: Annotated[str, Meta(max_length=1200)] | None = None
    resume: Resume | None = None
    nonce: Annotated[str, Meta(max_length=64, pattern=r"\A[^\x00-\x1f\x7f]*\Z")] | None = None


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


class Chat(ClientMessage, tag="CHAT", frozen=True, kw_only=True):
    """Say something to everybody.

    text: up to 2000 characters.
    """

    text: Annotated[str, Meta(min_length=1)]


Relay = Offer | Answer | IceCandidate | PlaybackAck | SyncResponse
"""What goes from one member to one other, past the room's log."""

CLIENT_MESSAGES: tuple[type[ClientMessage], ...] = (
    Join, Leave, Ping, PlayPause, Seek, Ready, HostHeartbeat, PositionUpdate, UrlChange, RequestSync, UpdateUsername,
    ToggleGuestControl, TransferHost, Chat, Offer, Answer, IceCandidate, PlaybackAck, SyncResponse,
)  # fmt: skip


# ---- from the server -----------------------------------------------------------------------------------------------


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


class UserJoined(Logged, tag="USER_JOINED", frozen=True, kw_only=True):
    """Somebody joined, or came back with a fresh page: offer a new video connection."""

    user_id: str
    username: str | None


class UserLeft(Logged, tag="USER_LEFT", frozen=True, kw_only=True):
    """Somebody left; LEAVE comes before it."""

    user_id: str


class Left(Logged, tag="LEAVE", frozen=True, kw_only=True):
    """Somebody left: drop the video connection."""

    user_id: str


class HostChanged(Logged, tag="HOST_CHANGED", frozen=True, kw_only=True):
    """Who the host is; also sent when it is the same as before.

    hostUserId: null while there is none.
    """

    host_user_id: str | None


class GuestControl(Logged, tag="GUEST_CONTROL", frozen=True, kw_only=True):
    """Whether guests may control the film."""

    enabled: bool


class UsernameUpdated(Logged, tag="USERNAME_UPDATED", frozen=True, kw_only=True):
    """A member's new name."""

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
    """Where the film is, every 3 s while it plays; not to the host.

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


class ServerRestart(ServerMessage, tag="SERVER_RESTART", frozen=True, kw_only=True):
    """This server is about to close the connection; nothing is lost.

    reconnectAfterMs: when to connect again.
    """

    reconnect_after_ms: Count


SERVER_MESSAGES: tuple[type[ServerMessage], ...] = (
    RoomState, UserJoined, UserLeft, Left, HostChanged, GuestControl, UsernameUpdated, Played, SeekPause, UrlChanged, Said,
    Heartbeat, Synced, RelayedOffer, RelayedAnswer, RelayedIceCandidate, RelayedPlaybackAck, Ack, Error, Pong, ServerRestart,
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
    UserJoined | UserLeft | Left | HostChanged | GuestControl | UsernameUpdated | Played | SeekPause | UrlChanged | Said
)


# ---- to and from bytes ---------------------------------------------------------------------------------------------

encode = msgspec.json.Encoder().encode
"""encode(message) -> bytes."""

decode: Any = msgspec.json.Decoder(
    Join | Leave | Ping | PlayPause | Seek | Ready | HostHeartbeat | PositionUpdate | UrlChange | RequestSync
    | UpdateUsername | ToggleGuestControl | TransferHost | Chat | Offer | Answer | IceCandidate | PlaybackAck | SyncResponse
).decode  # fmt: skip
"""decode(bytes) -> ClientMessage. Raises ValueError (msgspec's errors among it) or RecursionError; see `explain`."""


class _Envelope(Struct):
    type: Any = None
    id: Any = None


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_TYPES = frozenset(message.__struct_config__.tag for message in CLIENT_MESSAGES)

_QUOTED = 40
"""How many characters of a client's own words are said back to it."""


def explain(payload: bytes, error: Exception) -> Error:
    """Return the ERROR for a frame that `decode` refused with `error`."""
    try:
        envelope = _decode_envelope(payload)
    except (ValueError, RecursionError) as outer:
        return Error(code="bad_message", message=f"A message is one JSON object, but {_fault(outer)}.")
    id_ = envelope.id if type(envelope.id) is int and 0 <= envelope.id <= 2**53 else None
    if not isinstance(envelope.type, str):
        return Error(code="bad_message", message="A message needs a `type`, which is a string.", id=id_)
    if envelope.type not in _TYPES:
        return Error(code="unknown_type", message=f"There is no message type {envelope.type[:_QUOTED]!r}.", id=id_)
    return Error(code="bad_message", message=f"{envelope.type}: {_fault(error)}.", id=id_)


def _fault(error: Exception) -> str:
    """Return what is wrong with a message, in words that name the field."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "a string in it is not valid UTF-8"
    said, _, path = str(error).partition(" - at `$")
    path = path.rstrip("`").removeprefix(".")
    field = f"`{path}`" if path else "it"
    for pattern, words in _FAULTS:
        match = re.fullmatch(pattern, said, re.DOTALL)
        if match:
            found = {name: _KINDS.get(value, value[:_QUOTED]) for name, value in match.groupdict().items()}
            return words.format(field=field, inside=f"{path}." if path else "", **found)
    return f"{field}: {said[: 4 * _QUOTED]}"


_KINDS = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
    "int | null": "a whole number or null",
    "float | null": "a number or null",
    "str | null": "a string or null",
    "object | null": "an object or null",
}

_FAULTS = (
    (r"Object missing required field `(?P<name>[^`]*)`", "`{inside}{name}` is missing"),
    (r"Expected `str` matching regex .*", "{field} contains a control character or is empty"),
    (r"Expected `str` of length >= 1", "{field} is empty"),
    (r"Expected `str` of length <= (?P<most>\d+)", "{field} is longer than {most} characters"),
    (r"Expected `(?:float|int)` >= (?P<least>[\d.]+?)(?:\.0)?", "{field} is less than {least}"),
    (r"Expected `(?:float|int)` <= (?P<most>[\d.]+?)(?:\.0)?", "{field} is greater than {most}"),
    (r"Expected `(?P<kind>[^`]*)`, got `(?P<got>[^`]*)`", "{field} is {got}, not {kind}"),
    (r"Expected `(?P<kind>[^`]*)`", "{field} is not {kind}"),
    (r"Invalid enum value '(?P<value>.*)'", "{field} cannot be '{value}'"),
    (r"Number out of range", "{field} is a number out of range"),
    (r"JSON is malformed: (?P<fault>.*)", "the JSON is malformed: {fault}"),
    (r"Input data was truncated", "the JSON ends too early, or a string in it ends in the middle of a character"),
    (r"Invalid (?:unicode|UTF).*", "a string in it is not valid Unicode"),
)
"""What the decoder says, and what we make of it. What is not in the list is passed on as it is."""
