"""Settings of each part of a node, made from the configuration."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from ..auth.authenticator import TokenAuthenticator
from ..auth.keys import KeyFileError
from ..config import Config
from ..ratelimit import Bounds, MessageRates, SpendingRates
from ..ratelimit.connections import ConnectionLimits
from ..rooms.joining.limits import NO_LIMITS, JoinLimits
from ..rooms.playback_sync import PlaybackSyncSettings
from ..rules.engine import Rules
from ..rules.settings import RuleSettings
from ..rules.title_allowlist import TitleAllowlist
from ..util.services import StartupError
from ..websocket.protocol import ProtocolSettings
from ..websocket.send_queue import SendQueueLimits


def authenticator_of(config: Config, clock: IReactorTime) -> TokenAuthenticator | None:
    """Return the authenticator that the configuration asks for, or None for an open server. Raises StartupError."""
    auth = config.auth
    if auth.mode == "open":
        return None
    if not auth.keys:
        raise StartupError("auth.keys: auth.mode is token, so there must be a key to check tokens with; name its file")
    try:
        return TokenAuthenticator(auth.keys, auth.audience, auth.leeway, clock)
    except KeyFileError as error:
        raise StartupError(f"auth.keys: {error}") from None


def rules_of(config: Config) -> Rules:
    """Return the rules as the configuration sets them."""
    rooms, limits = config.rooms, config.limits
    return Rules(
        RuleSettings(
            grace=rooms.grace,
            room_ttl=rooms.room_ttl,
            host_gone=rooms.host_gone,
            kick=rooms.kick,
            gate_deadline=rooms.gate_deadline,
            gate_quorum=rooms.gate_quorum,
            gate_quorum_after=rooms.gate_quorum_after,
            members_per_room=limits.members_per_room if limits.enabled else 1_000_000,
            members_per_address=limits.members_per_address if limits.enabled else 0,
            username_length=limits.username_length,
            chat_length=limits.chat_length,
        ),
        TitleAllowlist(config.titles.allowed, limits.url_length),
    )


def rates_of(config: Config) -> MessageRates:
    """Return what one connection may send as the configuration sets it."""
    limits = config.limits
    return MessageRates(
        positions=limits.position_rate,
        candidates=limits.candidate_rate,
        descriptions=limits.description_rate,
        controls=limits.control_rate,
        chats=limits.chat_rate,
        pings=limits.ping_rate,
        joins=limits.join_rate,
        others=limits.other_rate,
        frames=limits.frame_rate,
        bytes=limits.byte_rate,
        abuse=limits.abuse_rate,
    )


def spending_of(config: Config) -> SpendingRates:
    """Return what rooms and addresses may spend as the configuration sets it."""
    limits = config.limits
    return SpendingRates(
        room_bytes=limits.room_bytes_rate,
        room_deliveries=limits.room_deliveries_rate,
        address_bytes=limits.address_bytes_rate,
        address_deliveries=limits.address_deliveries_rate,
        room_rows=limits.room_events_rate,
    )


def door_of(config: Config) -> ConnectionLimits:
    """Return who may open a WebSocket as the configuration sets it."""
    limits = config.limits
    if not limits.enabled:
        return ConnectionLimits()
    return ConnectionLimits(
        limits.connections,
        limits.connections_per_address,
        limits.connections_per_minute,
        limits.penalty,
        limits.longest_penalty,
        limits.requests_per_minute,
    )


def positions_of(config: Config) -> PlaybackSyncSettings:
    """Return how positions are dealt with as the configuration sets it."""
    rooms = config.rooms
    return PlaybackSyncSettings(
        rooms.heartbeat, rooms.drift, rooms.play_state_after, rooms.control_quiet, rooms.watching_timeout
    )


def join_limits_of(config: Config) -> JoinLimits:
    """Return how much coming in is allowed as the configuration sets it."""
    limits = config.limits
    if not limits.enabled:
        return NO_LIMITS
    return JoinLimits(
        limits.joins,
        limits.room_creations,
        limits.rooms_per_address,
        limits.rooms_per_node,
        limits.pin_tries_per_room,
        limits.pin_tries_per_address,
        limits.pending_joins,
    )


def bounds_of(config: Config) -> Bounds:
    """Return how many bytes a room may hold as the configuration sets it."""
    limits = config.limits
    return Bounds(limits.commit_bytes, limits.log_bytes, limits.replay_bytes, limits.mailbox_bytes)


def protocol_of(config: Config) -> ProtocolSettings:
    """Return the settings of WebSocket connections."""
    limits = config.limits
    return ProtocolSettings(
        limits.frame_bytes,
        config.fast_path,
        SendQueueLimits(limits.output_bytes, limits.output_stall),
        limits.join_timeout if limits.enabled else 0.0,
    )
