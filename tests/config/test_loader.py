"""The configuration: sources of values, their order, and errors of wrong ones."""

import dataclasses
import os
import re
from pathlib import Path

import yaml
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tandemd.config import Config, ConfigError, load
from tandemd.config.reference import page, yaml_file
from tandemd.config.schema import keys
from tandemd.config.value_types import duration, size
from tandemd.messages import IceServer
from tandemd.rules.local_titles import CLIP_URL
from tandemd.rules.title_allowlist import TitleAllowlist

ROOT = Path(__file__).resolve().parent.parent.parent


class ConfigTestCase(SynchronousTestCase):
    def load(self, text=None, overrides=None, **environ):
        path = None
        if text is not None:
            path = self.file(text)
        return load(path, environ, overrides or {}, hostname="here.example.org")

    def file(self, text):
        path = self.mktemp()
        Path(path).write_text(text)
        return path

    def refused(self, *args, **kwargs):
        """Return the line of the error that rejects a configuration."""
        message = str(self.assertRaises(ConfigError, self.load, *args, **kwargs))
        self.assertNotIn("\n", message)
        return message


class Defaults(ConfigTestCase):
    def test_nothing_is_needed(self):
        config = self.load()
        self.assertEqual(config.endpoint, "tcp:4001:interface=0.0.0.0:backlog=4096")
        self.assertEqual(config.node_id, "here.example.org")
        self.assertEqual(config.state_dir, os.path.abspath("state"))
        self.assertEqual(config.sqlite_path, os.path.abspath("state/tandemd.sqlite"))
        self.assertEqual((config.rooms.grace, config.rooms.room_ttl, config.limits.frame_bytes), (45, 14400, 65536))
        self.assertFalse(config.uses_postgres or config.uses_redis)

    def test_frozen(self):
        config = self.load()
        self.assertRaises(dataclasses.FrozenInstanceError, setattr, config, "port", "1")
        self.assertRaises(dataclasses.FrozenInstanceError, setattr, config.rooms, "grace", 1.0)

    def test_the_directory_that_systemd_provides(self):
        self.assertEqual(self.load(STATE_DIRECTORY="/var/lib/tandemd:/x").state_dir, "/var/lib/tandemd")
        self.assertEqual(self.load(STATE_DIRECTORY="/a", TANDEMD_STATE_DIR="/b").state_dir, "/b")

    def test_a_machine_name_that_is_no_node_id(self):
        self.assertEqual(load(None, {}, {}, hostname="a/b ü" + "x" * 99).node_id, ("a-b--" + "x" * 99)[:64])


class Proxies(ConfigTestCase):
    def test_a_number_or_unknown(self):
        for written, hops in (("0", 0), ("2", 2), ("unknown", -1), ("Unknown", -1)):
            self.assertEqual(self.load(f"web: {{trusted_proxies: {written}}}").web.trusted_proxies, hops)
            self.assertEqual(self.load(TANDEMD_WEB_TRUSTED_PROXIES=written).web.trusted_proxies, hops)
        for written in ("-1", "11", "many"):
            said = self.refused(f"web: {{trusted_proxies: {written}}}")
            self.assertIn("a whole number from 0 to 10 or unknown", said)


class IceServers(ConfigTestCase):
    def test_urls_and_accounts(self):
        stun, turn = IceServer(urls=["stun:s:3478"]), IceServer(urls=["turn:t", "turns:[::1]:5349?transport=tcp"])
        own = IceServer(urls=["turn:o"], username="u", credential="c")
        text = """
            calls:
              turn_secret_file: s
              ice_servers:
                - stun:s:3478
                - urls: [turn:t, "turns:[::1]:5349?transport=tcp"]
                - {urls: turn:o, username: u, credential: c}
        """
        self.assertEqual(self.load(text).calls.ice_servers, (stun, turn, own))
        self.assertEqual(self.load(TANDEMD_CALLS_ICE_SERVERS="stun:s:3478, stun:b").calls.ice_servers[0], stun)
        json = '[{"urls": "turn:o", "username": "u", "credential": "c"}]'
        self.assertEqual(self.load(TANDEMD_CALLS_ICE_SERVERS=json).calls.ice_servers, (own,))

    def test_an_error_does_not_show_the_credential(self):
        said = self.refused('calls: {ice_servers: [{urls: "turn:o", credential: hush}]}')
        self.assertNotIn("hush", said)


