"""The checker of tests/chaos can fail: every deliberate mistake here is seen by it, and without one it sees nothing."""

from __future__ import annotations

import math
import shutil
import signal
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, cast

import txaio
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import TestCase

from tandemd.errors import RequestError
from tandemd.interfaces import CommitResult, IRoomStore, IStoreEventHandler, Snapshot
from tandemd.rules.state import Commit, Room
from tandemd.store.redis.store import RedisStore

from ..support.patience import PATIENCE_SECONDS, TEST_LIMIT_SECONDS
from ..support.private_servers import Redis
from .checker import EMPTY_LOG_LENGTH, REMOVAL, Checker, History
from .client import Client, NewClient
from .party import Party
from .resp import ask
from .small import DictArchive, SmallNode, choice

LOST = 8
"""Commands of each new client that Redis loses: more than its members change by coming back."""


class Through:
    """A follower that passes everything on."""

    def __init__(self, follower: IStoreEventHandler):
        self.follower: Any = follower

    def __getattr__(self, name: str) -> Any:
        return getattr(self.follower, name)


class Deaf(Through):
    """Drops publications, and does not compare heads, once `deaf` is set."""

    deaf = False

    def committed(self, code: str, commits: Sequence[Commit]) -> None:
        if not self.deaf:
            self.follower.committed(code, commits)

    def head(self, code: str, room_id: str, version: tuple[int, int]) -> None:
        if not self.deaf:
            self.follower.head(code, room_id, version)


class Stammering(Through):
    """Delivers a publication also if it is known already."""

    def committed(self, code: str, commits: Sequence[Commit]) -> None:
        live = self.follower._registry.get(code)
        for commit in commits if live is not None else ():
            if commit.seq <= live.room.seq:
                live.room.seq, live.room.prev = commit.seq - 1, live.room.prev
                live.apply(commit)
        self.follower.committed(code, commits)


class EagerRooms:
    """Reports a commit before it is made, once it is `eager`."""

    def __init__(self, rooms: IRoomStore):
        self._rooms = rooms
        self.eager = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rooms, name)

    def commit(self, room: Room, commits: Sequence[Commit], done: Callable[[CommitResult], None]) -> None:
        if self.eager:
            self._rooms.commit(room.copy(), commits, lambda result: None)
            done(None)
        else:
            self._rooms.commit(room, commits, done)


class EagerStore(RedisStore):
    """A store with `EagerRooms`."""

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.rooms: Any = EagerRooms(self.rooms)


class DirectStore(RedisStore):
    """Hands relays to connected members, and keeps nothing. nodes: all of them. Its own mailboxes."""

    nodes: Sequence[SmallNode] = ()

    def __init__(self, *args: Any):
        super().__init__(*args)
        self._real_mailboxes = self.mailboxes
        self.mailboxes: Any = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_real_mailboxes"], name)

    def relay(
        self, code: str, user_id: str, frame: bytes, done: Callable[[RequestError | None], None] = lambda error: None
    ) -> None:
        done(None)
        for node in self.nodes:
            if node.rooms.others.present(code, user_id):
                node.rooms.others.relayed(code, user_id, frame)


class BusyArchive(DictArchive):
    """Some writes come once more, later, as from a consumer that was slow."""

    def __init__(self) -> None:
        super().__init__()
        self._late: list[Room] = []

    def write(self, commits: Sequence[tuple[str, Commit]], snapshots: Sequence[Snapshot]) -> Deferred[None]:
        written = super().write(commits, snapshots)
        for snapshot in snapshots:
            self._late.append(snapshot.room.copy())
        return written

    def write_again(self) -> None:
        """The slow consumer writes rows that it has read long ago."""
        self.keep(self._late[0])


class CarelessArchive(BusyArchive):
    """Takes an older row for a newer one."""

    def keep(self, room: Room) -> None:
        self.rooms[room.room_uuid] = room


