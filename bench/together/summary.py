"""Figures from the positions that pages have told."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from typing import Any

GRID_MS = 10
TOGETHER_MS = 50
WINDOW_MS = 1000
RATE_IN_STEP = 0.03
MOVED_SECONDS, LARGEST_STEP_SECONDS = 0.05, 0.2
"""By how much a player has moved when it counts as moving; more than the second is a seek."""

Trace = list[list[Any]]
"""The readings of one page: time in ms, position in seconds, whether it plays, its rate, and its seeks so far."""


def moved(trace: Trace, pressed: float) -> float | None:
    """Return when a player moved first after it stood still, after the press; None if it has not yet.

    Browsers show a frame or two at once and go on later, so it must have moved by MOVED_SECONDS.
    """
    stood = None
    for at, where, plays, *_ in trace:
        if at >= pressed and not plays:
            stood = where
        elif stood is not None and plays and where - stood >= MOVED_SECONDS:
            return float(at - 1000 * (where - stood)) if where - stood < LARGEST_STEP_SECONDS else float(at)
    return None


def position(trace: Trace, times: Sequence[float], at: float) -> float | None:
    """Return the position at an instant between two readings. times: those of the readings."""
    right = bisect(times, at)
    if not 0 < right < len(trace):
        return None
    (began, low, *_), (ended, high, *_) = trace[right - 1], trace[right]
    return float(low + (high - low) * (at - began) / (ended - began))


def spreads(traces: Sequence[Trace], begin: float) -> list[tuple[float, float]]:
    """Return (ms since begin, spread in ms) for instants that all pages have told about."""
    times = [[reading[0] for reading in trace] for trace in traces]
    end = min(reading[-1] for reading in times)
    found, at = [], begin
    while at < end:
        here = [position(trace, known, at) for trace, known in zip(traces, times, strict=True)]
        told = [value for value in here if value is not None]
        if len(told) == len(traces):
            found.append((at - begin, 1000 * (max(told) - min(told))))
        at += GRID_MS
    return found


def after(traces: Sequence[Trace], event: float) -> dict[str, Any]:
    """Return the spreads of the second after an event, and the ms until all were within TOGETHER_MS for good."""
    found = spreads(traces, event)
    return {
        "spreads": [spread for since, spread in found if since < WINDOW_MS],
        "settled": max((since + GRID_MS for since, spread in found if spread > TOGETHER_MS), default=0.0),
    }


def along(traces: Sequence[Trace]) -> dict[str, Any]:
    """Return all spreads, the seeks, and the share of the time in which a page played at a rate beyond 3 % of normal."""
    readings = [reading for trace in traces for reading in trace]
    hard = sum(abs(reading[3] - 1) > RATE_IN_STEP + 0.001 for reading in readings)
    return {
        "spreads": [spread for _, spread in spreads(traces, max(trace[0][0] for trace in traces))],
        "seeks": sum(trace[-1][4] - trace[0][4] for trace in traces),
        "steered": hard / len(readings),
    }


def summaries(figure: dict[str, Any]) -> dict[str, Any]:
    """Replace the values of a figure by p50, p95 and the maximum."""
    result: dict[str, Any] = {}
    for name, values in figure.items():
        if name in ("seeks", "steered"):
            result[name] = sum(values)
        elif values:
            ordered = sorted(values)
            at = {"p50": 0.5, "p95": 0.95, "max": 1.0}
            result[name] = {
                key: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1) for key, share in at.items()
            }
    return result
