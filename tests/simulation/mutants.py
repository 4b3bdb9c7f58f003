"""python -m tests.simulation.mutants [--most N] [--jobs N] [NAME ...]: deliberate mistakes, and how many seeds find each.

A mutant is one wrong line in the code of the nodes. The simulation must find it within `MOST_SEEDS` schedules.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, succeed

from tandemd.archive import sql_archive, statements
from tandemd.interfaces import Conflict
from tandemd.rooms.departures import Departures
from tandemd.rooms.joining.greeter import JoinGreeter
from tandemd.rooms.log_follower import LogFollower
from tandemd.rooms.registry import RoomRegistry
from tandemd.rooms.store_events import StoreEventHandler
from tandemd.rules import ready_gate
from tandemd.rules.engine import Rules
from tandemd.rules.settings import RuleSettings
from tandemd.rules.state import Commit
from tandemd.store.redis import mailboxes, scripts
from tandemd.store.redis.commit_writer import CommitWriter
from tandemd.store.redis.journal import Journal
from tandemd.store.redis.journal_consumer import JournalConsumer
from tandemd.store.redis.mailboxes import Mailboxes
from tandemd.store.redis.room_store import RedisRoomStore
from tandemd.store.redis.spool import Spool
from tandemd.util.server_time import ServerTime

from .__main__ import quiet
from .run import run
from .schedule import LOSSES, ON_DATABASE, RENEWALS, Schedule, small

MOST_SEEDS = 300
Mutant = Callable[[], AbstractContextManager[None]]


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = owner.__dict__[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _wrapped(owner: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Mutant:
    return lambda: _replaced(owner, name, make(owner.__dict__[name]))


def _lua(script: scripts.Script, before: str, after: str) -> Mutant:
    """Return a mutant with another text in a script."""

    @contextmanager
    def mutated() -> Iterator[None]:
        text, sha = script.text, script.sha
        assert before.encode() in text, (script.name, before)
        script.text = text.replace(before.encode(), after.encode(), 1)
        script.sha = hashlib.sha1(script.text).hexdigest().encode()
        try:
            yield
        finally:
            script.text, script.sha = text, sha

    return mutated


# -- in Python


def _twice(receive: Callable[..., None]) -> Callable[..., None]:
    """An echo of the node's own commit is applied again."""

    def wrong(self: Any, commits: Sequence[Commit]) -> None:
        for commit in commits:
            if (commit.epoch, commit.seq) == self._live.room.version and commit.messages:
                self._live.apply(commit)
        receive(self, commits)

    return wrong


def _deaf(committed: Callable[..., None]) -> Callable[..., None]:
    """One publication in seven is lost."""

    def wrong(self: Any, room_id: str, commits: Sequence[Commit]) -> None:
        if commits[-1].seq % 7:
            committed(self, room_id, commits)

    return wrong


def _ignores_gap(receive: Callable[..., None]) -> Callable[..., None]:
    def wrong(self: Any, commits: Sequence[Commit]) -> None:
        for commit in commits:
            if commit.epoch == self._live.room.epoch and commit.seq > self._live.room.seq:
                self._live.apply(commit)
            else:
                receive(self, [commit])

    return wrong


def _eager(submit: Callable[..., None]) -> Callable[..., None]:
    """A commit is reported as done before Redis has answered."""

    def wrong(self: Any, attempt: Any) -> None:
        done, attempt.done = attempt.done, lambda result: None
        submit(self, attempt)
        done(None)

    return wrong


def _decides_again(resolve: Callable[..., Any]) -> Callable[..., Any]:
    """A commit whose answer was lost counts as not executed."""

    async def wrong(self: Any, attempt: Any) -> None:
        await self._gateway.on_available()
        attempt.done(Conflict(None))

    return wrong


def _loses_batch(archive_all: Callable[..., Any]) -> Callable[..., Any]:
    """Entries are removed from the journal although the archive could not be written."""

    async def wrong(self: Any, entries: Any) -> None:
        try:
            await archive_all(self, entries)
        except Exception:
            ids = [id_ for id_, _ in entries]
            if ids:
                await self._link.call(b"XDEL", b"tandem:journal", *ids)
            raise

    return wrong


def _replays_nothing(replay: Callable[..., Any]) -> Callable[..., Any]:
    """A log that does not reach back counts as one without news."""

    def wrong(self: Any, room_id: str, after: Any) -> Deferred[Any]:
        found: Deferred[Any] = replay(self, room_id, after)
        return found.addCallback(lambda found: found or [])

    return wrong