class CheckerTestCase(TestCase):
    """Scenes with a few nodes in this process."""

    timeout = TEST_LIMIT_SECONDS

    def setUp(self) -> None:
        # Autobahn's own timers are of no use here, and would outlast a test.
        self.patch(cast(Any, txaio).config, "loop", MemoryReactorClock())

    async def scene(
        self,
        prefixes: Sequence[str] = ("a/1/", "b/1/"),
        layout: Sequence[tuple[int, int]] = ((6, 2),),
        archive: DictArchive | None = None,
        kinds: dict[str, int] | None = None,
        **options: Any,
    ) -> None:
        """Have people come to running nodes and be busy. kinds: see Party. options: of the nodes."""
        self.directory = tempfile.mkdtemp(prefix="tandemd-test-")
        self.addCleanup(shutil.rmtree, self.directory)
        self.redis = Redis()
        self.addCleanup(self.redis.stop)
        self.archive = archive or DictArchive()
        self.options = options
        self.nodes: list[SmallNode] = []
        for prefix in prefixes:
            await self.node(prefix)
        DirectStore.nodes = self.nodes
        self.party = Party(reactor, choice(self.nodes), layout, seed=1, rate=15, kinds=kinds)
        self.addCleanup(self.party.stop)
        await self.party.begin()
        self.party.load()
        await self.more_is_done(5)

    async def node(self, prefix: str, port: int = 0) -> SmallNode:
        node = SmallNode(reactor, self.directory, self.redis.path, prefix, self.archive, **self.options)
        node.port = port
        self.nodes.append(node)
        self.addCleanup(node.stop)
        await node.start()
        return node

    async def more_is_done(self, commands: int) -> None:
        """Wait until so many more commands have been acknowledged."""
        people = [client for client in self.party.clients if isinstance(client, NewClient)]
        done = lambda: sum(client.answered for client in people)  # noqa: E731
        wanted = done() + commands
        self.assertTrue(await self.party.clock.until(lambda: done() >= wanted), f"{done()} of {wanted}")

    async def quiet(self, *, all_told: bool = False) -> None:
        """Wait until all is answered and archived. all_told: and every member has been told of it, at the same moment."""
        await self.party.quiet()
        behind = lambda: self.party.behind() if all_told else []  # noqa: E731
        archived = lambda: ask(self.redis.path, "XLEN", "tandem:journal") == 0  # noqa: E731
        self.assertTrue(await self.party.clock.until(lambda: not behind() and archived()), behind())

    async def judge(self, *, may_renew: bool = False, settle: bool = True, quiet: bool = True) -> list[str]:
        """Return the checker's objections. settle, quiet: whether all must be well first."""
        if settle:
            await self.party.settled("in the end")
        if quiet:
            await self.quiet(all_told=settle)
        return Checker(self.party.stop(), may_renew=may_renew).check(*self.archive.read())

    def assertSeen(self, problems: Sequence[str], *words: str) -> None:
        """The checker has found it, and says so in these words."""
        self.assertTrue(any(all(word in problem for word in words) for problem in problems), problems)

    def people(self, node: SmallNode) -> list[NewClient]:
        return [c for c in self.party.clients if isinstance(c, NewClient) and c.port == node.port]


