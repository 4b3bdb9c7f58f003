"""A node that cannot start says so in one line, with the key and the remedy; later failures are in its readiness."""

from __future__ import annotations

import json
import os
import pathlib
import re
import socket
import struct
import threading
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tandemd.app.backends import ClusterBackend, backend_of
from tandemd.app.metrics import NodeMetrics
from tandemd.archive.factory import prepare
from tandemd.archive.migrations import migrate
from tandemd.archive.postgresql import PostgreSQL
from tandemd.config import ConfigError, load
from tandemd.util.services import StartupError

from ..support import private_servers
from ..support.daemon_process import Daemon, DaemonTestCase
from ..support.fake_redis import ScriptedFactory
from ..support.patience import PATIENCE_SECONDS, TEST_LIMIT_SECONDS

DATABASE = "start_errors"


class StoreTestCase(TestCase):
    """A node's stores, which do not come up."""

    timeout = TEST_LIMIT_SECONDS

    def environ(self, **environ: str) -> dict[str, str]:
        return {
            "POSTGRES_HOST": private_servers.postgresql().directory,
            "POSTGRES_USER": "postgres",
            "POSTGRES_DB": DATABASE,
            "TANDEMD_STATE_DIR": os.path.abspath("state"),
            **environ,
        }

    async def refused(self, **environ: str) -> str:
        """Return why the store does not start; nothing of it is left."""
        config = load(None, self.environ(**environ), {})
        os.makedirs(config.state_dir, exist_ok=True)
        try:
            stores = backend_of(config, reactor, NodeMetrics("1", "n"), "n/boot/")
        except StartupError as error:
            return str(error)
        assert isinstance(stores, ClusterBackend)
        try:
            await maybeDeferred(stores.store.startService)
        except StartupError as error:
            self.assertNotIn("\n", str(error))
            return str(error)
        finally:
            await stores.store.stopService()
        raise AssertionError("it started")

    def redis(self, *options: str, port: int = 0) -> private_servers.Redis:
        server = private_servers.Redis(*options, port=port)
        self.addCleanup(server.stop)
        return server


