"""The board counts what a daemon does, keeps no more than it may, and can be looked at from any thread."""

from __future__ import annotations

import threading
import unittest
from dataclasses import replace

from emitter.errors import StorageError
from emitter.testing import ManualClock
from emitter.watch.board import (
    STEPS_MAX,
    TROUBLE_LENGTH_MAX,
    TROUBLES_MAX,
    Board,
    LastCommit,
    Picture,
    Recent,
    TableLine,
)
from tests.unit.watch.scripted_daemon import STATUS, commit, step


class BoardTest(unittest.TestCase):
    """STATUS: batches of 10 simulated seconds at speed 2, which asks for 20 orders a real second."""

    def setUp(self) -> None:
        self.clock = ManualClock()
        self.status = STATUS
        self.board = Board(self.clock)
        self.board.watch(lambda: self.status)
        self.board.started(STATUS)

    def line(self, table: str = "orders") -> TableLine:
        return next(line for line in self.board.picture().tables if line.name == table)

    def test_before_the_daemon_is_at_work_nothing_is_known(self) -> None:
        picture = Board(self.clock).picture()
        self.assertEqual((picture.status, picture.tables, picture.steps, picture.troubles), (None, (), (), ()))

    def test_what_landed_makes_the_rate_and_is_the_last_commit(self) -> None:
        self.board.committed(commit("orders", 100))
        self.clock.advance(5.0)
        last = LastCommit(0.25, self.clock.monotonic_seconds(), self.clock.wall_seconds())
        self.board.committed(commit("orders", 50, "deduplicated", seconds=0.25))
        self.clock.advance(5.0)
        self.assertEqual(self.line(), TableLine("orders", STATUS.written["orders"], last, 0, 15.0, 20.0))
        self.assertEqual(self.line("customers"), TableLine("customers", None, None, 0, 0.0, 1.0))

    def test_what_did_not_land_is_trouble_and_no_rows(self) -> None:
        for outcome in ("conflict", "unknown", "error"):
            self.board.committed(commit("orders", 100, outcome))
        self.assertEqual((self.line().rows_per_second, self.line().last_commit), (0.0, None))
        found = self.board.picture()
        self.assertEqual([(one.kind, one.table) for one in found.troubles],
                         [("error", "orders"), ("unknown", "orders"), ("conflict", "orders")])  # fmt: skip
        self.assertEqual(found.trouble_counts["conflict"], 1)

    def test_a_rate_is_a_mean_over_three_batches_or_ten_seconds(self) -> None:
        self.board.committed(commit("orders", 150))
        self.clock.advance(14.0)
        self.assertEqual(self.line().rows_per_second, 150 / 14.0)
        self.clock.advance(2.0)
        self.assertEqual(self.line().rows_per_second, 0.0)

    def test_a_rate_of_long_batches_is_right_too(self) -> None:
        self.status = replace(STATUS, batch_seconds=7200)  # an hour each
        for _ in range(4):
            self.clock.advance(3600.0)
            self.board.committed(commit("orders", 3600))
        self.assertEqual(self.line().rows_per_second, 1.0)

    def test_a_rate_is_right_where_more_happened_than_is_kept(self) -> None:
        self.status = replace(STATUS, batch_seconds=7200)
        for _ in range(2000):
            self.clock.advance(1.0)
            self.board.committed(commit("orders", 50))
        self.assertAlmostEqual(self.line().rows_per_second, 50.0, delta=0.1)

    def test_at_speed_max_nothing_is_asked_for(self) -> None:
        self.status = replace(STATUS, speed=None)
        self.assertIsNone(self.line().target_rows_per_second)

    def test_the_newest_steps_are_kept(self) -> None:
        for number in range(STEPS_MAX + 3):
            self.board.stepped(step(number * 10, number * 10 + 10, orders=number), STATUS)
        steps = self.board.picture().steps
        self.assertEqual([line.rows for line in steps], list(range(STEPS_MAX + 2, 2, -1)))
        self.assertEqual((steps[0].seconds, steps[0].lag_seconds), (0.012, 1.5))

    def test_a_retry_lasts_until_a_step_finishes_and_is_remembered(self) -> None:
        self.board.waiting_to_retry(StorageError("write", "x", "no space", hint="make room"), 2, 9, 1.5)
        found = self.board.picture()
        self.assertEqual(
            found.retrying, "Attempt 2 of 9 failed, the next follows in 1.5 s: could not write x: no space"
        )
        self.board.stepped(step(), STATUS)
        found = self.board.picture()
        self.assertEqual(found.retrying, "")
        self.assertEqual([one.text for one in found.troubles], ["could not write x: no space. Try: make room"])

    def test_what_comes_again_is_counted_and_an_hour_later_forgotten(self) -> None:
        for _ in range(5):
            self.board.waiting_to_retry(StorageError("write", "x", "no space"), 2, 9, 1.5)
            self.board.committed(commit("orders", 1, "error"))
            self.clock.advance(600.0)
        found = self.board.picture()
        self.assertEqual([(one.kind, one.count) for one in found.troubles], [("error", 5), ("retry", 5)])
        self.assertEqual(found.trouble_counts["retry"], 5)
        self.clock.advance(3000.0)  # the last was ten minutes before
        found = self.board.picture()
        self.assertEqual((found.troubles, sum(found.trouble_counts.values())), ((), 0))
        self.board.committed(commit("orders", 1, "error"))
        self.assertEqual(self.board.picture().troubles[0].count, 1)

    def test_a_storm_of_different_troubles_stays_within_bounds(self) -> None:
        for number in range(1000):
            self.board.waiting_to_retry(StorageError("write", f"{number}/{'x' * 1000}", "no space"), 1, 9, 1.0)
        found = self.board.picture()
        self.assertEqual(len(found.troubles), TROUBLES_MAX)
        self.assertTrue(found.troubles[0].text.startswith("could not write 999/"))
        self.assertLessEqual(max(len(one.text) for one in found.troubles), TROUBLE_LENGTH_MAX)
        self.assertEqual(found.trouble_counts["retry"], 1000)

    def test_no_query_survives_that_a_cut_would_tear_from_its_uri(self) -> None:
        uri = f"https://store.example/{'x' * 400}?X-Amz-Signature=" + "canary" * 50
        self.board.waiting_to_retry(StorageError("write", "x", f"{uri} said no"), 1, 9, 1.0)
        self.assertNotIn("canary", self.board.picture().troubles[0].text)

    def test_giving_up_is_trouble_too(self) -> None:
        self.board.stopped("error: could not write x")
        found = self.board.picture()
        self.assertEqual((found.ended, found.troubles[0].kind), ("error: could not write x", "stop"))

    def test_a_picture_stays_as_it_is_while_the_daemon_goes_on(self) -> None:
        """Two threads at once: each commit takes as long as there are steps, and a step follows it."""
        pictures: list[Picture] = []
        done = threading.Event()

        def look() -> None:
            while not done.is_set():
                pictures.append(self.board.picture())

        thread = threading.Thread(target=look)
        thread.start()
        for number in range(1, 2001):
            self.board.committed(commit("orders", 1, seconds=number))
            self.board.committed(commit("orders", 0, "conflict"))
            self.board.stepped(step(number, number + 1, orders=number), STATUS)
        done.set()
        thread.join()
        self.assertGreater(len(pictures), 1)
        for found in pictures:
            self.assertEqual(len(found.troubles), min(1, found.trouble_counts["conflict"]))
            rows = [line.rows for line in found.steps]
            self.assertEqual(rows, sorted(rows, reverse=True))
            lines = [line for line in found.tables if line.last_commit]
            for line in lines:
                assert line.last_commit is not None
                self.assertIn(line.last_commit.seconds - max(rows, default=0), (0, 1))


class RecentTest(unittest.TestCase):
    def test_it_keeps_so_many_buckets(self) -> None:
        recent = Recent(60, 60)
        for second in range(0, 100_000, 7):
            recent.add(float(second), "a")
        self.assertLessEqual(len(recent._buckets), 60)
        self.assertEqual(recent.since(99_960.0 - 60)["a"], len(range(0, 100_000, 7)) - len(range(0, 99_960, 7)))


if __name__ == "__main__":
    unittest.main()
