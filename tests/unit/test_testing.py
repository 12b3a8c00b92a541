"""The fakes that have no contract suite of their own."""

from __future__ import annotations

import errno
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

import polars as pl

from emitter import arrow
from emitter.clock import parse_time, slot_of, time_of
from emitter.errors import StorageError
from emitter.generators.base import Period
from emitter.model import Slice, Window
from emitter.testing import FaultyStorage, HeartbeatGenerator, HeartbeatOptions, ManualClock

ORIGIN = slot_of(parse_time("2026-01-01T12:00:00Z"))


class ManualClockTest(unittest.TestCase):
    def test_begins_in_2026_and_stands_still(self):
        clock = ManualClock()
        self.assertEqual(clock.wall_seconds(), parse_time("2026-01-01").timestamp())
        self.assertEqual((clock.monotonic_seconds(), clock.monotonic_seconds()), (0.0, 0.0))

    def test_waiting_moves_it_on_unless_the_event_is_set(self):
        clock, event = ManualClock(100.0), threading.Event()
        self.assertFalse(clock.wait(event, 2.5))
        event.set()
        self.assertTrue(clock.wait(event, 2.5))
        self.assertEqual((clock.wall_seconds(), clock.monotonic_seconds()), (102.5, 2.5))

    def test_a_jump_moves_the_wall_clock_alone(self):
        clock = ManualClock(100.0)
        clock.jump_wall(-3600)
        clock.advance(1)
        self.assertEqual((clock.wall_seconds(), clock.monotonic_seconds()), (-3499.0, 1.0))


class FaultyStorageTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.storage = FaultyStorage(folder.name)

    def test_fails_from_a_call_on_as_often_as_asked(self):
        outcomes = []
        self.storage.fail(OSError(errno.EIO, "broken"), at=2, times=2, only=("rename",))
        for number in range(5):
            try:
                self.storage.replace(f"{number}", b"")
                outcomes.append("done")
            except StorageError as error:
                self.assertEqual(error.cause.errno, errno.EIO)
                outcomes.append("failed")
        self.assertEqual(outcomes, ["done", "failed", "failed", "done", "done"])

    def test_a_fault_after_the_effect_is_a_lost_reply(self):
        self.storage.fail(OSError(errno.EIO, "broken"), after=True, only=("rename",))
        with self.assertRaises(StorageError):
            self.storage.replace("a", b"there")
        self.assertEqual(self.storage.read("a"), b"there")


class HeartbeatTest(unittest.TestCase):
    def make(self, **more: object) -> HeartbeatGenerator:
        return HeartbeatGenerator(seed=5, origin_slot=ORIGIN, options=HeartbeatOptions(), **more)

    def rows(self, window: Window, slice: Slice = Slice()) -> list[dict]:
        return [row for frame in self.make().rows(window, slice, ("heartbeats",)) for row in frame.rows.to_pylist()]

    def test_a_row_a_second_from_the_origin_on(self):
        found = self.rows(Window(ORIGIN - 50, ORIGIN + 50))
        self.assertEqual([row["beat_id"] for row in found], list(range(ORIGIN, ORIGIN + 50)))
        for row in found:
            self.assertEqual(row["event_time"].replace(microsecond=0), time_of(row["beat_id"]))
        self.assertEqual(self.make().expected_rows(Window(ORIGIN - 50, ORIGIN + 50)), {"heartbeats": 50.0})
        self.assertEqual(list(self.make().rows(Window(ORIGIN, ORIGIN + 1), Slice(), ("other",))), [])

    def test_windows_and_slices_only_cut_the_rows(self):
        whole = self.rows(Window(ORIGIN, ORIGIN + 300))
        parts = [Window(first, first + 7) for first in range(ORIGIN, ORIGIN + 294, 7)] + [
            Window(ORIGIN + 294, ORIGIN + 300)
        ]
        self.assertEqual([row for part in parts for row in self.rows(part)], whole)
        sliced = [self.rows(Window(ORIGIN, ORIGIN + 300), Slice(index, 4)) for index in range(4)]
        self.assertEqual(sorted((row for rows in sliced for row in rows), key=lambda row: row["beat_id"]), whole)
        self.assertTrue(all(50 < len(rows) < 100 for rows in sliced))

    def test_every_type_varies_and_is_as_declared(self):
        generator = self.make()
        (frame,) = generator.rows(Window(ORIGIN, ORIGIN + 500), Slice(), ("heartbeats",))
        table = generator.table("heartbeats")
        self.assertTrue(
            frame.rows.cast(arrow.inside_schema(table)).equals(
                arrow.to_inside_form(table, arrow.to_file_form(table, frame.rows))
            )
        )
        for column in table.columns:
            values = frame.rows.column(column.name)
            self.assertGreater(len(values.unique()), 1, column.name)
            self.assertEqual(values.null_count > 0, column.nullable, column.name)

    def test_bounded_batches_are_as_readers_see_them(self):
        generator = self.make(period=Period(Window(ORIGIN, ORIGIN + 100), 30))
        batches = list(generator.batches_for("heartbeats"))
        self.assertEqual(sum(len(batch) for batch in batches), 100)
        for batch in batches:
            self.assertEqual(dict(batch.schema), dict(generator.schema_for("heartbeats")))
        self.assertEqual(generator.schema_for("heartbeats")["cost"], pl.Decimal(12, 2))


class ExitAtTest(unittest.TestCase):
    def test_ends_the_process_at_the_nth_passing_without_clean_up(self):
        program = (
            "from emitter.testing import exit_at\n"
            "hook = exit_at('b', 2)\n"
            "try:\n"
            "    for point in 'abcab': print(point, flush=True); hook(point)\n"
            "finally: print('cleaned up')\n"
        )
        run = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False
        )
        self.assertEqual((run.returncode, run.stdout.split()), (137, list("abcab")))


if __name__ == "__main__":
    unittest.main()
