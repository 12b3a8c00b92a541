"""A real disk that runs full, or read-only, in the middle of a run: a small tmpfs, which only root can mount."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

from emitter.clock import text_of
from emitter.truth import oracle
from tests.simulation.test_formats import FormatCase
from tests.support.killer import REPOSITORY, emitter
from tests.support.places import TARGETS, Place, Target, new_place
from tests.support.shop import ORIGIN

UNTIL = 3 * 3600
CHANGES = {"clock__batch_seconds": 300, "ecommerce__orders_per_second": 2}
RETRIES = {"output__retry_attempts_max": 3, "output__retry_wait_seconds_max": 0.5}
SMALL = {"parquet": "600k", "delta": "600k", "iceberg": "700k", "ducklake": "900k"}
"""By format, a disk with room for some batches."""


class SystemDiskFullTest(FormatCase):
    def setUp(self):
        if os.geteuid() != 0:
            self.fail("mounting a small tmpfs needs root: run `make test-system` as root")

    def place(self, target: Target) -> Place:
        """All of it, catalogue included, on a small disk of its own."""
        place = new_place(self, target)
        self.disk = Path(place.uri).parent
        self.mount(f"size={SMALL[target.format]}", "none", "-t", "tmpfs")
        self.addCleanup(subprocess.run, ["umount", str(self.disk)], check=True)
        return place

    def mount(self, options: str, *rest: str) -> None:
        subprocess.run(["mount", "-o", options, *rest, str(self.disk)], check=True)

    def emit(self, place: Place, seconds: int) -> subprocess.CompletedProcess[str]:
        path, environ = place.write_config(Path(self.enterContext(tempfile.TemporaryDirectory())), **CHANGES, **RETRIES)
        command = emitter("run", "--no-live", f"--until={text_of(ORIGIN + seconds)}", config=path)
        return subprocess.run(
            command, cwd=REPOSITORY, env=environ, check=False, capture_output=True, text=True, timeout=300
        )

    def assert_gave_up(self, result: subprocess.CompletedProcess[str], hint: str) -> None:
        self.assertEqual(result.returncode, 4, result.stderr)
        last = json.loads(result.stderr.splitlines()[-1])
        self.assertIn("could not ", last["error"])
        self.assertIn(hint, last["hint"])
        self.assertNotIn("Traceback", result.stderr)

    def test_it_ends_with_4_and_goes_on_when_there_is_room(self):
        for target in TARGETS:
            if target.storage == "disk":
                with self.subTest(str(target)):
                    place = self.place(target)
                    for _ in range(2):  # the second start finds a disk that is full already
                        self.assert_gave_up(self.emit(place, UNTIL), "free some space on that disk")
                    if target.format == "ducklake":  # to read at all, SQLite needs room for its index of the log
                        self.mount("remount,size=1m")
                    verification = oracle.verify(place.config(**CHANGES))
                    self.assertTrue(verification.ok, verification)
                    self.assertGreater(sum(table.rows_found for table in verification.tables), 1000)
                    self.mount("remount,size=64m")
                    rest = self.emit(place, UNTIL)
                    self.assertEqual(rest.returncode, 0, rest.stderr)
                    self.assert_exact(place, UNTIL, **CHANGES)

    def test_a_disk_that_is_read_only_for_a_while_is_gone_on_with(self):
        for target in TARGETS:
            if target.storage == "disk":
                with self.subTest(str(target)):
                    place = self.place(target)
                    self.assertEqual(self.emit(place, 600).returncode, 0)
                    self.mount("remount,ro")
                    self.assert_gave_up(self.emit(place, 1200), "mount that file system writable")
                    self.mount("remount,rw")
                    self.assertEqual(self.emit(place, 1200).returncode, 0)
                    self.assert_exact(place, 1200, **CHANGES)
