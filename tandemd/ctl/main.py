"""The commands of tandemctl."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn, ParamSpec

import click
import msgspec
from click.shell_completion import get_completion_class

from .. import __version__
from ..archive.errors import ArchiveError
from ..archive.factory import dialect_of
from ..archive.migrations import migrate as migrate_archive
from ..auth.keys import KeyFileError
from ..auth.mint import claims_of, mint
from ..config import Config, ConfigError, load
from ..config.schema import keys
from .client import NodeClient, NodeUnreachableError, RequestDeniedError
from .doctor import examine
from .output import as_json, facts, moment, shown, table

P = ParamSpec("P")

FAILED, WRONG, UNREACHABLE = 1, 2, 3
"""Exit statuses beside 0: rejected or faulty; wrong call or configuration; no answer from the node."""
SYSTEMD_PORT = 4001
"""The port of an unchanged tandemd.socket."""
_PORT = re.compile(r"(?:tcp6?:)?([1-9][0-9]*)(?::.*)?|systemd:.*")
FOLLOW_INTERVAL_SECONDS = 1.0
"""Time between two requests for new events."""


def _fail(status: int, text: str) -> NoReturn:
    click.echo(f"tandemctl: {text}", err=True)
    sys.exit(status)


class CtlSettings:
    """The options before the command. Commands that need configuration or token read them."""

    def __init__(self, config: str | None, url: str, token_file: str | None, as_json: bool):
        self._path = config
        self._url = url
        self._token_file = token_file
        self.json = as_json

    def config(self) -> Config:
        """Return the configuration of a daemon in this environment."""
        try:
            return load(self._path, os.environ, {})
        except ConfigError as error:
            _fail(WRONG, str(error))

    @property
    def url(self) -> str:
        """The node's URL: the option, else the configured port on this machine."""
        if self._url:
            return self._url.rstrip("/")
        config = self.config()
        port = _PORT.fullmatch(config.port)
        if port is not None:
            return f"{'https' if config.tls.certificate else 'http'}://127.0.0.1:{port[1] or SYSTEMD_PORT}"
        _fail(WRONG, f"port is {config.port!r}: name the node with --url or TANDEMCTL_URL")

    def node(self) -> NodeClient:
        """Return the client of the node."""
        if self._token_file is None:
            token = self.config().admin.token
            if not token:
                _fail(WRONG, "no admin.token: name its file with --token-file, TANDEMCTL_TOKEN_FILE or --config")
            return NodeClient(self.url, token)
        try:
            with open(self._token_file, encoding="ascii") as file:
                return NodeClient(self.url, file.read().strip())
        except (OSError, UnicodeDecodeError) as error:
            _fail(
                WRONG, f"{self._token_file}: cannot be read: {getattr(error, 'strerror', None) or 'it is not a token'}"
            )


