"""A real file system that runs full in the middle of a batch: a small tmpfs, which only root can mount."""

from __future__ import annotations

import os
import subprocess

from emitter import oracle
from emitter.clock import text_of
from tests.support.case import DaemonCase
from tests.support.killer import REPOSITORY, emitter, write_config
from tests.support.shop import ORIGIN

UNTIL = 3 * 3600


class SystemDiskFullTest(DaemonCase):
    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.fail("mounting a small tmpfs needs root: run `make test-system` as root")
        self.disk = self.new_folder() / "disk"
        self.disk.mkdir()
        self.mount("size=600k", "none", "-t", "tmpfs")
        self.addCleanup(subprocess.run, ["umount", str(self.disk)], check=True)
        self.output = self.disk / "shop"
        self.changes = {
            "clock__batch_seconds": 300,
            "ecommerce__orders_per_second": 2,
            "output__retry_attempts_max": 3,
            "output__retry_wait_seconds_max": 0.5,
        }
        self.file = write_config(self.output, self.new_folder() / "emitter.json", **self.changes)

    def mount(self, options: str, *rest: str) -> None:
        subprocess.run(["mount", "-o", options, *rest, str(self.disk)], check=True)

    def emit(self) -> subprocess.CompletedProcess[str]:
        command = emitter("run", "--no-live", f"--until={text_of(ORIGIN + UNTIL)}", config=self.file)
        return subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True, timeout=300)

    def test_it_ends_with_4_and_goes_on_when_there_is_room(self):
        for _ in range(2):  # the second start finds a disk that is full already
            result = self.emit()
            self.assertEqual(result.returncode, 4, result.stderr)
            self.assertIn("No space left on device", result.stderr)
            self.assertIn("Try: free some space on that disk", result.stderr)
            self.assertIn("(in 4 attempts)", result.stderr)
        verification = oracle.verify(self.config(**self.changes))
        self.assertTrue(verification.ok, verification)
        self.assertGreater(sum(table.rows_found for table in verification.tables), 1000)
        self.mount("remount,size=64m")
        result = self.emit()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assert_undisturbed(UNTIL, **{**self.changes, "clock__batch_seconds": 3600})
        self.assert_verified(self.config(**self.changes), UNTIL)
