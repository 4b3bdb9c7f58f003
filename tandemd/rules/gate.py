"""The state of a closed ready gate. `ready_gate` has its rules."""

from __future__ import annotations

from collections.abc import Collection

import msgspec
from msgspec import Struct


class Gate(Struct, frozen=True, gc=False):
    """Hold a closed ready gate: a seek that waits for the watching members.

    position: seconds of film. since: server time of the SEEK.
    pending, ready, gone: user ids without an answer, with READY, and of members that left or lost their connection. The
    SEEK fixed their union.
    resume: whether the film continues when the gate opens.
    """

    position: float
    since: float
    pending: tuple[str, ...] = msgspec.field(name="awaited")
    ready: tuple[str, ...] = ()
    resume: bool = False
    gone: tuple[str, ...] = ()

    def answered(self, users: Collection[str], ready: bool) -> Gate:
        """Return the gate after members became ready (ready: True) or have gone (False)."""
        answers = frozenset(users)
        pending = tuple(user for user in self.pending if user not in answers)
        others_ready = tuple(user for user in self.ready if user not in answers)
        others_gone = tuple(user for user in self.gone if user not in answers)
        if ready:
            return Gate(self.position, self.since, pending, (*others_ready, *users), self.resume, others_gone)
        return Gate(self.position, self.since, pending, others_ready, self.resume, (*others_gone, *users))
