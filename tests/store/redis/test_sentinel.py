"""Finding the master by its sentinels, and going on with another when it dies."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from tandemd.interfaces import Unavailable
from tandemd.store.redis.errors import RedisUnreachableError
from tandemd.store.redis.journal_consumer import JournalConsumer
from tandemd.store.redis.login import login
from tandemd.store.redis.sentinel import SENTINEL_TIMEOUT_SECONDS, SentinelEndpoint
from tandemd.store.redis.spool import Quarantine

from ...support import private_servers
from ...support.daemon_process import Client, Daemon, DaemonTestCase
from ...support.fake_redis import ScriptedFactory, naming
from ...support.patience import TEST_LIMIT_SECONDS, eventually
from ...support.redis_nodes import RedisTestCase, until

Json = dict[str, Any]


class Named(Exception):
    """The address that was connected to."""


class NamesAddress:
    """An endpoint that only says its address."""

    def __init__(self, host: str, port: int):
        self.address = host, port

    def connect(self, factory: Any) -> Deferred[Any]:
        raise Named(*self.address)


class EndpointTests(TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.factories: list[ScriptedFactory] = []
        self.sentinels: list[tuple[str, TCP4ClientEndpoint]] = []

    async def sentinel(self, answer: Callable[[list[str]], Any]) -> ScriptedFactory:
        factory = ScriptedFactory(answer)
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        self.factories.append(factory)
        self.named(f"s{len(self.sentinels) + 1}", port.getHost().port)
        return factory

    def named(self, name: str, port: int) -> None:
        self.sentinels.append((name, TCP4ClientEndpoint(reactor, "127.0.0.1", port)))

    def connect(self, master: str = "mymaster", **options: str) -> Deferred[Any]:
        endpoint = SentinelEndpoint(self.clock, self.sentinels, login(options), master, NamesAddress)  # type: ignore[arg-type]
        return endpoint.connect(None)

    async def found(self, connecting: Deferred[Any]) -> str:
        """Return "HOST:PORT" of the connection; no connection to a sentinel is left."""
        error = await self.refused(connecting)
        self.assertIsInstance(error.__cause__, Named)
        host, port = error.__cause__.args
        return f"{host}:{port}"

    async def refused(self, connecting: Deferred[Any]) -> RedisUnreachableError:
        try:
            await connecting
        except RedisUnreachableError as error:
            for factory in self.factories:
                await factory.empty()
            self.assertNotIn("\n", str(error))
            return error
        raise AssertionError("it was connected")

    async def test_the_newest_configuration_counts(self) -> None:
        for port, epoch in ((1, 7), (2, 11), (1, 7)):
            await self.sentinel(naming("192.0.2.1", port, epoch))
        self.assertEqual(await self.found(self.connect()), "192.0.2.1:2")

    async def test_those_who_do_not_answer_are_not_waited_for(self) -> None:
        silent = await self.sentinel(lambda words: ...)
        self.named("nobody", private_servers.free_port())
        await self.sentinel(naming("192.0.2.1", 1, 1))
        connecting = self.connect()
        while not (silent.asked and self.factories[1].asked):
            await deferLater(reactor, 0.001)
        await self.factories[1].empty()  # the client closes a connection when it has all answers
        self.assertFalse(connecting.called)
        self.clock.advance(SENTINEL_TIMEOUT_SECONDS)
        self.assertEqual(await self.found(connecting), "192.0.2.1:1")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_one_that_may_not_be_asked_for_its_configuration(self) -> None:
        answer = naming("192.0.2.1", 1, 0)
        await self.sentinel(lambda words: Exception("NOPERM") if words[1] == "MASTER" else answer(words))
        self.assertEqual(await self.found(self.connect()), "192.0.2.1:1")

    async def test_login(self) -> None:
        sentinel = await self.sentinel(naming("192.0.2.1", 1, 1))
        await self.found(self.connect(username="ann", password="geheim"))
        self.assertEqual(sentinel.asked[0], ["AUTH", "ann", "geheim"])
        await self.found(self.connect(password="geheim"))
        self.assertEqual(sentinel.asked[3], ["AUTH", "geheim"])

    async def test_each_tells_why_not(self) -> None:
        await self.sentinel(naming("192.0.2.1", 1, 1))
        await self.sentinel(lambda words: Exception("NOAUTH Authentication required."))
        self.named("nobody", private_servers.free_port())
        text = str(await self.refused(self.connect("other")))
        self.assertIn("redis.sentinels", text)
        self.assertIn("s1 knows no master of that name, check redis.sentinel_master", text)
        self.assertIn("s2 says NOAUTH Authentication required, check redis.sentinel_password", text)
        self.assertIn("nobody cannot be reached: Connection was refused", text)

    async def test_what_is_no_sentinel(self) -> None:
        await self.sentinel(lambda words: Exception("ERR unknown command `SENTINEL`"))
        self.assertIn("it is no sentinel", str(await self.refused(self.connect())))

    async def test_given_up(self) -> None:
        silent = await self.sentinel(lambda words: ...)
        connecting = self.connect()
        while not silent.asked:
            await deferLater(reactor, 0.001)
        connecting.cancel()
        await self.assertFailure(connecting, CancelledError)
        await silent.empty()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class RefusingMasterTests(RedisTestCase):
    """A master that was cut off refuses to write, and the sentinels name another. Its connections stay."""

    def setUp(self) -> None:
        super().setUp()
        self.port = private_servers.free_port()
        self.server = private_servers.Redis(port=self.port)
        self.other_port = private_servers.free_port()
        self.other = private_servers.Redis(port=self.other_port)
        for server in (self.server, self.other):
            self.addCleanup(server.stop)
        self.named = self.port

    def _answer(self, words: list[str]) -> Any:
        return naming("127.0.0.1", self.named, 1)(words)

    async def sentinels(self) -> SentinelEndpoint:
        factory = ScriptedFactory(self._answer)
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        sentinel = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        return SentinelEndpoint(
            reactor, [("s1", sentinel)], [], "mymaster", lambda host, port: TCP4ClientEndpoint(reactor, host, port)
        )

    async def test_the_node_goes_to_the_other(self) -> None:
        a = await self.node(endpoint=await self.sentinels(), failover=True)
        quarantine = Quarantine(self.mktemp(), a.metrics)
        consumer = JournalConsumer(
            reactor, await self.sentinels(), {"failover": True}, "a/1/", self.archive, a.metrics, quarantine
        )  # fmt: skip
        consumer.startService()
        self.addCleanup(consumer.stopService)
        hand = await self.open(a)
        self.server.execute("CONFIG", "SET", "min-replicas-to-write", "1")
        self.assertIsInstance(await hand.say("refused"), Unavailable)
        self.assertIn("NOREPLICAS", a.ready())
        self.named = self.other_port
        await until(lambda: not a.ready())
        again = await self.open(a, "another")
        self.assertIsNone(await again.say("x"))
        self.assertIn(b"room:another", self.other.execute("KEYS", "*room:another"))
        await until(lambda: b":0" in self.other.execute("XLEN", "tandem:journal"))
        await until(lambda: not consumer.ready())  # the answer to its removal may still be on the way

    async def test_a_master_without_required_replicas_is_warned_of(self) -> None:
        a = await self.node(endpoint=await self.sentinels(), failover=True)
        self.assertIn("min-replicas-to-write is 0", a.warnings()[0])
        await a.stopService()
        b = await self.node("b/1/", path=self.server.path)
        self.assertEqual(b.warnings(), [])  # without sentinels no other server takes over


class Speaker:
    """Sends one message after another as fast as they are acknowledged; it repeats rejected ones, under the same id.

    acks: by text, the time of the ACK in seconds since the first message, and its seq.
    """

    def __init__(self, client: Client, name: str):
        self.acknowledged: list[str] = []
        self.acks: dict[str, tuple[float, int]] = {}
        self.refusals: list[Json] = []
        self.stopping = False
        self.name = name
        self.client = client
        self._number = 0

    def heard(self) -> list[str]:
        """Return the texts of all speakers that this client has received so far."""
        return [it["text"] for it in self.client.messages.seen if it["type"] == "CHAT"]

    async def speak(self) -> None:
        start = reactor.seconds()
        while not self.stopping:
            self._number += 1
            text = f"{self.name} {self._number}"
            while True:
                self.client.say("CHAT", id=self._number, text=text)
                answer = await self.client.messages.next(
                    lambda it: it["type"] in ("ACK", "ERROR") and it.get("id") == self._number
                )
                if answer["type"] == "ACK":
                    self.acknowledged.append(text)
                    self.acks[text] = round(reactor.seconds() - start, 3), answer["seq"]
                    await deferLater(reactor, 0.002)
                    break
                self.refusals.append(answer)
                await deferLater(reactor, answer["retryAfterMs"] / 1000)


async def all_heard(speakers: Sequence[Speaker]) -> set[str]:
    """Wait until each client has received all acknowledged texts, and return them. The ACK may arrive before the message.

    Raises AssertionError, which names the missing texts by client, each with the time and the seq of its ACK.
    """
    acks = {text: ack for speaker in speakers for text, ack in speaker.acks.items()}

    def missing() -> dict[str, dict[str, tuple[float, int]]]:
        return {
            speaker.name: {text: ack for text, ack in acks.items() if text not in heard}
            for speaker in speakers
            for heard in (set(speaker.heard()),)
            if not heard >= acks.keys()
        }

    await eventually(
        reactor, "all is heard", lambda: not missing(), lambda: f"not heard, as text: (seconds, seq): {missing()}"
    )
    return set(acks)


class AllHeardTests(TestCase):
    def speaker(self, name: str) -> Speaker:
        return Speaker(Client(), name)

    async def test_a_text_that_arrives_later_counts(self) -> None:
        ann, bob = self.speaker("ann"), self.speaker("bob")
        ann.acks["ann 1"] = 0.5, 7
        ann.client.messages.add({"type": "CHAT", "text": "ann 1"})
        waiting = ensureDeferred(all_heard([ann, bob]))
        self.assertNoResult(waiting)
        bob.client.messages.add({"type": "CHAT", "text": "ann 1"})
        self.assertEqual(await waiting, {"ann 1"})


class FailoverTests(DaemonTestCase):
    """A master, two replicas, three sentinels, two nodes, and people who talk all the time while the master is killed."""

    timeout = TEST_LIMIT_SECONDS

    def setUp(self) -> None:
        super().setUp()
        options = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "2", "--repl-diskless-sync-delay", "0",
                   "--repl-ping-replica-period", "1")  # fmt: skip
        self.master = private_servers.Redis(*options, port=private_servers.free_port())
        replica_of = ("--replicaof", "127.0.0.1", str(self.master.port))
        self.replicas = [
            private_servers.Redis(*options, *replica_of, port=private_servers.free_port()) for _ in range(2)
        ]
        self.sentinels = [private_servers.Sentinel(self.master.port) for _ in range(3)]
        for server in (self.master, *self.replicas, *self.sentinels):
            self.addCleanup(server.stop)
        self.postgres = private_servers.postgresql()
        self.postgres.create("failover")
        self.addCleanup(self.postgres.drop, "failover")

    async def until(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait until a condition is true."""
        await eventually(reactor, what, condition)

    async def node(self, name: str) -> Daemon:
        return await self.running(
            "--state-dir",
            str(self.home / name),
            NODE_ID=name,
            POSTGRES_HOST=self.postgres.directory,
            POSTGRES_USER="postgres",
            POSTGRES_DB="failover",
            TANDEMD_REDIS_SENTINELS=",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels),
            TANDEMD_LIMITS_ENABLED="false",
        )

    def archived_chats(self) -> int:
        """Return the number of chat messages in the archive."""
        rows = self.postgres.execute("select count(*) from room_events where event_type = 'CHAT'", "failover")
        return int(rows[0][0])

    async def test_the_master_is_killed_while_all_talk(self) -> None:
        await self.until(
            "the replicas follow", lambda: b"min_slaves_good_slaves:2" in self.master.execute("INFO", "replication")
        )
        await self.until(
            "the sentinels know all",
            lambda: all(
                b"num-slaves\r\n$1\r\n2\r\n" in said and b"num-other-sentinels\r\n$1\r\n2\r\n" in said
                for said in (sentinel.execute("SENTINEL", "MASTER", "mymaster") for sentinel in self.sentinels)
            ),
        )
        nodes = [await self.node("a"), await self.node("b")]
        clients = [await self.connect(node) for node in nodes]
        speakers = []
        for name, client in zip(("ann", "bob"), clients, strict=True):
            await client.join("movie", name, nonce=f"nonce-{name}")
            speakers.append(Speaker(client, name))
        talking = [ensureDeferred(speaker.speak()) for speaker in speakers]
        await self.until("they talk", lambda: all(len(s.acknowledged) > 50 for s in speakers))

        self.master.stop(signal.SIGKILL)
        before = [len(speaker.acknowledged) for speaker in speakers]
        await self.until(
            "they go on",
            lambda: all(len(s.acknowledged) > n + 50 for s, n in zip(speakers, before, strict=True)),
        )
        # The old master comes back, empty, and believes for some seconds that it is still the master.
        self.master.start()
        before = [len(speaker.acknowledged) for speaker in speakers]
        await self.until(
            "they go on still",
            lambda: all(len(s.acknowledged) > n + 300 for s, n in zip(speakers, before, strict=True)),
        )
        for speaker in speakers:
            speaker.stopping = True
        for done in talking:
            await done

        said = await all_heard(speakers)
        for speaker in speakers:
            heard = speaker.heard()
            self.assertEqual(len(heard), len(set(heard)))
            self.assertEqual(set(heard), said)
            self.assertEqual([text for text in heard if text.startswith("ann")], speakers[0].acknowledged)
        await self.until("all is archived", lambda: self.archived_chats() == len(said))
        for speaker in speakers:
            self.assertEqual({refusal["code"] for refusal in speaker.refusals} - {"unavailable"}, set())
            self.assertLess(len(speaker.refusals), 10)
        for node in nodes:
            told = [line for line in node.log if line["level"] in ("warn", "error", "critical")]
            self.assertLess(len(told), 60)
            self.assertNotIn("traceback", json.dumps(told))
            await self.until_ready(node)


