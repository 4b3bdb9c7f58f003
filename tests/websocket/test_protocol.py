"""Input of a connection, right or wrong: through HTTP, Autobahn and our own code."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tandemd.rules.lead import DELAY_STEP_MS
from tandemd.websocket.fast_path import FRAMES_AFTER_CLOSE
from tests.support.settings import protocol_settings

from ..support.fake_node import EPOCH, Client, ServiceTestCase, frame

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

PLAY = json.dumps({"type": "PLAY_PAUSE", "control": "play", "currentTime": 5}).encode()


class WireTestCase(ServiceTestCase):
    """ann is the host and writes; bob must not notice her errors."""

    def setUp(self) -> None:
        super().setUp()
        self.ann, self.bob = self.world.party("ann", "bob")

    def write(self, payload: bytes) -> list[dict[str, Any]]:
        """Return ann's messages after this text frame."""
        self.ann.raw(frame(TEXT, payload))
        return self.ann.told()

    def assertUnharmed(self, client: Client | None = None) -> None:
        """Check that no other client has noticed anything, and that the connection works."""
        self.assertEqual(self.bob.told(), [])
        told = (client or self.ann).send("CHAT", text="still here")
        self.assertEqual([m["type"] for m in told], ["CHAT"])
        self.assertEqual(self.bob.types(), ["CHAT"])

    def assertEnded(self, code: int) -> None:
        """Check how ann's connection ended, that bob has not noticed, and that she gets everything back."""
        self.world.settle()
        self.assertEqual(self.ann.code, code)
        self.assertEqual(self.bob.told(), [])
        self.world.advance(1)
        ann = self.world.join("ann")
        state = self.the(ann.told(), "ROOM_STATE")
        self.assertHas(state, hostUserId="ann")
        self.assertEqual(self.bob.types(), ["USER_JOINED", "HOST_CHANGED"])
        self.assertUnharmed(ann)


class LastAnswerTest(WireTestCase):
    def test_answered_before_the_close_in_the_same_chunk(self) -> None:
        """By a close frame of the client, or one of the server because of other bytes in the chunk."""
        chat = frame(TEXT, json.dumps({"type": "CHAT", "text": "bye", "id": 7}).encode())
        for end, code in (
            (frame(CLOSE, struct.pack("!H", 1000)), 1000),
            (frame(BINARY, b"x"), 1003),
            (b"\xff" * 20, 1002),
        ):
            cid = self.world.join(f"cid{code}")
            cid.told()
            cid.raw(chat + end)
            self.assertIn("ACK", cid.types(), code)
            self.assertEqual(cid.code, code)


class ClockTest(WireTestCase):
    """PING and PONG with the four times of NTP."""

    def test_pong_carries_the_times_of_the_server(self) -> None:
        self.world.advance(0.0625)
        pong = self.the(self.write(b'{"type":"PING","t0":1234.5}'), "PONG")
        now = (EPOCH + 0.0625) * 1000
        self.assertEqual(pong, {"type": "PONG", "timestamp": int(now), "t0": 1234.5, "received": now, "sent": now})
        self.assertEqual(set(self.the(self.write(b'{"type":"PING"}'), "PONG")), {"type", "timestamp"})

    def test_it_keeps_its_place(self) -> None:
        """PONG shows that everything before it has been done."""
        self.ann.raw(
            frame(TEXT, b'{"type":"CHAT","text":"a"}')
            + frame(TEXT, b'{"type":"PING","t0":1,"id":4}')
            + frame(TEXT, b'{"type":"CHAT","text":"b"}')
        )
        self.assertEqual(self.ann.types(), ["CHAT", "PONG", "ACK", "CHAT"])
        self.assertEqual(self.bob.types(), ["CHAT", "CHAT"])

    def test_any_number_is_returned_and_moves_nothing(self) -> None:
        for number in ("0", "-5", "1125899906842624", "-62135596800000", "253402300800000", "0.1"):
            pong = self.the(self.write(b'{"type":"PING","t0":%s}' % number.encode()), "PONG")
            self.assertEqual(pong["t0"], float(number))
            self.assertEqual(pong["received"], self.world.now * 1000)
        for wrong in ("NaN", "Infinity", "1e400", "1e300", "-1e300", '"5"', "true", "[1]"):
            self.refused(self.write(b'{"type":"PING","t0":%s}' % wrong.encode()), "bad_message")
        self.assertUnharmed()

    def test_the_server_measures_round_trips_itself(self) -> None:
        """Three within two seconds of the handshake. A pong that the client invents measures nothing."""
        cid = self.world.join("cid")
        for _ in range(5):
            cid.raw(frame(PONG, b""))
            self.world.advance(0.5)
        self.assertEqual(cid.pings, 3)
        (session,) = [protocol.connection.session for protocol in self.world.server.factory._protocols
                      if protocol.connection is not None and protocol.connection.session.user == "cid"]  # fmt: skip
        self.assertEqual((session.round_trip, session.delay), (0.0, DELAY_STEP_MS))