class Layers(ConfigTestCase):
    def test_file_then_environment_then_command_line(self):
        text = "rooms: {grace: 10s}"
        self.assertEqual(self.load(text).rooms.grace, 10)
        self.assertEqual(self.load(text, TANDEMD_ROOMS_GRACE="20s").rooms.grace, 20)
        self.assertEqual(self.load(text, {"rooms.grace": "30s"}, TANDEMD_ROOMS_GRACE="20s").rooms.grace, 30)

    def test_each_key_has_an_environment_name_of_its_path(self):
        other = {
            "calls.ice_servers": "stun:a",
            "host": "127.0.0.1",
            "log.level": "warn",
            "log.format": "text",
            "port": "4002",
            "rooms.gate_quorum_after": "1s",
            "web.redirect_target": "/",
        }
        for key in keys():
            value = other.get(key.path)
            for candidate in (
                "7",
                "0.5",
                "6",
                "5000",
                "100K",
                "false",
                "true",
                "https://a.example",
                "redis://a",
                "postgres://a",
                "3K/s, burst 7000",
                "a",
                "a" * 40,
                "token",
                "0.1",
                "0.015",
                "1.05",
                "members",
            ):
                if value is not None:
                    break
                try:
                    if key.kind.parse(candidate) != key.kind.parse(key.default):
                        value = candidate
                except ValueError:
                    continue
            own = "TANDEMD_" + key.path.upper().replace(".", "_")
            # Variables of Kubernetes are not ours. Redis, a key of TLS and calls by relays only need other keys, too.
            name = key.env[0] if own.startswith("TANDEMD_PORT") else own
            others = {"TANDEMD_POSTGRES_HOST": "db", "TANDEMD_TLS_CERTIFICATE": "c"}
            others |= {"TANDEMD_CALLS_ICE_SERVERS": "turn:t", "TANDEMD_CALLS_TURN_SECRET_FILE": "s"}
            config = self.load(**(others | {name: value}))
            found = config
            for part in key.path.split("."):
                found = getattr(found, part)
            expected = os.path.abspath(str(value)) if key.path == "state_dir" else key.kind.parse(value)
            self.assertEqual(found, expected, key.path)

    def test_names_of_the_node_js_server(self):
        config = self.load(
            PORT="8080", HOST="::", NODE_ID="n1", LOG_LEVEL="WARN",
            REDIS_HOST="r", REDIS_PORT="6380", REDIS_PASSWORD="rp", REDIS_DB="2",
            POSTGRES_HOST="p", POSTGRES_PORT="5433", POSTGRES_DB="d", POSTGRES_USER="u", POSTGRES_PASSWORD="pp",
            POSTGRES_POOL_SIZE="3",
        )  # fmt: skip
        self.assertEqual((config.port, config.host, config.node_id, config.log.level), ("8080", "::", "n1", "warn"))
        redis, postgres = config.redis, config.postgres
        self.assertEqual((redis.host, redis.port, redis.password, redis.db), ("r", 6380, "rp", 2))
        self.assertEqual((postgres.host, postgres.port, postgres.db, postgres.user), ("p", 5433, "d", "u"))
        self.assertEqual((postgres.password, postgres.pool_size), ("pp", 3))
        self.assertTrue(config.uses_postgres and config.uses_redis)

    def test_empty_means_not_set(self):
        config = self.load("rooms:\nlog:\n  level:\n", REDIS_HOST="", PORT="", TANDEMD_ROOMS_GRACE="")
        self.assertEqual(config, self.load())
        self.assertEqual(self.load(""), self.load())

    def test_two_names_of_one_key(self):
        self.assertEqual(self.load(NODE_ID="a", TANDEMD_NODE_ID="a").node_id, "a")
        self.assertIn("NODE_ID and TANDEMD_NODE_ID", self.refused(NODE_ID="a", TANDEMD_NODE_ID="b"))


