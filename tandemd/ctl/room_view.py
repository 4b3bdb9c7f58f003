"""A room as tandemctl shows it to people."""

from __future__ import annotations

from typing import Any

import click

from .output import facts, moment, shown, table


def show_room(details: dict[str, Any]) -> None:
    """Print the state of a room and a table of its members. details: the answer of the administration API."""
    members = details.pop("members")
    details["createdAt"] = moment(details["createdAt"])
    facts(details)
    click.echo()
    # A node of an older version does not say which one it is.
    node_id = details.get("answeredBy")
    elsewhere = {member["nodeId"] for member in members} - {node_id, None} if node_id else set()
    for member in members:
        if member["nodeId"] in elsewhere:
            member["errorMs"] = f"on {member['nodeId']}"
        member["role"] = "host" if member["userId"] == details["hostUserId"] else ""
        member["joinedAt"], member["lostAt"] = moment(member["joinedAt"]), moment(member["lostAt"])
    columns = {
        "userId": "MEMBER", "username": "NAME", "role": "ROLE", "nodeId": "NODE", "joinedAt": "JOINED", "lostAt": "LOST",
        "status": "STATUS", "delayMs": "DELAY MS", "errorMs": "AHEAD MS",
    }  # fmt: skip
    table(members, columns)
    if elsewhere:
        names = ", ".join(shown(name) for name in sorted(elsewhere))
        click.echo(
            f"Positions of players stay on the node of their connection: for AHEAD MS, ask {names} too.", err=True
        )
