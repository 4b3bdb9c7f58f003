"""All the ways to reach Redis: password, ACL user, database, TLS, socket, sentinels; and one that refuses for a while."""

from __future__ import annotations

import datetime
import ipaddress
import os
import pathlib
import re
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import reactor as _reactor
from twisted.internet import ssl
from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.internet.task import deferLater
from twisted.protocols.portforward import ProxyClientFactory, ProxyFactory
from twisted.trial.unittest import TestCase

from tandemd.app.backends import ClusterBackend, backend_of
from tandemd.app.metrics import NodeMetrics
from tandemd.archive.factory import prepare
from tandemd.config import load
from tandemd.interfaces import Unavailable
from tandemd.store.redis import scripts
from tandemd.store.redis.errors import _LOGIN
from tandemd.util.services import StartupError

from ...support import private_servers
from ...support.fake_redis import ScriptedFactory, naming
from ...support.patience import TEST_LIMIT_SECONDS
from ...support.redis_nodes import Hand, Recorder, member, until

reactor = cast(Any, _reactor)

DATABASE = "login"


class NodesTestCase(TestCase):
    """Stores as the configuration makes them, with a PostgreSQL database of their own, without rooms above them."""

    timeout = TEST_LIMIT_SECONDS

    def setUp(self) -> None:
        self.postgres = private_servers.postgresql()
        self.postgres.create(DATABASE)
        self.addCleanup(self.postgres.drop, DATABASE)
        self.state = os.path.abspath(self.mktemp())
        self.running: list[ClusterBackend] = []
        self.addCleanup(self._stop)

    def redis(self, *options: str, port: int = 0) -> private_servers.Redis:
        server = private_servers.Redis(*options, port=port)
        self.addCleanup(server.stop)
        return server

    async def stores(self, name: str = "a", **environ: str) -> ClusterBackend:
        """Return running stores; they are stopped at the end."""
        config = load(
            None,
            {
                "POSTGRES_HOST": self.postgres.directory, "POSTGRES_USER": "postgres", "POSTGRES_DB": DATABASE,
                "TANDEMD_STATE_DIR": os.path.join(self.state, name), **environ,
            },
            {},
        )  # fmt: skip
        prepare(config)
        stores = backend_of(config, reactor, NodeMetrics("1", name), f"{name}/boot/")
        assert isinstance(stores, ClusterBackend)
        stores.store.set_event_handler(Recorder())
        stores.database.startService()
        self.running.append(stores)
        await stores.store.startService()
        stores.consumer.startService()
        return stores

    async def _stop(self) -> None:
        """Stop all at once, as nodes would be stopped: each in order."""
        await gatherResults([ensureDeferred(self._stop_one(stores)) for stores in self.running])

    async def _stop_one(self, stores: ClusterBackend) -> None:
        if stores.consumer.running:
            await stores.consumer.stopService()
        await stores.store.stopService()
        await stores.database.stopService()

    def archived(self) -> list[int]:
        """Return the seqs of the events in the archive, in order."""
        return [seq for (seq,) in self.postgres.execute("select seq from room_events order by seq", DATABASE)]

    async def works(self, **environ: str) -> None:
        """Do everything that a node does with Redis."""
        one, other = await self.stores("a", **environ), await self.stores("b", **environ)
        store, heard = one.store, Recorder()
        other.store.set_event_handler(heard)
        self.assertIsNone(await store.rooms.load("movie"))
        other.store.rooms.subscribe("movie")
        await other.store.rooms.load("movie")  # later commits are heard there
        hand = Hand(store, "movie")
        self.assertIsNone(await hand.send(hand.next(member("ann", "a/boot/1"), text="one", due=1.0)))
        self.assertIsNone(await hand.say("two"))
        await until(lambda: heard.seqs("movie") == [1, 2])
        self.assertEqual(await other.store.rooms.find_invite("inv-movie"), "movie")
        self.assertEqual(await store.rooms.due_rooms(2.0), ["movie"])
        replayed = await store.rooms.replay("movie", (hand.room.epoch, 1))
        self.assertEqual([commit.seq for commit in replayed or ()], [2])
        store.mailboxes.relay("movie", "ann", b"letter")
        await store.rooms.load("movie")  # commands are carried out in order
        self.assertEqual([bytes(frame) for frame in await other.store.mailboxes.take_mail("movie", "ann")], [b"letter"])
        await until(lambda: self.archived() == [1, 2])
        self.assertIsNone(await hand.send(hand.next({}, closes=True)))
        await until(lambda: heard.seqs("movie") == [1, 2, 3])
        await until(lambda: self.archived() == [1, 2, 3])

        def reasons() -> list[str]:
            # The servers of these tests have no replicas, so they can demand none.
            warnings = [warning for warning in one.warnings() if "min-replicas-to-write" not in warning]
            return [*one.ready(), *warnings, *other.ready()]

        await until(lambda: reasons() == [], reasons)  # a busy machine is not ready for moments