class SplitBrainTests(DaemonTestCase):
    """A fail-over of which the old master learns nothing: it lives, keeps its connections, and stays a master."""

    timeout = TEST_LIMIT_SECONDS

    def setUp(self) -> None:
        super().setUp()
        options = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "2", "--repl-diskless-sync-delay", "0",
                   "--repl-ping-replica-period", "1")  # fmt: skip
        self.master = private_servers.Redis(*options, port=private_servers.free_port())
        replica_of = ("--replicaof", "127.0.0.1", str(self.master.port))
        self.replicas = [
            private_servers.Redis(*options, *replica_of, port=private_servers.free_port()) for _ in range(2)
        ]
        self.sentinel = private_servers.Sentinel(self.master.port, quorum=1)
        for server in (self.master, *self.replicas, self.sentinel):
            self.addCleanup(server.stop)
        self.postgres = private_servers.postgresql()
        self.postgres.create("split")
        self.addCleanup(self.postgres.drop, "split")

    @staticmethod
    def replication(server: private_servers.Redis) -> bytes:
        """Return a server's role, or nothing: the sentinel ends connections to one that it promotes."""
        with contextlib.suppress(OSError):
            return server.execute("INFO", "replication")
        return b""

    async def until(self, what: str, condition: Callable[[], bool]) -> None:
        await eventually(reactor, what, condition)

    async def test_nothing_that_was_acknowledged_is_taken_back(self) -> None:
        await self.until("the replicas follow", lambda: b"min_slaves_good_slaves:2" in self.replication(self.master))
        await self.until(
            "the sentinel knows them",
            lambda: b"num-slaves\r\n$1\r\n2\r\n" in self.sentinel.execute("SENTINEL", "MASTER", "mymaster"),
        )
        nodes = [
            await self.running(
                "--state-dir",
                str(self.home / name),
                NODE_ID=name,
                POSTGRES_HOST=self.postgres.directory,
                POSTGRES_USER="postgres",
                POSTGRES_DB="split",
                TANDEMD_REDIS_SENTINELS=f"127.0.0.1:{self.sentinel.port}",
                TANDEMD_LIMITS_ENABLED="false",
            )
            for name in ("a", "b")
        ]
        clients = [await self.connect(node) for node in nodes]
        speakers = []
        for name, client in zip(("ann", "bob"), clients, strict=True):
            await client.join("movie", name, nonce=f"nonce-{name}")
            speakers.append(Speaker(client, name))
        talking = [ensureDeferred(speaker.speak()) for speaker in speakers]
        await self.until("they talk", lambda: all(len(s.acknowledged) > 50 for s in speakers))

        # No sentinel can make it a replica any more, and its connections are not ended.
        self.master.execute("ACL", "SETUSER", "default", "-replicaof", "-slaveof", "-client", "-config", "-multi")
        self.sentinel.execute("SENTINEL", "FAILOVER", "mymaster")
        await self.until(
            "another is master",
            lambda: any(b"role:master" in self.replication(it) for it in self.replicas),
        )
        await self.until("the old one refuses", lambda: b"min_slaves_good_slaves:0" in self.replication(self.master))
        before = [len(speaker.acknowledged) for speaker in speakers]
        await self.until(
            "they go on", lambda: all(len(s.acknowledged) > n + 100 for s, n in zip(speakers, before, strict=True))
        )
        self.assertIn(b"role:master", self.replication(self.master))
        for speaker in speakers:
            speaker.stopping = True
        for done in talking:
            await done
        said = await all_heard(speakers)
        for speaker in speakers:
            heard = speaker.heard()
            self.assertEqual(len(heard), len(set(heard)))
        rows = "select count(*) from room_events where event_type = 'CHAT'"
        await self.until("all is archived", lambda: self.postgres.execute(rows, "split") == [(len(said),)])
