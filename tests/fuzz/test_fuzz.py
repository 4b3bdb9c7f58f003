"""No client can cause more than a rejection: sequences of messages made by Hypothesis, and the inputs of the fuzzer."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m

from ..support.fake_node import OTHER_TITLE, TITLE
from .party import ACTORS, HERE, ROOMS, USERS, party
from .targets import CORPUS, TARGETS

Json = Any
json_values: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
users = st.sampled_from([*USERS, *USERS, *USERS, "dee", "server", "x" * 100])
positions = st.sampled_from([0, 0.0, 10, 10.0004, 50.5, 1e7])
texts = st.sampled_from([HERE.decode(), "hi", "", "x" * 2001, "\U0001f600", "\x00", "in:"])
LIKELY: dict[str, st.SearchStrategy[Json]] = {
    "roomId": st.sampled_from([*ROOMS, ROOMS[0]]),
    "userId": users,
    "to": users,
    "targetUserId": users,
    "username": st.sampled_from(["Ann", "", "x" * 60, None]),
    "pin": st.sampled_from([None, None, "", "1234", "0"]),
    "token": st.sampled_from([None, "", "x", "x.y.z"]),
    "currentTime": positions,
    "targetTime": positions,
    "url": st.sampled_from([TITLE, TITLE, OTHER_TITLE, "javascript:alert(1)", "https://evil.example/", "//x", ""]),
    "text": texts,
    "sdp": texts,
    "candidate": texts,
    "id": st.sampled_from([None, 0, 1, 2, 2**53]),
    "nonce": st.sampled_from(["", "n", "o"]),
    "epoch": st.sampled_from([0, 1_700_000_000_000]),
    "seq": st.integers(0, 30),
}
"""For some fields, values that lead somewhere. Values of any other field follow from its type."""


def values(kind: Any) -> st.SearchStrategy[Json]:
    """Return values of a declared type, as msgspec describes it."""
    match kind:
        case msgspec.inspect.UnionType(types=types):
            return st.one_of(*map(values, types))
        case msgspec.inspect.StructType():
            return fields(kind)
        case msgspec.inspect.LiteralType(values=allowed):
            return st.sampled_from(list(allowed))
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.IntType(ge=least, le=most):
            return st.integers(least or 0, most or 10)
        case msgspec.inspect.FloatType(ge=least, le=most):
            return st.floats(least or 0, most or 10)
        case msgspec.inspect.NoneType():
            return st.none()
        case msgspec.inspect.ListType(item_type=item) | msgspec.inspect.VarTupleType(item_type=item):
            return st.lists(values(item), max_size=3)
        case msgspec.inspect.StrType():
            return st.text(max_size=5)
    return json_values


@st.composite
def fields(draw: st.DrawFn, kind: msgspec.inspect.StructType) -> dict[str, Json]:
    """Return a valid object of a declared type; optional fields are absent at times."""
    made: dict[str, Json] = {}
    for field in kind.fields:
        if not field.required and draw(st.booleans()):
            continue
        likely = LIKELY.get(field.encode_name)
        # Two things are called candidate, and one of them is an object.
        if likely is not None and not isinstance(_bare(field.type), msgspec.inspect.StructType):
            made[field.encode_name] = draw(likely)
        else:
            made[field.encode_name] = draw(values(field.type))
    return made


def _bare(kind: Any) -> Any:
    if isinstance(kind, msgspec.inspect.UnionType):
        return next(one for one in kind.types if not isinstance(one, msgspec.inspect.NoneType))
    return kind


DECLARED = [msgspec.inspect.type_info(kind) for kind in m.CLIENT_MESSAGES]
JOIN = msgspec.inspect.type_info(m.Join)


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """Return a message of a client: mostly valid, often nearly, sometimes anything."""
    kind: Any = draw(st.sampled_from([*DECLARED, *DECLARED, JOIN, JOIN]))
    message: dict[str, Json] = {"type": kind.tag, **draw(fields(kind))}
    for wrong in (
        draw(st.lists(st.sampled_from(["drop", "replace", "add", "type"]), max_size=2))
        if draw(st.integers(0, 3)) == 0
        else ()
    ):
        name = draw(st.sampled_from(sorted(message)))
        match wrong:
            case "drop" if len(message) > 1:
                del message[name]
            case "replace":
                message[name] = draw(json_values)
            case "add":
                message[draw(st.sampled_from(["userId", "from", "seq", "__proto__", "hostUserId"]))] = draw(json_values)
            case "type":
                message["type"] = draw(
                    st.sampled_from(["ROOM_STATE", "HOST_CHANGED", "SEEK_PAUSE", "USER_LEFT", "join", "", "NOPE"])
                )
    payload = json.dumps(message).encode()
    if draw(st.integers(0, 19)) == 0:
        at = draw(st.integers(0, len(payload)))
        payload = payload[:at] + draw(st.binary(max_size=3)) + payload[at + draw(st.integers(0, 3)) :]
    return payload


actors = st.sampled_from(range(ACTORS))
steps = st.one_of(
    st.tuples(st.just("say"), actors, payloads()),
    st.tuples(st.just("say"), actors, payloads()),
    st.tuples(st.just("say"), actors, payloads()),
    st.tuples(st.just("say"), actors, payloads()),
    st.tuples(st.just("cut"), actors, st.none()),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 2.0, 7.0, 11.0, 46.0]), st.none()),
)


def entering(number: int) -> bytes:
    """Return the JOIN with which a sequence begins, so that it happens among members."""
    return json.dumps(
        {"type": "JOIN", "roomId": ROOMS[number // 3], "userId": USERS[number % 3], "keepsToken": number == 1}
    ).encode()


class AnySequenceTest(SynchronousTestCase):
    """A failure prints how it can be had again, and is tried first next time."""

    @settings(
        max_examples=150,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(st.integers(0, ACTORS), st.lists(steps, min_size=1, max_size=25))
    def test_any_sequence_of_messages(self, present: int, sequence: list[tuple[Any, Any, Any]]) -> None:
        """Any messages of any clients: no fault, nothing from elsewhere, no gap, no room that contradicts itself."""
        with party() as one:
            for number in range(present):
                one.say(number, entering(number))
            for what, who, payload in sequence:
                note(f"{what} {who} {payload!r}")
                match what:
                    case "say":
                        one.say(who, payload)
                    case "cut":
                        one.cut(who)
                    case "wait":
                        one.wait(who)

    def test_valid_messages_are_valid(self) -> None:
        """The decoder takes objects made from the declarations; else the test above would show little."""
        kinds = set()

        @settings(max_examples=1000, database=None, derandomize=True)
        @given(payloads())
        def count(payload: bytes) -> None:
            with contextlib.suppress(ValueError, RecursionError):
                kinds.add(type(m.decode(payload)))

        count()
        self.assertEqual(kinds, set(m.CLIENT_MESSAGES))


class CorpusTest(SynchronousTestCase):
    """The first inputs of the fuzzer, and inputs that once found a fault."""

    def replay(self, name: str) -> None:
        files = sorted((CORPUS / name).iterdir())
        self.assertGreater(len(files), 5)
        for file in files:
            try:
                TARGETS[name](file.read_bytes())
            except Exception as error:
                raise AssertionError(f"{name}/{file.name}") from error

    def test_frames(self) -> None:
        self.replay("frames")

    def test_decoder(self) -> None:
        self.replay("decoder")

    def test_http(self) -> None:
        self.replay("http")

    def test_members(self) -> None:
        self.replay("members")
