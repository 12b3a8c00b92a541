"""A disk without room in the middle of a batch, in a real process: it backs off, ends with 4, and goes on later.

A limit on the size of files stands for the full disk here, as it needs no rights; `system_disk_full.py` fills one.
"""

from __future__ import annotations

import resource
import subprocess

from emitter import oracle
from emitter.clock import text_of
from tests.support.case import DaemonCase
from tests.support.killer import REPOSITORY, emitter, write_config
from tests.support.reader import paths
from tests.support.shop import ORIGIN, TABLES, run, shop

UNTIL = 600


class DiskFullTest(DaemonCase):
    def test_the_largest_file_does_not_fit(self):
        changes = {"output__retry_attempts_max": 2, "output__retry_wait_seconds_max": 0.1}
        undisturbed = self.new_folder()
        run(shop(undisturbed), UNTIL)
        sizes = sorted(path.stat().st_size for table in TABLES for path in paths(undisturbed, table))
        limit = sizes[-1] - 1

        def prepare() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        config = write_config(self.output, self.new_folder() / "emitter.json", **changes)
        command = emitter("run", "--no-live", f"--until={text_of(ORIGIN + UNTIL)}", config=config)
        result = subprocess.run(
            command, cwd=REPOSITORY, check=False, capture_output=True, text=True, timeout=120, preexec_fn=prepare
        )
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertIn("Error: could not (in 3 attempts) write", result.stderr)
        self.assertIn("File too large", result.stderr)
        self.assertIn("Try: ", result.stderr)
        verification = oracle.verify(self.config())
        self.assertTrue(verification.ok, verification)
        self.assertFalse(oracle.verify(self.config(), None, ORIGIN + UNTIL).ok)
        result = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True, timeout=120)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assert_undisturbed(UNTIL)
        self.assert_verified(self.config(), UNTIL)