def _keeps_nothing(written: Callable[..., None]) -> Callable[..., None]:
    def wrong(self: Any, room: Any, entries: Any, ids: Any, *, full: bool) -> None:
        written(self, room, [] if not full else entries, [], full=full)

    return wrong


def _forgets_spool(read: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(self: Any, most: int, size: int) -> Any:
        return read(self, most, size)[1:]

    return wrong


def _steps(self: Any) -> None:
    """Server time takes the time of its reference at once."""
    here = self._seconds()
    self._from = self._turn = here
    self._rate, self._base = 1.0, here + self._reference
    self._turn_base = self._base


def _ends_grace_early(right: Callable[..., None]) -> Callable[..., None]:
    def wrong(self: Any, settings: RuleSettings, *others: Any) -> None:
        right(self, msgspec.structs.replace(settings, grace=settings.grace / 3), *others)

    return wrong


def _never_opens(gate: Any, *limits: float) -> float:
    return gate.since + 1e6 if gate.pending else float(gate.since)


def _skips_copies(announced: Callable[..., None]) -> Callable[..., None]:
    """The announcement of a message that was delivered is ignored, so that a copy of it stays."""

    def wrong(self: Any, room_id: str, publication: bytes) -> None:
        message = publication.partition(b"\x00")[2]
        if message[: mailboxes.MESSAGE_ID_BYTES] not in self._delivered:
            announced(self, room_id, publication)

    return wrong


MUTANTS: dict[str, Mutant] = {
    # of the checker's own tests
    "publications are dropped": _wrapped(
        StoreEventHandler,
        "committed",
        _deaf,
    ),
    "an echo is applied twice": _wrapped(LogFollower, "receive", _twice),
    "a commit is acknowledged before the reply": _wrapped(CommitWriter, "submit", _eager),
    "a trimmed log counts as no news": _wrapped(RedisRoomStore, "replay", _replays_nothing),
    "an older dump keeps its incarnation": _lua(
        scripts.OPEN_INCARNATION,
        "redis.call('HGET', store_key, 'run_id') ~= run_id",
        "redis.call('EXISTS', store_key) == 0",
    ),
    "a relay skips the mailbox": _lua(scripts.RELAY, "redis.call('RPUSH', mailbox_key,", "local _ = ("),
    "an older row replaces a newer one": lambda: _replaced(
        sql_archive, "UPSERT_ROOMS", statements.UPSERT_ROOMS.partition(" where ")[0]
    ),
    # in the scripts
    "commit: any version will do": _lua(scripts.COMMIT, "if version ~= expected_version then", "if false then"),
    "commit: nothing is published": _lua(scripts.COMMIT, "redis.call('PUBLISH', channel, publication)", ""),
    "commit: the journal lacks later entries of a batch": _lua(
        scripts.COMMIT, "if entry ~= '' and not full then", "if entry ~= '' and not full and #ids == 0 then"
    ),
    "commit: it is never late": _lua(scripts.COMMIT, "if now > tonumber(not_after) then", "if false then"),
    "commit: members that leave keep their mailbox": _lua(
        scripts.COMMIT, "for i = rest_keys, #KEYS do redis.call('DEL', KEYS[i]) end", ""
    ),
    "load: a restored room keeps its epoch": _lua(
        scripts.LOAD_ROOM, "epoch = math.max(tonumber(epoch) + 1, math.floor(now * 1000))", "epoch = tonumber(epoch)"
    ),
    "mailbox: delivered relays stay": _lua(
        scripts.READ_MAILBOX,
        "redis.call('LREM', mailbox_key, 1, message)",
        "left[#left + 1] = string.sub(message, 1, -17)",
    ),
    "reseed: an older replica wins": _lua(
        scripts.RESEED, "newer = only_absent == ''", "newer = only_absent == '' or true -- "
    ),
    "heartbeat: the dead are not named": _lua(
        scripts.NODE_HEARTBEAT, "redis.call('ZRANGEBYSCORE', nodes_key, '-inf', '(' .. limit)", "{}"
    ),
    "journal: entries that are added again are lost": _lua(
        scripts.JOURNAL_ADD, "return id", "redis.call('XDEL', journal_key, id) return id"
    ),
    # in the follower
    "follower: gaps are ignored": _wrapped(LogFollower, "receive", _ignores_gap),
    "follower: heads are ignored": lambda: _replaced(
        LogFollower, "head_version", lambda self, room_uuid, version: None
    ),
    "follower: an outcome that is unknown is decided again": _wrapped(CommitWriter, "_resolve", _decides_again),
    # in the consumer, the journal and the spool
    "consumer: a batch that failed is dropped": _wrapped(JournalConsumer, "_archive_all", _loses_batch),
    "journal: entries are not kept for a loss of Redis": _wrapped(Journal, "written", _keeps_nothing),
    "spool: the first entry of each read is lost": _wrapped(Spool, "read", _forgets_spool),
    # in the rooms
    "a closed connection is not reported": _wrapped(
        Departures, "submit", lambda right: lambda self, live, command: None
    ),
    "a resuming member receives no missed messages": lambda: _replaced(
        JoinGreeter, "_send_missed", lambda self, live, session, missed: missed is not None
    ),
    "mail is not taken at a resume": lambda: _replaced(
        Mailboxes, "take_mail", lambda self, room_id, user_id: succeed([])
    ),
    "a copy of a delivered relay stays in the mailbox": _wrapped(Mailboxes, "announced", _skips_copies),
    # for the checks of all times
    "a gate has no deadline": lambda: _replaced(ready_gate, "opens_at", _never_opens),
    "a grace period ends after a third of it": _wrapped(Rules, "__init__", _ends_grace_early),
    "server time steps": lambda: _replaced(ServerTime, "_steer", _steps),
    "rooms stay open": lambda: _replaced(RoomRegistry, "close_if_idle", lambda self, live: None),
    "the lost end of a connection is not noticed": lambda: _replaced(
        RoomRegistry, "lose_absent_members", lambda self, live: True
    ),
}


NEEDS: dict[str, Callable[[Schedule], object]] = {
    "an older dump keeps its incarnation": lambda it: it.names() & {"restart_redis_older", "fail_over"},
    "a trimmed log counts as no news": lambda it: it.log_length < 100 and it.nodes > 1 and it.names(),
    "rooms stay open": lambda it: it.vacates,
    "the lost end of a connection is not noticed": lambda it: it.vacates and it.nodes > 1 and it.names() & LOSSES,
    "commit: members that leave keep their mailbox": lambda it: it.vacates and it.nodes > 1,
    "server time steps": lambda it: it.names() & {"step_redis_clock", "step_wall_clock", "restart_node"},
    "a gate has no deadline": lambda it: it.silent_share,
    "an older row replaces a newer one": lambda it: it.nodes > 1 and it.names().intersection(ON_DATABASE),
    "load: a restored room keeps its epoch": lambda it: it.names() & RENEWALS,
    "reseed: an older replica wins": lambda it: it.names() & RENEWALS,
    "heartbeat: the dead are not named": lambda it: it.names().intersection(("kill_node", "freeze_node")),
    "journal: entries that are added again are lost": lambda it: it.names() & RENEWALS or it.journal_length < 100,
    "journal: entries are not kept for a loss of Redis": lambda it: it.names() & LOSSES,
    "spool: the first entry of each read is lost": lambda it: it.journal_length < 100,
    "consumer: a batch that failed is dropped": lambda it: it.nodes > 1 and it.names().intersection(ON_DATABASE),
}
"""Schedules that can find a mutant; the others are counted, but not run."""


def _measured(task: tuple[str, int]) -> tuple[str, tuple[int, str] | None]:
    name, most = task
    return name, seeds_until_found(name, most)


def seeds_until_found(name: str, most: int = MOST_SEEDS) -> tuple[int, str] | None:
    """Return the number of schedules until one fails, and its problem; None if none of `most` fails."""
    can_find = NEEDS.get(name, lambda schedule: schedule.nodes > 1)
    with MUTANTS[name]():
        for seed in range(most):
            schedule = small(seed)
            problems = run(schedule).problems if can_find(schedule) else []
            if problems:
                return seed + 1, problems[0]
    return None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants", description=__doc__)
    parser.add_argument("--most", type=int, default=MOST_SEEDS, help="schedules for each")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("names", nargs="*", help="words in the names of mutants; all without any")
    options = parser.parse_args()
    quiet()
    missed = 0
    chosen = [name for name in MUTANTS if not options.names or any(word in name for word in options.names)]
    with multiprocessing.get_context("fork").Pool(options.jobs) as pool:
        for name, found in pool.imap_unordered(_measured, [(name, options.most) for name in chosen]):
            if found is None:
                missed += 1
                print(f"| {name} | not within {options.most} | |", flush=True)
            else:
                print(f"| {name} | {found[0]} | {' '.join(found[1].split())[:100]} |", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
