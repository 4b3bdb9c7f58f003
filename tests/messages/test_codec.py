"""Decoding of valid messages, ERRORs for invalid ones, and encoding."""

from __future__ import annotations

import json
import typing
import unicodedata
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.errors import ERROR_MEANINGS


def understood(payload: bytes) -> Any:
    """Return the message in a frame, repaired if need be."""
    try:
        return m.decode(payload)
    except ValueError as error:
        return m.recover(payload, error)


def refusal(payload: bytes) -> m.Error:
    """Return the ERROR for an invalid frame."""
    try:
        message = m.decode(payload)
    except (ValueError, RecursionError) as error:
        message = m.recover(payload, error)
        if isinstance(message, m.Error):
            return message
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
    "bad_escape": (b'{"type":"CHAT","text":"\\u12"}', "malformed: invalid character in unicode escape (byte 28)."),
    "huge_exponent": (b'{"type":"SEEK","currentTime":1e999}', "SEEK: `currentTime` is a number out of range."),
    "huge_number": (
        b'{"type":"SEEK","currentTime":' + b"9" * 5000 + b"}",
        "SEEK: `currentTime` is a number out of range.",
    ),
    "too_great": (
        b'{"type":"SEEK","currentTime":8796093022209}',
        "SEEK: `currentTime` is greater than 8796093022208.",
    ),
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
    "half_an_escape": (b'{"type":"CHAT","text":"\\ud8"}', "A message is one JSON object, but"),
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

    def test_a_whole_number_may_have_a_fraction(self) -> None:
        """Lua, and some encoders of other languages, write 7.0 for 7."""
        for number in (b"7.0", b"7e0", b"0.7e1", b"7.000"):
            self.assertEqual(refusal(b'{"type":"SEEK","id":' + number + b"}").id, 7)
            command = understood(b'{"type":"PLAY_PAUSE","control":"pause","id":%s,"seq":%s}' % (number, number))
            self.assertEqual((command.id, command.seq), (7, 7))
        join = understood(b'{"type":"JOIN","roomId":"r","userId":"u","resume":{"epoch":2.0,"seq":3.0},"id":1.0}')
        self.assertEqual(join.resume, m.Resume(epoch=2, seq=3))
        chat = understood(b'{"type":"CHAT","id":-0.0,"text":"half \\ud83d"}')
        self.assertEqual((chat.id, chat.text), (0, "half \ufffd"))
        for number in (b"7.5", b"-7.0", b"1e300", b"9007199254740994.0"):
            self.assertIsNone(refusal(b'{"type":"PING","id":' + number + b"}").id, number)

    def test_the_id_comes_back_from_what_is_no_json(self) -> None:
        """Exactly one answer comes to a message with an id, and carries it. Otherwise the client waits for ever."""
        for payload in (
            b'{"type":"SEEK","id":7,"currentTime":NaN}',
            b'{"type":"SEEK","currentTime":Infinity,"id" : 7 }',
            b'{"type":"CHAT","text":"\\x","id":7}',
            b'{"type":"CHAT","id":7,"text":"a\nb"}',
            b'{"type":"CHAT","text":"\\ud83","id":7}',
            b'{"type":"CHAT","id":7,"text":"and then',
            b'{"type":"CHAT","text":"\xff","id":7}',
            b'{"type":"\xff","id":7}',
            b'{"type":"PING","id":7,}',
            b"{'type':'PING',\"id\":7}",
            b'{"id":7,"type":"PING","x":' + b"[" * 100_000,
            b'{"x":{"id":1,"y":"id"},"y":["id",{"id":2}],"id":7,"type":}',
            b'{"x":"\\"id\\":1,","id":7,"type":}',
        ):
            self.assertEqual(refusal(payload).id, 7, payload[:60])
        for payload in (
            b'["id",{"id":7}',
            b'{"x":{"id":7},',
            b'{"x":"\\"id\\":7,',
            b'{"id":-7,',
            b'{"id":7.5,',
            b'{"id":9007199254740993,',
        ):
            self.assertIsNone(refusal(payload).id, payload)

    def test_an_endless_string_costs_little(self) -> None:
        """Each quote in it could begin another string. Trying all of them would take minutes."""
        for payload in (b'{"x":"' + b'\\"' * 500_000, b'{"x' + b'"' * 500_000, b"{" + b'"\\' * 300_000, b"{" * 500_000):
            self.assertIsNone(refusal(payload).id)

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
            answer = m.recover(payload, error)
            if isinstance(answer, m.Error):
                self.assertIn(answer.code, ERROR_MEANINGS)
            else:
                self.assertIn(type(answer), m.CLIENT_MESSAGES)
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
            answer = m.recover(payload, error)
            self.assertEqual(answer.code if isinstance(answer, m.Error) else "bad_message", "bad_message")


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


