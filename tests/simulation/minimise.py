"""Shorter schedules that still fail."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from .schedule import Schedule


def _shorter(schedule: Schedule) -> Iterator[Schedule]:
    """Yield schedules with something less: rounds first, then faults, rooms and clients."""
    replace = dataclasses.replace
    rounds = schedule.rounds
    for number in range(len(rounds)):
        if len(rounds) > 1:
            yield replace(schedule, rounds=rounds[:number] + rounds[number + 1 :])
    for number, round_ in enumerate(rounds):
        for index in range(len(round_)):
            less = round_[:index] + round_[index + 1 :]
            yield replace(schedule, rounds=(*rounds[:number], less, *rounds[number + 1 :]))
    for number in range(len(schedule.layout)):
        if len(schedule.layout) > 1:
            yield replace(schedule, layout=schedule.layout[:number] + schedule.layout[number + 1 :])
    for number, (new, old) in enumerate(schedule.layout):
        for room in ((new - 1, old), (new, old - 1)):
            if min(room) >= 0 and sum(room) > 1:
                yield replace(schedule, layout=(*schedule.layout[:number], room, *schedule.layout[number + 1 :]))
    if schedule.constants:
        yield replace(schedule, constants=())
        for index in range(len(schedule.constants) if len(schedule.constants) > 1 else 0):
            yield replace(schedule, constants=schedule.constants[:index] + schedule.constants[index + 1 :])
    plain = {"vacates": False, "silent_share": 0.0, "wall_error": 0.0, "drift": 0.0}
    for name, value in plain.items():
        if getattr(schedule, name) != value:
            yield replace(schedule, **{name: value})
    if schedule.strangers:
        yield replace(schedule, strangers=schedule.strangers - 1)
    if schedule.seconds > 1.0:
        yield replace(schedule, seconds=schedule.seconds / 2)
    if schedule.rate > 1.0:
        yield replace(schedule, rate=schedule.rate / 2)


def minimised(schedule: Schedule, fails: Callable[[Schedule], bool], most: int = 60) -> Schedule:
    """Return a schedule from which nothing can be dropped so that it still fails. most: of the attempts."""
    attempts = 0
    progress = True
    while progress:
        progress = False
        for shorter in _shorter(schedule):
            attempts += 1
            if attempts > most:
                return schedule
            if fails(shorter):
                schedule, progress = shorter, True
                break
    return schedule
