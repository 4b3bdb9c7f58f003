"""Wrong configurations that a start would reject, or that have no effect: check-config or doctor finds each."""

from __future__ import annotations

import json
import os
import pathlib
import socket
from typing import Any

import yaml
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tandemd.config import ConfigError, load
from tandemd.config.schema import keys, sections
from tandemd.ctl.file_checks import check_port
from tandemd.ctl.main import main

from ..support.certificate_authority import Authority, authority, write

PASSPHRASE_KEY = (
    b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIBvTBXBgkqhkiG9w0BBQ0wSjApBgkqhkiG9w0BBQwwHAQI\n"
    b"-----END ENCRYPTED PRIVATE KEY-----\n"
)


class CheckTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = pathlib.Path(self.mktemp()).resolve()
        self.home.mkdir()
        (self.home / "state").mkdir()
        self.file = self.home / "tandemd.yaml"

    def ctl(self, content: dict[str, Any], *command: str, **environ: str) -> Result:
        self.file.write_text(yaml.safe_dump({"state_dir": str(self.home / "state"), **content}))
        return CliRunner().invoke(main, ["--json", "-c", str(self.file), *command], env=environ, prog_name="tandemctl")


class ValueTests(CheckTestCase):
    """The loader rejects these, so every command does, and the daemon too."""

    def test_the_message_names_file_and_key(self) -> None:
        for content, key, said in (
            ({"web": {"allowed_origins": ["party.example.org"]}}, "web.allowed_origins", "https://party.example.org"),
            ({"web": {"allowed_origins": "party.example.org:8443"}}, "web.allowed_origins", "https://party.example.org:8443"),
            ({"web": {"allowed_origins": ["https://a.example", "b.example"]}}, "web.allowed_origins", "'b.example'"),
            ({"web": {"allowed_origins": ["https://a.example/path"]}}, "web.allowed_origins", "'https://a.example/path'"),
            ({"web": {"allowed_origins": {"https://a.example": True}}}, "web.allowed_origins", "a list"),
            ({"web": {"allowed_origins": [["https://a.example"]]}}, "web.allowed_origins", "is not text"),
            ({"web": {"allowed_origins": [None]}}, "web.allowed_origins", "is not text"),
            ({"titles": {"allowed": ["youtube.com"]}}, "titles.allowed", "https://youtube.com"),
            ({"titles": {"allowed": ["youtube.com/watch"]}}, "titles.allowed", "https://youtube.com/watch"),
            ({"titles": {"allowed": []}}, "titles.allowed", "one or more"),
            ({"titles": ["https://youtube.com"]}, "titles", "keys with values"),
            ({"rooms": 5}, "rooms", "keys with values"),
            ({"rooms": {"grace": {"seconds": 5}}}, "rooms.grace", "a duration"),
            ({"rooms": {"grace": "5 minutes"}}, "rooms.grace", "45s"),
            ({"rooms": {"grase": 5}}, "rooms.grase", "rooms.grace"),
            ({"grace": 5}, "grace", "not a key"),
            ({"port": [4001]}, "port", "a port number"),
            ({"port": 70000}, "port", "65535"),
            ({"auth": {"keys": {"file": "x"}}}, "auth.keys", "a list"),
            ({"auth": {"mode": "jwt"}}, "auth.mode", "token"),
            ({"limits": {"chat_rate": 5}}, "limits.chat_rate", "20/s, burst 100"),
            ({"limits": {"enabled": "maybe"}}, "limits.enabled", "true or false"),
            ({"redis": {"sentinels": [26379]}}, "redis.sentinels", "is not text"),
            ({"redis": {"host": "r"}}, "redis.host", "PostgreSQL"),
            ({"tls": {"key": "k.pem"}}, "tls.key", "tls.certificate"),
            ({"postgres": {"password": 123}}, "postgres.password", "quotes"),
            ({"node_id": "a b"}, "node_id", "letters"),
            ({"calls": {"ice_servers": "example.org"}}, "calls.ice_servers", "stun:HOST:3478"),
            ({"calls": {"ice_servers": ["stun:"]}}, "calls.ice_servers", "'stun:'"),
            ({"calls": {"ice_servers": ["turn:t:99999"]}}, "calls.ice_servers", "'turn:t:99999'"),
            ({"calls": {"ice_servers": ["https://t"]}}, "calls.ice_servers", "'https://t'"),
            ({"calls": {"ice_servers": [{"url": "stun:s"}]}}, "calls.ice_servers", "not 'url'"),
            ({"calls": {"ice_servers": [{"urls": []}]}}, "calls.ice_servers", "no URL"),
            ({"calls": {"ice_servers": [{"urls": "turn:t", "username": "u"}]}}, "calls.ice_servers", "both"),
            ({"calls": {"ice_servers": [{"urls": "turn:t", "username": "u", "credential": 5}]}}, "calls.ice_servers", "quotes"),
            ({"calls": {"ice_servers": [{"urls": "stun:s", "username": "u", "credential": "c"}]}}, "calls.ice_servers", "STUN"),
            ({"calls": {"ice_servers": ["turn:t"]}}, "calls.ice_servers", "calls.turn_secret_file"),
            ({"calls": {"ice_servers": ["stun:s"] * 9}}, "calls.ice_servers", "at most 8"),
            ({"calls": {"turn_ttl": "10s"}}, "calls.turn_ttl", "from 1m to 7d"),
            ({"calls": {"relay_only": True}}, "calls.relay_only", "calls.ice_servers"),
        ):  # fmt: skip
            for command in ("check-config", "doctor"):
                result = self.ctl(content, command)
                self.assertEqual(result.exit_code, 2, content)
                self.assertIn(f"{self.file}: {key}", result.output)
                self.assertIn(said, result.output, content)
                self.assertNotIn("Traceback", result.output)

    def test_names_of_the_environment(self) -> None:
        for environ, said in (
            ({"TANDEMD_WEB_ALLOWED_ORIGINS": "party.example.org, https://x.example"}, "https://party.example.org"),
            ({"TANDEMD_TITLES_ALLOWED": ","}, "one or more"),
            ({"TANDEMD_ROOMS_GRASE": "5"}, "TANDEMD_ROOMS_GRACE"),
        ):
            result = self.ctl({}, "check-config", **environ)
            self.assertEqual(result.exit_code, 2, environ)
            self.assertIn(next(iter(environ)), result.output)
            self.assertIn(said, result.output)

    @settings(max_examples=300, deadline=None)
    @given(
        st.sampled_from([key.path for key in keys()]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
            max_leaves=5,
        ),
    )
    def test_any_value(self, path: str, value: object) -> None:
        """Any YAML at any key is a configuration, or an error that names the key. Nothing else is raised."""
        section, _, name = path.rpartition(".")
        content = {section: {name: value}} if section in sections() and section else {name: value}
        self.file.write_text(yaml.safe_dump(content))
        try:
            load(str(self.file), {}, {}, hostname="h")
        except ConfigError as error:
            self.assertNotIn("\n", str(error))
            self.assertIn(section or name, str(error))


