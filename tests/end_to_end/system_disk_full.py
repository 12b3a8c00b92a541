"""A real disk that runs full, or read-only, in the middle of a run: a small tmpfs, which only root can mount."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from emitter.clock import text_of
from emitter.testing import ManualClock
from emitter.truth import inspection, oracle
from tests.simulation.test_formats import FormatCase
from tests.support.killer import REPOSITORY, emitter
from tests.support.places import TARGETS, Place, Target, new_place
from tests.support.shop import ORIGIN, run

UNTIL = 3 * 3600
CHANGES = {"clock__batch_seconds": 300, "ecommerce__orders_per_second": 2}
RETRIES = {"output__retry_attempts_max": 3, "output__retry_wait_seconds_max": 0.5}
SMALL = {"parquet": "600k", "delta": "600k", "iceberg": "700k", "ducklake": "900k"}
"""By format, a disk with room for some batches."""
UPKEEP: dict[str, Any] = {
    "maintenance__small_files_min": 5,
    "maintenance__read_seconds_max": 1,
    "maintenance__keep_seconds": 1,
    "maintenance__versions_max": 1,
    "maintenance__orphan_seconds": 60,
}
ROOMS = (0, 32_768, 131_072)
"""In bytes: upkeep gets the further the more there is."""
FILES_MAX = 10  # of a table, after upkeep


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

    def leave(self, room: int) -> Path:
        """Fill the disk, but for so many bytes; the file that is in the way."""
        filler = self.disk / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(self.disk).free - room))
        return filler

    def maintain(self, place: Place) -> subprocess.CompletedProcess[str]:
        path, environ = place.write_config(Path(self.enterContext(tempfile.TemporaryDirectory())), **CHANGES, **UPKEEP)
        return subprocess.run(
            emitter("maintain", config=path),
            cwd=REPOSITORY, env=environ, check=False, capture_output=True, text=True, timeout=300,
        )  # fmt: skip

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

    def test_upkeep_that_finds_no_room_harms_nothing_and_is_done_when_there_is_some(self):
        for target in TARGETS:
            if target.storage == "disk" and target.format != "parquet":  # whose upkeep only removes
                with self.subTest(str(target)):
                    place = self.place(target)
                    self.mount("remount,size=64m")
                    run(place.config(**CHANGES), UNTIL)
                    for room in ROOMS:
                        filler = self.leave(room)
                        full = self.maintain(place)
                        filler.unlink()
                        self.assertEqual(full.returncode, 4, full.stdout + full.stderr)
                        self.assertRegex(full.stdout + full.stderr, "No space left|disk is full|disk I/O error")
                        self.assertNotIn("Traceback", full.stderr)
                        self.assert_exact(place, UNTIL, **CHANGES)
                    for _ in range(2):  # what the first has replaced is the second's to remove
                        done = self.maintain(place)
                        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                    self.assert_exact(place, UNTIL, **CHANGES)
                    files = [table.files for table in inspection.status(place.config(**CHANGES), clock=ManualClock())]
                    self.assertLess(max(files), FILES_MAX)

    def test_upkeep_makes_room_on_a_disk_that_has_none(self):
        """Also where it has not begun before, and the file of its lock is not there yet."""
        place = self.place(Target("delta"))
        self.mount("remount,size=64m")
        run(place.config(**CHANGES), UNTIL)
        self.assertEqual(self.maintain(place).returncode, 0)
        (self.disk / "out/_emitter/locks/upkeep.lock").unlink()
        self.leave(0)
        before = shutil.disk_usage(self.disk).free
        for _ in range(2):  # what the call before has replaced was too young for it
            ended = self.maintain(place)
        self.assertGreater(shutil.disk_usage(self.disk).free, before, ended.stdout + ended.stderr)
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
