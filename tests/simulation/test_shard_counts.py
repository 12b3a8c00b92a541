"""The shard count changes while shards are at work, are killed and are forgotten: no row is lost or doubled."""

from __future__ import annotations

import unittest
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from emitter.errors import OvertakenError, SliceLockedError, StateError
from emitter.model import Slice, StepReport
from emitter.testing import ManualClock
from emitter.truth import oracle
from emitter.watch.observer import DaemonStatus, Observer
from emitter.writers.parquet.writer import ParquetWriter
from tests.simulation.fleet import seals_ahead
from tests.simulation.shards_case import UNTIL, ShardsCase
from tests.support.case import tree
from tests.support.reader import contents
from tests.support.shop import ORIGIN, TABLES, crash, due, finish, run, shop, shop_daemon, shop_writer

POINTS = ParquetWriter.crash_points


class ChangedCountTest(ShardsCase):
    def setUp(self):
        super().setUp()
        self.enterContext(seals_ahead(600))

    def test_one_two_four_three_one(self):
        for count, until in ((1, 100), (2, 400), (4, 550), (3, 650), (1, UNTIL)):
            for index in range(count):
                run(self.shard(index, count), until)
        self.assertEqual([count for _, count in self.counts()], [1, 2, 4, 3, 1])
        self.assert_whole()

    def check_every_shard_killed(self, points: Sequence[tuple[str, int]], rounds: int) -> None:
        for place in range(rounds):
            with self.subTest(place):
                self.output = self.new_folder()
                reached = []
                for count, until in ((2, 300), (4, 600), (2, 750)):
                    for index in range(count):
                        point = points[(place + 5 * index) % len(points)]
                        reached.append(crash(self.shard(index, count), until, *point))
                self.assertTrue(any(reached))
                for index in range(2):
                    run(self.shard(index, 2), UNTIL)
                self.assert_whole()

    def test_two_four_two_with_every_shard_killed_somewhere(self):
        self.check_every_shard_killed([(point, 1 + 3 * (place % 2)) for place, point in enumerate(POINTS)], rounds=4)

    def test_what_an_old_shard_left_is_done_though_its_count_came_back_before(self):
        run(self.shard(0, 1), 120)
        with shop_daemon(self.shard(0, 1), until=400) as daemon:
            daemon.step()  # seals ahead
        run(self.shard(1, 2), 800)  # shard 0 of 2, to which the rest falls, never runs
        self.assertEqual(len(self.counts()), 2)
        run(self.shard(0, 1), UNTIL)
        self.assertEqual([count for _, count in self.counts()], [1, 2, 1])
        self.assert_whole()

    def test_what_a_count_left_in_two_of_its_stretches_is_done(self):
        for index, count, until in ((0, 2, 60), (1, 2, 120), (3, 4, 240), (1, 2, 360)):
            run(self.shard(index, count), until)
        run(self.shard(0, 1), UNTIL)
        self.assertEqual(self.counts(), [(0, 2), (120, 4), (240, 2), (360, 1)])
        self.assert_whole()

    def test_what_is_left_counts_as_not_finished(self):
        for index in range(2):
            with shop_daemon(self.shard(index, 2)) as daemon:
                daemon.step()
        edge = self.counts()[-1][0]
        run(self.shard(0, 1), 120)
        self.assertGreaterEqual(self.counts()[-1][0], 120 + edge)  # the new count holds only later
        self.assertEqual(self.positions(), {"0-of-2": 120, "1-of-2": 120})
        self.assertTrue(oracle.verify(shop(self.output), None, ORIGIN + 120).ok)

    def test_what_old_shards_still_do_is_left_to_them_until_they_end(self):
        with ExitStack() as old:
            slow = old.enter_context(shop_daemon(self.shard(0, 1)))
            slow.step()
            with shop_daemon(self.shard(0, 2), until=UNTIL) as new, shop_daemon(self.shard(1, 2), until=UNTIL) as other:
                finish(new)
                finish(other)
                self.assertEqual(self.positions(), {"0-of-1": 60, "0-of-2": UNTIL, "1-of-2": UNTIL})
                old.close()
                edge = self.counts()[-1][0]
                finish_later = new.step()
                assert finish_later is not None
                self.assertEqual((finish_later.slice, self.positions()["0-of-1"] > 60), (Slice(), True))
                self.assertEqual(new.finished, self.positions()["0-of-1"] == edge)
                finish(new)
        self.assertEqual(self.positions()["0-of-1"], edge)
        self.assert_whole()

    def test_an_old_shard_ends_where_the_new_count_begins(self):
        with shop_daemon(self.shard(0, 1), until=UNTIL) as old:
            old.step()
            for index in range(2):
                run(self.shard(index, 2), UNTIL)
            with self.assertRaises(OvertakenError) as caught:
                finish(old)
            self.assertEqual(caught.exception.exit_code, 3)
            self.assertIn("2 shards are in force", caught.exception.problem)
        self.assertEqual(self.positions()["0-of-1"], self.counts()[-1][0])
        self.assert_whole()

    def test_an_old_shard_that_starts_again_does_not_bring_its_count_back(self):
        told: list[tuple[int | None, int]] = []

        class Watch(Observer):
            def outdated(self, revision: int | None, newest: int) -> None:
                told.append((revision, newest))

        for index in range(2):
            with shop_daemon(self.shard(index, 2, revision=1)) as old:
                old.step()
        with shop_daemon(self.shard(1, 4, revision=2), until=UNTIL):
            edge = self.counts()[-1][0]
            for revision in (1, None):
                with (
                    shop_daemon(self.shard(0, 2, revision=revision), until=UNTIL, observer=Watch()) as again,
                    self.assertRaises(OvertakenError),
                ):
                    finish(again)
                self.assertEqual(self.positions()["0-of-2"], edge)
        self.assertEqual((self.counts(), told), ([(0, 2), (edge, 4)], [(1, 2), (None, 2)]))
        for index in range(4):
            run(self.shard(index, 4, revision=2), UNTIL)
        self.assert_whole()

    def test_an_older_configuration_goes_on_with_the_newer_rates(self):
        run(self.shard(0, 1, revision=1), 60)
        run(self.shard(0, 1, **{"revision": 2, "ecommerce.orders_per_second": 1.0}), 120)
        run(self.shard(0, 1, revision=1), 600)
        self.assertEqual(self.counts(), [(0, 1), (60, 1)])
        verification = oracle.verify(self.shard(0, 1), None, ORIGIN + 600)
        self.assertTrue(verification.ok, verification)
        self.assertGreater(contents(self.output)["orders"].num_rows, self.truth["orders"].num_rows)

    def test_a_revision_that_stands_for_other_inputs_is_refused(self):
        run(self.shard(0, 1, revision=1), 60)
        before = tree(self.output)
        with self.assertRaises(StateError) as caught:
            run(self.shard(0, 1, **{"revision": 1, "ecommerce.orders_per_second": 1.0}), 120)
        self.assertIn("ecommerce.orders_per_second: stored 0.5, asked for 1.0", caught.exception.problem)
        self.assertEqual(tree(self.output), before)

    def test_what_was_handed_back_is_left_alone(self):
        """A shard that has finished an old slice must not touch it any more: its owner may be at work again."""
        for index in range(2):
            run(self.shard(index, 2), 60)
        with ExitStack() as stack:
            newer = stack.enter_context(shop_daemon(self.shard(0, 1), until=120))
            finish(newer)

            def hook(point: str) -> None:
                if point == "parquet.staged":
                    stack.close()  # the newer one ends in an orderly way while this one commits

            with shop_daemon(self.shard(0, 2), until=UNTIL, hook=hook) as again:
                self.assertEqual({report.attempts for report in finish(again)}, {1})
        run(self.shard(1, 2), UNTIL)
        self.assert_whole()

    def test_an_old_slice_that_has_work_again_is_held_again(self):
        """A table that joins is made from the origin on: also of slices that were done and handed back."""
        few, output, case = ["customers", "products"], self.output, self
        for index in range(4):
            run(self.shard(index, 4, tables=few), 60)
        old: list[Slice] = []

        class Watch(Observer):
            def stepped(self, report: StepReport, status: DaemonStatus) -> None:
                if report.slice.count == 4:
                    old.append(report.slice)
                    with case.assertRaises(SliceLockedError), shop_writer(shop(output)).hold(report.slice):
                        pass

        with shop_daemon(self.shard(0, 2, tables=few), until=UNTIL, observer=Watch()) as daemon:
            daemon.step()
            self.assertEqual(old, [])
            with shop_daemon(self.shard(1, 2), until=UNTIL) as other:
                finish(other)
            finish(daemon)
        self.assertEqual(set(old), {Slice(0, 4), Slice(2, 4)})
        self.assert_whole()

    def test_an_old_slice_that_others_moved_meanwhile_is_gone_on_with_from_there(self):
        """A slice of two stretches was done and handed back; a table joins; a forgotten shard goes on with it first."""

        def config(index: int, count: int, revision: int, tables: Sequence[str] = TABLES[:2], batch: int = 30) -> Any:
            changes = {"revision": revision, "tables": list(tables), "clock.batch_seconds": batch}
            return self.shard(index, count, **changes)

        self.enterContext(seals_ahead(1))
        for revision, count, until in ((1, 2, 60), (2, 4, 120), (3, 2, 300)):
            for index in range(count):
                run(config(index, count, revision), until)
        with shop_daemon(config(0, 3, 4), until=UNTIL) as daemon:
            while (report := daemon.step()) is None or report.slice.count != 3:
                pass  # what the older counts left is done, and handed back
            run(config(1, 3, 5, TABLES), UNTIL)
            with shop_daemon(config(0, 2, 3, batch=20), until=UNTIL) as forgotten:
                while (report := forgotten.step()) is None or report.window.first < ORIGIN + 120:
                    pass
            finish(daemon)
        run(config(2, 3, 5, TABLES), UNTIL)
        self.assertEqual([count for _, count in self.counts()], [2, 4, 2, 3, 3])
        self.assert_whole()

    def test_another_count_moves_no_simulated_time(self):
        clock, live = ManualClock(), {"clock.speed": 1, "clock.batch_seconds": 10}
        for on_restart in ("catch_up", "continue"):
            with self.subTest(on_restart):
                self.output = self.new_folder()
                changes = {**live, "clock.on_restart": on_restart}
                with shop_daemon(self.shard(0, 1, **changes), clock=clock) as daemon:
                    for _ in range(5):
                        clock.advance(10)
                        due(daemon)
                for index in range(4):
                    with shop_daemon(self.shard(index, 4, **changes), clock=clock) as daemon:
                        self.assertEqual(daemon.status().simulated_slot, ORIGIN + 50)
                        self.assertEqual([report.commits for report in due(daemon) if report.commits], [])
                self.assertEqual(self.counts()[-1], (600 + 10, 4))

    def test_each_old_slice_goes_on_live_until_the_new_count_begins(self):
        clock, live = ManualClock(), {"clock.speed": 1, "clock.batch_seconds": 10}
        for index in range(4):
            with shop_daemon(self.shard(index, 4, **live), clock=clock) as daemon:
                if index == 0:
                    clock.advance(10)
                due(daemon)
        with shop_daemon(self.shard(0, 2, **live), clock=clock) as daemon:
            clock.advance(10)
            self.assertEqual({report.slice for report in due(daemon)}, {Slice(0, 4), Slice(2, 4)})
            clock.advance(10)
            self.assertEqual({report.slice for report in due(daemon)}, {Slice(0, 4), Slice(2, 4)})
            self.assertEqual(daemon.status().lag_seconds, 0)


if __name__ == "__main__":
    unittest.main()