class PlainClockTest(ClockTest):
    """The same where Autobahn does it all."""

    options = {"protocol": protocol_settings(fast_path=False)}


class PlainLastAnswerTest(LastAnswerTest):
    """The same where Autobahn does it all."""

    options = {"protocol": protocol_settings(fast_path=False)}


class MessageTest(WireTestCase):
    def test_not_json(self) -> None:
        for payload in (
            b"",
            b" ",
            b"x",
            b"{",
            b'{"type":"PING"',
            b"{'type':'PING'}",
            b'{"type":"PING"}x',
            b"\x00",
            b"nan",
        ):
            self.refused(self.write(payload), "bad_message")
        self.assertUnharmed()

    def test_not_an_object(self) -> None:
        """B6: null and the like made the reference fail, and anything with a type went to all members."""
        for payload in (
            b"null",
            b"[]",
            b'["PING"]',
            b"1",
            b'"PING"',
            b"true",
            b"{}",
            b'{"type":null}',
            b'{"type":["PING"]}',
        ):
            self.refused(self.write(payload), "bad_message")
        self.assertUnharmed()

    def test_unknown_types(self) -> None:
        """B6: any client could send messages that only a server sends."""
        for kind in (
            "NOPE", "", "ping", "HOST_CHANGED", "ROOM_STATE", "USER_LEFT", "USER_JOINED", "SEEK_PAUSE", "GUEST_CONTROL",
            "ERROR", "ACK", "SERVER_RESTART", "SYNC_PLAYBACK", "x" * 10_000, "\u0000",
        ):  # fmt: skip
            error = self.refused(self.ann.send(kind, userId="server", hostUserId="ann"), "unknown_type")
            self.assertLess(len(error["message"]), 200)
        self.assertUnharmed()

    def test_numbers(self) -> None:
        """B41."""
        for number in (
            "NaN", "Infinity", "-Infinity", "-1", "1e400", "-1e-400e", "1e308", "9" * 400, "0x10", "1.", '"1"', "true", "[1]", "{}",
        ):  # fmt: skip
            for fields in (
                '"type":"SEEK","currentTime":%s',
                '"type":"POSITION_UPDATE","isPlaying":true,"currentTime":%s',
            ):
                self.refused(self.write(("{" + fields % number + "}").encode()), "bad_message")
        for number in ("-1", "1.5", "9" * 30, '"1"', "NaN", "null x"):
            self.refused(self.write(b'{"type":"PING","id":%s}' % number.encode()), "bad_message")
        self.assertUnharmed()

    def test_wrong_types_of_fields(self) -> None:
        wrong: list[tuple[str, dict[str, Any]]] = [
            ("JOIN", {"userId": 5, "roomId": "room"}),
            ("JOIN", {"userId": "ann"}),
            ("JOIN", {"userId": "ann", "roomId": ""}),
            ("JOIN", {"userId": "ann", "roomId": "room", "username": {}}),
            ("JOIN", {"userId": "ann", "roomId": "room", "resume": [1, 2]}),
            ("CHAT", {"text": None}),
            ("CHAT", {}),
            ("TOGGLE_GUEST_CONTROL", {"enabled": 1}),
            ("TOGGLE_GUEST_CONTROL", {"enabled": "true"}),
            ("TRANSFER_HOST", {"targetUserId": ["bob"]}),
            ("OFFER", {"to": "bob", "offer": "sdp"}),
            ("OFFER", {"to": "bob", "offer": {"type": "evil", "sdp": ""}}),
            ("ICE_CANDIDATE", {"to": "bob", "candidate": {"sdpMLineIndex": -1}}),
            ("UPDATE_USERNAME", {"username": 7}),
            ("READY", {"targetTime": None}),
        ]
        for kind, fields in wrong:
            error = self.refused(self.ann.send(kind, **fields), "bad_message")
            self.assertIn(kind, error["message"])
        self.assertUnharmed()

    def test_control_characters_in_ids(self) -> None:
        for text in ("a\x00b", "\n", "\x7f", "\x1b[2J"):
            self.refused(self.ann.send("JOIN", userId=text, roomId="room"), "bad_message")
            self.refused(self.ann.send("JOIN", userId="ann", roomId=text), "bad_message")
            self.refused(self.ann.send("PLAYBACK_ACK", to=text), "bad_message")
        self.assertUnharmed()

    def test_control_characters_in_chat(self) -> None:
        told = self.ann.send("CHAT", text="a\x00b\n\x1b[2J")
        self.assertEqual(told[0]["text"], "ab\n[2J")
        self.assertEqual(self.bob.types(), ["CHAT"])
        self.refused(self.ann.send("CHAT", text="\x00"), "bad_message")

    def test_lone_surrogates(self) -> None:
        """A string that was cut inside an emoji made the server reject the message, without the `id`."""
        odd = ((b"\\ud800", "\ufffd"), (b"\\udfff", "\ufffd"), (b"\\udfff\\ud800", "\ufffd" * 2))
        for number, (escaped, text) in enumerate(odd):
            chat, ack = self.write(b'{"type":"CHAT","id":%d,"text":"%s"}' % (10 + number, escaped))
            self.assertEqual((chat["text"], ack["type"]), (text, "ACK"))
            told = self.write(b'{"type":"UPDATE_USERNAME","id":8,"username":"' + escaped + b'"}')
            self.refused(told, "bad_message")
            self.assertEqual(told[0]["id"], 8)
            (renamed,) = self.write(b'{"type":"UPDATE_USERNAME","username":"Cy ' + escaped + b'"}')
            self.assertEqual(renamed["username"], "Cy")
            self.bob.told()
            cy = self.world.connect()
            cy.raw(frame(TEXT, b'{"type":"JOIN","roomId":"room","userId":"cy","username":"Cy ' + escaped + b'"}'))
            self.assertEqual(cy.told()[0]["users"][-1], {"userId": "cy", "username": "Cy"})
            cy.send("LEAVE")
            self.ann.told()
            self.bob.told()
        told = self.write(b'{"type":"CHAT","text":"\\ud83d\\ude00"}')
        self.assertEqual(told[0]["text"], "\U0001f600")
        self.assertEqual(self.bob.types(), ["CHAT"])
        self.assertUnharmed()

    def test_positions_of_live_streams(self) -> None:
        """Some count the seconds from 1970."""
        for position in (1.76e9, 1_760_000_000.123, 2.0**43):
            (told,) = self.ann.send("PLAY_PAUSE", control="play", currentTime=position)
            self.assertEqual(told["currentTime"], position)
            self.assertEqual(self.ann.send("POSITION_UPDATE", currentTime=position, isPlaying=True), [])
        (told,) = self.ann.send("PLAY_PAUSE", control="pause", currentTime=-0.02)
        self.assertEqual(told["currentTime"], 0)

    def test_brackets(self) -> None:
        """Deep nesting must not exhaust the stack."""
        deep = 30_000
        for payload in (
            b"[" * 2 * deep,
            b'{"type":"PING","x":' + b"[" * deep + b"]" * deep + b"}",
            b'{"a":' * (deep // 3) + b"1" + b"}" * (deep // 3),
        ):
            told = self.write(payload)
            self.assertIn([m["type"] for m in told], (["ERROR"], ["PONG"]))
        self.assertUnharmed()

    def test_repeated_and_foreign_fields(self) -> None:
        told = self.write(
            b'{"type":"CHAT","type":"CHAT","text":"a","text":"b","constructor":1,"__proto__":{"x":1},"seq":1}'
        )
        self.assertHas(told[0], type="CHAT", text="b")
        self.assertNotIn("__proto__", told[0])
        self.bob.told()
        self.assertUnharmed()

    def test_byte_order_mark(self) -> None:
        self.refused(self.write(b'\xef\xbb\xbf{"type":"PING"}'), "bad_message")
        self.assertUnharmed()

    def test_the_rest_of_a_burst_is_not_lost(self) -> None:
        """Around an error, every message counts, in its order."""
        good = [{"type": "CHAT", "text": str(i)} for i in range(50)]
        bad = [b"x", b"null", b'{"type":"NOPE"}', b'{"type":"CHAT"}', b"[" * 1000]
        data = b""
        for i, message in enumerate(good):
            data += frame(TEXT, json.dumps(message).encode()) + frame(TEXT, bad[i % len(bad)])
        self.ann.raw(data)
        self.assertEqual([m["text"] for m in self.bob.told()], [str(i) for i in range(50)])
        told = self.ann.types()
        self.assertEqual((told.count("CHAT"), told.count("ERROR")), (50, 50))

    def test_before_join(self) -> None:
        stranger = self.world.connect()
        for payload in (b"x", b"null", b'{"type":"NOPE"}', PLAY, b'{"type":"CHAT","text":"x"}'):
            stranger.raw(frame(TEXT, payload))
            self.the(stranger.told(), "ERROR")
        self.assertFalse(stranger.closed)
        self.assertUnharmed()


class AnythingTest(WireTestCase):
    """Not to be derived from: Hypothesis wants each of its tests in one class."""

    @given(st.binary(max_size=200))
    def test_any_bytes(self, payload: bytes) -> None:
        client = self.world.connect("10.7.7.7")
        client.raw(frame(TEXT, payload))
        told = client.types()
        try:
            payload.decode()
        except UnicodeDecodeError:
            self.assertEqual((client.code, told), (1007, []))
        else:
            self.assertEqual((client.code, told), (None, ["ERROR"]))
        client.cut()
        self.assertEqual(self.bob.told(), [])

    @given(
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
            max_leaves=20,
        ),
        st.sampled_from(
            ["JOIN", "PLAY_PAUSE", "SEEK", "OFFER", "CHAT", "POSITION_UPDATE", "SYNC_RESPONSE", "TRANSFER_HOST"]
        ),
        st.sampled_from(["userId", "roomId", "control", "currentTime", "to", "offer", "text", "id", "resume", "token"]),
    )
    def test_any_value(self, value: Any, kind: str, field: str) -> None:
        """No JSON value, in any field, is more than a rejected message."""
        client = self.world.connect("10.7.7.7")
        client.raw(frame(TEXT, json.dumps({"type": kind, field: value}).encode()))
        self.assertEqual(client.types(), ["ERROR"])
        self.assertFalse(client.closed)
        client.cut()
        self.assertEqual((self.bob.told(), self.flushLoggedErrors()), ([], []))


