"""Messages from one member to one other, in the form for the receiver."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from .base import ServerMessage
from .calls import Answer, IceCandidate, IceCandidateInit, Offer, SessionDescription
from .client import PlaybackAck, Relay, SyncResponse
from .fields import Count


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

    legacy: ClassVar[bool] = True
    sender: str = msgspec.field(name="from")
    user_id: str
    to: str
    control: Literal["play", "pause"] | None = None


def relayed(message: Relay, sender: str) -> ServerMessage:
    """Return a relay in the form for its receiver, with the sender's user id as `from` and `userId`."""
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
