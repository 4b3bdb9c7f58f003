"""Messages of a client."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from .base import ClientMessage
from .calls import Answer, Call, IceCandidate, Offer, RequestIceServers
from .fields import Count, Id, MemberState, Milliseconds, Nonce, Rate, Seconds, check_id


class Resume(Struct, rename="camel", frozen=True, gc=False):
    """The version of the room up to which the client has seen all messages.

    epoch: that of the last ROOM_STATE.
    seq: the greatest seen, in ROOM_STATE or a logged message.
    """

    epoch: Count
    seq: Count


class Join(ClientMessage, tag="JOIN", frozen=True, kw_only=True):
    """Join a room, or come back to it. The server creates a room that does not exist. A connection may send JOIN repeatedly.

    roomId: the room.
    userId: the sender's user id, unique in the room.
    username: the name to show; absent or empty keeps the old one. The server cuts it to 50 characters.
    pin: the room's PIN; a new room gets it. A member that has not left needs none.
    keepsToken: whether the client can keep a secret; ROOM_STATE then brings a `token`.
    token: the secret of an earlier ROOM_STATE. It proves the user id.
    auth: a signed token (JWT), where the server requires one.
    resume: with a token: replay the messages missed since this version.
    nonce: a random word for this run of the client. `id`s are unique within it, or within the connection without one.
    follows: the client follows the room also while its member is host. Its player never moves the room.
    schedules: the client starts its player at `at` of PLAY_PAUSE.
    calls: the client makes video calls, and sends CALL: ROOM_STATE then brings `iceServers`.
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
    follows: bool = False
    schedules: bool = False
    calls: bool = False

    def __post_init__(self) -> None:
        check_id("roomId", self.room_id)
        check_id("userId", self.user_id)


class Leave(ClientMessage, tag="LEAVE", frozen=True, kw_only=True):
    """Leave the room for good. The last member to leave ends it. It also ends a JOIN that waits."""


class Ping(ClientMessage, tag="PING", frozen=True, kw_only=True):
    """Ask for a PONG; also before JOIN.

    t0: the client's clock in ms, from any beginning; PONG returns it, with the server's clock.
    """

    t0: Milliseconds | None = None


class PlayPause(ClientMessage, tag="PLAY_PAUSE", frozen=True, kw_only=True):
    """Play or pause for all members.

    control: the new state.
    currentTime: the position of the sender's player; absent: the room's.
    seq: the greatest seq that the sender has seen; see `stale`.
    """

    control: Literal["play", "pause"]
    current_time: Seconds | None = None
    seq: Count | None = None


class Seek(ClientMessage, tag="SEEK", frozen=True, kw_only=True):
    """Move all members to a position. All pause there, and continue together when they are READY.

    isPlaying: whether the film plays afterwards.
    seq: as in PLAY_PAUSE.
    """

    current_time: Seconds
    is_playing: bool = False
    seq: Count | None = None


class SetRate(ClientMessage, tag="SET_RATE", frozen=True, kw_only=True):
    """Play faster or slower for all members. A new title has rate 1 again.

    rate: seconds of film per second.
    seq: as in PLAY_PAUSE.
    """

    rate: Rate
    seq: Count | None = None


class Ready(ClientMessage, tag="READY", frozen=True, kw_only=True):
    """The player has paused at the position of the last SEEK_PAUSE and could play at once.

    targetTime: `currentTime` of that SEEK_PAUSE, unchanged.
    seq: as in PLAY_PAUSE; a READY for an earlier title is ignored.
    """

    target_time: Seconds
    seq: Count | None = None


class HostHeartbeat(ClientMessage, tag="HOST_HEARTBEAT", frozen=True, kw_only=True):
    """The position of the host's player. The same as POSITION_UPDATE."""

    legacy: ClassVar[bool] = True
    current_time: Seconds
    is_playing: bool
    url: ClassVar[None] = None
    ended: ClassVar[bool] = False
    duration: ClassVar[None] = None
    at: ClassVar[None] = None


class PositionUpdate(ClientMessage, tag="POSITION_UPDATE", frozen=True, kw_only=True):
    """The sender's player, twice a second while it watches. A seek waits for all senders.

    url: the title that the player shows; the server ignores positions in another one than the room's.
    ended: whether the player has played to the end of the title.
    duration: of the title in seconds, as far as the player knows it; absent for a live stream.
    at: the time on the server's clock at which `currentTime` was read, in ms with fractions. A time that is more than 10 s from
    the arrival counts as absent.
    """

    current_time: Seconds
    is_playing: bool
    url: Annotated[str, Meta(max_length=8192)] | None = None
    ended: bool = False
    duration: Seconds | None = None
    at: Milliseconds | None = None


class Status(ClientMessage, tag="STATUS", frozen=True, kw_only=True):
    """Tell the other members the sender's status. A member that has sent none since its JOIN, but for one with `resume`, watches.

    status: "buffering" while the player waits for data, "away" while the member does not see the film, else "watching".
    """

    status: MemberState


class WaitForBuffering(ClientMessage, tag="WAIT_FOR_BUFFERING", frozen=True, kw_only=True):
    """Have the film wait for members that buffer, or not.

    enabled: true to wait; a new room does not.
    """

    enabled: bool


