"""The numbers in the rules."""

from msgspec import Struct

MAX_MEMBERS_PER_COMMIT = 50
"""Members that one commit changes, so that its length has a bound."""


class RuleSettings(Struct, frozen=True):
    """What the configuration may change; durations in seconds, lengths in characters.

    grace: how long a member may be without a connection. room_ttl: how long an empty room is kept.
    host_gone: absence of the host after which guests' controls count.
    kick: how long somebody who was kicked stays out.
    members_per_address: how many members of a room may come from one address; 0 for any number.
    gate_deadline, gate_quorum_after: after a seek; gate_quorum: a share of those waited for, 0 to 1.
    """

    grace: float
    room_ttl: float
    host_gone: float
    kick: float
    gate_deadline: float
    gate_quorum: float
    gate_quorum_after: float
    members_per_room: int
    members_per_address: int
    username_length: int
    chat_length: int
