"""One address fills Redis with messages that are allowed, in short: the module itself does it for ten minutes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from .redis_exhaustion import WINDOW_COMMANDS, Scene


class RedisExhaustionTests(SynchronousTestCase):
    def test_members_elsewhere_go_on_and_a_full_redis_ends(self) -> None:
        scene = Scene(TANDEMD_ROOMS_GRACE="2s")
        self.addCleanup(scene.stop)
        report = scene.run(1.0, pace_seconds=0.25)
        self.assertEqual(report.wrong, [], report)
        self.assertEqual([window.done for window in report.windows], [[WINDOW_COMMANDS] * 2], report)
        self.assertEqual(set(report.refused_honest), {"unavailable"}, report)
        # It was an attack.
        for kind in ("BAN", "SEEK", "CHAT", "OFFER"):
            self.assertIn(kind, report.attacker["sent"], report)