class Selection(ConfigTestCase):
    def test_urls(self):
        config = self.load(DATABASE_URL="postgresql://u@h/d", REDIS_URL="rediss://me:p%40ss@[::1]:6390/3")
        self.assertTrue(config.uses_postgres and config.uses_redis)
        redis = config.redis
        self.assertEqual(
            (redis.host, redis.port, redis.username, redis.password, redis.db, redis.tls),
            ("::1", 6390, "me", "p@ss", 3, True),
        )

    def test_unix_socket(self):
        redis = self.load(DATABASE_URL="postgresql://u@h/d", REDIS_URL="unix:///run/a%20b?db=4").redis
        self.assertEqual((redis.host, redis.db, redis.tls), ("/run/a b", 4, False))

    def test_redis_alone(self):
        for name, value in (("REDIS_HOST", "r"), ("REDIS_URL", "redis://r")):
            message = self.refused(**{name: value})
            self.assertIn(name, message)
            self.assertIn("postgres.host (POSTGRES_HOST)", message)

    def test_bad_database_in_url(self):
        self.assertIn("number of the database", self.refused(DATABASE_URL="postgres://h/d", REDIS_URL="redis://r/x"))


class Unknown(ConfigTestCase):
    def test_in_the_file(self):
        self.assertIn("rooms.grase is not a key", self.refused("rooms: {grase: 1}"))
        self.assertIn("did you mean rooms.grace?", self.refused("rooms: {grase: 1}"))
        self.assertIn("grace is not a key", self.refused("grace: 1"))
        self.assertIn("node_id_file is not a key", self.refused("node_id_file: /x"))

    def test_in_the_environment(self):
        message = self.refused(TANDEMD_ROOMS_GRASE="1")
        self.assertIn("TANDEMD_ROOMS_GRASE is not an environment name", message)
        self.assertIn("did you mean TANDEMD_ROOMS_GRACE?", message)

    def test_on_the_command_line(self):
        self.assertIn("command line: rooms.grase", self.refused(None, {"rooms.grase": "1"}))

    def test_names_that_are_not_ours(self):
        config = self.load(
            TANDEMD_SERVICE_HOST="10.0.0.1", TANDEMD_SERVICE_PORT="80", TANDEMD_PORT="tcp://10.0.0.1:80",
            TANDEMD_PORT_80_TCP="tcp://10.0.0.1:80", TANDEMD_TEST_PG_BIN="/x", REDIS_PORT="tcp://10.0.0.2:6379",
            POSTGRES_PORT="tcp://10.0.0.3:5432", REDIS_SERVICE_HOST="10.0.0.2", HOSTNAME="x",
        )  # fmt: skip
        self.assertEqual(config, self.load())