class ChangeTests(CheckerTestCase):
    """Messages to all members."""

    async def test_nothing_is_wrong(self) -> None:
        await self.scene(archive=BusyArchive())
        heard = lambda: sum(1 for client in self.party.clients for _ in client.history.heard())  # noqa: E731
        self.assertTrue(await self.party.clock.until(lambda: heard() > 100))
        self.assertEqual(await self.judge(), [])

    async def test_a_publish_is_dropped(self) -> None:
        # No gate is open that would end afterwards: the deaf node would learn from it how far the room is.
        await self.scene(layout=((6, 0),), kinds={"CHAT": 1}, follow=Deaf)
        await self.quiet(all_told=True)
        deaf: Any = self.nodes[1].store._gateway.events
        deaf.deaf = True
        speaker = self.people(self.nodes[0])[0]
        speaker.do("CHAT", text="no member on the other node hears it")
        await self.party.clock.until(lambda: not speaker.unanswered)
        self.assertSeen(await self.judge(settle=False), "in the end, others at")

    async def test_an_echo_is_applied_twice(self) -> None:
        await self.scene(follow=Stammering)
        self.assertSeen(await self.judge(), "double or out of order")

    async def test_an_acknowledgment_is_sent_before_the_reply(self) -> None:
        await self.scene(make=EagerStore)
        await self.quiet()
        node = self.nodes[1]
        speaker = self.people(node)[0]
        # It gets as far as the node, and no further.
        cast(EagerStore, node.store).rooms.eager = True
        node.proxy.black_hole()
        speaker.do("CHAT", text="lost on its way")
        await self.party.clock.until(lambda: not speaker.unanswered)
        node.proxy.cut()
        self.assertSeen(await self.judge(settle=False), "is not in room_events")


class OutageTests(CheckerTestCase):
    """Redis, or the way to it, is away for a while."""

    async def cut_off(self, node: SmallNode) -> None:
        """Cut a node off, and have the others go on."""
        node.proxy.close()
        speaker = self.people(next(other for other in self.nodes if other is not node))[0]
        said = speaker.do("CHAT", text="missed over there")
        self.assertTrue(await self.party.clock.until(lambda: said not in speaker.unanswered))
        self.assertIn(said, speaker.acked)

    async def test_a_node_that_was_cut_off_misses_nothing(self) -> None:
        await self.scene()
        await self.cut_off(self.nodes[1])
        self.nodes[1].proxy.reopen()
        self.assertEqual(await self.judge(), [])

    async def test_the_log_is_trimmed_meanwhile(self) -> None:
        await self.scene()
        await self.cut_off(self.nodes[1])
        ask(self.redis.path, "XTRIM", "tandem:log:room0", "MAXLEN", "0")
        self.nodes[1].proxy.reopen()
        self.assertSeen(await self.judge(), "hole")

    async def _older_dump(self, *, keep_epoch: bool) -> None:
        """Have Redis come back without the last commits that its members know. keep_epoch: as if it were the same server."""
        ask(self.redis.path, "SAVE")
        if keep_epoch:
            # From here on, nothing is done of which this test does not know.
            self.party.rest()
            for client in self.party.clients:
                for number in range(LOST if isinstance(client, NewClient) else 0):
                    cast(NewClient, client).do("CHAT", text=f"lost {number} of {client.user}")
            await self.quiet(all_told=True)
        else:
            await self.more_is_done(10)
        for node in self.nodes:
            node.proxy.close()
        self.redis.stop()
        self.redis.start()
        if keep_epoch:
            info = ask(self.redis.path, "INFO", "server")
            run_id = next(line[7:] for line in info.splitlines() if line.startswith("run_id:"))
            ask(self.redis.path, "HSET", "tandem:store", "run_id", run_id)
        for node in self.nodes:
            node.proxy.reopen()

    async def test_redis_comes_back_with_an_older_dump(self) -> None:
        await self.scene()
        await self._older_dump(keep_epoch=False)
        self.assertEqual(await self.judge(may_renew=True), [])

    async def test_redis_comes_back_with_an_older_dump_and_the_epoch_is_kept(self) -> None:
        await self.scene()
        await self._older_dump(keep_epoch=True)
        # A node that was not there goes on from where the room is now. Only there do members come back: the other node is
        # ahead of Redis, and can carry out nothing. They change the room less than LOST times for each of them.
        back = [client for client in self.party.clients if client.port == self.nodes[1].port]
        port, told = self.nodes[1].port, {client.user: len(client.history.entries) for client in back}
        self.nodes[0].accepts = False
        await self.nodes.pop(1).crash()
        await self.node("b/2/", port)

        def is_back(client: Client) -> bool:
            return client.joined and any(kind == "open" for _, kind, _ in client.history.entries[told[client.user] :])

        self.assertTrue(await self.party.clock.until(lambda: any(map(is_back, back))))
        self.assertSeen(await self.judge(may_renew=True, settle=False, quiet=False), "went back")