class FrameTest(WireTestCase):
    def assertTooLong(self) -> None:
        """One ERROR names the limit. Then the connection ends."""
        error = self.refused(self.ann.told(), "bad_message")
        self.assertIn("65536 bytes at most (limits.frameBytes", error["message"])
        self.assertEnded(1009)

    def test_binary(self) -> None:
        self.ann.raw(frame(BINARY, PLAY))
        self.assertEnded(1003)

    def test_too_long(self) -> None:
        """B39: a megabyte was passed on to all members."""
        self.ann.raw(frame(TEXT, b'{"type":"CHAT","text":"' + b"x" * 65536 + b'"}'))
        self.assertTooLong()

    def test_too_long_in_fragments(self) -> None:
        self.ann.raw(frame(TEXT, b'{"type":"CHAT","text":"', fin=False))
        for _ in range(70):
            self.ann.raw(frame(CONTINUATION, b"x" * 1000, fin=False))
        self.assertTooLong()

    def test_a_close_frame_of_the_client_is_no_message(self) -> None:
        self.ann.raw(frame(CLOSE, (1009).to_bytes(2, "big")))
        self.assertEqual(self.ann.types(), [])
        self.assertTrue(self.ann.closed)

    def test_announced_only(self) -> None:
        """Nothing is kept for a length that was only announced."""
        self.ann.raw(b"\x81\xff" + (2**40).to_bytes(8, "big") + b"\0\0\0\0")
        self.assertTooLong()

    def test_as_long_as_allowed(self) -> None:
        payload = b'{"type":"PING","x":"'
        payload += b"x" * (65536 - len(payload) - 2) + b'"}'
        self.assertEqual([m["type"] for m in self.write(payload)], ["PONG"])
        self.assertUnharmed()

    def test_invalid_utf8(self) -> None:
        self.ann.raw(frame(TEXT, b'{"type":"CHAT","text":"\xff\xfe"}'))
        self.assertEnded(1007)

    def test_surrogates_in_utf8(self) -> None:
        self.ann.raw(frame(TEXT, b'{"type":"CHAT","text":"\xed\xa0\x80"}'))
        self.assertEnded(1007)

    def test_not_masked(self) -> None:
        self.ann.raw(frame(TEXT, PLAY, masked=False))
        self.assertEnded(1002)

    def test_reserved(self) -> None:
        for data in (
            frame(3, b""),
            frame(11, b""),
            frame(TEXT | 0x40, PLAY),
            frame(CONTINUATION, PLAY),
            frame(PING, b"x" * 126),
            frame(PING, b"", fin=False),
            frame(CLOSE, b"\x03"),
            frame(CLOSE, (1005).to_bytes(2, "big")),
        ):
            client = self.world.connect("10.7.7.7")
            client.raw(data)
            self.world.settle()
            self.assertEqual(client.code, 1002, data)
        self.assertUnharmed()

    def test_fragments(self) -> None:
        """A message may come in pieces, with a ping between them, and the pieces in any portions of bytes."""
        data = frame(TEXT, PLAY[:7], fin=False) + frame(CONTINUATION, b"", fin=False) + frame(PING, b"hello")
        data += frame(CONTINUATION, PLAY[7:20], fin=False) + frame(CONTINUATION, PLAY[20:])
        for byte in data:
            self.ann.raw(bytes((byte,)))
        self.assertEqual(self.ann.types(), ["PLAY_PAUSE"])
        self.assertEqual(self.bob.types(), ["PLAY_PAUSE"])

    def test_portions(self) -> None:
        """Frames of all lengths, cut anywhere, with pings between them, are the same messages."""
        rng = random.Random(20)
        texts = ["x" * n + "é" for n in (0, 50, 100, 101, 102, 103, 500, 1900)]
        data = b""
        for text in texts:
            data += (
                frame(TEXT, json.dumps({"type": "CHAT", "text": text}).encode()) + frame(PING, b"") + frame(PONG, b"x")
            )
        while data:
            size = rng.choice((1, 2, 3, 7, 50, 1000))
            self.ann.raw(data[:size])
            data = data[size:]
        self.assertEqual([m["text"] for m in self.bob.told()], texts)

    def test_close_in_the_middle(self) -> None:
        """Messages before the close count, messages after it do not."""
        chat = b'{"type":"CHAT","text":"%d"}'
        self.ann.raw(frame(TEXT, chat % 1) + frame(CLOSE, (1000).to_bytes(2, "big")) + frame(TEXT, chat % 2))
        self.assertEqual([m["text"] for m in self.bob.told()], ["1"])
        self.assertEnded(1000)

    def test_close_within_a_fragmented_message(self) -> None:
        self.ann.raw(frame(TEXT, PLAY[:7], fin=False) + frame(CLOSE, b""))
        self.world.settle()
        self.assertTrue(self.ann.closed)
        self.assertEqual(self.bob.told(), [])

    def test_nothing_counts_after_a_wrong_frame(self) -> None:
        self.ann.raw(frame(BINARY, b"") + frame(TEXT, PLAY))
        self.assertEnded(1003)

    def test_who_is_thrown_out_is_not_read_for_long(self) -> None:
        """Later messages cost nothing; the close frame gets to it, and soon the connection is dropped."""
        end = frame(CLOSE, struct.pack("!H", 1003))
        self.ann.raw(frame(BINARY, b"") + frame(PING, b"p") * (2 * FRAMES_AFTER_CLOSE) + end)
        self.assertEqual((self.ann.closed, self.bob.told()), (False, []))
        self.world.advance(7)
        self.assertEqual((self.ann.closed, self.ann.code), (True, 1003))
        self.assertEqual(len(self.world.server.factory), 1)

    def test_the_answer_to_a_close_is_found_among_what_was_on_its_way(self) -> None:
        self.ann.raw(frame(BINARY, b"") + frame(TEXT, PLAY) * 20 + frame(CLOSE, struct.pack("!H", 1003)))
        self.world.settle()
        self.assertTrue(self.ann.closed)
        self.assertEqual(len(self.world.server.factory), 1)
        self.assertEqual(self.bob.told(), [])

    def test_cut_within_a_frame(self) -> None:
        self.ann.raw(frame(TEXT, PLAY)[:20])
        self.ann.cut()
        self.world.advance(40)
        self.assertEqual(self.bob.told(), [])

    def test_long_state_for_many(self) -> None:
        """Our messages may be longer than the accepted ones."""
        clients = [self.world.join(f"user{i}", username="n" * 50, room="big") for i in range(249)]
        ids = [self.world.join("i" * 96 + str(1000 + i), username="\U0001f600" * 50, room="bigger") for i in range(250)]
        self.assertFalse(any(client.closed for client in clients + ids))
        state = self.the(ids[-1].told(), "ROOM_STATE")
        self.assertEqual(len(state["users"]), 250)
        self.assertGreater(len(json.dumps(state, ensure_ascii=False).encode()), 65536)


