"""TURN credentials and the file of their secret."""

from __future__ import annotations

import pathlib

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.auth.ice_servers import (
    IceServerProvider,
    IceServerSettings,
    TurnSecretError,
    read_turn_secret,
    turn_credential,
)
from tandemd.util.file_watcher import POLL_SECONDS

NORTH, SOUTH = "north" * 5, "south" * 5
NOW = 1_800_000_000.25


class SecretFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.file = pathlib.Path(self.mktemp())

    def test_the_first_line_signs(self) -> None:
        for content in (NORTH, f"{NORTH}\n", f"\n{NORTH}\r\n{SOUTH}\r\n\n", f"  {NORTH} \n"):
            self.file.write_text(content)
            self.assertEqual(read_turn_secret(str(self.file)), NORTH.encode())

    def test_faults_name_file_and_remedy(self) -> None:
        for content, said in (
            ("", "no secret"),
            ("\n \n", "no secret"),
            ("short\n", "line 1 has 5 bytes"),
            (f"{NORTH}\nshort\n", "line 2 has 5 bytes"),
            (f"{NORTH}\n{SOUTH}\n{NORTH}\n", "3 lines"),
        ):
            self.file.write_text(content)
            error = self.assertRaises(TurnSecretError, read_turn_secret, str(self.file))
            self.assertIn(str(self.file), str(error))
            self.assertIn(said, str(error))
            self.assertIn("; ", str(error))
            self.assertNotIn("\n", str(error))
            self.assertNotIn(NORTH, str(error))
        error = self.assertRaises(TurnSecretError, read_turn_secret, "/nope")
        self.assertIn("/nope: No such file", str(error))


class CredentialTests(SynchronousTestCase):
    def test_known_values(self) -> None:
        """Made by `printf 1800000000:ann | openssl dgst -sha1 -hmac north -binary | base64`."""
        self.assertEqual(
            turn_credential(b"north", "ann", 1_800_000_000), ("1800000000:ann", "Sqiimhz6m4x0uPJBfx56aqeAS4E=")
        )

    def test_usernames_are_short_ascii(self) -> None:
        for user in ("Ann Lee", "żółć", "a:b", "😀" * 64, "x" * 100, "%41"):
            username, _ = turn_credential(b"north", user, 1_800_000_000)
            self.assertTrue(username.isascii() and username.isprintable() and " " not in username, username)
            self.assertLessEqual(len(username), 508)
            self.assertEqual(username.count(":"), 1)


class ProviderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.file = pathlib.Path(self.mktemp())
        self.file.write_text(NORTH)
        self.clock = Clock()

    def provider(self, *servers: m.IceServer, secret: bool = True, relay_only: bool = False) -> IceServerProvider:
        path = str(self.file) if secret else ""
        made = IceServerProvider(
            IceServerSettings(ice_servers=servers, turn_secret_file=path, turn_ttl=600.0, relay_only=relay_only),
            self.clock,
            lambda: NOW,
        )
        made.startService()
        self.addCleanup(made.stopService)
        return made

    def test_only_turn_servers_without_account_get_a_credential(self) -> None:
        stun, own = m.IceServer(urls=["stun:a"]), m.IceServer(urls=["turn:b"], username="u", credential="c")
        shared = m.IceServer(urls=["stun:c", "turn:c?transport=tcp"])
        ice = self.provider(stun, own, shared).servers_for("ann")
        username, credential = turn_credential(NORTH.encode(), "ann", 1_800_000_600)
        self.assertEqual(
            ice.ice_servers, [stun, own, m.IceServer(urls=shared.urls, username=username, credential=credential)]
        )
        self.assertEqual(ice.ice_servers_ttl_ms, 600_000)

    def test_without_credentials_nothing_expires(self) -> None:
        own = m.IceServer(urls=["turn:b"], username="u", credential="c")
        ice = self.provider(own, secret=False, relay_only=True).servers_for("ann")
        self.assertEqual(ice, m.IceServers(ice_servers=[own], relay_only=True))

    def test_a_rotation(self) -> None:
        provider = self.provider(m.IceServer(urls=["turn:c"]))

        def signed_by(secret: str) -> bool:
            [server] = provider.servers_for("ann").ice_servers
            return server.credential == turn_credential(secret.encode(), "ann", 1_800_000_600)[1]

        for content, secret in ((f"{NORTH}\n{SOUTH}\n", NORTH), (f"{SOUTH}\n{NORTH}\n ", SOUTH), (SOUTH, SOUTH)):
            self.file.write_text(content)
            self.clock.pump([POLL_SECONDS] * 2)
            self.assertTrue(signed_by(secret), content)
        # An unusable file changes nothing.
        self.file.write_text("")
        self.clock.pump([POLL_SECONDS] * 2)
        self.assertTrue(signed_by(SOUTH))
        self.file.write_text(f"{NORTH}{NORTH}")
        provider.reload()
        self.assertTrue(signed_by(NORTH + NORTH))