class MailTests(CheckerTestCase):
    """Messages from one member to one other."""

    async def _relay(self) -> list[str]:
        self.party.rest()
        sender = self.people(self.nodes[0])[0]
        target = self.people(self.nodes[1])[0]
        assert target.wire is not None
        target.wire.cut()
        await self.party.clock.until(lambda: target.wire is None)
        sender.do("OFFER", to=target.user, offer={"type": "offer", "sdp": "to a member that comes back"})
        # Later requests are answered after its mail.
        self.assertTrue(await self.party.clock.until(lambda: target.joined))
        return await self.judge()

    async def test_to_a_member_in_the_grace_period(self) -> None:
        await self.scene()
        self.assertEqual(await self._relay(), [])

    async def test_while_redis_does_not_answer(self) -> None:
        await self.scene()
        await self.quiet()
        sender = self.people(self.nodes[0])[0]
        target = self.people(self.nodes[1])[0]
        assert self.redis.process is not None
        self.redis.process.send_signal(signal.SIGSTOP)
        # From now on nothing is sent to it any more.
        await self.party.clock.until(lambda: not self.nodes[0].store._gateway.usable)
        ids = {
            sender.do("OFFER", to=target.user, offer={"type": "offer", "sdp": f"while it is away {number}"})
            for number in range(10)
        }

        def arrived() -> int:
            heard = [message for message in target.history.heard() if message["type"] == "OFFER"]
            return sum(message["offer"]["sdp"].startswith("while") for message in heard)

        # Some it gives up when they are refused; others it repeats.
        refused = await self.party.clock.until(lambda: len(sender.unanswered) < 10)
        self.assertTrue(refused)
        self.assertEqual(arrived(), 0)
        self.redis.process.send_signal(signal.SIGCONT)
        await self.party.quiet()
        # Acknowledged relays are kept; they may still be on their way.
        await self.party.clock.until(lambda: arrived() == len(ids & sender.acked.keys()))
        self.assertEqual(await self.judge(), [])
        self.assertIn(arrived(), range(1, 10))

    async def test_the_mailbox_is_skipped(self) -> None:
        await self.scene(make=DirectStore)
        self.assertSeen(await self._relay(), "came 0 times")


class JoinTests(TestCase):
    """Each JOIN has an answer of its own, which need not follow on the earlier messages."""

    def problems(self, *entries: tuple[str, Any]) -> list[str]:
        history = History("ann", "room", old=True)
        for time, (kind, data) in enumerate(entries):
            history.add(float(time), kind, data)
        return Checker([history], may_renew=True).problems

    def state(self, seq: int, epoch: int = 1) -> tuple[str, Any]:
        said = {
            "type": "ROOM_STATE",
            "epoch": epoch,
            "seq": seq,
            "prev": seq,
            "hostUserId": "",
            "guestControlEnabled": True,
        }
        return "heard", said

    join = ("said", {"type": "JOIN"})
    opened = ("open", 1)

    def test_one_for_each(self) -> None:
        """Two on one connection, while the store was away."""
        self.assertEqual(self.problems(self.opened, self.join, self.join, self.state(5), self.state(6)), [])
        problems = self.problems(self.opened, self.join, self.join, self.state(5), self.state(6), self.state(7))
        self.assertIn("hole: has seen (1, 6)", problems[0])

    def test_a_new_epoch_comes_unasked(self) -> None:
        begun = (self.opened, self.join, self.state(5), self.join)
        self.assertEqual(self.problems(*begun, self.state(5, 2), self.state(6, 2)), [])
        self.assertIn("hole", self.problems(*begun, self.state(5, 2), self.state(6, 2), self.state(7, 2))[0])

    def test_a_stale_command_is_answered_before_a_join(self) -> None:
        stale = ("heard", {"type": "ERROR", "code": "stale", "message": ""})
        begun = (self.opened, self.join, self.state(5), self.join, self.state(5), stale)
        self.assertEqual(self.problems(*begun, self.state(7)), [])
        self.assertIn("hole", self.problems(*begun, self.state(7), self.state(8))[0])
        other = ("heard", {"type": "ERROR", "code": "not-controller", "message": ""})
        self.assertIn("hole", self.problems(*begun[:-1], other, self.state(7))[0])

    def test_what_was_asked_over_another_connection_is_not_answered(self) -> None:
        begun = (self.opened, self.join, self.state(5), self.join, self.opened, self.join, self.state(6))
        self.assertEqual(self.problems(*begun), [])
        self.assertIn("hole", self.problems(*begun, self.state(7))[0])


