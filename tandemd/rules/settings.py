"""Limits of the rules: constants, and the part that the configuration sets."""

from msgspec import Struct

from ..messages import DriftPolicy

MAX_MEMBERS_PER_COMMIT = 50
"""Members that one commit changes, so that its length is bounded."""


class RuleSettings(Struct, frozen=True):
    """Hold the settings of the rules. Durations are in seconds, lengths in characters.

    grace: the grace period of a member without connection. room_ttl: the life of a room without members.
    host_gone: absence of the host after which guests may control the film.
    kick: duration of a kick.
    gate_deadline, gate_quorum_after: the longest pause after a seek, and the pause with a quorum.
    gate_quorum: the share of waiting members that are ready, 0 to 1.
    drift_policy: the corrections that clients make to their players, for ROOM_STATE.
    members_per_room: at most. members_per_address: members of a room with the same address, at most; 0 for any number.
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
    drift_policy: DriftPolicy