class LoginTests(NodesTestCase):
    async def test_socket(self) -> None:
        await self.works(REDIS_HOST=self.redis().path)

    async def test_port(self) -> None:
        server = self.redis(port=private_servers.free_port())
        await self.works(REDIS_HOST="127.0.0.1", REDIS_PORT=str(server.port))

    async def test_password_and_database(self) -> None:
        server = self.redis("--requirepass", "geheim")
        await self.works(REDIS_HOST=server.path, REDIS_PASSWORD="geheim", REDIS_DB="3")
        connection = await self.stores("look", REDIS_HOST=server.path, REDIS_PASSWORD="geheim", REDIS_DB="0")
        self.assertIsNone(await connection.store.rooms.load("movie"))
        self.assertIn(b"db3:", server.execute("INFO", "keyspace", password="geheim"))

    async def test_acl_user_with_the_rights_that_are_told(self) -> None:
        """The rights that an operator is told to give are enough for everything."""
        rights = next(remedy for said, remedy, _ in _LOGIN if said == "NOPERM").partition("the rights ")[2]
        server = self.redis()
        answer = server.execute("ACL", "SETUSER", "tandemd", "on", ">geheim", *rights.split())
        self.assertEqual(answer, b"+OK\r\n")
        await self.works(REDIS_URL=f"unix://tandemd:geheim@{server.path}?db=0")
        self.assertNotIn(b"tandemd", server.execute("ACL", "LOG"))

    async def test_all_rights_are_looked_at_first(self) -> None:
        """The probe knows every command that scripts or pieces use."""
        probed = set(re.findall(r"{'(\w+)'", scripts.PROBE.text.decode()))
        for script in scripts.SCRIPTS:
            self.assertEqual(set(re.findall(r"redis\.call\('(\w+)'", script.text.decode())) - probed, set())
        server = self.redis()
        await self.works(REDIS_HOST=server.path)
        stats = server.execute("INFO", "commandstats").decode()
        used = {name.upper() for name in re.findall("cmdstat_([a-z]+)", stats)}
        # Without these no node gets as far as the probe, or hears anything.
        first = {"AUTH", "SELECT", "ROLE", "SCRIPT", "INFO", "EVALSHA", "SUBSCRIBE", "UNSUBSCRIBE"}
        self.assertEqual(used - probed - first, set())

    async def test_rights_that_are_taken_away(self) -> None:
        """Readiness says which, as soon as one is missed; and all goes on when it is given back."""
        server = self.redis()
        every = "on >pw ~tandem:* resetchannels &tandem:* +@all"
        self.assertEqual(server.execute("ACL", "SETUSER", "ann", *every.split()), b"+OK\r\n")
        stores = await self.stores(REDIS_HOST=server.path, REDIS_USERNAME="ann", REDIS_PASSWORD="pw")
        hand = Hand(stores.store, "movie")
        self.assertIsNone(await hand.say("one"))
        server.execute("ACL", "SETUSER", "ann", "-xadd")
        self.assertIsInstance(await hand.say("two"), Unavailable)
        await until(lambda: "its user may not use XADD" in "".join(stores.ready()))
        server.execute("ACL", "SETUSER", "ann", "+xadd")
        await until(lambda: stores.ready() == [])
        self.assertIsNone(await hand.say("two"))

    async def test_sentinels_with_passwords(self) -> None:
        server = self.redis("--requirepass", "geheim", "--masterauth", "geheim", port=private_servers.free_port())
        lines = ("sentinel auth-pass mymaster geheim", "requirepass other")
        sentinels = [private_servers.Sentinel(server.port, 1, lines) for _ in range(2)]
        for sentinel in sentinels:
            self.addCleanup(sentinel.stop)
        named = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
        await self.works(
            TANDEMD_REDIS_SENTINELS=named, TANDEMD_REDIS_SENTINEL_PASSWORD="other", REDIS_PASSWORD="geheim"
        )


