"""TLS without a proxy."""

from __future__ import annotations

import contextlib
import pathlib
import signal
import socket
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from autobahn.twisted.websocket import WebSocketClientFactory
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, readBody

from tandemd.app.tls import Certificates
from tandemd.config import ConfigError, load
from tandemd.config.endpoints import tls_endpoint
from tandemd.util.file_watcher import POLL_SECONDS
from tandemd.util.services import StartupError

from ..support.certificate_authority import Authority, authority, write
from ..support.daemon_process import Client, Daemon, DaemonTestCase
from ..support.log_events import observe_log
from ..support.patience import PATIENCE_SECONDS
from ..web.test_router import head, upgrade

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class CertificatesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = pathlib.Path(self.mktemp())
        self.home.mkdir()
        self.clock = Clock()
        self.clock.advance(NOW.timestamp())
        self.events: list[dict[str, Any]] = []
        observe_log(self, self.events.append)

    def issue(self, days: float = 90) -> tuple[bytes, bytes]:
        return authority().issue(end=NOW + timedelta(days=days))

    def put(self, days: float = 90) -> tuple[str, str]:
        return write(self.home, *self.issue(days))

    def running(self, *paths: str) -> Certificates:
        service = Certificates(paths, self.clock, self.clock.seconds)
        service.startService()
        self.addCleanup(service.stopService)
        return service

    def days(self, service: Certificates) -> float:
        return (service.expires - NOW.timestamp()) / 86400

    def logged(self, level: str) -> list[str]:
        return [str(event["reason"]) for event in self.events
                if event["log_level"].name == level]  # fmt: skip

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.clock.advance(POLL_SECONDS)

    def test_a_change_is_seen_when_it_is_complete(self) -> None:
        service = self.running(*self.put(90))
        certificate, key = self.issue(180)
        (self.home / "cert.pem").write_bytes(certificate)
        self.look()
        self.assertEqual((self.days(service), self.logged("error")), (90, []))
        (self.home / "key.pem").write_bytes(key)
        self.look()
        self.assertEqual((self.days(service), self.logged("error")), (90, []))
        self.look()
        self.assertEqual((self.days(service), self.logged("error")), (180, []))

    def test_what_cannot_be_used_is_said_once_and_changes_nothing(self) -> None:
        service = self.running(*self.put(90))
        (self.home / "cert.pem").write_bytes(b"")
        self.look(5)
        self.assertEqual(self.days(service), 90)
        (said,) = self.logged("error")
        self.assertIn("tls.certificate: no certificate in", said)
        self.put(180)
        self.look(2)
        self.assertEqual(self.days(service), 180)

    def test_files_that_are_gone_for_a_moment(self) -> None:
        service = self.running(*self.put(90))
        (self.home / "cert.pem").rename(self.home / "away")
        self.look(2)
        self.assertEqual(self.days(service), 90)
        (self.home / "away").rename(self.home / "cert.pem")
        self.look(2)
        self.assertEqual((self.days(service), len(self.logged("error"))), (90, 1))

    def test_reload_does_not_wait(self) -> None:
        service = self.running(*self.put(90))
        self.put(180)
        service.reload()
        self.assertEqual(self.days(service), 180)
        self.events.clear()
        self.look(3)  # and it is not read a second time
        self.assertEqual(self.events, [])

    def test_the_end_is_near(self) -> None:
        service = self.running(*self.put(20))
        self.assertEqual(service.warnings(), [])
        self.clock.advance(7 * 86400)
        self.look(3)
        self.assertEqual(self.logged("warn"), service.warnings())
        self.assertEqual(service.warnings(), ["the TLS certificate for localhost expires on 2030-01-21; renew it"])
        self.clock.advance(14 * 86400)
        self.look(3)
        self.assertEqual(service.warnings(), ["the TLS certificate for localhost has expired on 2030-01-21; renew it"])
        self.assertEqual(len(self.logged("warn")), 2)

    def test_one_file_for_both(self) -> None:
        path = self.home / "both.pem"
        path.write_bytes(b"".join(self.issue(30)))
        self.assertEqual(self.days(self.running(str(path), str(path))), 30)

    def test_a_directory_as_certbot_writes_it(self) -> None:
        certificate, key = self.issue(30)
        for name, data in (
            ("cert.pem", certificate),
            ("chain.pem", authority().pem),
            ("fullchain.pem", certificate + authority().pem),
            ("privkey.pem", key),
            ("README", b"no PEM file"),
        ):
            (self.home / name).write_bytes(data)
        self.assertEqual(self.days(self.running(str(self.home))), 30)

    def refused(self, *paths: str) -> str:
        return str(self.assertRaises(StartupError, Certificates, paths, self.clock, self.clock.seconds))

    def test_what_is_wrong_is_said(self) -> None:
        certificate, key = self.put()
        other = self.home / "other"
        other.mkdir()
        _, foreign = write(other, *self.issue())
        none = str(self.home / "none.pem")
        self.assertIn(f"tls: {none} cannot be read: No such file", self.refused(none, key))
        self.assertIn(f"tls: {none} cannot be read: No such file", self.refused(certificate, none))
        self.assertRegex(self.refused(key, key), "^tls.certificate: no certificate in .*key.pem; it must be")
        self.assertRegex(self.refused(certificate, certificate), "^tls.key: no private key in .*cert.pem; it must be")
        self.assertRegex(
            self.refused(certificate, foreign),
            "^tls.key: .*other/key.pem is not the key of .*/cert.pem; name the certificate",
        )
        two = self.home / "two.pem"
        two.write_bytes(pathlib.Path(key).read_bytes() + pathlib.Path(foreign).read_bytes())
        self.assertIn("tls.key: 2 private keys in", self.refused(certificate, str(two)))

    def test_damaged(self) -> None:
        certificate, key = self.put()
        for path, name in ((certificate, "tls.certificate"), (key, "tls.key")):
            lines = pathlib.Path(path).read_bytes().splitlines(keepends=True)
            damaged = self.home / "damaged"
            damaged.write_bytes(b"".join([lines[0], b"AAAA\n", *lines[2:]]))
            paths = (str(damaged), key) if path == certificate else (certificate, str(damaged))
            text = self.refused(*paths)
            self.assertRegex(text, f"^{name}: {damaged} is damaged")
            self.assertNotIn("\n", text)

    def test_a_passphrase(self) -> None:
        certificate, key = self.put()
        secret = load_pem_private_key(pathlib.Path(key).read_bytes(), None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"geheim")
        )
        pathlib.Path(key).write_bytes(secret)
        self.assertRegex(self.refused(certificate, key), "^tls.key: .* has a passphrase; remove it, with `openssl pkey")


