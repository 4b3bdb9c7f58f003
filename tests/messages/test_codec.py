"""Decoding of valid messages, ERRORs for invalid ones, and encoding."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.errors import ERROR_MEANINGS


def refusal(payload: bytes) -> m.Error:
    """Return the ERROR for an invalid frame."""
    try:
        message = m.decode(payload)
    except (ValueError, RecursionError) as error:
        return m.explain(payload, error)
    raise AssertionError(f"understood: {message}")


REFUSED: dict[str, tuple[bytes, str]] = {
    "not_json": (b"hello", "A message is one JSON object, but the JSON is malformed: invalid character (byte 0)."),
    "empty": (b"", "A message is one JSON object, but the JSON ends too early"),
    "cut_off": (b'{"type":"PING"', "ends too early"),
    "two_in_one": (b'{"type":"PING"}{"type":"PING"}', "trailing characters"),
    "array": (b"[]", "A message is one JSON object, but it is an array, not an object."),
    "null": (b"null", "it is null, not an object."),
    "number": (b"5", "not an object."),
    "no_type": (b"{}", "A message needs a `type`, which is a string."),
    "type_is_a_number": (b'{"type":5}', "A message needs a `type`, which is a string."),
    "type_is_null": (b'{"type":null}', "A message needs a `type`, which is a string."),
    "nan": (b'{"type":"SEEK","currentTime":NaN}', "the JSON is malformed"),
    "infinity": (b'{"type":"SEEK","currentTime":-Infinity}', "the JSON is malformed"),
    "huge_exponent": (b'{"type":"SEEK","currentTime":1e999}', "SEEK: `currentTime` is a number out of range."),
    "huge_number": (
        b'{"type":"SEEK","currentTime":' + b"9" * 5000 + b"}",
        "SEEK: `currentTime` is a number out of range.",
    ),
    "too_great": (b'{"type":"SEEK","currentTime":10000001}', "SEEK: `currentTime` is greater than 10000000."),
    "negative": (b'{"type":"SEEK","currentTime":-1}', "SEEK: `currentTime` is less than 0."),
    "string_for_number": (b'{"type":"SEEK","currentTime":"5"}', "`currentTime` is a string, not a number."),
    "true_for_number": (b'{"type":"SEEK","currentTime":true}', "is true or false, not a number."),
    "number_for_true": (
        b'{"type":"POSITION_UPDATE","currentTime":1,"isPlaying":1}',
        "POSITION_UPDATE: `isPlaying` is a whole number, not true or false.",
    ),
    "string_for_true": (b'{"type":"TOGGLE_GUEST_CONTROL","enabled":"no"}', "`enabled` is a string, not true or false."),
    "missing": (b'{"type":"SEEK"}', "SEEK: `currentTime` is missing."),
    "missing_inside": (
        b'{"type":"JOIN","roomId":"r","userId":"u","resume":{"epoch":1}}',
        "JOIN: `resume.seq` is missing.",
    ),
    "missing_room": (b'{"type":"JOIN","userId":"u"}', "JOIN: `roomId` is missing."),
    "null_url": (b'{"type":"URL_CHANGE","url":null}', "URL_CHANGE: `url` is null, not a string."),
    "other_word": (b'{"type":"PLAY_PAUSE","control":"stop"}', "PLAY_PAUSE: `control` cannot be 'stop'."),
    "empty_id": (b'{"type":"JOIN","roomId":"","userId":"u"}', "JOIN: `roomId` is empty."),
    "long_id": (
        b'{"type":"JOIN","roomId":"' + b"r" * 101 + b'","userId":"u"}',
        "`roomId` is longer than 100 characters.",
    ),
    "nul": (
        b'{"type":"JOIN","roomId":"a\\u0000","userId":"u"}',
        "`roomId` contains a control character or an invisible one, or is empty.",
    ),
    "newline_at_the_end": (b'{"type":"JOIN","roomId":"a\\n","userId":"u"}', "`roomId` contains a control character"),
    "nul_in_nonce": (b'{"type":"JOIN","roomId":"a","userId":"u","nonce":"\\u0000"}', "`nonce` contains a control"),
    "lone_surrogate": (b'{"type":"JOIN","roomId":"a","userId":"\\ud800"}', "A message is one JSON object, but"),
    "lone_low_surrogate": (b'{"type":"CHAT","text":"\\udc00 and more of it"}', "A message is one JSON object, but"),
    "not_utf8": (b'{"type":"CHAT","text":"\xff"}', "CHAT: a string in it is not valid UTF-8."),
    "type_not_utf8": (b'{"type":"\xff"}', "a string in it is not valid UTF-8."),
    "brackets": (b"[" * 100_000, "it is an array, not an object."),
    "brackets_inside": (b'{"x":' + b"[" * 100_000, "it is nested too deeply."),
    "brackets_as_type": (b'{"type":' + b"[" * 100_000, "it is nested too deeply."),
    "braces": (b'{"type":"PING","x":' + b'{"x":' * 100_000, "it is nested too deeply."),
    "fractional_id": (b'{"type":"PING","id":1.5}', "`id` is a number, not a whole number or null."),
    "negative_id": (b'{"type":"PING","id":-1}', "PING: `id` is less than 0."),
    "huge_id": (b'{"type":"PING","id":99999999999999999999999}', "PING: `id` is greater than 9007199254740992."),
    "empty_chat": (b'{"type":"CHAT","text":""}', "CHAT: `text` is empty."),
    "empty_name": (b'{"type":"UPDATE_USERNAME","username":""}', "UPDATE_USERNAME: `username` is empty."),
    "sdp_type": (b'{"type":"OFFER","to":"u","offer":{"type":"x"}}', "OFFER: `offer.type` cannot be 'x'."),
    "no_sdp": (b'{"type":"OFFER","to":"u","offer":"v=0"}', "OFFER: `offer` is a string, not an object."),
    "line_index": (
        b'{"type":"ICE_CANDIDATE","to":"u","candidate":{"sdpMLineIndex":65536}}',
        "ICE_CANDIDATE: `candidate.sdpMLineIndex` is greater than 65535.",
    ),
    "nobody": (b'{"type":"PLAYBACK_ACK","control":"play"}', "PLAYBACK_ACK: `to` is missing."),
}


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
keys = st.sampled_from(["type", "id", "roomId", "userId", "to", "x"])
junk_json = st.recursive(values, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=10).map(
    lambda value: json.dumps(value).encode()
)


class RefusalTests(SynchronousTestCase):
    def test_an_unknown_type(self) -> None:
        """B6: the server relayed unknown types to all members, and messages of the server, too."""
        for word in ("HOST_CHANGED", "ROOM_STATE", "SEEK_PAUSE", "USER_JOINED", "join", "\x00", ""):
            error = refusal(json.dumps({"type": word, "id": 3}).encode())
            self.assertEqual((error.code, error.id), ("unknown_type", 3))
            self.assertEqual(error.message, f"The server knows no message type {word!r}.")

    def test_the_id_comes_back_if_it_can_be_read(self) -> None:
        self.assertEqual(refusal(b'{"type":"SEEK","id":7}').id, 7)
        for id_ in (b"-1", b"1.5", b"true", b'"7"', b"9007199254740993", b"[]"):
            self.assertIsNone(refusal(b'{"type":"SEEK","id":' + id_ + b"}").id)

    def test_little_is_said_back(self) -> None:
        for payload in (
            b'{"type":"' + b"A" * 60_000 + b'"}',
            b'{"type":"PLAY_PAUSE","control":"' + b"A" * 60_000 + b'"}',
            b'{"type":"OFFER","to":"u","offer":{"type":"' + b"\\u0001" * 9000 + b'"}}',
        ):
            self.assertLess(len(m.encode(refusal(payload))), 400)

    @settings(max_examples=60)
    @given(st.binary(max_size=100) | junk_json)
    def test_any_frame_is_understood_or_refused_in_words(self, payload: bytes) -> None:
        try:
            message = m.decode(payload)
        except (ValueError, RecursionError) as error:
            answer = m.explain(payload, error)
            self.assertIn(answer.code, ERROR_MEANINGS)
            json.loads(m.encode(answer))
        else:
            self.assertIn(type(message), m.CLIENT_MESSAGES)

    @settings(max_examples=60)
    @given(st.sampled_from(m.CLIENT_MESSAGES), st.data())
    def test_any_field_may_have_any_value(self, kind: type[m.ClientMessage], data: st.DataObject) -> None:
        """B41: fields of a wrong type reached other members and broke their clients."""
        junk = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers())
        fields = {x.encode_name: data.draw(junk) for x in msgspec.structs.fields(kind)}
        payload = json.dumps({"type": kind.__struct_config__.tag, **fields}).encode()
        try:
            m.decode(payload)
        except (ValueError, RecursionError) as error:
            self.assertEqual(m.explain(payload, error).code, "bad_message")


def _case(payload: bytes, words: str) -> Any:
    def test(self: RefusalTests) -> None:
        error = refusal(payload)
        self.assertEqual(error.code, "bad_message")
        self.assertIn(words, error.message)
        self.assertNotIn("regex", error.message)

    return test


for _name, (_payload, _words) in REFUSED.items():
    setattr(RefusalTests, f"test_{_name}", _case(_payload, _words))


class AcceptedTests(SynchronousTestCase):
    """Messages of the extension, with their superfluous fields."""

    def decoded(self, **message: Any) -> Any:
        return m.decode(json.dumps({"userId": "user_1abc", "roomId": "default_room_1", **message}).encode())

    def test_join(self) -> None:
        join = self.decoded(type="JOIN", username=None, pin=None, timestamp=1772000000000)
        self.assertEqual((join.user_id, join.username, join.pin, join.keeps_token), ("user_1abc", None, None, False))

    def test_a_long_name_is_no_reason_to_refuse(self) -> None:
        """B33: a name over 50 characters made all later JOINs fail."""
        self.assertEqual(len(self.decoded(type="JOIN", username="x" * 50_000).username), 50_000)
        self.decoded(type="JOIN", username="\x00")

    def test_pause_without_a_position(self) -> None:
        self.assertIsNone(self.decoded(type="PLAY_PAUSE", control="pause").current_time)
        self.assertIsNone(self.decoded(type="PLAY_PAUSE", control="pause", currentTime=None).current_time)

    def test_a_title_with_a_position_in_any_unit_or_none(self) -> None:
        """X4: the position in URL_CHANGE is in milliseconds, and often wrong; the server ignores it."""
        for position in (0, 123456, 1e300, None, "x", -5):
            message = self.decoded(type="URL_CHANGE", url="https://www.netflix.com/watch/1", currentTime=position)
            self.assertFalse(hasattr(message, "current_time"))

    def test_candidates(self) -> None:
        candidate = {"candidate": "c", "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "f"}
        message = self.decoded(type="ICE_CANDIDATE", **{"from": "user_1abc"}, to="b", candidate=candidate)
        relayed = json.loads(m.encode(m.relayed(message, "me")))
        self.assertEqual(relayed["candidate"], candidate)
        self.assertIsNone(self.decoded(type="ICE_CANDIDATE", to="b", candidate=None).candidate)

    def test_whole_numbers_are_numbers(self) -> None:
        self.assertEqual(self.decoded(type="SEEK", currentTime=5, isPlaying=True, eventTimestamp=1).current_time, 5.0)


class IdTests(SynchronousTestCase):
    """Ids in all fields: bounded in bytes, and without invisible characters."""

    def understood(self, **fields: str) -> bool:
        try:
            m.decode(json.dumps(fields).encode())
        except ValueError:
            return False
        return True

    def everywhere(self, word: str) -> set[bool]:
        """Say whether each field that a room keeps accepts a word as an id."""
        return {
            self.understood(type="JOIN", roomId=word, userId="u"),
            self.understood(type="JOIN", roomId="r", userId=word),
            *(self.understood(type=kind, targetUserId=word) for kind in ("KICK", "BAN", "UNBAN", "TRANSFER_HOST")),
        }

    def test_bytes(self) -> None:
        for word, taken in (
            ("x" * 100, True),
            ("x" * 101, False),
            ("\u5b57" * 85, True),
            ("\u5b57" * 86, False),
            ("\U0001f600" * 64, True),
            ("\U0001f600" * 65, False),
        ):
            self.assertEqual(self.everywhere(word), {taken}, word)

    def test_nothing_invisible(self) -> None:
        for number in range(0x110000):
            if unicodedata.category(chr(number)) in ("Cc", "Cf"):
                self.assertFalse(self.understood(type="KICK", targetUserId=f"a{chr(number)}"), hex(number))
        for word in ("\x9b31m", "a\u200b", "\u202eeve", "\U000e0041"):
            self.assertEqual(self.everywhere(word), {False})
            self.assertFalse(self.understood(type="JOIN", roomId="r", userId="u", nonce=word))
            self.assertFalse(self.understood(type="PLAYBACK_ACK", to=word))

    def test_what_is_used_is_taken(self) -> None:
        for word in (
            "user_k3x9a2f",
            "default_room_1700000000000",
            "R\xe4um: 1 \U0001f37f*[x]",
            "a b",
            "b1946ac9-2492-4d23",
        ):
            self.assertEqual(self.everywhere(word), {True}, word)


class SaidTests(SynchronousTestCase):
    def test_a_relay_says_who_really_sent_it(self) -> None:
        """B5: receivers trusted a `userId` that the sender had chosen."""
        message = m.decode(
            b'{"type":"OFFER","userId":"evil","from":"evil","to":"b","offer":{"type":"offer","sdp":"v=0"}}'
        )
        relayed = json.loads(m.encode(m.relayed(message, "me")))
        self.assertEqual((relayed["from"], relayed["userId"]), ("me", "me"))
        self.assertEqual(relayed["offer"], {"type": "offer", "sdp": "v=0"})

    def test_a_relayed_position_brings_no_title(self) -> None:
        """B6: a SYNC_RESPONSE of any member could send others to any URL."""
        message = m.decode(
            b'{"type":"SYNC_RESPONSE","to":"b","currentTime":1,"isPlaying":true,"url":"https://evil.example/"}'
        )
        self.assertEqual(json.loads(m.encode(m.relayed(message, "me")))["url"], "")

    def test_what_there_is_nothing_to_say_about_is_absent(self) -> None:
        self.assertEqual(json.loads(m.encode(m.LegacyLeave(user_id="a"))), {"type": "LEAVE", "userId": "a"})

    def test_a_name_or_host_that_is_not_there_is_null(self) -> None:
        """Old clients require `username` and `hostUserId`."""
        self.assertIn(b'"username":null', m.encode(m.UserJoined(user_id="a", username=None)))
        self.assertIn(b'"hostUserId":null', m.encode(m.HostChanged(host_user_id=None)))
        self.assertIn(b'"username":null', m.encode(m.User("a", None)))

    def test_server_and_client_types_are_each_others_own(self) -> None:
        tags = [kind.__struct_config__.tag for kind in m.SERVER_MESSAGES]
        self.assertEqual(len(tags), len(set(tags)))
        self.assertEqual(len(m.CLIENT_MESSAGES), len({kind.__struct_config__.tag for kind in m.CLIENT_MESSAGES}))