class WrongValues(ConfigTestCase):
    def test_source_key_value_and_kind_are_named(self):
        message = self.refused("rooms:\n  grace: fast\n")
        self.assertRegex(message, r"^\S+: rooms\.grace: 'fast' is not a duration from 1s to 1h, .* such as 250ms")
        self.assertRegex(
            self.refused(TANDEMD_ROOMS_GRACE="-1"), r"^TANDEMD_ROOMS_GRACE \(rooms\.grace\): '-1' is not a duration"
        )
        self.assertRegex(self.refused(None, {"port": "x"}), r"^command line: port: 'x' is not a port number")

    def test_each(self):
        for text in (
            "port: 'tcp:abc'", "port: 'tcp:70000'", "port: 'haproxy:tcp6:-1'", "port: 'tls:/etc:port=x'",
            "port: 70000", "port: -1", "port: true", "port: ':4001'", 'port: "tcp:1\\n"', "port: [1]", "host: a b",
            "node_id: a/b", "node_id: 7", "log: {level: loud}", "log: {level: 1}", "fast_path: 1", "fast_path: maybe",
            "rooms: {grace: .nan}", "rooms: {grace: .inf}", "rooms: {grace: 1e}", "rooms: {grace: 2h}",
            "rooms: {grace: true}", "rooms: {grace: [1]}", "rooms: {gate_quorum: 1.1}", "rooms: {log_length: 1.5}",
            "limits: {frame_bytes: 64KB}", "limits: {frame_bytes: 1}", "limits: {members_per_room: '1_0x'}",
            "web: {allowed_origins: {a: 1}}", "web: {allowed_origins: [1]}", "web: {redirect_target: 'javascript:x'}",
            "web: {invite_base_url: 'https://a b'}", "web: {invite_base_url: 'https://a:x'}",
            "web: {invite_base_url: 'https://a?b'}", "titles: {allowed: ['javascript:alert(1)']}",
            "titles: {allowed: [netflix.com]}", "web: {allowed_origins: [party.example.org]}",
            "web: {allowed_origins: ['https://a/b']}", "web: {allowed_origins: ['https://*.a']}",
            "postgres: {url: 'mysql://a/b'}", "redis: {db: -1}",
        ):  # fmt: skip
            section, _, rest = text.partition(":")
            inner = re.match(r" \{(\w+):", rest)
            path = f"{section}.{inner[1]}" if inner else section
            self.assertIn(f"{path}: ", self.refused(text), text)

    def test_together(self):
        self.assertIn("rooms.gate_quorum_after", self.refused("rooms: {gate_quorum_after: 9s}"))

    def test_files(self):
        self.assertRegex(str(self.assertRaises(ConfigError, load, "/no/such", {}, {})), "^/no/such: cannot be read: No")
        self.assertIn("cannot be read: Is a directory", str(self.assertRaises(ConfigError, load, "/", {}, {})))
        self.assertIn(", line 2: ", self.refused("a: 1\n b: [\n"))
        self.assertIn("the file must contain keys", self.refused("- 1"))
        self.assertIn("rooms must contain keys", self.refused("rooms: 5"))
        self.assertIn("line 2: port is given twice", self.refused("port: 1\nport: 2\n"))
        self.assertIn(", line 2: ", self.refused("rooms:\n\tgrace: 45s\n"))
        self.assertIn("; indent with spaces", self.refused("rooms:\n\tgrace: 45s\n"))
        self.assertIn("is not YAML", self.refused("node_id: 2026-99-99"))
        path = self.mktemp()
        Path(path).write_bytes(b"node_id: \xff")
        self.assertIn("is not UTF-8 at byte", str(self.assertRaises(ConfigError, load, path, {}, {})))

    @given(st.dictionaries(st.sampled_from([key.path for key in keys()]), st.text(max_size=20), max_size=3))
    def test_any_text_is_a_value_or_one_line(self, overrides):
        try:
            load(None, {"POSTGRES_HOST": "p"}, overrides, hostname="h")
        except ConfigError as error:
            self.assertNotIn("\n", str(error))


class Values(ConfigTestCase):
    def test_durations(self):
        parse = duration("0s", "30d").parse
        for written, seconds in ((5, 5), (0.5, 0.5), ("5", 5), ("0.5", 0.5), ("250ms", 0.25), ("1.5m", 90)):
            self.assertEqual(parse(written), seconds)
        self.assertEqual((parse("4h"), parse("1h30m"), parse("2d")), (14400, 5400, 172800))
        for wrong in ("", "5x", "s", "-5s", "5 s s", "nan", None, "٥s"):
            self.assertRaises((ValueError, TypeError), parse, wrong)

    def test_sizes(self):
        parse = size("0", "16M").parse
        self.assertEqual([parse(v) for v in (7, "7", "64K", "1M")], [7, 7, 65536, 1048576])

    def test_lists_of_the_environment(self):
        config = self.load(TANDEMD_WEB_ALLOWED_ORIGINS="https://a, https://b,")
        self.assertEqual(config.web.allowed_origins, ("https://a", "https://b"))

    def test_endpoints_are_ones(self):
        for port, host in (("4001", "0.0.0.0"), ("4001", "::1"), ("4001", ""), ("0", "127.0.0.1")):
            endpoint = Config(port=port, host=host).endpoint
            reactor = MemoryReactorClock()
            self.successResultOf(serverFromString(reactor, endpoint).listen(None))
            self.assertEqual((str(reactor.tcpServers[0][0]), reactor.tcpServers[0][3]), (port, host))
        self.assertEqual(self.load(PORT="unix:/run/x").endpoint, "unix:/run/x")

    def test_allowed_titles_are_understood_by_the_rules(self):
        titles = TitleAllowlist(self.load().titles.allowed)
        titles.check("https://www.netflix.com/watch/80100172?t=1")
        titles.check(CLIP_URL)
        for path in ("watch/1?trackId=2", "title/1", "browse", "browse/genre/83", "latest", "search?q=x"):
            self.assertTrue(titles.allows(f"https://www.netflix.com/{path}"), path)
        # A member that controls the film leads all members' browsers to its address.
        for path in (
            "",
            "SignOut",
            "signout",
            "YourAccount",
            "watch/../SignOut",
            "browse/%2e%2E/SignOut",
            "watchx",
            "account/x",
        ):
            self.assertFalse(titles.allows(f"https://www.netflix.com/{path}"), path)


