"""Messages of a client about voice and video."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from .base import ClientMessage
from .fields import Id


class Call(ClientMessage, tag="CALL", frozen=True, kw_only=True):
    """Tell the members whether the sender takes part in the call. A JOIN without `resume` ends its part.

    joined: true if it does.
    """

    joined: bool


class RequestIceServers(ClientMessage, tag="REQUEST_ICE_SERVERS", frozen=True, kw_only=True):
    """Ask for the STUN and TURN servers of calls, with new credentials. The answer is ICE_SERVERS."""


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

    to: the receiver's user id.
    """

    to: Id
    offer: SessionDescription


class Answer(ClientMessage, tag="ANSWER", frozen=True, kw_only=True):
    """A WebRTC answer to one member.

    to: the receiver's user id.
    """

    to: Id
    answer: SessionDescription


class IceCandidate(ClientMessage, tag="ICE_CANDIDATE", frozen=True, kw_only=True):
    """A WebRTC candidate to one member; null ends the list.

    to: the receiver's user id.
    """

    to: Id
    candidate: IceCandidateInit | None
