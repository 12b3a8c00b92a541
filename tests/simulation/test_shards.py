"""Any number of shards write what one writes, each its part."""

from __future__ import annotations

import unittest
from contextlib import ExitStack
from typing import Any
from unittest import mock

from emitter.errors import StorageError
from emitter.run.bounded import generate
from emitter.run.completion import LOOK_SECONDS, Completion
from emitter.testing import ManualClock
from emitter.truth import oracle
from emitter.writers.parquet.writer import ParquetWriter
from tests.simulation.shards_case import UNTIL, ShardsCase
from tests.support.reader import figures
from tests.support.shop import ORIGIN, TABLES, due, finish, run, shop, shop_daemon, shop_writer


class SameRowsTest(ShardsCase):
    def test_one_shard_generate_four_shards_into_one_output_and_into_four(self):
        generated = self.new_folder()
        generate(shop(generated), None, ORIGIN + UNTIL, clock=ManualClock())
        four = [self.new_folder() for _ in range(4)]
        for index in range(4):
            run(self.shard(index, 4), UNTIL)
            run(self.shard(index, 4, four[index]), UNTIL)
        expected = figures(self.undisturbed)
        for table, (rows, keys, *_) in expected.items():
            self.assertEqual(rows, keys, table)
        self.assertEqual([figures(generated), figures(self.output), figures(*four)], [expected] * 3)
        self.assert_whole(generated)
        self.assert_whole()
        self.assert_whole(*four)

    def test_what_is_expected_is_what_is_there(self):
        expected = oracle.expect(shop(self.undisturbed), None, ORIGIN + UNTIL)["tables"]
        found = figures(self.undisturbed)
        self.assertEqual({table: each["rows"] for table, each in expected.items()}, {t: f[0] for t, f in found.items()})
        for table in ("orders", "order_items", "payments"):
            self.assertEqual(expected[table]["sums"]["amount"], str(found[table][2]), table)

    def test_each_shard_has_its_even_part(self):
        for index in range(4):
            run(self.shard(index, 4), UNTIL)
        rows = [stands.rows for stands in shop_writer(shop(self.output)).progress("orders").values()]
        self.assertEqual(sum(rows), self.truth["orders"].num_rows)
        self.assertGreater(min(rows), sum(rows) / 4 * 0.6)

    def test_shards_at_different_positions_are_each_right_as_far_as_they_are(self):
        for index, until in ((0, 300), (1, 60), (2, 600)):
            run(self.shard(index, 4), until)
        verification = oracle.verify(shop(self.output))
        self.assertFalse(verification.is_wrong, verification)
        orders = {each.table: each for each in verification.tables}["orders"]
        self.assertEqual((verification.ok, set(orders.slices)), (False, {"0-of-4", "1-of-4", "3-of-4"}))  # behind
        self.assertFalse(oracle.verify(shop(self.output), None, ORIGIN + 60).ok)  # shard 3 has done nothing
        run(self.shard(3, 4), 60)
        self.assertTrue(oracle.verify(shop(self.output), None, ORIGIN + 60).ok)
        for index in (2, 3, 0, 1):
            run(self.shard(index, 4), UNTIL)
        self.assert_whole()

    def test_a_partition_is_marked_once_all_slices_and_tables_have_passed_it(self):
        def marks() -> list[str]:
            return sorted(str(path.parent.relative_to(self.output)) for path in self.output.rglob("_SUCCESS"))

        run(self.shard(0, 2), 600)
        self.assertEqual(marks(), [])
        run(self.shard(1, 2), 120)
        self.assertEqual(marks(), [])
        run(self.shard(1, 2), 240)  # the partition ends at 180
        self.assertEqual(marks(), sorted(f"{table}/year=2026/month=01/day=01" for table in TABLES))
        for index in range(2):
            run(self.shard(index, 2), UNTIL)
        self.assertEqual(len(marks()), len(TABLES))

    def test_a_shard_that_others_hold_up_looks_for_them_once_in_a_while(self):
        clock, looks = ManualClock(), []
        progress = ParquetWriter.progress

        def counted(writer: ParquetWriter, table: str) -> Any:
            looks.append(table)
            return progress(writer, table)

        run(self.shard(1, 2), 60)
        with (
            shop_daemon(self.shard(0, 2), until=UNTIL, clock=clock) as daemon,
            mock.patch.object(ParquetWriter, "progress", counted),
        ):
            due_steps = [daemon.step() for _ in range(8)]
            self.assertGreater(due_steps[-1].window.end, ORIGIN + 180)  # where the partition ends
            self.assertEqual(len(looks), len(TABLES))
            run(self.shard(1, 2), 600)
            looks.clear()
            daemon.step()
            self.assertEqual(looks, [])
            clock.advance(LOOK_SECONDS)
            daemon.step()
            daemon.step()
            self.assertEqual(len(looks), len(TABLES))
            self.assertEqual(len(list(self.output.rglob("_SUCCESS"))), len(TABLES))

    def test_who_waits_for_others_sees_them_come_though_it_has_nothing_to_do(self):
        """Each finds the other behind at one edge, and passes the next while it waits."""
        clock, hourly = ManualClock(), {"partition": "hour", "clock.speed": 200, "clock.batch_seconds": 3600}
        with ExitStack() as both:
            a, b = (both.enter_context(shop_daemon(self.shard(i, 2, **hourly), clock=clock)) for i in range(2))
            for seconds, shards in ((1.0, (a, b)), (18.0, (b, a))):
                clock.advance(seconds)
                for shard in shards:
                    due(shard)
            self.assertEqual(len(list(self.output.rglob("_SUCCESS"))), len(TABLES))
            clock.advance(13.0)  # a has waited long enough, and no batch is due for five more seconds
            self.assertIsNone(a.step())
            self.assertEqual(len(list(self.output.rglob("_SUCCESS"))), 2 * len(TABLES))

    def test_a_shard_that_ends_leaves_no_complete_partition_without_its_mark(self):
        run(self.shard(1, 2), 60)
        with shop_daemon(self.shard(0, 2), until=240) as daemon:
            finish(daemon)
            with ExitStack() as other:
                finish(other.enter_context(shop_daemon(self.shard(1, 2), until=240)))
                for mark in self.output.rglob("_SUCCESS"):
                    mark.unlink()  # as if it had been a moment behind
                with mock.patch.object(Completion, "mark"):
                    other.close()
        self.assertEqual(len(list(self.output.rglob("_SUCCESS"))), len(TABLES))

    def test_marks_that_cannot_be_set_at_the_end_are_no_failure(self):
        run(self.shard(1, 2), 60)
        with ExitStack() as stack:
            finish(stack.enter_context(shop_daemon(self.shard(0, 2), until=240)))
            with mock.patch.object(ParquetWriter, "progress", side_effect=StorageError("list", "x", "gone")) as looked:
                stack.close()
        looked.assert_called()


if __name__ == "__main__":
    unittest.main()
