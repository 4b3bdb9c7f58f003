"""Warnings of files that other users of the machine can read."""

from __future__ import annotations

import pathlib

from twisted.trial.unittest import SynchronousTestCase

from tandemd.app.state_dir import exposed

from ..support.daemon_process import DaemonTestCase


class ExposedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = pathlib.Path(self.mktemp())
        self.home.mkdir(mode=0o700)
        self.secret = self.home / "a.secret"
        self.secret.write_text("s" * 64)

    def test_modes(self) -> None:
        for state, secret, count in (
            (0o700, 0o600, 0), (0o700, 0o640, 0), (0o755, 0o600, 1), (0o750, 0o600, 1), (0o700, 0o644, 1), (0o700, 0o602, 1),
            (0o777, 0o666, 2),
        ):  # fmt: skip
            self.home.chmod(state)
            self.secret.chmod(secret)
            for keys in ([str(self.secret)], [str(self.home)]):
                found = exposed(str(self.home), keys)
                self.assertEqual(len(found), count, (oct(state), oct(secret)))
                self.assertTrue(all("chmod" in text for text in found))
            turn = exposed("", [], str(self.secret))
            self.assertEqual(len(turn), secret & 0o006 > 0)
            self.assertTrue(all("calls.turn_secret_file" in text and "chmod" in text for text in turn))

    def test_what_is_not_there_or_no_secret(self) -> None:
        public = self.home / "b.pem"
        public.write_text("x")
        public.chmod(0o644)
        self.assertEqual(exposed(str(self.home / "none"), [str(public), str(self.home / "none.secret")]), [])


class WarningTest(DaemonTestCase):
    async def test_said_at_the_start(self) -> None:
        self.state.mkdir(mode=0o700)
        self.state.chmod(0o755)
        daemon = await self.running()
        self.assertIn("state_dir", next(line["message"] for line in daemon.log if line["level"] == "warn"))
