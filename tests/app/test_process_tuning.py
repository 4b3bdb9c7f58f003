"""How many connections fit into the open files that the system allows."""

import resource
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tandemd.app.process_tuning import RESERVED_DESCRIPTORS, fit_to_fd_limit
from tandemd.config import Config
from tandemd.config.schema import Limits, Web

from ..support.daemon_process import ROOT


class OpenFilesTests(SynchronousTestCase):
    def fit(self, files: int, **limits: int) -> tuple[int, int]:
        found = fit_to_fd_limit(Config(limits=Limits(**limits)), files).limits  # type: ignore[arg-type]
        self.assertLessEqual(found.handshakes, found.http_connections)
        return found.connections, found.http_connections

    def test_enough(self) -> None:
        self.assertEqual(self.fit(262_144), (50_000, 2000))

    def test_too_few(self) -> None:
        for files in (1024, 4096, 20_000):
            connections, http = self.fit(files)
            self.assertLessEqual(connections + http + RESERVED_DESCRIPTORS, files)
            self.assertGreater(connections, files / 2)

    def test_films_have_descriptors_of_their_own(self) -> None:
        for files in (1024, 4096, 20_000):
            config = Config(web=Web(videos_dir="films"))
            found = fit_to_fd_limit(config, files).limits
            self.assertLessEqual(found.connections + 2 * found.http_connections + RESERVED_DESCRIPTORS, files)
            self.assertGreater(found.connections, files / 4)

    def test_what_is_configured_is_not_exceeded(self) -> None:
        self.assertEqual(self.fit(1024, connections=100, http_connections=20), (100, 20))

    def test_hardly_any(self) -> None:
        self.assertEqual(self.fit(64), (10, 12))

    def test_raised_to_what_is_allowed(self) -> None:
        program = (
            "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (300, 500)); "
            "from tandemd.app.process_tuning import raise_fd_limit; "
            "print(raise_fd_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
        )
        out = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
        ).stdout
        self.assertEqual(out.split(), ["500", "500", "500"])
        self.assertGreater(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 0)
