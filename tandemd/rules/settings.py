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

    grace: float = 45.0
    room_ttl: float = 4 * 3600.0
    host_gone: float = 10.0
    kick: float = 300.0
    gate_deadline: float = 7.0
    gate_quorum: float = 0.6
    gate_quorum_after: float = 2.0
    members_per_room: int = 250
    members_per_address: int = 100
    username_length: int = 50
    chat_length: int = 2000