@click.group(context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "TANDEMCTL"})
@click.option("-c", "--config", metavar="FILE", help="The daemon's configuration file; the environment overrides it.")
@click.option("--url", default="", metavar="URL", help="URL of the node. Default: this machine, configured port.")
@click.option(
    "--token-file", metavar="FILE", help="File with the token of the administration API. Default: admin.token."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.version_option(__version__, prog_name="tandemctl")
@click.pass_context
def main(context: click.Context, config: str | None, url: str, token_file: str | None, as_json: bool) -> None:
    """Operate tandemd.

    The environment sets options, too: TANDEMCTL_URL and the like. Exit status: 0 done; 1 rejected, or a fault
    was found; 2 wrong call or configuration; 3 the node does not answer, or rejects the token.
    """
    context.obj = CtlSettings(config, url, token_file, as_json)


def _asking(command: Callable[P, None]) -> Callable[P, None]:
    """Turn errors of requests to a node into a line and an exit status."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except NodeUnreachableError as error:
            _fail(UNREACHABLE, str(error))
        except RequestDeniedError as error:
            _fail(FAILED, str(error))

    return run


def _done(settings: CtlSettings, answer: Any, text: str) -> None:
    if settings.json:
        as_json(answer)
    else:
        click.echo(text)


# ---- configuration and servers


@main.command()
@click.pass_obj
def check_config(settings: CtlSettings) -> None:
    """Check the configuration, and print the value of each key."""
    config = settings.config()
    values: dict[str, object] = {}
    for key in keys():
        value: Any = config
        for part in key.path.split("."):
            value = getattr(value, part)
        if key.kind.secret:
            value = "(set)" if value else ""
        values[key.path] = msgspec.to_builtins(value)
    if settings.json:
        as_json(values)
    else:
        facts(values)


@main.command()
@click.option("--dry-run", is_flag=True, help="Apply the migrations, print them and roll them back.")
@click.pass_obj
def migrate(settings: CtlSettings, dry_run: bool) -> None:
    """Migrate the database to the schema of this version. The daemon does that at its start, too."""
    config = settings.config()
    try:
        if not dry_run:
            os.makedirs(config.state_dir, mode=0o700, exist_ok=True)
        applied = migrate_archive(dialect_of(config), dry_run=dry_run)
    except (ArchiveError, OSError) as error:
        _fail(FAILED, str(error))
    text = "\n".join(f"{'would apply' if dry_run else 'applied'} {name}" for name in applied) or "nothing to do"
    _done(settings, {"applied": applied, "dryRun": dry_run}, text)


@main.command()
@click.argument("public_url", metavar="[URL]", required=False)
@click.pass_obj
def doctor(settings: CtlSettings, public_url: str | None) -> None:
    """Find faults in configuration, PostgreSQL, Redis, clocks, the node, and its access from outside.

    URL is the address for clients; default: web.invite_base_url.
    """
    config = settings.config()
    findings = []
    for finding in examine(config, settings.url, config.web.invite_base_url if public_url is None else public_url):
        findings.append(finding)
        if not settings.json:
            mark = {"ok": "ok      ", "warning": "warning ", "problem": "PROBLEM "}[finding.level]
            click.echo(mark + shown(finding.subject) + (f"\n        -> {finding.remedy}" if finding.remedy else ""))
    if settings.json:
        as_json([{"level": finding.level, "what": finding.subject, "remedy": finding.remedy} for finding in findings])
    if any(finding.level == "problem" for finding in findings):
        sys.exit(FAILED)


# ---- rooms


@main.command()
@click.option("--after", default="", metavar="ID", help="Begin after this room.")
@click.option("--limit", default=100, type=click.IntRange(1, 1000), help="Maximum number.", show_default=True)
@click.pass_obj
@_asking
def rooms(settings: CtlSettings, after: str, limit: int) -> None:
    """List the rooms of all nodes."""
    rows = settings.node().get("rooms", after=after, limit=limit)["rooms"]
    if settings.json:
        as_json(rows)
        return
    columns = {
        "roomId": "ROOM",
        "members": "MEMBERS",
        "isPlaying": "PLAYING",
        "updatedAt": "CHANGED",
        "currentUrl": "TITLE",
    }
    table(rows, columns)
    if len(rows) == limit:
        click.echo(f"More rooms may follow: --after {shown(rows[-1]['roomId'])}", err=True)


@main.command()
@click.argument("id")
@click.pass_obj
@_asking
def room(settings: CtlSettings, id: str) -> None:
    """Show the state of one room."""
    details = settings.node().get("rooms", id)
    if settings.json:
        as_json(details)
        return
    members = details.pop("members")
    details["createdAt"] = moment(details["createdAt"])
    facts(details)
    click.echo()
    for member in members:
        member["role"] = "host" if member["userId"] == details["hostUserId"] else ""
        member["joinedAt"], member["lostAt"] = moment(member["joinedAt"]), moment(member["lostAt"])
    columns = {
        "userId": "MEMBER",
        "username": "NAME",
        "role": "ROLE",
        "nodeId": "NODE",
        "joinedAt": "JOINED",
        "lostAt": "LOST",
    }
    table(members, columns)


@main.command()
@click.argument("id")
@click.option("-f", "--follow", is_flag=True, help="Print new events until Ctrl-C.")
@click.option("--limit", default=100, type=click.IntRange(1, 1000), help="Maximum number.", show_default=True)
@click.pass_obj
@_asking
def events(settings: CtlSettings, id: str, follow: bool, limit: int) -> None:
    """Show the events of a room, or of the last one with this id. --json with --follow prints an object a line."""
    node = settings.node()
    seen: set[tuple[int, int]] = set()
    newest = node.get("rooms", id, "events", limit=limit)["events"]
    if settings.json and not follow:
        as_json(newest)
        return
    while True:
        for event in newest:
            version = (event["epoch"], event["seq"])
            if version not in seen:
                seen.add(version)
                _print_event(settings, event)
        if not follow:
            return
        sys.stdout.flush()
        time.sleep(FOLLOW_INTERVAL_SECONDS)
        # Nodes may write events of one room out of order: read the last ones again.
        newest = node.get("rooms", id, "events", limit=1000)["events"]


def _print_event(settings: CtlSettings, event: dict[str, Any]) -> None:
    if settings.json:
        click.echo(json.dumps(event, ensure_ascii=False))
        return
    user = shown(event["userId"]) if event["userId"] else "(server)"
    details = shown(event["details"]) if event["details"] else ""
    click.echo(f"{shown(event['at'])}  {event['seq']:>6}  {event['event']:<18}  {user:<20}  {details}".rstrip())


@main.command()
@click.argument("id")
@click.option("--reason", metavar="TEXT", help="Reason that the members see.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask first.")
@click.pass_obj
@_asking
def close(settings: CtlSettings, id: str, reason: str | None, yes: bool) -> None:
    """Close a room, and remove its members on all nodes."""
    if not yes:
        click.confirm(f"Close the room {shown(id)} for all its members?", abort=True, err=True)
    _done(settings, settings.node().post("rooms", id, "close", reason=reason), f"{shown(id)} is closed")


@main.command()
@click.argument("text")
@click.option("--room", "id", metavar="ID", help="Only in this room.")
@click.pass_obj
@_asking
def announce(settings: CtlSettings, text: str, id: str | None) -> None:
    """Send a message to the chat of one room, or of all rooms. Clients without a chat show nothing."""
    path = ("rooms", id, "announce") if id else ("announce",)
    answer = settings.node().post(*path, text=text)
    _done(settings, answer, f"announced in {answer['rooms']} rooms")


@main.command()
@click.option("--key", required=True, metavar="FILE", help="A secret (*.secret), or a private key (PEM).")
@click.option("--kid", default="", help="The key's id. Default: the file's name up to its first dot.")
@click.option("--room", "id", required=True, metavar="ID", help="The room that the token is valid for.")
@click.option("--user", required=True, metavar="ID", help="The user that the token is valid for.")
@click.option("--name", help="The user's name. Default: the user chooses it.")
@click.option("--role", type=click.Choice(["host", "guest"]), default="guest", show_default=True)
@click.option("--audience", help="Default: auth.audience.")
@click.option(
    "--expires", type=click.IntRange(1), default=3600, help="Validity of the token in seconds.", show_default=True
)
@click.pass_obj
def mint_token(
    settings: CtlSettings,
    key: str,
    kid: str,
    id: str,
    user: str,
    name: str | None,
    role: str,
    audience: str | None,
    expires: int,
) -> None:
    """Make a token for auth.mode: token. For tests; in production the application with the accounts makes them."""
    claims = claims_of(id, user, name, role, audience or settings.config().auth.audience, time.time(), expires)
    try:
        token = mint(key, kid, claims)
    except KeyFileError as error:
        _fail(FAILED, str(error))
    _done(settings, {"token": token, "claims": claims}, token)


# ---- nodes


@main.command()
@click.pass_obj
@_asking
def node(settings: CtlSettings) -> None:
    """Show the state of the node."""
    details = settings.node().get("node")
    if settings.json:
        as_json(details)
    else:
        facts(details)


@main.command()
@click.option("--undo", is_flag=True, help="Accept clients again.")
@click.option("--force", is_flag=True, help="Even if no other node can accept them.")
@click.pass_obj
@_asking
def drain(settings: CtlSettings, undo: bool, force: bool) -> None:
    """Send the node's clients to other nodes, and accept none until a restart or --undo."""
    answer = settings.node().post("drain", undo=undo, force=force)
    text = "the node accepts clients again" if undo else f"{answer['connections']} connections move to other nodes"
    _done(settings, answer, text)


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion for a shell: eval "$(tandemctl completion bash)"."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "tandemctl", "_TANDEMCTL_COMPLETE").source())
