"""Rooms in Redis, for any number of nodes. See docs/architecture.md for what is kept under which key."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from msgspec import Struct
from twisted.application import service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import Refused
from ..interfaces import CommitResult, Conflict, IArchive, IFollower, IRoomStore, Unavailable
from ..metrics import Metrics
from ..room.state import MEMBER, Commit, Room, Version
from ..services import CannotStart, Tasks
from . import codec, scripts
from .clusterclock import ClusterClock
from .journal import Journal
from .link import Disconnected, Link, RedisError
from .members import Members
from .refusals import passing, remedy, withheld

PREFIX = b"tandem:"
OFFERS = 1.0
"""Seconds in which nodes offer the rooms they hold to a server that may have lost them."""
PATIENCE = 2.0
"""Seconds for which a command waits while Redis is away, and after which Redis will not carry it out any more."""
START_WITHIN = 6.0
"""Seconds in which Redis must answer when the node starts. A wrong password is no reason to wait."""
HEADS = 5.0
"""Seconds between two comparisons of all followed rooms with Redis."""
LETTERS = 200
"""How many relays are kept for a member."""


class RedisSettings(Struct, frozen=True):
    """log_length: commits kept for each room. mail_seconds: how long relays are kept. journal_length: see Journal."""

    log_length: int = 1000
    mail_seconds: int = 60
    journal_length: int = 200_000


def key(kind: bytes, *names: str) -> bytes:
    return PREFIX + kind + b":" + "\x00".join(names).encode()


STORE, NODES, DUE, INVITES = PREFIX + b"store", PREFIX + b"nodes", PREFIX + b"due", PREFIX + b"invites"


@implementer(IRoomStore)
class RedisStore(service.Service):
    """The store of many nodes.

    name: "node/boot/", with which the names of this node's connections begin. follower: is told of everything that
    other nodes do. archive: is asked for rooms that Redis does not have.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: IStreamClientEndpoint,
        options: dict[str, Any],
        name: str,
        settings: RedisSettings,
        archive: IArchive,
        metrics: Metrics,
        spool: str,
    ):
        self.where = ""
        self._clock = clock
        self._settings = settings
        self._archive = archive
        self._metrics = metrics
        self._name = name
        self._tasks = Tasks(clock)
        self._time = ClusterClock(clock)
        self._commands = Link("commands", clock, endpoint, options, self._up, self._down)
        self._listening = Link("subscription", clock, endpoint, options, self._resubscribe, self._deaf, self._heard)
        self.journal = Journal(self._commands, PREFIX + b"journal", settings.journal_length, spool, metrics)
        self.members = Members(self._commands, NODES, STORE, name, lambda prefix: key(b"at", prefix), metrics)
        self._places = key(b"at", name)
        self._follower: IFollower | None = None
        self._followed: dict[str, list[Deferred[None]]] = {}
        self._confirmed: set[str] = set()
        self._incarnation: bytes | None = None
        self._known = b""
        self._waiting: list[Callable[[], None]] = []
        self._failure = ""
        self._fatal = False
        self._entering: object = None
        self._listens = False
        self._heard_canary = 0.0
        self._loops: list[LoopingCall] = []
        self._stopping = False

    # -- service

    def attach(self, follower: IFollower) -> None:
        """Set who is told. To be called once, before the service starts."""
        self._follower = follower
        self.members.attach(follower)

    def startService(self) -> Deferred[None]:
        super().startService()
        self._commands.start()
        self._listening.start()
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        limit = self._clock.seconds() + START_WITHIN
        while reason := self.ready():
            if self._fatal or self._commands.hopeless or self._listening.hopeless or self._clock.seconds() > limit:
                raise CannotStart(reason)
            await deferLater(self._clock, 0.02)
        for seconds, function in (
            (1.0, self._canary),
            (HEADS, self._compare),
            (2.0, self._beat),
            (1.0, self.journal.tidy),
        ):
            loop = LoopingCall(function)
            loop.clock = self._clock
            loop.start(seconds, now=function == self._beat).addErrback(
                lambda failure: self._log.failure("redis: a loop has ended", failure=failure)
            )
            self._loops.append(loop)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._stopping = True
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for loop in self._loops:
            if loop.running:
                loop.stop()
        await self._tasks.finish(3.0)
        await self._listening.stop()
        await self._commands.stop()
        self.journal.close()

    def ready(self) -> str:
        if self._incarnation is None:
            return self._commands.failure or self._failure
        if not self._listens:
            return self._listening.failure or "the subscription to Redis is being made"
        return ""

    def now(self) -> float:
        return self._time.now()

    # -- coming and going of the connection

    def _up(self) -> None:
        self._tasks.spawn("entering Redis", self._enter())

    def _down(self) -> None:
        self._incarnation = None

    async def _enter(self) -> None:
        """Begin to use the server, as soon as it can be used."""
        entering = self._entering = object()
        wait = 0.1
        while self._commands.usable and self._entering is entering and not self._stopping:
            try:
                await self._try_to_enter(entering)
                return
            except Disconnected:
                return
            except (RedisError, CannotStart) as error:
                self._fatal = isinstance(error, CannotStart) or not passing(str(error))
                self._fail(str(error))
            await deferLater(self._clock, wait)
            wait = min(2 * wait, 1.0)

    async def _try_to_enter(self, entering: object) -> None:
        await self._commands.load_scripts()
        info = _info(await self._commands.call(b"INFO"))
        reason = _unsuitable(info)
        if reason:
            raise CannotStart(reason)
        number, opens, now = await self._ask_time(scripts.ENTER, [STORE], info["run_id"].encode(), b"%f" % OFFERS)
        before = self._known
        if before and before != number:
            self._log.warn(
                "redis: another server, or one that was restarted: incarnation {number}", number=number.decode()
            )
            await self._offer(float(opens) - float(now))
        elif float(opens) > float(now):
            await deferLater(self._clock, float(opens) - float(now))
        if not self._commands.usable or self._entering is not entering:
            return
        # Only now: if the offering was interrupted, it is to be done again.
        self._known = self._incarnation = number
        self._fatal, self._failure = False, ""
        waiting, self._waiting = self._waiting, []
        if self._follower is not None:
            if before and before != number:
                for code in list(self._followed):
                    self._follower.renewed(code)
                self.journal.again()
            else:
                self._tasks.spawn("comparing", self._compare_heads())
            self._follower.available()
        for go_on in waiting:
            go_on()

    def _suspend(self, error: str) -> None:
        """The server answers, and does not do what it is asked: wait until it does."""
        if self._incarnation is not None and withheld(error):
            self._incarnation = None
            self._fail(error)
            self._up()

    def _fail(self, error: str) -> None:
        reason = f"{self._commands.where} cannot be used: {error}{remedy(error)}"
        if reason != self._failure:
            self._log.error("redis: {reason}", reason=reason)
        self._failure = reason

    async def _ask_time(self, script: scripts.Script, keys: list[bytes], *arguments: bytes) -> list[Any]:
        asked = self._clock.seconds()
        answer: list[Any] = await self._commands.run(script, keys, *arguments)
        if script is scripts.ENTER:
            self._time.anchor()
        self._time.sample(asked, self._clock.seconds(), float(answer[2] if script is scripts.ENTER else answer[0]))
        return answer

    async def _offer(self, seconds: float) -> None:
        """Give a server that may have lost them the rooms that are open here, and wait until all nodes have done so."""
        end = self._clock.seconds() + max(0.0, seconds)
        if self._follower is not None:
            for room, commits in self._follower.held():
                await self._restore(room, commits)
        await deferLater(self._clock, max(0.0, end - self._clock.seconds()) + 0.05)

    async def _restore(self, room: Room, commits: Sequence[Commit]) -> None:
        words = [
            room.id.encode(),
            b"%d" % room.epoch,
            b"%d" % room.seq,
            room.code.encode(),
            room.settings.invite.encode(),
            _due(room.due),
            b"%d" % self._settings.log_length,
            b"%d" % len(commits),
        ]
        for commit in commits:
            words += (b"%d-%d" % (commit.epoch, commit.seq), codec.encode_commit(commit))
        words += (codec.HEAD.encode(), codec.encode_head(room))
        for name, value in room.fields().items():
            words += (name.encode(), codec.encode_field(value))
        code = room.code
        await self._commands.run(scripts.OFFER, [key(b"room", code), key(b"log", code), INVITES, DUE], *words)

    async def _available(self) -> None:
        """Wait a moment for the store. Raises Refused if it does not come back."""
        if self._incarnation is not None:
            return
        came: Deferred[None] = Deferred()
        self._wait(lambda: came.callback(None), lambda: came.errback(_unavailable()))
        await came

    def _wait(self, go_on: Callable[[], None], give_up: Callable[[], None]) -> None:
        def expired() -> None:
            self._waiting.remove(resume)
            give_up()

        def resume() -> None:
            if timer.active():
                timer.cancel()
            go_on()

        timer = self._clock.callLater(PATIENCE, expired)
        self._waiting.append(resume)

    # -- commits

    def commit(self, room: Room, commits: Sequence[Commit], done: Callable[[CommitResult], None]) -> None:
        self._commit(room, commits, done, again=True)

    def _commit(
        self, room: Room, commits: Sequence[Commit], done: Callable[[CommitResult], None], *, again: bool
    ) -> None:
        """again: whether to wait for a server that refuses this commit, for the moment, and then try it once more."""
        if self._incarnation is None:
            self._wait(lambda: self._commit(room, commits, done, again=again), lambda: done(Unavailable(PATIENCE)))
            return
        batch = secrets.token_hex(8)
        not_after = self.now() + PATIENCE
        keys, words, entries = self._words(room, commits, batch, not_after)
        answer = self._commands.run(scripts.COMMIT, keys, *words)
        answer.addCallbacks(
            self._answered, self._unsure, (room, entries, done), {}, (room, commits, batch, not_after, done, again), {}
        )
        answer.addErrback(lambda failure: self._log.failure("redis: after a commit in {room}", failure, room=room.code))

    def _words(
        self, room: Room, commits: Sequence[Commit], batch: str, not_after: float
    ) -> tuple[list[bytes], list[bytes], list[bytes]]:
        last, code = commits[-1], room.code
        changes: dict[str, Any] = {}
        prev = room.prev
        entries: list[bytes] = []
        log: list[bytes] = []
        told: list[bytes] = []
        for commit in commits:
            changes.update(commit.changes)
            if commit.messages:
                prev = commit.seq
            whole = codec.encode_commit(commit)
            entry = codec.encode_commit(commit, messages=False) if commit.event else b""
            log += (b"%d-%d" % (commit.epoch, commit.seq), whole, entry)
            told.append(whole)
            if entry:
                entries.append(entry)
        if not room.seq:
            changes = {**room.fields(), **changes}
        settings = changes.get("settings", room.settings)
        invite = settings.invite if not room.seq or last.closes else ""
        set_: list[bytes] = [codec.HEAD.encode(), codec.encode_head_of(room.created_at, prev, last.at, last.due)]
        delete: list[bytes] = []
        for name, value in changes.items():
            if value is None and name.startswith(MEMBER):
                delete.append(name.encode())
            else:
                set_ += (name.encode(), codec.encode_field(value))
        channel = key(b"room", code)
        keys = [channel, key(b"log", code), PREFIX + b"journal", DUE, INVITES, STORE, key(b"ended", code), self._places]
        words = [
            codec.version_text(room.id, room.version) if room.seq else b"",
            codec.version_text(room.id, (last.epoch, last.seq)),
            self._incarnation or b"",
            b"%f" % not_after,
            b"%d" % self._settings.log_length,
            channel,
            codec.publication(batch, told),
            code.encode(),
            _due(last.due),
            invite.encode(),
            b"1" if last.closes else b"",
            batch.encode(),
            room.id.encode(),
            b"%d" % self._settings.journal_length,
            b"%d" % len(commits),
            b"%d" % (len(set_) // 2),
            *log,
            *set_,
            *delete,
        ]
        return keys, words, entries

    def _answered(
        self, answer: list[Any], room: Room, entries: list[bytes], done: Callable[[CommitResult], None]
    ) -> None:
        verdict = answer[0]
        if verdict == b"ok":
            self.journal.written(room, entries, answer[1], full=bool(answer[2]))
            done(None)
        elif verdict == b"conflict" and answer[1]:
            room_id, version = codec.parse_version(answer[1])
            done(Conflict(version if room_id == room.id else None))
        else:
            # "late": our clock is wrong. "incarnation": the room is to be read anew. Nothing was changed.
            if verdict == b"late":
                self._time.anchor()
                self._tasks.spawn("sign of life", self._beat_once())
            done(Conflict(None))

    def _unsure(
        self,
        failure: Failure,
        room: Room,
        commits: Sequence[Commit],
        batch: str,
        not_after: float,
        done: Callable[[CommitResult], None],
        again: bool,
    ) -> None:
        if failure.check(RedisError):
            # Nothing was changed: what Redis refuses, it refuses at the script's first write.
            error = str(failure.value)
            if not withheld(error):
                self._log.error("redis: commit in {room}: {error}", room=room.code, error=error)
            self._suspend(error)
            if again and withheld(error):
                self._commit(room, commits, done, again=False)
            else:
                done(Unavailable(PATIENCE))
        elif failure.check(Disconnected):
            self._tasks.spawn("a commit without an answer", self._resolve(room, commits, batch, not_after, done))
        else:
            failure.raiseException()

    async def _resolve(
        self,
        room: Room,
        commits: Sequence[Commit],
        batch: str,
        not_after: float,
        done: Callable[[CommitResult], None],
    ) -> None:
        """Find out whether a commit whose answer was lost was made. Redis refuses it after `not_after`."""
        name = b"%d-%d" % (commits[0].epoch, commits[0].seq)
        while not self._stopping:
            try:
                await self._wait_long()
                found = await self._commands.call(b"XRANGE", key(b"log", room.code), name, name)
                now = _time(await self._commands.call(b"TIME"))
            except (Disconnected, RedisError):
                await deferLater(self._clock, 0.1)
                continue
            if found and _pairs(found[0][1]).get("b") == batch.encode():
                entries = [codec.encode_commit(commit, messages=False) for commit in commits if commit.event]
                self.journal.written(room, entries, [], full=False)
                done(None)
                return
            if found or now > not_after:
                done(Conflict(None))
                return
            await deferLater(self._clock, 0.1)

    async def _wait_long(self) -> None:
        while self._incarnation is None and not self._stopping:
            await deferLater(self._clock, 0.05)

    # -- reading

    def load(self, code: str) -> Deferred[Room | None]:
        return _coroutine(self._load(code))

    async def _load(self, code: str) -> Room | None:
        await self._heard_of(code)
        while True:
            await self._available()
            try:
                fields = await self._commands.run(scripts.REVIVE, [key(b"room", code), STORE], key(b"room", code))
                if not fields:
                    room = await self._from_archive(code)
                    if room is None:
                        return None
                    await self._restore(room, ())
                    continue
            except (Disconnected, RedisError):
                raise _unavailable() from None
            if fields[0] == b"wait":
                await deferLater(self._clock, float(fields[1]) + 0.01)
                continue
            return codec.decode_room(code, _pairs(fields))

    async def _from_archive(self, code: str) -> Room | None:
        """Return a room that Redis has lost. Whether there is none is known only if the archive can be asked."""
        try:
            room = await self._archive.find(code)
        except Exception as error:
            self._log.warn("whether there is a room {room} cannot be asked: {error}", room=code, error=str(error))
            raise _unavailable() from None
        if room is None or await self._commands.call(b"GET", key(b"ended", code)) == room.id.encode():
            return None
        return room

    def replay(self, code: str, after: Version) -> Deferred[Sequence[Commit] | None]:
        return _coroutine(self._replay(code, after))

    async def _replay(self, code: str, after: Version) -> Sequence[Commit] | None:
        await self._available()
        first = b"%d-%d" % (after[0], after[1] + 1)
        try:
            version = self._commands.call(b"HMGET", key(b"room", code), b"v", b"i")
            entries = self._commands.call(b"XRANGE", key(b"log", code), first, b"+")
            (at, written), found = await version, await entries
        except (Disconnected, RedisError):
            raise _unavailable() from None
        if at is not None and (written != self._incarnation or codec.parse_version(at)[1][0] != after[0]):
            return None
        commits = [codec.decode_commit(_pairs(fields)["c"]) for _, fields in found]
        if not commits:
            return [] if at is not None and codec.parse_version(at)[1] == after else None
        follows = all(c.epoch == after[0] and c.seq == after[1] + 1 + i for i, c in enumerate(commits))
        return commits if follows and (at is not None or commits[-1].closes) else None

    def find_invite(self, invite: str) -> Deferred[str | None]:
        return _coroutine(self._find_invite(invite))

    async def _find_invite(self, invite: str) -> str | None:
        await self._available()
        try:
            code = await self._commands.call(b"HGET", INVITES, invite.encode())
        except (Disconnected, RedisError):
            raise _unavailable() from None
        return code.decode() if code is not None else None

    def due_rooms(self, now: float) -> Deferred[Sequence[str]]:
        return _coroutine(self._due_rooms(now))

    async def _due_rooms(self, now: float) -> Sequence[str]:
        if self._incarnation is None:
            return []
        try:
            codes = await self._commands.call(b"ZRANGEBYSCORE", DUE, b"-inf", b"%f" % now, b"LIMIT", b"0", b"200")
        except (Disconnected, RedisError):
            return []
        return [code for code in (found.decode() for found in codes) if code not in self._followed]

    def grace_floor(self) -> float:
        return self.members.floor

    # -- following

    def follow(self, code: str, follower: IFollower) -> None:
        self._followed[code] = []
        self._listening.tell(b"SUBSCRIBE", key(b"room", code))

    def unfollow(self, code: str) -> None:
        waiters = self._followed.pop(code, [])
        self._confirmed.discard(code)
        self._listening.tell(b"UNSUBSCRIBE", key(b"room", code))
        for waiter in waiters:
            waiter.callback(None)

    async def _heard_of(self, code: str) -> None:
        """Wait until what happens to a followed room will be told: whatever is read after that misses nothing."""
        if code in self._followed and code not in self._confirmed:
            waiter: Deferred[None] = Deferred()
            self._followed[code].append(waiter)
            await waiter

    def _resubscribe(self) -> None:
        self._heard_canary = self._clock.seconds()
        self._listening.tell(b"SUBSCRIBE", key(b"canary", self._name))
        for code in self._followed:
            self._listening.tell(b"SUBSCRIBE", key(b"room", code))
        # What was told while nobody listened is found by comparing; after the subscriptions, on the same server.
        self._tasks.spawn("comparing", self._compare_soon())

    def _deaf(self) -> None:
        self._listens = False
        self._confirmed.clear()
        self._metrics.pubsub_reconnects.value += 1

    def _heard(self, kind: bytes, channel: bytes, payload: Any) -> None:
        what, _, name = channel[len(PREFIX) :].partition(b":")
        if what == b"canary":
            self._heard_canary = self._clock.seconds()
            self._listens = True
            return
        code = name.decode()
        if kind == b"subscribe" and code in self._followed:
            self._confirmed.add(code)
            waiters, self._followed[code] = self._followed[code], []
            for waiter in waiters:
                waiter.callback(None)
        elif kind == b"message" and self._follower is not None:
            if payload[:1] == b"[":
                _, commits = codec.decode_publication(payload)
                self._follower.committed(code, commits)
            elif payload[:1] == b"e":
                self._follower.renewed(code)
            else:
                user, _, letter = payload[1:].partition(b"\x00")
                self._tasks.spawn("a letter", self._deliver(code, user.decode(), letter))

    def _canary(self) -> None:
        """Notice a subscription that is silent without being closed."""
        now = self._clock.seconds()
        self._metrics.canary_age.value = now - self._heard_canary
        if self._listening.usable and now - self._heard_canary > 3.0:
            self._log.warn("redis: nothing is heard from the subscription; connecting anew")
            self._listening.drop()
        if self._commands.usable:
            self._commands.call(b"PUBLISH", key(b"canary", self._name), b"c").addErrback(lambda failure: None)

    async def _compare_soon(self) -> None:
        await deferLater(self._clock, 0.05)
        await self._compare_heads()

    def _compare(self) -> None:
        self._tasks.spawn("comparing", self._compare_heads())

    async def _compare_heads(self) -> None:
        if self._incarnation is None or self._follower is None:
            return
        codes = list(self._followed)
        asked = [self._commands.call(b"HGET", key(b"room", code), b"v") for code in codes]
        for code, answer in zip(codes, asked, strict=True):
            try:
                found = await answer
            except (Disconnected, RedisError):
                continue
            if code in self._followed:
                room_id, version = codec.parse_version(found) if found else ("", (0, 0))
                self._follower.head(code, room_id, version)

    def _beat(self) -> None:
        if self._incarnation is not None:
            self._tasks.spawn("sign of life", self._beat_once())

    async def _beat_once(self) -> None:
        try:
            asked = self._clock.seconds()
            now, dead = await self.members.beat()
            self._time.sample(asked, self._clock.seconds(), now)
            if self._follower is not None:
                await self.members.take_over(dead)
        except RedisError as error:
            self._suspend(str(error))
        except Disconnected:
            return

    # -- relays

    def relay(self, code: str, user_id: str, frame: bytes) -> None:
        letter = secrets.token_hex(8).encode() + frame
        told = b"r" + user_id.encode() + b"\x00" + letter
        keep = b"%d" % self._settings.mail_seconds
        self._commands.run(
            scripts.RELAY, [key(b"mail", code, user_id)], letter, b"%d" % LETTERS, keep, key(b"room", code), told
        ).addErrback(lambda failure: None)

    async def _deliver(self, code: str, user_id: str, letter: bytes) -> None:
        if self._follower is None or not self._follower.present(code, user_id):
            return
        # Whoever takes the letter out of the mailbox delivers it: nobody else will.
        try:
            taken = await self._commands.call(b"LREM", key(b"mail", code, user_id), b"1", letter)
        except (Disconnected, RedisError):
            return
        if taken:
            self._follower.relayed(code, user_id, letter[16:])

    def take_mail(self, code: str, user_id: str) -> Deferred[Sequence[bytes]]:
        return _coroutine(self._take_mail(code, user_id))

    async def _take_mail(self, code: str, user_id: str) -> Sequence[bytes]:
        await self._available()
        try:
            return [letter[16:] for letter in await self._commands.run(scripts.EMPTY, [key(b"mail", code, user_id)])]
        except (Disconnected, RedisError):
            raise _unavailable() from None

    def drop_mail(self, code: str, user_id: str) -> None:
        self._commands.call(b"DEL", key(b"mail", code, user_id)).addErrback(lambda failure: None)


def _coroutine(work: Coroutine[Any, Any, Any]) -> Deferred[Any]:
    return Deferred.fromCoroutine(work)


def _unavailable() -> Refused:
    return Refused("unavailable", "The server cannot reach its store at the moment.", int(PATIENCE * 1000))


def _due(due: float) -> bytes:
    return b"%f" % due if due else b""


def _pairs(flat: Sequence[bytes]) -> dict[str, bytes]:
    return {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}


def _time(answer: Sequence[bytes]) -> float:
    return int(answer[0]) + int(answer[1]) / 1e6


def _info(text: bytes) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.decode("utf-8", "replace").splitlines() if ":" in line)


def _unsuitable(info: dict[str, str]) -> str:
    """Return '' if the server will do, else one line that says why not."""
    version = tuple(int(part) for part in info.get("redis_version", "0").split(".")[:2])
    if version < (6, 2):
        return f"it is version {info.get('redis_version')}; tandemd needs Redis 6.2 or newer"
    if info.get("cluster_enabled") == "1":
        return "it runs as a cluster, which tandemd does not use; name a single server in redis.host"
    if info.get("maxmemory", "0") != "0" and info.get("maxmemory_policy") not in (None, "noeviction"):
        return f"it may throw rooms away (its maxmemory-policy is {info['maxmemory_policy']}); set that to noeviction"
    return ""
