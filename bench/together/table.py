"""The figures as a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def lines(document: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a table with the figures of `viewers.play` or `pages.play`, in ms."""
    yield f"{'':34} {'spread: p50':>12} {'p95':>9} {'max':>9} {'settled: p50':>13} {'max':>7} {'waited: max':>12}"
    for crowd, parts in document["figures"].items():
        yield crowd
        for part, figure in parts.items():
            spread, settled, waited = (figure.get(name) or {} for name in ("spread", "settled", "waited"))
            cells = [spread.get("p50"), spread.get("p95"), spread.get("max")]
            cells += [settled.get("p50"), settled.get("max"), waited.get("max")]
            row = " ".join(
                f"{'' if cell is None else format(cell, '.0f'):>{width}}"
                for cell, width in zip(cells, (12, 9, 9, 13, 7, 12), strict=True)
            )
            corrections = (
                f"  {figure['seeks']} seeks, {100 * figure['steered']:.2f} % steered" if "seeks" in figure else ""
            )
            yield f"  {part:32} {row}{corrections}"
    if "late" in document:
        yield f"the process of the viewers was late by {document['late']:g} ms in the worst of 100 turns"