class PlacesTests(SynchronousTestCase):
    def places(self, port: str, **environ: str) -> tuple[str, tuple[str, ...]]:
        return tls_endpoint(load(None, environ, {"port": port}))

    def test_none(self) -> None:
        self.assertEqual(self.places("tcp:80"), ("tcp:80", ()))

    def test_keys(self) -> None:
        both = {"TANDEMD_TLS_CERTIFICATE": "/c", "TANDEMD_TLS_KEY": "/k"}
        self.assertEqual(self.places("443", **both), ("tcp:443:interface=0.0.0.0:backlog=4096", ("/c", "/k")))
        self.assertEqual(self.places("systemd:domain=INET:index=0", TANDEMD_TLS_CERTIFICATE="/c")[1], ("/c", "/c"))

    def test_endpoint(self) -> None:
        for port, endpoint in (
            ("tls:/etc/x", "tcp6:443:backlog=4096"),
            ("tls:/etc/x:8443", "tcp6:8443:backlog=4096"),
            ("tls:path=/etc/x:port=8443:backlog=9", "tcp6:port=8443:backlog=9"),
            ("tls:/etc/x:interface=127.0.0.1", "tcp6:port=443:interface=127.0.0.1:backlog=4096"),
        ):
            self.assertEqual(self.places(port), (endpoint, ("/etc/x",)))
        self.assertEqual(self.places("tls:/a\\:b:1")[1], ("/a:b",))

    def test_refused(self) -> None:
        with self.assertRaisesRegex(
            ConfigError, "^TANDEMD_TLS_KEY: a key needs a certificate; set tls.certificate, too"
        ):
            self.places("443", TANDEMD_TLS_KEY="/k")
        with self.assertRaisesRegex(ConfigError, "^TANDEMD_TLS_CERTIFICATE: `port` names a certificate too"):
            self.places("tls:/etc/x", TANDEMD_TLS_CERTIFICATE="/c")