class HandshakeTest(ServiceTestCase):
    REQUEST = (
        b"GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n"
    )

    def request(self, path: bytes = b"/ws", headers: bytes = b"Sec-WebSocket-Version: 13\r\n") -> bytes:
        """Return the first bytes of the answer to a handshake."""
        client = self.world.connect()
        client.cut()
        answer: list[bytes] = []

        def begin(client: Client) -> None:
            client.startHandshake = lambda: client.transport.write(self.REQUEST % (path, headers))
            client.dataReceived = answer.append  # type: ignore[assignment]

        self.world.connect(begin=begin)
        return b"".join(answer)

    def test_origins(self) -> None:
        """An extension has no origin that could be known beforehand; `null` and none come too."""
        version = b"Sec-WebSocket-Version: 13\r\n"
        for origin in (
            b"",
            b"Origin: chrome-extension://abcdefgh\r\n",
            b"Origin: null\r\n",
            b"Origin: https://www.netflix.com\r\n",
        ):
            self.assertTrue(self.request(headers=version + origin).startswith(b"HTTP/1.1 101"), origin)

    def test_query_is_ignored(self) -> None:
        self.assertTrue(self.request(b"/ws?room=1").startswith(b"HTTP/1.1 101"))

    def test_no_compression(self) -> None:
        """It would cost more than it saves, and a little message could become a big one."""
        offer = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
        answer = self.request(headers=offer)
        self.assertTrue(answer.startswith(b"HTTP/1.1 101"))
        self.assertNotIn(b"permessage-deflate", answer)

    def test_old_version(self) -> None:
        self.assertTrue(self.request(headers=b"Sec-WebSocket-Version: 8\r\n").startswith(b"HTTP/1.1 400"))

    def test_failed_handshake_leaves_nothing(self) -> None:
        self.request(headers=b"")
        self.world.advance(20)
        self.assertEqual(len(self.world.server.factory), 0)

    def test_idle_before_join(self) -> None:
        client = self.world.connect()
        self.world.advance(60)
        self.assertFalse(client.closed)
        self.assertEqual(client.send("PING")[0]["timestamp"], int((EPOCH + 60) * 1000))