ODD_TEXTS = (
    "\ud83d", "\udc00", "a\ud83d\ud83d\ude00b", "\ude00\ud83d", "\U0001f600", "\x00", "\x1b[2J", "a\nb", "\t", "\x7f", "\x85",
    "\u2028", "\u202eabc", "\u200b", "\ufeff", "\ufffe", "\ufffd", "\U0010ffff", "e" + "\u0301" * 99, "\u05e9", "\\ud83d",
    '"', "\\", "x" * 70_000, "",
)  # fmt: skip
ODD_NUMBERS = (
    "0", "-0", "-0.0", "-0.001", "-0.999", "-1", "-1e300", "1e-320", "1.76e9", "1760000000.123", "8796093022208",
    "8796093022209", "9007199254740993", "1e308", "1e309", "1e999", "9" * 400, "NaN", "Infinity", "-Infinity", "null",
    "true", '"5"', "[]", "{}", "01", "+1", ".5",
)  # fmt: skip

POSITIONS = ("currentTime", "targetTime", "duration")
"""The fields with seconds of film."""


def valid_fields(kind: type[Any]) -> dict[str, str]:
    """Return the JSON of a valid value for each field of a message, by its name on the wire."""
    values = {
        str: '"https://films.example/"', float: "2.5", int: "5", bool: "true", m.SessionDescription: '{"type":"offer"}',
        m.IceCandidateInit: '{"candidate":"c"}', m.Resume: '{"epoch":1,"seq":1}',
    }  # fmt: skip
    fields = {}
    for field in msgspec.structs.fields(kind):
        kinds = _plain_types(field.type)
        literal = next((value for value in kinds if isinstance(value, str)), None)
        fields[field.encode_name] = json.dumps(literal) if literal else values[kinds[0]]
    return fields


def _plain_types(kind: Any) -> list[Any]:
    """Return the classes, and the words of a Literal, in an annotation."""
    if isinstance(kind, type) and not typing.get_args(kind):
        return [kind]
    if typing.get_origin(kind) is typing.Annotated:
        return _plain_types(typing.get_args(kind)[0])
    if typing.get_origin(kind) is typing.Literal:
        return list(typing.get_args(kind))
    return [found for inner in typing.get_args(kind) for found in _plain_types(inner)]


class OddValuesTests(SynchronousTestCase):
    """All fields of all messages with each odd character and number: the result is a clean message, or an ERROR with the id."""

    def outcome(self, kind: type[Any], fields: dict[str, str]) -> Any:
        members = ",".join(f'"{name}":{value}' for name, value in fields.items())
        payload = f'{{"type":"{kind.__struct_config__.tag}",{members}}}'.encode()
        try:
            return m.decode(payload)
        except (ValueError, RecursionError) as error:
            return m.recover(payload, error)

    def check(self, kind: type[Any], name: str, value: str) -> Any:
        fields = {**valid_fields(kind), "id": "7"}
        if name == "id":
            return None
        outcome = self.outcome(kind, {**fields, name: value})
        self.assertEqual(outcome.id, 7, (kind, name, value[:60]))
        json.loads(m.encode(outcome))
        return outcome

    def test_valid_fields_are_valid(self) -> None:
        for kind in m.CLIENT_MESSAGES:
            self.assertIsInstance(self.outcome(kind, valid_fields(kind)), kind)

    def test_texts(self) -> None:
        for kind in m.CLIENT_MESSAGES:
            for name, valid in valid_fields(kind).items():
                for odd in ODD_TEXTS:
                    outcome = self.check(kind, name, json.dumps(odd))
                    if valid.startswith('"https') and odd == "\ud83d":
                        self.assertIsInstance(outcome, kind, name)
                        self.assertIn(b"\xef\xbf\xbd", m.encode(outcome))

    def test_texts_inside_and_beside(self) -> None:
        odd = json.dumps("\ud83d")
        for kind, name, value in (
            (m.Offer, "offer", f'{{"type":"offer","sdp":{odd}}}'),
            (m.IceCandidate, "candidate", f'{{"candidate":{odd},"sdpMid":{odd},"usernameFragment":{odd}}}'),
            (m.Ping, "x", odd),
            (m.Ping, "\\ud83d", "1"),
        ):
            self.assertIsInstance(self.check(kind, name, value), kind)

    def test_numbers(self) -> None:
        for kind in m.CLIENT_MESSAGES:
            for name in valid_fields(kind):
                for odd in ODD_NUMBERS:
                    outcome = self.check(kind, name, odd)
                    if name in POSITIONS and odd not in ("null", "true", '"5"', "[]", "{}", "01", "+1", ".5"):
                        try:
                            value = float(odd)
                        except ValueError:
                            continue
                        if -1 < value <= 2**43:
                            field = next(each for each in msgspec.structs.fields(kind) if each.encode_name == name)
                            got = getattr(outcome, field.name)
                            self.assertEqual(got, max(0.0, value), (kind, odd))
                        else:
                            self.assertIsInstance(outcome, m.Error, (kind, odd))


class IdTests(SynchronousTestCase):
    """Ids in all fields: bounded in bytes, and without invisible characters."""

    def understood(self, **fields: str | bool) -> bool:
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
            self.understood(type="ADMIT", targetUserId=word, admitted=True),
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