class RedisTests(StoreTestCase):
    async def test_no_server_there(self) -> None:
        """Redis is given a few seconds: it may be starting too."""
        for path, why in (("/no/such/socket", "No such file or directory"), ("127.0.0.1", "refused")):
            began = reactor.seconds()
            text = await self.refused(REDIS_HOST=path, REDIS_PORT=str(private_servers.free_port()))
            self.assertIn(path, text)
            self.assertIn("cannot be reached", text)
            self.assertIn(why, text)
            self.assertIn("check redis.host and redis.port", text)
            self.assertGreater(reactor.seconds() - began, 3)

    def connections(self, server: private_servers.Redis) -> int:
        """Return how many connections a server has accepted, with the two of this question."""
        password = "geheim" if b"NOAUTH" in server.execute("PING") else ""
        said = server.execute("INFO", "stats", password=password).decode()
        return int(said.partition("total_connections_received:")[2].split()[0])

    async def test_refusals_are_told_at_once(self) -> None:
        open_, closed = self.redis(), self.redis("--requirepass", "geheim")
        for server, environ, said in (
            (closed, {}, "set redis.password (REDIS_PASSWORD)"),
            (closed, {"REDIS_PASSWORD": "wrong"}, "check redis.username and redis.password"),
            (closed, {"REDIS_PASSWORD": "geheim", "REDIS_USERNAME": "ann"}, "check redis.username and redis.password"),
            (open_, {"REDIS_PASSWORD": "geheim"}, "it has no password: leave redis.password away"),
            (open_, {"REDIS_DB": "99"}, "choose another redis.db"),
        ):
            before = self.connections(server)
            text = await self.refused(REDIS_HOST=server.path, **environ)
            self.assertIn(said, text)
            self.assertIn(server.path, text)
            self.assertNotIn("geheim", text)
            # One for commands, one for the subscription, and two to count them: none is opened again after the refusal.
            self.assertLessEqual(self.connections(server) - before, 4)

    async def test_not_enough_rights(self) -> None:
        server = self.redis()
        for name, rights in {
            "commands": "~tandem:* resetchannels &tandem:* +@connection +role +subscribe",
            "keys": "~other:* resetchannels &tandem:* +@all",
            "channels": "~tandem:* resetchannels &other:* +@all",
        }.items():
            self.assertEqual(server.execute("ACL", "SETUSER", name, "on", ">pw", *rights.split()), b"+OK\r\n")
            text = await self.refused(REDIS_HOST=server.path, REDIS_USERNAME=name, REDIS_PASSWORD="pw")
            self.assertRegex(text, r"NOPERM.*; give redis\.username the rights ~tandem:\*", name)

    async def test_a_command_that_is_used_late_is_missed_early(self) -> None:
        """A commit that is stopped halfway leaves half of itself."""
        server = self.redis()
        for taken, told in (("-publish", "PUBLISH"), ("-hdel -xack", "HDEL, XACK"), ("-xautoclaim", "XAUTOCLAIM")):
            rights = f"reset on >pw ~tandem:* resetchannels &tandem:* +@all {taken}"
            self.assertEqual(server.execute("ACL", "SETUSER", "ann", *rights.split()), b"+OK\r\n")
            text = await self.refused(REDIS_HOST=server.path, REDIS_USERNAME="ann", REDIS_PASSWORD="pw")
            self.assertIn(f"its user may not use {told}; give redis.username the rights ~tandem:*", text)
        self.assertEqual(server.execute("KEYS", "*"), b"*0\r\n")

    async def test_a_replica(self) -> None:
        master = self.redis(port=private_servers.free_port())
        replica = self.redis("--replicaof", "127.0.0.1", str(master.port))
        text = await self.refused(REDIS_HOST=replica.path)
        self.assertIn("is a replica: name its master in redis.host, or the sentinels in redis.sentinels", text)

    async def test_a_sentinel(self) -> None:
        sentinel = private_servers.Sentinel(private_servers.free_port())
        self.addCleanup(sentinel.stop)
        text = await self.refused(REDIS_HOST="127.0.0.1", REDIS_PORT=str(sentinel.port))
        self.assertIn("is a sentinel: name it in redis.sentinels", text)

    async def test_what_may_throw_rooms_away(self) -> None:
        server = self.redis("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
        text = await self.refused(REDIS_HOST=server.path)
        self.assertIn("its maxmemory-policy is allkeys-lru); set that to noeviction", text)

    async def test_a_cluster(self) -> None:
        # It takes the port 10 000 above its own too.
        server = self.redis("--cluster-enabled", "yes", port=private_servers.free_port(55535))
        text = await self.refused(REDIS_HOST=server.path)
        self.assertIn("cluster", text)
        self.assertIn("name a single server in redis.host", text)

    async def scripted(self, info: str) -> dict[str, str]:
        """Return how to reach a server that says this of itself, and "OK" to everything else."""

        def answer(words: list[str]) -> Any:
            return {"ROLE": ["master", 0, []], "INFO": info}.get(words[0], "OK")

        factory = ScriptedFactory(answer)
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(factory.empty)
        self.addCleanup(port.stopListening)
        return {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(port.getHost().port)}

    async def test_too_old(self) -> None:
        text = await self.refused(**await self.scripted("redis_version:6.0.16\r\nrun_id:a\r\n"))
        self.assertIn("it is version 6.0.16; tandemd needs Redis 6.2 or newer", text)

    async def test_no_tls_there(self) -> None:
        server = self.redis(port=private_servers.free_port())
        text = await self.refused(REDIS_HOST="127.0.0.1", REDIS_PORT=str(server.port), REDIS_TLS="true")
        self.assertIn("check redis.tls", text)

    async def test_authorities_that_cannot_be_read(self) -> None:
        wrong = os.path.abspath(self.mktemp())
        pathlib.Path(wrong).write_text("-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n")
        empty = os.path.abspath(self.mktemp())
        pathlib.Path(empty).write_text("")
        for path, why in (("/no/such", "No such file"), (wrong, "damaged"), (empty, "no certificate")):
            text = await self.refused(REDIS_HOST="r", REDIS_TLS="true", TANDEMD_REDIS_TLS_CA=path)
            self.assertRegex(text, rf"^redis\.tls_ca: {re.escape(path)} cannot be used: .*{why}")

    def test_keys_that_make_no_sense_together(self) -> None:
        for environ, said in (
            ({"REDIS_HOST": "r"}, r"^REDIS_HOST: .*sentinels in redis\.sentinels"),
            ({"REDIS_URL": "redis://r"}, r"^REDIS_URL: .*sentinels in redis\.sentinels"),
        ):
            environ["TANDEMD_REDIS_SENTINELS"] = "a,b:26380,[::1]:26379"
            self.assertRegex(str(self.assertRaises(ConfigError, load, None, self.environ(**environ), {})), said)
        environ = {"REDIS_HOST": "/run/s", "REDIS_TLS": "on"}
        text = str(self.assertRaises(ConfigError, load, None, self.environ(**environ), {}))
        self.assertRegex(text, r"^REDIS_TLS: a Unix socket \(redis\.host\) has no TLS")
        text = str(self.assertRaises(ConfigError, load, None, {"TANDEMD_REDIS_SENTINELS": "a"}, {}))
        self.assertRegex(text, r"^TANDEMD_REDIS_SENTINELS: Redis needs PostgreSQL")


class OldPostgreSQL(threading.Thread):
    """A server that accepts every login and a version; the driver asks no more before the version is checked."""

    def __init__(self, version: str):
        super().__init__(daemon=True)
        self._version = version
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self.start()

    def run(self) -> None:
        connection, _ = self._listening.accept()
        with connection, self._listening:
            length = struct.unpack("!i", connection.recv(4))[0]
            startup = connection.recv(length)
            if startup[:4] == struct.pack("!i", 80877103):  # the question for TLS
                connection.sendall(b"N")
                connection.recv(struct.unpack("!i", connection.recv(4))[0])
            parameters = {
                "server_version": self._version, "client_encoding": "UTF8", "DateStyle": "ISO, MDY",
                "standard_conforming_strings": "on", "integer_datetimes": "on",
            }  # fmt: skip
            answer = b"R" + struct.pack("!ii", 8, 0)
            for name, value in parameters.items():
                body = f"{name}\0{value}\0".encode()
                answer += b"S" + struct.pack("!i", 4 + len(body)) + body
            connection.sendall(answer + b"Z" + struct.pack("!i", 5) + b"I")
            while connection.recv(1024):
                pass


class PostgreSQLTests(StoreTestCase):
    def setUp(self) -> None:
        self.server = private_servers.postgresql()
        self.server.create(DATABASE)
        self.addCleanup(self.server.drop, DATABASE)

    def cannot(self, **environ: str) -> str:
        text = str(self.assertRaises(StartupError, prepare, load(None, self.environ(**environ), {})))
        self.assertNotIn("\n", text)
        return text

    def test_no_server_there(self) -> None:
        text = self.cannot(POSTGRES_HOST="/no/such")
        self.assertRegex(text, r"^postgres\.host \(POSTGRES_HOST\): cannot connect to the PostgreSQL database")
        self.assertIn("check that it runs, and the host, port, user", text)
        url = f"postgresql://127.0.0.1:{private_servers.free_port()}/x"
        self.assertRegex(self.cannot(DATABASE_URL=url), r"^postgres\.url \(DATABASE_URL\): cannot connect to .*refused")

    def test_no_such_database(self) -> None:
        self.assertIn('database "nothing" does not exist', self.cannot(POSTGRES_DB="nothing"))

    def test_wrong_password(self) -> None:
        rules = pathlib.Path(self.server.directory, "data", "pg_hba.conf")
        before = rules.read_text()
        rules.write_text(f"local {DATABASE} ann scram-sha-256\n{before}")
        self.addCleanup(self.server.execute, "drop role ann; select pg_reload_conf()")
        self.addCleanup(rules.write_text, before)
        self.server.execute("create role ann login password 'geheim'; select pg_reload_conf()")
        text = self.cannot(POSTGRES_USER="ann", POSTGRES_PASSWORD="wrong-one")
        self.assertIn('password authentication failed for user "ann"', text)
        self.assertNotIn("wrong-one", text)

    def test_not_enough_rights(self) -> None:
        self.server.execute("create role poor login")
        self.addCleanup(self.server.execute, "drop role poor")
        self.server.execute("revoke create on schema public from public", DATABASE)
        text = self.cannot(POSTGRES_USER="poor")
        self.assertIn("permission denied for schema public", text)
        self.assertEqual(self.tables(), [])

    def tables(self) -> list[Any]:
        return self.server.execute("select tablename from pg_tables where schemaname = 'public'", DATABASE)

    def test_too_old(self) -> None:
        server = OldPostgreSQL("12.17")
        text = self.cannot(POSTGRES_HOST="127.0.0.1", POSTGRES_PORT=str(server.port))
        self.assertIn("is version 120017; the archive needs PostgreSQL 13 or newer", text)

    def test_a_schema_of_the_future(self) -> None:
        migrate(PostgreSQL(**self.server.arguments(DATABASE)))
        self.server.execute(
            'insert into "schema_migrations" ("number", "name", "compatible", "applied_at") '
            "values (9001, '9001_better.sql', 9000, now())",
            DATABASE,
        )
        text = self.cannot()
        self.assertIn("has schema 9001, which needs a tandemd that knows schema 9000", text)
        self.assertIn("install the newer tandemd", text)


class ProcessTests(DaemonTestCase):
    """The view of an operator."""

    def environ(self, redis: private_servers.Redis, **environ: str) -> dict[str, str]:
        server = private_servers.postgresql()
        server.create(DATABASE)
        self.addCleanup(server.drop, DATABASE)
        return {
            "POSTGRES_HOST": server.directory, "POSTGRES_USER": "postgres", "POSTGRES_DB": DATABASE,
            "REDIS_HOST": redis.path, **environ,
        }  # fmt: skip

    async def test_status_and_one_line(self) -> None:
        redis = private_servers.Redis("--requirepass", "geheim")
        self.addCleanup(redis.stop)
        environ = self.environ(redis, REDIS_PASSWORD="wrong")
        for changed, said in (
            ({"POSTGRES_HOST": ""}, "tandemd: REDIS_HOST: Redis needs PostgreSQL, too"),
            ({"POSTGRES_HOST": "/no/such"}, "tandemd: postgres.host (POSTGRES_HOST): cannot connect"),
            ({}, "cannot start: Redis at"),
        ):
            daemon = await self.refused(**{**environ, **changed})
            self.assertEqual(daemon.status, 1)
            output = (daemon.output + daemon.errors).decode()
            self.assertNotIn("Traceback", output)
            self.assertNotIn("unready", output)
            lines = [line for line in output.splitlines() if said in line]
            self.assertEqual(len(lines), 1, output)

    async def health(self, daemon: Daemon) -> tuple[int, dict[str, Any]]:
        code, body = await self.get(f"http://127.0.0.1:{daemon.port}/health/ready")
        return code, json.loads(body)

    async def until(self, daemon: Daemon, code: int, field: str) -> str:
        """Wait for an answer with this status and field, and return the field's value; '' for none."""
        end = reactor.seconds() + PATIENCE_SECONDS
        while True:
            status, body = await self.health(daemon)
            if status == code and (not field or field in body):
                return "; ".join(body.get(field, []))
            self.assertLess(reactor.seconds(), end, f"it is {status}: {body}")
            await deferLater(reactor, 0.05)

    async def test_while_it_runs(self) -> None:
        redis = private_servers.Redis()
        self.addCleanup(redis.stop)
        daemon = await self.running(**self.environ(redis))
        self.assertEqual(await self.until(daemon, 200, ""), "")
        redis.stop()
        reason = await self.until(daemon, 503, "reasons")
        self.assertRegex(reason, r"Redis at .*socket (is lost|cannot be reached: .*)")
        redis.start()
        await self.until(daemon, 200, "")

        client = await self.connect(daemon)
        await client.join("movie", "ann", nonce="n")  # a new room: PostgreSQL is asked whether it has it
        postgres = private_servers.postgresql()
        self.addCleanup(postgres.start)
        postgres.stop()
        await client.do("CHAT", text="what awaits the archive")
        self.assertIn("the archive cannot be written: ", await self.until(daemon, 200, "warnings"))
        postgres.start()
        end = reactor.seconds() + PATIENCE_SECONDS
        while "warnings" in (await self.health(daemon))[1]:
            self.assertLess(reactor.seconds(), end)
            await deferLater(reactor, 0.05)
        self.assertNotIn("traceback", daemon.output.decode().lower())
        self.assertNotIn("traceback", daemon.errors.decode().lower())
