"""The members that take part in the call of a room. The media goes from member to member, past the server."""

from __future__ import annotations

import msgspec

from .. import messages as m
from .commands import Decision
from .state import MEMBER, Member, Room


def call(room: Room, member: Member, body: m.Call, now: float) -> Decision:
    """Note whether a member takes part in the call. The archive does not record it."""
    if member.in_call is body.joined:
        return Decision()
    message = m.MemberCall(seq=room.seq + 1, prev=room.prev, user_id=member.user_id, joined=body.joined)
    changes = {MEMBER + member.user_id: msgspec.structs.replace(member, in_call=body.joined)}
    return Decision(changes=changes, messages=(message,))