class ShortLogTests(TestCase):
    """A ROOM_STATE may replace the commits that a client has missed, if the log is too short for them."""

    def problems(self, log_length: float, missed: int, *, resumed: bool = False) -> list[str]:
        history = History("ann", "room")
        for seq in (20, 20 + missed):
            state = {"type": "ROOM_STATE", "epoch": 1, "seq": seq, "prev": seq, "resumed": resumed and seq > 20}
            history.add(float(seq), "heard", state)
        return Checker([history], log_length=log_length).problems

    def test_the_log_is_too_short(self) -> None:
        self.assertEqual(self.problems(3, 3), [])
        self.assertEqual(self.problems(20, EMPTY_LOG_LENGTH), [])

    def test_the_log_is_long_enough(self) -> None:
        self.assertIn("hole", self.problems(3, 2)[0])
        self.assertIn("hole", self.problems(20, EMPTY_LOG_LENGTH - 1)[0])
        self.assertIn("hole", self.problems(1000, 100)[0])
        self.assertIn("hole", self.problems(math.inf, 100)[0])

    def test_it_comes_before_the_answer_to_a_join(self) -> None:
        """The node that lost its connection to Redis sends a state to all of its members, then it answers the JOIN."""
        history = History("ann", "room")
        state = {"type": "ROOM_STATE", "epoch": 1}
        history.add(1.0, "heard", {**state, "seq": 20, "prev": 20})
        history.add(2.0, "said", {"type": "JOIN"})
        history.add(3.0, "heard", {**state, "seq": 26, "prev": 26})
        history.add(4.0, "heard", {**state, "seq": 27, "prev": 27})
        self.assertEqual(Checker([history], log_length=3).problems, [])
        self.assertIn("hole", Checker([history], log_length=20).problems[0])
        history.add(5.0, "heard", {**state, "seq": 28, "prev": 28})
        self.assertIn("hole", Checker([history], log_length=3).problems[0])

    def test_the_server_says_that_nothing_is_missing(self) -> None:
        self.assertIn("hole", self.problems(3, 3, resumed=True)[0])