class Secrets(ConfigTestCase):
    def test_from_files(self):
        path = self.file("geheim \n")
        self.assertEqual(self.load(POSTGRES_HOST="p", POSTGRES_PASSWORD_FILE=path).postgres.password, "geheim ")
        self.assertEqual(self.load(TANDEMD_POSTGRES_PASSWORD_FILE=path).postgres.password, "geheim ")
        self.assertEqual(self.load(f"postgres: {{password_file: {path}}}").postgres.password, "geheim ")
        self.assertTrue(self.load(DATABASE_URL_FILE=self.file("postgres://h/d")).uses_postgres)

    def test_a_later_layer_counts(self):
        path = self.file("old")
        config = self.load(f"postgres: {{password_file: {path}}}", POSTGRES_PASSWORD="new")
        self.assertEqual(config.postgres.password, "new")

    def test_value_and_file(self):
        message = self.refused(POSTGRES_PASSWORD="a", POSTGRES_PASSWORD_FILE="/x")
        self.assertEqual(message, "POSTGRES_PASSWORD_FILE: POSTGRES_PASSWORD is set too; set only one of them")

    def test_file_that_cannot_be_read(self):
        self.assertIn("REDIS_PASSWORD_FILE: /no/such cannot be read: No", self.refused(REDIS_PASSWORD_FILE="/no/such"))

    def test_never_shown(self):
        for environ in ({"POSTGRES_PASSWORD": "ge\nheim"}, {"DATABASE_URL": "mysql://u:ge heim@h"}):
            self.assertNotIn("heim", self.refused(**environ))
        config = self.load(POSTGRES_HOST="p", POSTGRES_PASSWORD="geheim", REDIS_URL="redis://u:geheim@h")
        self.assertNotIn("geheim", repr(config))


class Reference(ConfigTestCase):
    def test_the_file_is_what_the_declaration_makes(self):
        written = (ROOT / "etc/tandemd.yaml").read_text()
        self.assertEqual(written, yaml_file(), "run: python -m tandemd.config.reference > etc/tandemd.yaml")
        written = (ROOT / "docs/configuration.md").read_text()
        self.assertEqual(written, page(), "run: python -m tandemd.config.reference --markdown > docs/configuration.md")

    def test_the_file_as_it_is_changes_nothing(self):
        self.assertEqual(self.load(yaml_file()), self.load())

    def test_with_every_key_set_to_its_default(self):
        text = re.sub(r"^( *)#(?=\S)", r"\1", yaml_file(), flags=re.MULTILINE)
        paths = set()
        for name, value in yaml.safe_load(text).items():
            paths |= {f"{name}.{inner}" for inner in value} if isinstance(value, dict) else {name}
        self.assertEqual(paths, {key.path for key in keys()})
        self.assertEqual(self.load(text), self.load())

    def test_each_key_is_explained(self):
        for key in keys():
            self.assertRegex(key.doc, r"^\S.*\.$", key.path)