class FileTests(CheckTestCase):
    """check-config and doctor find these, before a start fails."""

    def found(self, content: dict[str, Any], *command: str, **environ: str) -> dict[str, dict[str, str]]:
        """Return the findings that are not "ok", by their subject."""
        result = self.ctl(content, *command, **environ)
        self.assertIn(result.exit_code, (0, 1), result.output)
        written = json.loads(result.output)
        findings = written["findings"] if isinstance(written, dict) else written
        found = {finding.get("subject") or finding["what"]: finding for finding in findings if finding["level"] != "ok"}
        self.assertEqual(any(one["level"] == "problem" for one in found.values()), result.exit_code == 1)
        for finding in found.values():
            self.assertTrue(finding["remedy"], finding)
        return found

    def assertFound(self, content: dict[str, Any], key: str, level: str, said: str = "") -> None:
        for command in ("check-config", "doctor"):
            found = self.found(content, command)
            matching = [one for subject, one in found.items() if subject.startswith(key) and said in str(one)]
            self.assertEqual([one["level"] for one in matching], [level], f"{command} {content}: {found}")

    def test_nothing_is_wrong(self) -> None:
        certificate, key = write(self.home, *authority().issue())
        (self.home / "k.secret").write_text("s" * 40)
        for content in (
            {},
            {"tls": {"certificate": certificate, "key": key, "hsts": "1d"}},
            {"auth": {"mode": "token", "keys": [str(self.home / "k.secret")]}},
            {"port": "tcp:4001:interface=127.0.0.1"},
            {"port": "haproxy:tcp:4001"},
            {"port": "unix:/run/x"},
            {"port": "systemd:domain=INET:index=0"},
            {"port": 0},
        ):
            self.assertEqual(self.found(content, "check-config"), {}, content)

    def test_certificates(self) -> None:
        certificate, key = write(self.home, *authority().issue())
        other = self.home / "other"
        other.mkdir()
        _, wrong_key = write(other, *Authority().issue())
        text = self.home / "text.pem"
        text.write_text("no certificate")
        damaged = self.home / "damaged.pem"
        damaged.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        locked = self.home / "locked.pem"
        locked.write_bytes(PASSPHRASE_KEY)
        for tls, said in (
            ({"certificate": "/nope.pem"}, "/nope.pem"),
            ({"certificate": str(self.home / "state")}, "no certificate"),
            ({"certificate": str(text)}, "no certificate"),
            ({"certificate": str(damaged), "key": key}, "damaged"),
            ({"certificate": certificate}, "no private key"),
            ({"certificate": certificate, "key": "/nope.pem"}, "/nope.pem"),
            ({"certificate": certificate, "key": wrong_key}, "is not the key"),
            ({"certificate": certificate, "key": str(locked)}, str(locked)),
        ):
            self.assertFound({"tls": tls}, "tls", "problem", said)
        self.assertFound({"port": "tls:/nope"}, "tls", "problem", "/nope")
        for days, level in ((-1, "problem"), (5, "warning")):
            certificate, key = write(self.home, *authority().issue(days=days))
            self.assertFound({"tls": {"certificate": certificate, "key": key}}, "tls.certificate", level)
        self.assertFound({"tls": {"hsts": "1d"}}, "tls.hsts", "warning")

    def test_keys_of_tokens(self) -> None:
        short = self.home / "short.secret"
        short.write_text("short")
        empty = self.home / "empty"
        empty.mkdir()
        for names, said in (
            ([], "needs a key"),
            (["/nope.secret"], "/nope.secret"),
            ([str(short)], "too short"),
            ([str(empty)], "no key"),
            ([str(self.file)], "kind of key"),
        ):
            self.assertFound({"auth": {"mode": "token", "keys": names}}, "auth.keys", "problem", said)
        self.assertFound({"auth": {"keys": [str(short)]}}, "auth.keys", "warning", "open")

    def test_secret_of_the_turn_servers(self) -> None:
        short, good = self.home / "short", self.home / "good"
        short.write_text("short")
        good.write_text("s" * 40)
        for path, said in (("/nope", "/nope"), (str(short), "has 5 bytes"), (str(self.home), "Is a directory")):
            calls = {"ice_servers": ["turn:t"], "turn_secret_file": path}
            self.assertFound({"calls": calls}, "calls.turn_secret_file", "problem", said)
        unused = {"ice_servers": ["stun:s"], "turn_secret_file": str(good)}
        self.assertFound({"calls": unused}, "calls.turn_secret_file", "warning", "no server")
        self.assertEqual(self.found({"calls": {**unused, "ice_servers": ["stun:s", "turn:t"]}}, "check-config"), {})

    def test_state_directory(self) -> None:
        plain = self.home / "plain"
        plain.write_text("")
        for path in (str(plain), str(plain / "below"), "/proc/none", "/proc/none/deeper"):
            self.assertFound({"state_dir": path}, "state_dir", "problem", path)
        self.assertFound({"state_dir": str(self.home / "a/b")}, "state_dir", "warning", "does not exist")
        self.assertFalse((self.home / "a").exists(), "it is only checked")
        self.assertEqual(sorted(os.listdir(self.home)), ["plain", "state", "tandemd.yaml"])

    def test_endpoints(self) -> None:
        for port in ("tpc:4001", "tcp:interface=127.0.0.1", "haproxy:tpc:4001", "http:4001"):
            self.assertFound({"port": port}, "port", "problem", port)

    def test_authorities_of_redis(self) -> None:
        servers = {"postgres": {"host": "127.0.0.1", "port": 1}}
        redis = {"host": "127.0.0.1", "port": 1}
        for extra, level in (({"tls": True, "tls_ca": "/nope.pem"}, "problem"), ({"tls_ca": "/nope.pem"}, "warning")):
            self.assertFound({**servers, "redis": {**redis, **extra}}, "redis.tls_ca", level)

    def test_servers_that_do_not_answer(self) -> None:
        """Only doctor looks at servers."""
        for content, subject in (
            ({"postgres": {"host": "127.0.0.1", "port": 1}}, "postgres"),
            ({"postgres": {"host": "/nope"}}, "postgres"),
            ({"postgres": {"host": "no-such-host.invalid"}}, "postgres"),
            ({"postgres": {"url": "postgresql://127.0.0.1:1/x?nonsense=1"}}, "postgres"),
            ({"postgres": {"host": "127.0.0.1", "port": 1}, "redis": {"host": "127.0.0.1", "port": 1}}, "Redis at"),
            ({"postgres": {"host": "127.0.0.1", "port": 1}, "redis": {"host": "/nope"}}, "Redis at"),
            ({"postgres": {"host": "127.0.0.1", "port": 1}, "redis": {"sentinels": ["127.0.0.1:1"]}}, "redis.sentinels"),
        ):  # fmt: skip
            found = self.found(content, "doctor")
            problems = [what for what, one in found.items() if one["level"] == "problem" and what.startswith(subject)]
            self.assertEqual(len(problems), 1, f"{content}: {found}")

    def test_database_that_is_none(self) -> None:
        (self.home / "state/tandemd.sqlite").write_bytes(b"this is no database, and longer than a header" * 100)
        self.assertFound({}, "archive.sqlite_file", "problem", "restore a backup")
        self.assertFound({"archive": {"sqlite_file": str(self.home)}}, "archive.sqlite_file", "problem", str(self.home))

    def test_addresses_of_other_machines(self) -> None:
        for host, said in (("203.0.113.1", "no address of this machine"), ("no-such-host.invalid", "no address")):
            self.assertFound({"host": host, "port": 1}, "host", "problem", said)

    def test_ports(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            taken.settimeout(60)
            port = taken.getsockname()[1]
            findings = list(check_port(load(None, {"HOST": "127.0.0.1", "PORT": str(port)}, {})))
            self.assertEqual([one.level for one in findings], ["problem"])
            self.assertIn("another program", findings[0].subject)
            # A listener that accepts nothing is there, and no node.
            taken.listen(0)
            self.patch_timeout()
            found = self.found({"host": "127.0.0.1", "port": port}, "doctor")
            self.assertTrue(any(what.startswith("port: another program") for what in found), found)

    def patch_timeout(self) -> None:
        from tandemd.ctl import client  # noqa: PLC0415

        self.patch(client, "TIMEOUT_SECONDS", 0.2)

    def test_doctor_says_where_values_are_from(self) -> None:
        result = self.ctl(
            {"rooms": {"grace": "1m"}}, "doctor", TANDEMD_WEB_SHORT_ID_WAIT="1s", POSTGRES_PASSWORD="hunter2"
        )
        self.assertIn(f"rooms.grace: 1m (from {self.file})", result.output)
        self.assertIn("web.short_id_wait: 1s (from TANDEMD_WEB_SHORT_ID_WAIT)", result.output)
        self.assertIn("postgres.password: (set) (from POSTGRES_PASSWORD)", result.output)
        self.assertNotIn("hunter2", result.output)