class RelayTests(TestCase):
    """Relays that come more than once. Times are seconds."""

    def problems(self, *times: float, lost: float = 0.0, removal: float = REMOVAL) -> list[str]:
        """Return the objections if an OFFER is heard at these times, and the connection was lost at another."""
        sender, target = History("ann", "room"), History("bob", "room", present=True, removal=removal)
        offer = {"type": "OFFER", "id": "1", "to": "bob", "offer": {"sdp": "x"}}
        sender.add(1.0, "do", offer)
        sender.add(1.1, "heard", {"type": "ACK", "id": "1", "seq": 5})
        entries = [(time, "heard", offer) for time in times] + ([(lost, "lost", 1006)] if lost else [])
        for entry in sorted(entries, key=lambda entry: entry[0]):
            target.add(*entry)
        return Checker([sender, target]).check()

    def test_once(self) -> None:
        self.assertEqual(self.problems(2), [])
        self.assertIn("came 0 times", self.problems()[0])

    def test_twice_over_one_connection(self) -> None:
        self.assertIn("came 2 times", self.problems(2, 2.1)[0])
        self.assertIn("came 2 times", self.problems(2, 2.1, lost=2.2)[0])

    def test_again_after_the_connection_was_lost(self) -> None:
        self.assertEqual(self.problems(2, 4, lost=3), [])
        self.assertIn("came 2 times", self.problems(2, 4, 5, lost=3)[0])
        self.assertIn("came 2 times", self.problems(2, 22, lost=20)[0])

    def test_redis_may_be_silent_for_longer(self) -> None:
        """The excuse ends with `History.removal`, and covers one more delivery."""
        self.assertEqual(self.problems(2, 22, lost=20, removal=20), [])
        self.assertIn("came 2 times", self.problems(2, 22.2, lost=22.1, removal=20)[0])
        self.assertIn("came 2 times", self.problems(2, 22, 23, lost=20, removal=20)[0])


class NodeTests(CheckerTestCase):
    """A node dies, with a member that never comes back, and is started again."""

    async def _restarted_as(
        self, prefix: str, *, host: bool = False, forgotten: bool = False, within: float = PATIENCE_SECONDS
    ) -> list[str]:
        """Return the objections.

        forgotten: whether Redis forgets the node that died. within: fair seconds in which the others are told that the member has
        left, if they ever are.
        """
        await self.scene(grace=1.0, layout=((4, 0),))
        self.party.rest()
        gone = next(
            c for c in self.party.clients if (c.host == c.user) == host and (host or c.port == self.nodes[0].port)
        )
        first = next(node for node in self.nodes if node.port == gone.port)
        gone.stop()
        gone.history.stays = False
        gone.history.gone = True
        # At the same moment: nothing tells Redis that it is gone.
        await first.crash()
        self.nodes.remove(first)
        await self.node(prefix)
        # Ten seconds pass, in which the others give signs of life.
        alive = {node.prefix for node in self.nodes}
        for name in ask(self.redis.path, "ZRANGE", "tandem:nodes", "0", "-1"):
            if name not in alive and forgotten:
                ask(self.redis.path, "ZREM", "tandem:nodes", name)
            elif name not in alive:
                ask(self.redis.path, "ZINCRBY", "tandem:nodes", "-10", name)
        others = [c for c in self.party.clients if c is not gone]
        self.party.clients[:] = [*others, gone]
        self.party.rooms["room0"] = others
        left = lambda: all(  # noqa: E731
            any(m["type"] == "USER_LEFT" and m["userId"] == gone.user for m in c.history.heard()) for c in others
        )
        await self.party.clock.until(left, within)
        return await self.judge()

    async def test_with_a_boot_of_its_own(self) -> None:
        self.assertEqual(await self._restarted_as("a/2/"), [])

    async def test_with_the_host(self) -> None:
        """All see the same one become the next."""
        self.assertEqual(await self._restarted_as("c/2/", host=True), [])
        others = self.party.rooms["room0"]
        self.assertEqual(len({client.host for client in others}), 1)
        self.assertIn(others[0].host, [client.user for client in others])

    async def test_no_node_takes_the_members_over(self) -> None:
        self.assertSeen(await self._restarted_as("a/2/", forgotten=True, within=5.0), "is gone for long")


class ArchiveTests(CheckerTestCase):
    """The rows of the archive."""

    async def _written_late(self, archive: BusyArchive) -> list[str]:
        await self.scene(archive=archive)
        await self.party.settled("in the end")
        await self.quiet()
        archive.write_again()
        return await self.judge(settle=False)

    async def test_a_slow_consumer(self) -> None:
        self.assertEqual(await self._written_late(BusyArchive()), [])

    async def test_an_older_row_is_applied(self) -> None:
        self.assertSeen(await self._written_late(CarelessArchive()), "its row is at")
