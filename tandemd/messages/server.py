"""Messages of the server to one client, and the list of all messages of the server."""

from __future__ import annotations

from msgspec import Struct

from .base import ServerMessage
from .events import (
    ChatMessage,
    ControlDelegated,
    GuestControl,
    HostChanged,
    LegacyLeave,
    MemberCall,
    MemberStatus,
    PlayPauseEvent,
    RateChanged,
    RoomLocked,
    SeekPause,
    UrlChanged,
    UserJoined,
    UserLeft,
    UsernameUpdated,
    WaitForBufferingChanged,
)
from .fields import Count, MemberState
from .relays import RelayedAnswer, RelayedIceCandidate, RelayedOffer, RelayedPlaybackAck, SyncResponseMessage


class Pong(ServerMessage, tag="PONG", frozen=True, kw_only=True):
    """The answer to PING.

    timestamp: the server's clock.
    t0: that of PING, if it had one.
    received, sent: the server's clock at the arrival of such a PING and at the departure of this message, in ms with fractions.
    """

    timestamp: int
    t0: float | None = None
    received: float | None = None
    sent: float | None = None


class Ack(ServerMessage, tag="ACK", frozen=True, kw_only=True):
    """The server has applied the command with this id, and will not apply it again.

    id: the id of the command.
    seq: the seq of its change, or the room's last one if it changed nothing; absent if the command concerns no room.
    """

    id: Count
    seq: Count | None = None


class Error(ServerMessage, tag="ERROR", frozen=True, kw_only=True):
    """The server has rejected a command. It will not apply it later, except a JOIN that stays pending. The connection stays.

    code: the reason, for programs; see the codes of ERROR.
    message: the reason as a text.
    id: the id of the command, if it has one.
    retryAfterMs: milliseconds after which another try may help.
    limit: the limit that a deferred JOIN waits for: joins, creations, rooms_per_address, rooms_per_node, pin_tries_per_room,
    pin_tries_per_address, hashing, pending_joins or members_per_address.
    """

    code: str
    message: str
    id: Count | None = None
    retry_after_ms: Count | None = None
    limit: str | None = None


class User(Struct, rename="camel", frozen=True, gc=False, omit_defaults=True):
    """A member, as others see it.

    status: as in STATUS, if it is not "watching".
    inCall: whether it takes part in the call; absent if its client sends no CALL.
    """

    user_id: str
    username: str | None
    status: MemberState | None = None
    in_call: bool | None = None


class GateState(Struct, rename="camel", frozen=True, gc=False):
    """The ready gate of a seek.

    currentTime: the position of the seek.
    waitingFor: user ids of the members that are not READY yet.
    """

    current_time: float
    waiting_for: list[str]


class DriftPolicy(Struct, rename="camel", frozen=True, gc=False):
    """The corrections that a client makes to its own player.

    jump: the distance from the film, in seconds, beyond which the player seeks.
    steerFrom, steerUntil: the distances at which it begins and ends to catch up by its rate.
    maxRate: the greatest factor of the rate for that; the smallest is `2 - maxRate`.
    """

    jump: float
    steer_from: float
    steer_until: float
    max_rate: float


class IceServer(Struct, rename="camel", frozen=True, gc=False, omit_defaults=True):
    """A STUN or TURN server, as in RTCIceServer.

    urls: its URLs: stun:, turn: or turns:.
    username, credential: of a TURN server.
    """

    urls: list[str]
    username: str | None = None
    credential: str | None = None

    @property
    def is_turn(self) -> bool:
        """Whether one of the URLs is that of a TURN server."""
        return any(url.startswith("turn") for url in self.urls)