class UrlChange(ClientMessage, tag="URL_CHANGE", frozen=True, kw_only=True):
    """Change the title for all members; it starts at its beginning, paused.

    url: absolute, http or https, and allowed by the server. The server passes it on in the form in which browsers write it:
    scheme and host in lower case, without the default port and dot segments, other characters escaped.
    seq: as in PLAY_PAUSE.
    """

    url: Annotated[str, Meta(min_length=1, max_length=8192)]
    seq: Count | None = None


class RequestSync(ClientMessage, tag="REQUEST_SYNC", frozen=True, kw_only=True):
    """Ask for the film's position. The answer is SYNC_RESPONSE; the host gets none."""


class SyncResponse(ClientMessage, tag="SYNC_RESPONSE", frozen=True, kw_only=True):
    """Tell one member the position of the sender's player.

    to: the receiver's user id.
    """

    legacy: ClassVar[bool] = True
    to: Id
    current_time: Seconds
    is_playing: bool
    url: Annotated[str, Meta(max_length=8192)] = ""


class PlaybackAck(ClientMessage, tag="PLAYBACK_ACK", frozen=True, kw_only=True):
    """Tell one member that its play or pause has been carried out.

    to: the receiver's user id.
    """

    legacy: ClassVar[bool] = True
    to: Id
    control: Literal["play", "pause"] | None = None


class UpdateUsername(ClientMessage, tag="UPDATE_USERNAME", frozen=True, kw_only=True):
    """Change the sender's name.

    username: the new name. The server cuts it to 50 characters.
    """

    username: Annotated[str, Meta(min_length=1)]


class ToggleGuestControl(ClientMessage, tag="TOGGLE_GUEST_CONTROL", frozen=True, kw_only=True):
    """Let guests control the film, or not.

    enabled: true to allow, false to forbid.
    """

    enabled: bool


class TransferHost(ClientMessage, tag="TRANSFER_HOST", frozen=True, kw_only=True):
    """Make another member the host.

    targetUserId: the member.
    """

    target_user_id: Id

    def __post_init__(self) -> None:
        check_id("targetUserId", self.target_user_id)


class DelegateControl(ClientMessage, tag="DELEGATE_CONTROL", frozen=True, kw_only=True):
    """Let one member control the film, or not. It lasts until the member leaves.

    targetUserId: the member.
    enabled: true to allow, false to forbid.
    """

    target_user_id: Id
    enabled: bool

    def __post_init__(self) -> None:
        check_id("targetUserId", self.target_user_id)


class LockRoom(ClientMessage, tag="LOCK_ROOM", frozen=True, kw_only=True):
    """Keep newcomers out, or let them in again. Members come back as always.

    locked: true to keep newcomers out.
    """

    locked: bool


class Kick(ClientMessage, tag="KICK", frozen=True, kw_only=True):
    """Remove a member. It can come back under this user id after 5 minutes.

    targetUserId: the member.
    reason: a text for the member and the record. The server cuts it to 200 characters.
    """

    target_user_id: Id
    reason: str | None = None

    def __post_init__(self) -> None:
        check_id("targetUserId", self.target_user_id)


class Ban(ClientMessage, tag="BAN", frozen=True, kw_only=True):
    """Ban a user id for the life of the room, and remove the member if it is present.

    targetUserId: the user id to ban.
    reason: as in KICK.
    byAddress: whether newcomers from its last addresses are banned too; never the sender's. BANS shows the result.
    withMembers: removes members at these addresses too, except the sender: members that never had a token and never sent an
    `id`, or all. They get KICKED, 50 at a time: send it again for more. Without it, members stay.
    """

    target_user_id: Id
    reason: str | None = None
    by_address: bool = True
    with_members: Literal["unproven", "all"] | None = None

    def __post_init__(self) -> None:
        check_id("targetUserId", self.target_user_id)


class Unban(ClientMessage, tag="UNBAN", frozen=True, kw_only=True):
    """Take back a kick or a ban.

    targetUserId: the user id of the kick or ban.
    """

    target_user_id: Id

    def __post_init__(self) -> None:
        check_id("targetUserId", self.target_user_id)


class Admit(ClientMessage, tag="ADMIT", frozen=True, kw_only=True):
    """Answer a KNOCK: let one newcomer into the locked room, or reject its JOIN with the ERROR `forbidden`.

    targetUserId: the user id of the KNOCK. Without a JOIN that waits under it, nothing happens.
    admitted: true to let it in, false to reject it.
    """

    target_user_id: Id
    admitted: bool

    def __post_init__(self) -> None:
        check_id("targetUserId", self.target_user_id)


class Chat(ClientMessage, tag="CHAT", frozen=True, kw_only=True):
    """Send a chat message to all members.

    text: up to 2000 characters. Control characters, except tabs and line breaks, are removed.
    """

    text: Annotated[str, Meta(min_length=1)]


Relay = Offer | Answer | IceCandidate | PlaybackAck | SyncResponse
"""Messages from one member to one other, outside the room's log."""

CLIENT_MESSAGES: tuple[type[ClientMessage], ...] = (
    Join, Leave, Ping, PlayPause, Seek, SetRate, Ready, HostHeartbeat, PositionUpdate, UrlChange, RequestSync, Status,
    UpdateUsername, ToggleGuestControl, WaitForBuffering, TransferHost, DelegateControl, LockRoom, Kick, Ban, Unban, Admit, Chat,
    Offer, Answer, IceCandidate, PlaybackAck, SyncResponse, Call, RequestIceServers,
)  # fmt: skip
