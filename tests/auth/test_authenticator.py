"""Signed tokens: accepted keys and tokens, permission to join, and the choice of the host."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, cast

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import RSAAlgorithm
from twisted.internet.task import Clock
from twisted.internet.utils import getProcessOutputAndValue
from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tandemd import messages as m
from tandemd.app.settings import authenticator_of
from tandemd.auth import KeyFileError, TokenAuthenticator, read_keys
from tandemd.auth.mint import main, mint
from tandemd.config import load
from tandemd.config.schema import Limits
from tandemd.errors import RequestError
from tandemd.rules.commands import Enter, Reattach
from tandemd.rules.permissions import may_control
from tandemd.util.services import StartupError

from ..support.fake_node import ServiceTestCase
from ..support.fake_node import World as LimitedWorld
from ..support.log_events import observe_log
from ..support.rules_fixture import World, told

SECRET = b"s" * 32
RSA = rsa.generate_private_key(65537, 2048)
ED = ed25519.Ed25519PrivateKey.generate()


def public(key: Any) -> bytes:
    return cast(bytes, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def private(key: Any) -> bytes:
    return cast(bytes, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def claims(**changes: Any) -> dict[str, Any]:
    """Return good claims with changes; None takes one away."""
    good = {"aud": "tandemd", "sub": "ann", "room": "room", "exp": int(time.time()) + 60}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


class FilesMixin:
    mktemp: Any

    def directory(self, **files: bytes) -> Path:
        """Return a new directory with files; `name_pem` is called "name.pem"."""
        directory = Path(self.mktemp())
        directory.mkdir()
        for name, data in files.items():
            (directory / ".".join(name.rsplit("_", 1))).write_bytes(data)
        return directory


class KeyTests(FilesMixin, SynchronousTestCase):
    def fault(self, **files: bytes) -> str:
        directory = self.directory(**files)
        error = self.assertRaises(KeyFileError, read_keys, [str(directory)])
        self.assertNotIn("\n", str(error))
        self.assertIn(str(directory), str(error))
        return str(error)

    def test_each_kind(self) -> None:
        jwks = {
            "keys": [
                {"kty": "oct", "kid": "o", "k": base64.urlsafe_b64encode(SECRET).decode()},
                {**json.loads(RSAAlgorithm.to_jwk(RSA.public_key())), "kid": "r", "use": "sig"},
            ]
        }
        directory = self.directory(
            a_secret=SECRET + b"\n", b_pem=public(RSA), c_pem=public(ED), d_json=json.dumps(jwks).encode(),
            README_md=b"", _pem=b"",
        )  # fmt: skip
        keys = read_keys([str(directory)])
        self.assertEqual(
            {kid: key.algorithm for kid, key in keys.items()},
            {"a": "HS256", "b": "RS256", "c": "EdDSA", "o": "HS256", "r": "RS256"},
        )
        self.assertEqual(keys["a"].material, SECRET)
        self.assertNotIn("ssss", repr(keys["a"]))
        self.assertEqual(list(read_keys([str(directory / "c.pem")])), ["c"])

    def test_what_cannot_be_used(self) -> None:
        weak = rsa.generate_private_key(65537, 1024)
        private_jwk = json.dumps({"keys": [json.loads(RSAAlgorithm.to_jwk(RSA))]}).encode()
        for part, files in (
            ("no key", {}),
            ("31 bytes are too short", {"a_secret": b"s" * 31}),
            ("a PEM file, not a secret", {"a_secret": public(RSA)}),
            ("private key", {"a_pem": private(ED)}),
            ("BEGIN PUBLIC KEY", {"a_pem": SECRET}),
            ("1024 bits", {"a_pem": public(weak)}),
            ("another kind", {"a_pem": public(ec.generate_private_key(ec.SECP256R1()))}),
            ("not a JWK Set", {"a_json": b"{"}),
            ("not a JWK Set", {"a_json": b'{"keys": [5]}'}),
            ("unsupported algorithm", {"a_json": b'{"keys": [{"kty": "EC"}]}'}),
            ("unsupported algorithm", {"a_json": b'{"keys": [{"kty": "oct", "alg": "none", "k": "AAAA"}]}'}),
            ("cannot be understood", {"a_json": b'{"keys": [{"kty": "RSA"}]}'}),
            ("too short for a secret", {"a_json": b'{"keys": [{"kty": "oct", "k": "AAAA"}]}'}),
            ("private one", {"a_json": private_jwk}),
            ("two keys", {"a_secret": SECRET, "a_pem": public(ED)}),
        ):
            self.assertIn(part, self.fault(**files))

    def test_files_that_are_named(self) -> None:
        directory = self.directory(key_txt=SECRET)
        self.assertIn("name the file", str(self.assertRaises(KeyFileError, read_keys, [str(directory / "key.txt")])))
        self.assertIn("x.pem", str(self.assertRaises(KeyFileError, read_keys, [str(directory / "x.pem")])))


class DoorkeeperTests(FilesMixin, SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.files = self.directory(s_secret=SECRET, r_pem=public(RSA), e_pem=public(ED))
        self.keeper = TokenAuthenticator([str(self.files)], "tandemd", 30, self.clock)

    def vouch(self, token: str | None, user: str = "ann", room: str = "room") -> Any:
        return self.keeper.authenticate(m.Join(room_id=room, user_id=user, auth=token))

    def refused(self, token: str | None, **join: str) -> str:
        error = self.assertRaises(RequestError, self.vouch, token, **join)
        self.assertEqual(error.code, "unauthorized")
        for secret in (SECRET.decode(), "Traceback", str(self.files)):
            self.assertNotIn(secret, error.text)
        return cast(str, error.text)

    def signed(self, kid: str | None = "s", **changes: Any) -> str:
        return jwt.encode(claims(**changes), SECRET, "HS256", {"kid": kid} if kid else {})

    def test_each_algorithm(self) -> None:
        for algorithm, kid, key in (("HS256", "s", SECRET), ("RS256", "r", RSA), ("EdDSA", "e", ED)):
            said = self.vouch(jwt.encode(claims(role="host", name="Ann"), cast(Any, key), algorithm, {"kid": kid}))
            self.assertEqual((said.role, said.name), ("host", "Ann"))

    def test_who_says_nothing_is_a_guest_under_a_name_of_its_own(self) -> None:
        said = self.vouch(self.signed())
        self.assertEqual((said.role, said.name), ("guest", ""))

    def test_without_one(self) -> None:
        for token in (None, ""):
            self.assertIn("requires a token", self.refused(token))

    def test_wrong_claims(self) -> None:
        now = int(time.time())
        for part, changes in (
            ("expired", {"exp": now - 31}),
            ("lacks the claim `exp`", {"exp": None}),
            ("not valid yet", {"nbf": now + 60}),
            ("audience", {"aud": "other"}),
            ("lacks the claim `aud`", {"aud": None}),
            ("lacks the claim `sub`", {"sub": None}),
            ("another `userId`", {"sub": "bob"}),
            ("another room", {"room": "elsewhere"}),
            ("`room`", {"room": None}),
            ("wrong claim", {"room": 5}),
            ("wrong claim", {"name": 5}),
            ("wrong claim", {"role": "admin"}),
        ):
            self.assertIn(part, self.refused(self.signed(**cast(dict[str, Any], changes))), changes)
        self.vouch(self.signed(exp=now - 25))
        self.vouch(self.signed(nbf=now + 25, aud=["x", "tandemd"]))

    def test_what_is_in_a_token_is_not_told_to_who_did_not_sign_it(self) -> None:
        forged = jwt.encode(claims(exp=1, room="elsewhere"), b"x" * 32, "HS256", {"kid": "s"})
        self.assertIn("wrong signature", self.refused(forged))

    def test_algorithms_are_not_confused(self) -> None:
        """A public key is no secret: it must not become one because a token says HS256."""

        def part(value: Any) -> str:
            return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

        for kid, key in (("r", RSA), ("e", ED)):
            for secret in (public(key), public(key).rstrip(b"\n")):
                body = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': kid})}.{part(claims())}"
                mac = hmac.new(secret, body.encode(), hashlib.sha256).digest()
                token = f"{body}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
                self.assertIn("algorithm", self.refused(token))
        self.assertIn("algorithm", self.refused(jwt.encode(claims(), RSA, "RS256", {"kid": "s"})))
        self.assertIn("algorithm", self.refused(jwt.encode(claims(), RSA, "RS512", {"kid": "r"})))
        self.assertIn("algorithm", self.refused(jwt.encode(claims(), SECRET, "HS512", {"kid": "s"})))
        for none in ("none", "None", "NONE", ""):
            for kid in ("s", "r"):
                self.refused(f"{part({'alg': none, 'kid': kid})}.{part(claims())}.")

    def test_which_key(self) -> None:
        for kid in (None, "x", "", "../s"):
            self.assertIn("kid", self.refused(self.signed(kid)))
        self.keeper = TokenAuthenticator([str(self.files / "s.secret")], "tandemd", 30, self.clock)
        self.vouch(self.signed(None))
        self.refused(self.signed("x"))

    def test_nonsense(self) -> None:
        good = self.signed()
        head, body, mac = good.split(".")
        for token in (
            "x", "..", "a.b.c", good[:-2], f"{head}.{body}", f"{head}.{body}.", f"{head}..{mac}", good + ".x", "\ud800",
            "[]." * 3, f"{base64.urlsafe_b64encode(b'[' * 5000).decode()}.{body}.{mac}",
            f"{base64.urlsafe_b64encode(b'5').decode()}.{body}.{mac}", "A" * 8192,
        ):  # fmt: skip
            self.refused(token)
        for header in ({"crit": ["x"], "x": 1}, {"b64": False}, {"jwk": {"kty": "oct"}, "kid": "x"}):
            self.refused(jwt.encode(claims(), SECRET, "HS256", {"kid": "s", **header}))

    def test_keys_are_read_again_when_they_change(self) -> None:
        self.keeper.startService()
        self.addCleanup(self.keeper.stopService)
        new = b"n" * 32
        token = jwt.encode(claims(), new, "HS256", {"kid": "new"})
        self.refused(token)
        (self.files / "new.secret").write_bytes(new)
        self.clock.advance(10)
        self.refused(token)
        self.clock.advance(10)
        self.vouch(token)
        self.vouch(self.signed())
        (self.files / "s.secret").unlink()
        self.clock.pump([10, 10])
        self.refused(self.signed())

    def test_keys_that_cannot_be_used_leave_the_old_ones(self) -> None:
        (self.files / "s.secret").write_bytes(b"short")
        self.keeper.reload()
        self.vouch(self.signed())

    def test_keys_that_cannot_be_used_are_said_once(self) -> None:
        texts: list[str] = []

        def observe(event: Any) -> None:
            texts.append(formatEvent(event))

        observe_log(self, observe)
        self.keeper.startService()
        self.addCleanup(self.keeper.stopService)
        (self.files / "s.secret").write_bytes(b"short")
        self.clock.pump([10] * 5)
        (text,) = texts
        self.assertRegex(text, "^failed to read the keys of auth.keys again: .*s.secret: 5 bytes are too short")
        (self.files / "s.secret").unlink()
        self.clock.pump([10] * 5)
        self.assertEqual(texts[1:], ["read the keys of auth.keys again: e, r"])

    def test_the_configuration(self) -> None:
        def keeper(**environ: str) -> TokenAuthenticator | None:
            return authenticator_of(load(None, environ, {}), self.clock)

        self.assertIsNone(keeper())
        self.assertIsNotNone(keeper(TANDEMD_AUTH_MODE="token", TANDEMD_AUTH_KEYS=str(self.files)))
        for part, keys in (("auth.keys: auth.mode is token", ""), ("auth.keys: /nowhere/x.pem", "/nowhere/x.pem")):
            error = self.assertRaises(StartupError, keeper, TANDEMD_AUTH_MODE="token", TANDEMD_AUTH_KEYS=keys)
            self.assertIn(part, str(error))


class MintTests(FilesMixin, TestCase):
    def test_each_kind_of_key(self) -> None:
        made = self.directory(s_secret=SECRET + b"\n", r_pem=private(RSA), e_pem=private(ED))
        known = self.directory(s_secret=SECRET, r_pem=public(RSA), e_pem=public(ED))
        keeper = TokenAuthenticator([str(known)], "tandemd", 0, Clock())
        for name in ("s.secret", "r.pem", "e.pem"):
            token = mint(str(made / name), "", claims())
            keeper.authenticate(m.Join(room_id="room", user_id="ann", auth=token))

    def test_the_command(self) -> None:
        key = self.directory(s_secret=SECRET) / "s.secret"
        out, err = io.StringIO(), io.StringIO()
        options = ["--room", "room", "--user", "ann", "--name", "Ann", "--role", "host", "--expires", "60"]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            self.assertEqual(main(["mint", "--key", str(key), *options], time.time()), 0)
            self.assertEqual(main(["mint", "--key", "/nowhere", *options], time.time()), 1)
        keeper = TokenAuthenticator([str(key)], "tandemd", 0, Clock())
        said = keeper.authenticate(m.Join(room_id="room", user_id="ann", auth=out.getvalue().strip()))
        self.assertEqual((said.role, said.name), ("host", "Ann"))
        self.assertIn("/nowhere", err.getvalue())

    async def test_as_a_program(self) -> None:
        key = self.directory(s_secret=SECRET) / "s.secret"
        out, _, code = await getProcessOutputAndValue(
            sys.executable, ["-m", "tandemd.auth", "mint", "--key", str(key), "--room", "r", "--user", "u"], os.environ
        )
        self.assertEqual((code, out.count(b".")), (0, 2))


class RoleTests(SynchronousTestCase):
    """The choice of the host among members with tokens."""

    def setUp(self) -> None:
        self.world = World()

    def join(self, user: str, role: str, **enter: Any) -> list[str]:
        return told(self.world.join(user, role=role, **enter))

    def may(self, user: str) -> bool:
        return may_control(self.world.room, user, self.world.now, 10.0)

    def test_a_guest_who_is_first_waits_for_a_host(self) -> None:
        self.assertEqual(self.join("gus", "guest"), ["USER_JOINED"])
        self.assertEqual((self.world.host, self.may("gus")), ("", False))
        self.assertEqual(self.world.refused("gus", m.PlayPause(control="play")), "forbidden")
        self.assertEqual(self.world.refused("gus", m.LockRoom(locked=True)), "forbidden")
        self.world.lose("gus")
        self.join("gus", "guest")
        self.world.lose("gus")
        self.world.do("gus", Reattach(), conn=self.world.conns["gus"])
        self.assertEqual(self.world.host, "")
        self.assertEqual(self.join("hal", "host"), ["USER_JOINED", "HOST_CHANGED"])
        self.assertEqual(self.world.host, "hal")

    def test_a_second_host_waits_its_turn(self) -> None:
        for user, role in (("hal", "host"), ("gus", "guest"), ("hea", "host")):
            self.join(user, role)
        self.assertEqual(self.world.host, "hal")
        self.world.leave("hal")
        self.assertEqual(self.world.host, "hea")
        self.world.leave("hea")
        self.assertEqual(self.world.host, "gus")

    def test_a_host_who_comes_takes_over_from_an_elected_guest(self) -> None:
        self.join("hal", "host")
        self.join("gus", "guest")
        self.world.leave("hal")
        self.assertEqual(self.world.host, "gus")
        self.join("hea", "host")
        self.assertEqual(self.world.host, "hea")

    def test_what_was_handed_over_stays_when_the_host_comes_back(self) -> None:
        self.join("hal", "host")
        self.join("gus", "guest")
        self.world.do("hal", m.TransferHost(target_user_id="gus"))
        self.world.lose("hal")
        self.join("hal", "host")
        self.assertEqual(self.world.host, "gus")

    def test_a_token_proves_who_one_is(self) -> None:
        self.join("ann", "host", address="1", token="")
        self.join("ann", "host", address="2")
        self.assertEqual(self.world.member("ann").address, "2")

    def test_the_same_address_and_name_prove_nothing(self) -> None:
        self.join("ann", "host", address="1", username="Ann")
        self.world.lose("ann")
        self.join("eve", "guest", address="1", username="Ann")
        self.assertEqual((self.world.host, list(self.world.room.members)), ("ann", ["ann", "eve"]))

    def test_a_name_that_comes_with_the_token_stays(self) -> None:
        self.join("ann", "host", named=True)
        self.assertEqual(self.world.refused("ann", m.UpdateUsername(username="Bob")), "forbidden")
        self.join("ann", "host")
        self.world.do("ann", m.UpdateUsername(username="Bob"))
        self.assertEqual(self.world.member("ann").username, "Bob")

    def test_pins_bans_and_locks_hold_all_the_same(self) -> None:
        self.join("hal", "host", address="1")
        self.world.do("hal", m.LockRoom(locked=True))
        self.world.do("hal", m.Ban(target_user_id="eve"))
        self.assertEqual(self.world.refused("eve", Enter("E", "", role="host"), conn="n/boot/9"), "banned")
        self.assertEqual(self.world.refused("gus", Enter("G", "", role="host"), conn="n/boot/9"), "locked")


class JoinTest(FilesMixin, ServiceTestCase):
    """The whole way, from JOIN to ROOM_STATE."""

    def setUp(self) -> None:
        self.keys = self.directory(s_secret=SECRET)
        self.watch = Clock()
        keeper = TokenAuthenticator([str(self.keys)], "tandemd", 0, self.watch)
        keeper.startService()
        self.addCleanup(keeper.stopService)
        self.options = {"vouch": keeper.authenticate}
        super().setUp()

    def token(self, user: str, **changes: Any) -> str:
        return jwt.encode(claims(sub=user, **changes), SECRET, "HS256", {"kid": "s"})

    def test_no_member_without_a_token(self) -> None:
        ann = self.world.join("ann", role="host")
        error = self.refused(ann.told(), "unauthorized")
        self.assertNotIn("retryAfterMs", error)
        self.assertIsNone(self.world.room())
        self.world.advance(60)
        self.assertEqual(ann.told(), [])
        # Later messages are not held up, and it may try again.
        self.refused(ann.send("CHAT", text="x"), "not_joined")
        told = ann.send("JOIN", userId="ann", roomId="room", auth=self.token("ann", role="host"), id=5)
        self.assertEqual([m["type"] for m in told], ["ROOM_STATE", "ACK"])

    def test_role_and_name_are_those_of_the_token(self) -> None:
        gus = self.world.join("gus", auth=self.token("gus", name="Gus the guest"), username="Host")
        state = self.the(gus.told(), "ROOM_STATE")
        self.assertHas(state, hostUserId=None, users=[{"userId": "gus", "username": "Gus the guest"}])
        self.refused(gus.send("UPDATE_USERNAME", username="Host"), "forbidden")
        self.world.join("ann", auth=self.token("ann", role="host"))
        self.assertHas(self.the(gus.told(), "HOST_CHANGED"), hostUserId="ann")

    def test_half_an_emoji_in_a_token(self) -> None:
        """Python's JSON passes on a lone surrogate, which no message can carry."""
        gus = self.world.join("gus", auth=self.token("gus", name="Gus \ud83d"))
        self.assertHas(self.the(gus.told(), "ROOM_STATE"), users=[{"userId": "gus", "username": "Gus"}])
        told = self.world.join("ann", auth=self.token("ann", role="\ud83d"), id=5).told()
        self.assertEqual(self.refused(told, "unauthorized")["id"], 5)

    def test_token_of_another_user(self) -> None:
        self.refused(self.world.join("eve", auth=self.token("ann")).told(), "unauthorized")
        self.refused(self.world.join("ann", "other", auth=self.token("ann")).told(), "unauthorized")

    def test_a_refused_join_changes_nothing(self) -> None:
        ann = self.world.join("ann", auth=self.token("ann"))
        ann.told()
        self.refused(ann.send("JOIN", userId="ann", roomId="other"), "unauthorized")
        self.assertEqual(ann.send("CHAT", text="x")[0]["type"], "CHAT")

    def test_who_is_in_stays_in_but_the_next_join_needs_a_valid_one(self) -> None:
        ann = self.world.join("ann", auth=self.token("ann", role="host"), keepsToken=True)
        state = self.the(ann.told(), "ROOM_STATE")
        resume = {"epoch": state["epoch"], "seq": state["seq"]}
        ann.cut()
        old = self.token("ann", exp=int(time.time()) - 1)
        for auth in (old, None):
            back = self.world.join("ann", auth=auth, token=state["token"], resume=resume)
            self.refused(back.told(), "unauthorized")
        back = self.world.join("ann", auth=self.token("ann"), token=state["token"], resume=resume)
        self.assertHas(self.the(back.told(), "ROOM_STATE"), resumed=True, hostUserId="ann")

    def withdraw(self) -> None:
        """Replace the key that has signed all tokens so far."""
        (self.keys / "s.secret").write_bytes(b"another" * 8)
        self.watch.pump([10, 10])

    def test_a_token_is_looked_at_again_when_its_join_has_waited(self) -> None:
        """L6: a JOIN that waited at a locked room was accepted after its token's key was withdrawn, or its time over."""
        ann = self.world.join("ann", auth=self.token("ann", role="host"))
        self.world.join("cid", auth=self.token("cid"))
        ann.send("LOCK_ROOM", locked=True)
        bob = self.world.join("bob", auth=self.token("bob"), id=1)
        self.refused(bob.told(), "locked")
        self.withdraw()
        ann.send("LOCK_ROOM", locked=False)
        self.assertHas(self.refused(bob.told(), "unauthorized"), id=1)
        ann.send("LOCK_ROOM", locked=True)
        ann.send("LOCK_ROOM", locked=False)
        self.assertEqual(bob.told(), [], "it does not wait any more")

    def test_also_when_it_was_put_off(self) -> None:
        world = LimitedWorld(self.reactor, **self.options, limits=Limits(joins=1))
        self.addCleanup(world.close)
        world.join("ann", peer="10.0.0.1", auth=self.token("ann", role="host"))
        bob = world.join("bob", peer="10.0.0.1", auth=self.token("bob"))
        self.refused(bob.told(), "rate_limited")
        self.withdraw()
        world.advance(70)
        self.refused(bob.told(), "unauthorized")
