"""No connection is read for longer than its share while others wait, for any input; and nothing of it is lost."""

from __future__ import annotations

from unittest.mock import Mock

from tandemd.websocket.client import ClientConnection
from tandemd.websocket.fast_path import FRAMES_PER_ITERATION

from ..support.fake_node import frame
from ..support.socket_connection import SocketTestCase, TlsSocketTestCase, frames_in

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class ShareTest(SocketTestCase):
    """Bytes of one piece are read in several iterations of the reactor."""

    def pour(self, data: bytes) -> None:
        """Have the server read a piece, and nothing that follows from it."""
        self.client.sendall(data)
        self.read()

    def turn(self) -> None:
        """Do the first thing only that is to be done now."""
        call = self.clock.calls.pop(0)
        self.assertEqual(call.getTime(), self.clock.seconds())
        call.called = 1
        call.func(*call.args, **call.kw)

    def turns(self) -> None:
        """Do all of it."""
        self.clock.advance(0)
        self.pump()

    def note_texts(self) -> list[bytes]:
        """Return a list of the messages that will have been read."""
        heard: list[bytes] = []
        self.patch(ClientConnection, "received", lambda connection, text: heard.append(text))
        return heard

    def test_texts(self) -> None:
        wanted = [b"%d" % number for number in range(5 * FRAMES_PER_ITERATION + 3)]
        heard = self.note_texts()
        self.pour(b"".join(frame(TEXT, text) for text in wanted))
        self.assertLessEqual(len(heard), FRAMES_PER_ITERATION)
        before = len(heard)
        self.turn()
        self.assertLessEqual(len(heard), before + FRAMES_PER_ITERATION)
        self.assertGreater(len(heard), before)
        self.turns()
        self.assertEqual(heard, wanted)

    def test_other_frames(self) -> None:
        framed = Mock()
        self.patch(ClientConnection, "control_frame_received", framed)
        self.pour(frame(PING, b"x") * 9 * FRAMES_PER_ITERATION + frame(PING, b"last"))
        self.assertLessEqual(framed.call_count, FRAMES_PER_ITERATION)
        self.turns()
        pongs = list(frames_in(self.received()))
        self.assertEqual(pongs, [(PONG, b"x")] * 9 * FRAMES_PER_ITERATION + [(PONG, b"last")])

    def test_what_comes_meanwhile_is_read_behind_it(self) -> None:
        heard = self.note_texts()
        self.pour(frame(TEXT, b"a") * 3 * FRAMES_PER_ITERATION)
        self.client.sendall(frame(TEXT, b"b"))
        self.assertNotIn(self.transport, self.clock.readers)
        self.turns()
        self.assertEqual(heard, [b"a"] * 3 * FRAMES_PER_ITERATION)
        self.read()
        self.assertEqual(heard[-1], b"b")

    def test_closing_meanwhile(self) -> None:
        """Its closing handshake is read, behind its earlier messages."""
        self.pour(frame(TEXT, b'{"type":"PING"}') * 2 * FRAMES_PER_ITERATION)
        self.session.close(1012, "restart")
        self.pump()
        self.client.sendall(frame(CLOSE, b"\x03\xf4"))
        self.turns()
        self.assertIn(self.transport, self.clock.readers)
        self.read()
        self.turns()
        self.assertTrue(self.transport.disconnecting or self.transport.disconnected)

    def test_thrown_out_meanwhile(self) -> None:
        """Nothing of it is read any more."""
        self.pour(frame(TEXT, b'{"type":"PING"}') * 3 * FRAMES_PER_ITERATION)
        self.session.close_abusive("enough")
        self.turns()
        self.assertNotIn(self.transport, self.clock.readers)

    def test_lost_meanwhile(self) -> None:
        self.pour(frame(TEXT, b'{"type":"PING"}') * 3 * FRAMES_PER_ITERATION)
        self.protocol.abort()
        self.turns()
        self.assertNotIn(self.transport, self.clock.readers)
        self.assertEqual(self.flushLoggedErrors(), [])


class TlsShareTest(TlsSocketTestCase, ShareTest):
    """The same with TLS between."""
