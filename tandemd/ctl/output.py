"""The output of tandemctl: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import click


def as_json(value: object) -> None:
    """Print one JSON document, without characters that are not printable."""
    written = json.dumps(value, ensure_ascii=False, indent=2)
    # JSON escapes no C1 controls and no marks of direction, which a terminal might obey.
    click.echo("".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in written))


def table(rows: Sequence[Mapping[str, object]], columns: Mapping[str, str]) -> None:
    """Print rows. columns: heading by name of the value."""
    lines = [list(columns.values())]
    lines += [[shown(row.get(name)) for name in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def facts(values: Mapping[str, object]) -> None:
    """Print names and values."""
    width = max(map(len, values))
    for name, value in values.items():
        click.echo(f"{name.ljust(width)}  {shown(value)}")


def shown(value: object) -> str:
    """Return a value for people, without control characters, which a terminal might obey."""
    match value:
        case None | "":
            text = "-"
        case True:
            text = "yes"
        case False:
            text = "no"
        case dict():
            text = " ".join(f"{name}={shown(inner)}" for name, inner in value.items())
        case list():
            text = ", ".join(map(shown, value)) or "-"
        case _:
            text = str(value)
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def as_written(value: object) -> str:
    """Return a value of the configuration as an operator writes it."""
    match value:
        case True | False:
            return str(value).lower()
        case list() | tuple():
            return ", ".join(map(str, value))
    return str(value)


def moment(milliseconds: object) -> str:
    """Return a time for people, in UTC. milliseconds: since 1970."""
    if not isinstance(milliseconds, int | float):
        return "-"
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