class RoomState(ServerMessage, tag="ROOM_STATE", frozen=True, kw_only=True):
    """The whole state of the room: the answer to JOIN. It also comes before the ERROR `stale`, and after a repair of the room.

    seq: that of the state; later messages have a greater one.
    epoch: the name of the numbering; a `seq` of another epoch means nothing.
    prev: the last seq with a message.
    currentTime, isPlaying: the film at `serverTime`.
    hostUserId: the host, or null while the room has none.
    serverTime: the server's clock, a timestamp.
    protocol: the version of the protocol, 1.
    features: the abilities of the server; see [Features](#features). Ignore names that you do not know.
    at: only while a start is scheduled: the time on the server's clock at which the film starts, in ms with fractions. Until then
    it stands at `currentTime`, although `isPlaying` is true.
    rate: the playback rate, if it is not 1.
    token: a secret, if JOIN asked for one; send it in the next JOIN.
    resumed: in the answer to a `resume`, whether all missed messages came before this one.
    gate: while a seek waits for members, its position and their user ids.
    locked: whether the room rejects newcomers.
    controllers: user ids of the members with delegated control.
    waitForBuffering: whether the film waits for members that buffer.
    sync: the server's policy for corrections.
    iceServers, iceServersTtlMs, relayOnly: as in ICE_SERVERS; only in the answer to a JOIN with `calls`.
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
    protocol: int
    features: tuple[str, ...]
    at: float | None = None
    rate: float | None = None
    token: str | None = None
    resumed: bool | None = None
    gate: GateState | None = None
    locked: bool = False
    controllers: list[str] = []
    wait_for_buffering: bool = False
    sync: DriftPolicy | None = None
    ice_servers: list[IceServer] | None = None
    ice_servers_ttl_ms: Count | None = None
    relay_only: bool = False


class IceServers(ServerMessage, tag="ICE_SERVERS", frozen=True, kw_only=True):
    """The STUN and TURN servers of calls: the answer to REQUEST_ICE_SERVERS.

    iceServers: for RTCConfiguration; may be empty.
    iceServersTtlMs: milliseconds for which the credentials open new connections; absent if they do not expire.
    relayOnly: whether the operator wants calls to use TURN only, so that members do not learn each other's addresses.
    """

    ice_servers: list[IceServer]
    ice_servers_ttl_ms: Count | None = None
    relay_only: bool = False


class Heartbeat(ServerMessage, tag="HOST_HEARTBEAT", frozen=True, kw_only=True):
    """The film's position: every 3 s while it plays, and to a member that is elsewhere; not to a host that the room follows.

    userId: always "server".
    seq: that of the state it was made from.
    timestamp: the server's clock.
    rate: the playback rate, if it is not 1.
    """

    user_id: str
    current_time: float
    is_playing: bool
    timestamp: int
    seq: Count
    rate: float | None = None


class BanEntry(Struct, rename="camel", frozen=True, gc=False, omit_defaults=True):
    """A kick or a ban in force.

    userId: the kicked or banned user id.
    byAddress: whether newcomers from its addresses are banned too.
    until: the end, a timestamp; absent for the life of the room.
    """

    user_id: str
    username: str | None
    by_address: bool = False
    until: int | None = None


class Bans(ServerMessage, tag="BANS", frozen=True, kw_only=True):
    """The kicks and bans in force. To the host: after KICK, BAN and UNBAN; after ROOM_STATE, and to a new host, unless empty.

    bans: the kicks that have not ended, and all bans.
    """

    bans: list[BanEntry]


class Kicked(ServerMessage, tag="KICKED", frozen=True, kw_only=True):
    """The host has removed the receiver. Its connection is in no room now. USER_LEFT for each other member follows.

    by: the host.
    banned: whether the removal is for the life of the room.
    reason: the host's text.
    retryAfterMs: milliseconds until the receiver may come back; absent for a ban.
    """

    by: str
    banned: bool = False
    reason: str | None = None
    retry_after_ms: Count | None = None


class Knock(ServerMessage, tag="KNOCK", frozen=True, kw_only=True):
    """A newcomer waits at the locked room. Only to the host, while it is connected. ADMIT answers it.

    userId: the newcomer, not yet a member.
    """

    user_id: str
    username: str | None


class RoomClosed(ServerMessage, tag="ROOM_CLOSED", frozen=True, kw_only=True):
    """The server's operator has ended the room. The connection is in no room now. USER_LEFT for each member follows.

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
    MemberStatus, WaitForBufferingChanged, MemberCall, PlayPauseEvent, RateChanged, SeekPause, UrlChanged, ChatMessage, Kicked,
    Bans, Knock, RoomClosed, Heartbeat, SyncResponseMessage, RelayedOffer, RelayedAnswer, RelayedIceCandidate,
    RelayedPlaybackAck, IceServers, Ack, Error, Pong, ServerRestart,
)  # fmt: skip
