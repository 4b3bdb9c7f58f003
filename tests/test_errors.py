"""Codes that clients are told."""

from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.errors import ERROR_MEANINGS, ErrorCode
from tandemd.rules.event_types import EventType
from tandemd.rules.state import Commit
from tandemd.store.redis.codec import decode_commit, encode_commit


class CodesTest(SynchronousTestCase):
    def test_each_code_of_an_error_has_a_meaning(self) -> None:
        self.assertEqual({*ErrorCode} - {*ERROR_MEANINGS}, {ErrorCode.NO_OTHER_NODE})

    def test_an_error_is_encoded_with_the_plain_code(self) -> None:
        error = m.Error(code=ErrorCode.BAD_PIN, message="")
        self.assertEqual(m.encode(error), b'{"type":"ERROR","code":"bad_pin","message":""}')

    def test_a_commit_is_encoded_with_the_plain_event(self) -> None:
        def commit(event: str) -> Commit:
            return Commit(epoch=1, seq=2, at=3.0, event=event, user="ann", details=None, changes={}, messages=())

        for event in EventType:
            self.assertEqual(encode_commit(commit(event)), encode_commit(commit(event.name)), event)
            self.assertEqual(decode_commit(encode_commit(commit(event))).event, event)

    def test_an_event_of_another_version_is_read(self) -> None:
        data = encode_commit(
            Commit(
                epoch=1, seq=2, at=3.0, event="OF_A_LATER_VERSION", user="ann", details=None, changes={}, messages=()
            )
        )
        self.assertEqual(decode_commit(data).event, "OF_A_LATER_VERSION")
