"""The commands of tandemctl."""

from __future__ import annotations

import itertools
import json
import os
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
from ..config import Config, ConfigError, WrittenValue, load_with_sources
from ..config.endpoints import local_address
from ..config.loader import DEFAULT
from .client import NodeClient, NodeUnreachableError, RequestDeniedError, Trust
from .doctor import examine
from .file_checks import Finding, check_files
from .output import as_json, as_written, facts, moment, shown, table
from .room_view import show_room

P = ParamSpec("P")

FAILED, WRONG, UNREACHABLE = 1, 2, 3
"""Exit statuses beside 0: rejected or faulty; wrong call or configuration; no answer from the node."""
FOLLOW_INTERVAL_SECONDS = 1.0
"""Time between two requests for new events."""


def _fail(status: int, text: str) -> NoReturn:
    click.echo(f"tandemctl: {text}", err=True)
    sys.exit(status)


class CtlSettings:
    """The options before the command. Commands that need configuration or token read them."""

    def __init__(self, config: str | None, url: str, token_file: str | None, as_json: bool, authorities: str = ""):
        """authorities: a PEM file with authorities that sign certificates of nodes, beside those of the system."""
        self._path = config
        self._url = url
        self._token_file = token_file
        self._authorities = authorities
        self.json = as_json

    def config(self) -> Config:
        """Return the configuration of a daemon in this environment."""
        return self.config_and_values()[0]

    def config_and_values(self) -> tuple[Config, list[WrittenValue]]:
        """Return the same, and the written value of each key."""
        try:
            return load_with_sources(self._path, os.environ, {})
        except ConfigError as error:
            _fail(WRONG, str(error))

    @property
    def url(self) -> str:
        """The node's URL: the option, else the configured port on this machine."""
        url = self.known_url
        if url is None:
            _fail(WRONG, f"port is {self.config().port!r}: name the node with --url or TANDEMCTL_URL")
        return url

    @property
    def known_url(self) -> str | None:
        """The same, or None if the configured port has no URL, such as that of a Unix socket."""
        if self._url:
            return self._url.rstrip("/")
        address = local_address(self.config())
        return None if address is None else address.url

    @property
    def trust(self) -> Trust:
        """The proof of identity that the node at `url` must give."""
        address = None if self._url or self._authorities else local_address(self.config())
        return Trust(self._authorities, () if address is None else address.certificates)

    def node(self) -> NodeClient:
        """Return the client of the node."""
        if self._token_file is None:
            token = self.config().admin.token
            if not token:
                _fail(WRONG, "no admin.token: name its file with --token-file, TANDEMCTL_TOKEN_FILE or --config")
            return NodeClient(self.url, token, self.trust)
        try:
            with open(self._token_file, encoding="ascii") as file:
                return NodeClient(self.url, file.read().strip(), self.trust)
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
@click.option("--ca", default="", metavar="FILE", help="Authorities to trust for https. Default: the system's.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.version_option(__version__, prog_name="tandemctl")
@click.pass_context
def main(context: click.Context, config: str | None, url: str, token_file: str | None, ca: str, as_json: bool) -> None:
    """Operate tandemd.

    The environment sets options, too: TANDEMCTL_URL and the like. Exit status: 0 done; 1 rejected, or a fault
    was found; 2 wrong call or configuration; 3 the node does not answer, or rejects the token.
    """
    context.obj = CtlSettings(config, url, token_file, as_json, ca)


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


@main.command(short_help="Check the configuration, and print each value.")
@click.pass_obj
def check_config(settings: CtlSettings) -> None:
    """Check the configuration and the files that it names, and print the written value of each key and its source."""
    config, values = settings.config_and_values()
    findings = [finding for finding in check_files(config) if finding.level != "ok"]
    if settings.json:
        described = [
            {"key": one.key.path, "value": _shown_value(one), "source": one.source, "allowed": one.key.kind.says}
            for one in values
        ]
        as_json({"values": described, "findings": [msgspec.to_builtins(finding) for finding in findings]})
    else:
        rows = [{"key": one.key.path, "value": as_written(_shown_value(one)), "source": one.source} for one in values]
        table(rows, {"key": "KEY", "source": "FROM", "value": "VALUE"})
        for finding in findings:
            click.echo(finding.report, err=True)
    if any(finding.level == "problem" for finding in findings):
        sys.exit(FAILED)


def _shown_value(value: WrittenValue) -> object:
    """Return a value as an operator writes it, without secrets."""
    if value.key.kind.secret:
        return "(set)" if value.written else ""
    return value.written


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


@main.command(short_help="Find faults of servers, files and access.")
@click.argument("public_url", metavar="[URL]", required=False)
@click.pass_obj
def doctor(settings: CtlSettings, public_url: str | None) -> None:
    """Find faults in configuration, PostgreSQL, Redis, clocks, the node, and its access from outside.

    URL is the address for clients; default: web.invite_base_url.
    """
    config, values = settings.config_and_values()
    findings = []
    outside = config.web.invite_base_url if public_url is None else public_url
    written = (
        Finding("ok", f"{one.key.path}: {as_written(_shown_value(one))} (from {one.source})")
        for one in values
        if one.source != DEFAULT
    )
    for finding in itertools.chain(written, examine(config, settings.known_url, settings.trust, outside)):
        findings.append(finding)
        if not settings.json:
            click.echo(finding.report)
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
    show_room(details)


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
        clocks = {name: moment(details[name] * 1000) for name in ("time", "storeTime")}
        facts({**details, "uptime": f"{details['uptime']:.0f} s", **clocks})


@main.command(short_help="Send the node's clients to other nodes.")
@click.option("--undo", is_flag=True, help="Accept clients again.")
@click.option("--force", is_flag=True, help="Even if no other node can accept them.")
@click.pass_obj
@_asking
def drain(settings: CtlSettings, undo: bool, force: bool) -> None:
    """Send the node's clients to other nodes, and accept none until a restart or --undo."""
    answer = settings.node().post("drain", undo=undo, force=force)
    text = "the node accepts clients again" if undo else f"{answer['connections']} connections move to other nodes"
    _done(settings, answer, text)


@main.command(short_help="Print the completion for a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion for a shell: eval "$(tandemctl completion bash)"."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "tandemctl", "_TANDEMCTL_COMPLETE").source())