class Authority:
    """A certificate authority that signs for 127.0.0.1. path: of the file with its certificate."""

    def __init__(self, directory: str):
        os.makedirs(directory, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests of tandemd")])
        certificate = self._certificate(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None))
        self.path = os.path.join(directory, "ca.pem")
        pathlib.Path(self.path).write_bytes(b"of the tests\n" + certificate)

    def _certificate(self, name: x509.Name, key: Any, extension: Any) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .sign(self._key, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM)

    def server(self, address: str) -> Any:
        """Return the TLS of a server at this address."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis")])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return ssl.PrivateCertificate.loadPEM(private + self._certificate(name, key, names)).options()


class _Client(ProxyClientFactory):
    noisy = False


class _Proxy(ProxyFactory):
    noisy = False
    clientProtocolFactory = _Client


class TLSTests(NodesTestCase):
    """The server speaks plainly: TLS ends in front of it, as with a server that was built without it."""

    def setUp(self) -> None:
        super().setUp()
        self.authority = Authority(self.state)

    def tunnel(self, address: str = "127.0.0.1") -> dict[str, str]:
        server = self.redis(port=private_servers.free_port())
        factory: Any = _Proxy("127.0.0.1", server.port)
        port = reactor.listenSSL(0, factory, self.authority.server(address), interface="127.0.0.1")
        self.addCleanup(deferLater, reactor, 0.05)  # the far ends of the tunnels notice the end of the near ones
        self.addCleanup(port.stopListening)
        return {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(port.getHost().port), "REDIS_TLS": "on"}

    def sentinel(self, server: dict[str, str], address: str = "127.0.0.1") -> dict[str, str]:
        """Return the environment for a sentinel with TLS that names this server.

        A sentinel of a server built without TLS could only name a port without it.
        """
        self.said = said = ScriptedFactory(naming(server["REDIS_HOST"], int(server["REDIS_PORT"]), 1))
        port = reactor.listenSSL(0, said, self.authority.server(address), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        named = f"127.0.0.1:{port.getHost().port}"
        return {"TANDEMD_REDIS_SENTINELS": named, "TANDEMD_REDIS_SENTINEL_PASSWORD": "other", "REDIS_TLS": "on"}

    async def refused(self, **environ: str) -> str:
        with self.assertRaises(StartupError) as caught:
            await self.stores(**environ)
        return str(caught.exception)

    async def test_with_an_authority_of_ones_own(self) -> None:
        await self.works(**self.tunnel(), TANDEMD_REDIS_TLS_CA=self.authority.path)

    async def test_signed_by_an_unknown_authority(self) -> None:
        text = await self.refused(**self.tunnel())
        self.assertIn("certificate verify failed", text)
        self.assertIn("check redis.tls, redis.tls_ca and redis.host", text)

    async def test_a_certificate_for_another_name(self) -> None:
        text = await self.refused(**self.tunnel("127.0.0.2"), TANDEMD_REDIS_TLS_CA=self.authority.path)
        self.assertIn("its certificate is for another name", text)

    async def test_without_tls_to_a_server_with_it(self) -> None:
        text = await self.refused(**{**self.tunnel(), "REDIS_TLS": "off"})
        self.assertIn("check redis.tls", text)

    async def test_sentinels(self) -> None:
        sentinel = self.sentinel(self.tunnel())
        await self.works(**sentinel, TANDEMD_REDIS_TLS_CA=self.authority.path)
        self.assertEqual(self.said.asked[0], ["AUTH", "other"])

    async def test_a_sentinel_signed_by_an_unknown_authority(self) -> None:
        text = await self.refused(**self.sentinel(self.tunnel()))
        self.assertRegex(
            text, "no sentinel in redis.sentinels tells .* certificate verify failed, check redis.tls and redis.tls_ca"
        )
        self.assertEqual(self.said.asked, [])

    async def test_a_sentinel_with_a_certificate_for_another_name(self) -> None:
        text = await self.refused(**self.sentinel(self.tunnel(), "127.0.0.2"), TANDEMD_REDIS_TLS_CA=self.authority.path)
        self.assertRegex(
            text, "no sentinel in redis.sentinels tells .* its certificate is for another name, check redis.tls and"
        )

    async def test_sentinels_with_tls_and_a_master_without(self) -> None:
        server = self.redis(port=private_servers.free_port())
        sentinel = self.sentinel({"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(server.port)})
        text = await self.refused(**sentinel, TANDEMD_REDIS_TLS_CA=self.authority.path)
        self.assertRegex(text, "the Redis master 'mymaster' .*check redis.tls")


class NotNowTests(NodesTestCase):
    """A server that answers, and takes no changes at the moment."""

    async def test_no_replica_follows(self) -> None:
        server = self.redis()
        stores = await self.stores(REDIS_HOST=server.path)
        hand = Hand(stores.store, "movie")
        self.assertIsNone(await hand.say("one"))
        server.execute("CONFIG", "SET", "min-replicas-to-write", "1")
        waiting = hand.say("two")
        await until(stores.ready)
        self.assertIn("see min-replicas-to-write and the replicas", stores.ready()[0])
        calls = commands(server)
        began = reactor.seconds()
        self.assertIsInstance(await waiting, Unavailable)
        # No storm: some commands a second, however long this takes on a busy machine. A storm is thousands a second.
        self.assertLess(commands(server) - calls, 100 * (reactor.seconds() - began + 1))
        waiting = hand.say("three")
        server.execute("CONFIG", "SET", "min-replicas-to-write", "0")
        self.assertIsNone(await waiting)  # it waited for the server
        self.assertEqual(stores.ready(), [])
        self.assertEqual(hand.room.seq, 2)
        await until(lambda: self.archived() == [1, 2])
        await until(lambda: stores.warnings() == [])

    async def test_it_is_made_a_replica(self) -> None:
        server, other = self.redis(), self.redis(port=private_servers.free_port())
        stores = await self.stores(REDIS_HOST=server.path)
        hand = Hand(stores.store, "movie")
        self.assertIsNone(await hand.say("one"))
        server.execute("REPLICAOF", "127.0.0.1", str(other.port))
        result = await hand.say("two")
        self.assertIsInstance(result, Unavailable)
        self.assertIn("is a replica: name its master in redis.host", stores.ready()[0])
        server.execute("REPLICAOF", "NO", "ONE")
        await until(lambda: stores.ready() == [])


def commands(server: private_servers.Redis) -> int:
    """Return how many commands a server has carried out."""
    said = server.execute("INFO", "stats").decode()
    return int(said.partition("total_commands_processed:")[2].split()[0])