class DaemonTests(DaemonTestCase):
    """A daemon with a certificate that a test authority has signed, and real clients that trust only that."""

    def setUp(self) -> None:
        super().setUp()
        self.trust = trustRootFromCertificates([Certificate.loadPEM(authority().pem)])
        self.files = self.home / "tls"
        self.files.mkdir()
        self.certificate, self.key = write(self.files, *authority().issue())

    async def secure(self, *arguments: str, **environ: str) -> Daemon:
        return await self.running(
            *arguments, TANDEMD_TLS_CERTIFICATE=self.certificate, TANDEMD_TLS_KEY=self.key, **environ
        )

    async def wss(self, daemon: Daemon) -> Client:
        factory: Any = WebSocketClientFactory(f"wss://localhost:{daemon.port}/ws", reactor=reactor)
        factory.protocol = Client
        factory.setProtocolOptions(openHandshakeTimeout=PATIENCE_SECONDS)
        options = optionsForClientTLS("localhost", trustRoot=self.trust)
        endpoint = wrapClientTLS(options, HostnameEndpoint(reactor, "127.0.0.1", daemon.port))
        client = cast(Client, await endpoint.connect(factory))
        self._clients.append(client)
        await client.opened
        return client

    async def shown(self, daemon: Daemon) -> bytes:
        """Return the certificate that a new client is shown."""
        pem = await deferToThread(ssl.get_server_certificate, ("127.0.0.1", daemon.port), timeout=PATIENCE_SECONDS)
        return bytes(pem.strip(), "ascii")

    async def test_https_and_wss_on_one_port(self) -> None:
        daemon = await self.secure(TANDEMD_TLS_HSTS="365d")
        ready = f"ready: clients connect to wss://localhost:{daemon.port}/ws"
        self.assertTrue(any(ready in line["message"] for line in daemon.log), daemon.log)
        agent = Agent(reactor, BrowserLikePolicyForHTTPS(self.trust))
        response = await agent.request(b"GET", b"https://localhost:%d/" % daemon.port)
        self.assertIn(b"<title>", await readBody(response))
        self.assertEqual(response.headers.getRawHeaders(b"Strict-Transport-Security"), [b"max-age=31536000"])
        ann, bob = await self.wss(daemon), await self.wss(daemon)
        await ann.join("movie", "ann")
        await bob.join("movie", "bob")
        ann.say("PLAY_PAUSE", control="play", currentTime=12.0)
        self.assertEqual((await bob.hear("PLAY_PAUSE"))["userId"], "ann")
        for number in range(30):  # several records each, and many at once
            ann.say("CHAT", text=f"{number} " + "x" * 1900)
        for number in range(30):
            self.assertEqual((await bob.hear("CHAT"))["text"].partition(" ")[0], str(number))
        await agent._pool.closeCachedConnections()

    async def test_who_does_not_know_the_authority_stays_away(self) -> None:
        daemon = await self.secure()
        self.trust = trustRootFromCertificates([Certificate.loadPEM(Authority("Another").pem)])
        await self.assertFailure(ensureDeferred(self.wss(daemon)), AssertionError)

    async def test_malformed_records_are_no_line_of_the_log(self, **environ: str) -> None:
        """Any client can send them, as often as it may connect."""

        def send_garbage(port: int, data: bytes) -> None:
            context = ssl.create_default_context(cadata=authority().pem.decode())
            with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as plain:
                below = plain.dup()
                with context.wrap_socket(plain, server_hostname="localhost") as secure, below:
                    secure.sendall(data)
                    if data:
                        secure.recv(12)
                    below.sendall(b"no record of TLS" * 20)
                    below.settimeout(PATIENCE_SECONDS)
                    with contextlib.suppress(ConnectionError):
                        while below.recv(65536):
                            pass

        daemon = await self.secure(LOG_LEVEL="debug", **environ)
        for data in (upgrade("/ws"), head("/health"), b"GET", b""):
            await deferToThread(send_garbage, daemon.port, data)
        ann = await self.wss(daemon)
        await ann.join("movie", "ann")
        self.assertEqual([line for line in daemon.log if line["level"] in ("warn", "error", "critical")], [])

    async def test_malformed_records_where_autobahn_does_it_all(self) -> None:
        await self.test_malformed_records_are_no_line_of_the_log(TANDEMD_FAST_PATH="false")

    async def test_a_new_certificate_without_a_restart(self) -> None:
        daemon = await self.secure()
        ann = await self.wss(daemon)
        await ann.join("movie", "ann")
        self.assertEqual(await self.shown(daemon), pathlib.Path(self.certificate).read_bytes().strip())
        certificate, key = authority().issue(days=180)
        write(self.files, certificate, key)
        daemon.kill(signal.SIGHUP)
        await daemon.lines.next(lambda line: "read the TLS certificate again" in line)
        self.assertEqual(await self.shown(daemon), certificate.strip())
        bob = await self.wss(daemon)
        await bob.join("movie", "bob")
        # Earlier members are still connected, on the old connection.
        await ann.hear("USER_JOINED", userId="bob")
        self.assertFalse(ann.closed.called)

    async def test_the_directory_endpoint(self) -> None:
        daemon = await self.running(f"--port=tls:{self.files}:port=0:interface=127.0.0.1")
        ann = await self.wss(daemon)
        await ann.join("movie", "ann")

    async def test_old_versions_and_ciphers(self) -> None:
        daemon = await self.secure()

        def handshake(version: ssl.TLSVersion, ciphers: str) -> str:
            context = ssl.create_default_context(cadata=authority().pem.decode())
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            context.maximum_version = version
            context.set_ciphers(ciphers)
            with socket.create_connection(("127.0.0.1", daemon.port), PATIENCE_SECONDS) as plain:
                with context.wrap_socket(plain, server_hostname="localhost") as secure:
                    cipher = secure.cipher()
                    assert cipher is not None
                    return cipher[0]

        weak = "ALL:@SECLEVEL=0"
        self.assertRegex(await deferToThread(handshake, ssl.TLSVersion.TLSv1_2, weak), "^ECDHE-.*(GCM|CHACHA20)")
        self.assertRegex(await deferToThread(handshake, ssl.TLSVersion.TLSv1_3, weak), "^TLS_")
        for version, ciphers in (
            (ssl.TLSVersion.TLSv1_1, weak),
            (ssl.TLSVersion.TLSv1_2, "AES128-SHA"),
            (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA"),
        ):
            await self.assertFailure(deferToThread(handshake, version, ciphers), ssl.SSLError)

    async def test_what_is_wrong_is_one_line(self) -> None:
        (self.files / "key.pem").unlink()
        daemon = await self.refused(TANDEMD_TLS_CERTIFICATE=self.certificate, TANDEMD_TLS_KEY=self.key)
        self.assertEqual(daemon.status, 1)
        self.assertRegex(daemon.errors.decode(), rf"^tandemd: tls: {self.key} cannot be read: No such file [^\n]*\n$")
        self.assertFalse(self.state.exists())

    async def test_an_expired_one_is_warned_about(self) -> None:
        write(self.files, *authority().issue(days=-1))
        daemon = await self.secure()
        warning = await daemon.logs(lambda line: line["level"] == "warn")
        self.assertRegex(warning["message"], "the TLS certificate for localhost has expired")
