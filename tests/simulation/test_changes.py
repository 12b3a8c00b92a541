"""Going on with other inputs: by a reload, or by another start."""

from __future__ import annotations

import json
import shutil
from itertools import cycle
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from emitter.config import EmitterConfig
from emitter.errors import (
    IdentityMismatchError,
    RolledBackError,
)
from emitter.run.assembly import reload
from emitter.run.entries import FOLDER
from emitter.truth import inspection, oracle
from emitter.writers.parquet.writer import ParquetWriter
from tests.support.case import DaemonCase, Marks, spans, tree
from tests.support.reader import paths, rows_of
from tests.support.shop import ORIGIN, START, TABLES, crash, due, finish, run, shop, shop_daemon


class ChangesTest(DaemonCase):
    def test_a_reload_takes_over_speed_batch_and_files_without_a_seam(self):
        config = self.live()
        with shop_daemon(config, clock=self.clock) as daemon:
            self.clock.advance(15)
            due(daemon)
            wanted = self.live(
                clock__speed=4,
                clock__batch_seconds=20,
                clock__batch_rows_max=1000,
                output__file_rows_target=5,
                output__compression="gzip",
                seed=43,
                ecommerce__orders_per_second=9,
            )
            config, changes = reload(daemon, config, wanted)
            self.assertEqual(changes.refused, ("seed", "ecommerce.orders_per_second"))
            self.assertEqual(config.clock.speed, 4)
            self.assertEqual((daemon.status().speed, daemon.status().batch_seconds), (4, 20))
            self.assertEqual(daemon.status().simulated_slot, ORIGIN + 15)
            self.assertEqual(daemon.seconds_until_due(), 1.25)
            self.clock.advance(1.25)
            self.assertEqual(spans(due(daemon)), [(10, 20)])
            self.clock.advance(10)
            self.assertEqual(spans(due(daemon)), [(20, 60)])
        files = [pq.ParquetFile(path).metadata for path in paths(self.output, "order_items")]
        self.assertIn("GZIP", {each.row_group(0).column(0).compression for each in files})
        self.assertEqual(max(each.num_rows for each in files[-3:]), 5)
        self.assert_undisturbed(60)
        with shop_daemon(config, clock=self.clock) as daemon:  # the speed was kept with the anchor
            self.assertEqual(daemon.status().simulated_slot, ORIGIN + 60)

    def test_batches_and_files_may_be_others_after_a_crash(self):
        others: list[dict[str, Any]] = [
            {"output.file_rows_target": 7, "clock.batch_seconds": 45},
            {"output.compression": "gzip"},
            {"clock.batch_rows_max": 30},
            {"clock.batch_seconds": 3600, "output.file_rows_target": 1},
        ]
        for point, other in zip(ParquetWriter.crash_points, cycle(others), strict=False):
            with self.subTest(point=point, other=other):
                self.output = self.new_folder()
                self.assertTrue(crash(self.config(), 240, point, 3))
                run(shop(self.output, other), 240)
                self.assert_undisturbed(240)
                self.assertEqual([str(path) for path in self.output.rglob("*.staged")], [])

    def test_a_reload_forgets_what_was_made_ahead(self):
        with shop_daemon(self.config(), until=240, clock=self.clock) as daemon:
            config = self.config()
            for batch_seconds in (7, 45, 1, 100):
                daemon.step()
                config, _ = reload(daemon, config, self.config(clock__batch_seconds=batch_seconds))
            finish(daemon)
        self.assert_undisturbed(240)

    def test_a_reload_between_a_speed_and_max_needs_a_restart(self):
        for running, wanted in ((self.live(), self.config()), (self.config(), self.live())):
            with shop_daemon(running, clock=self.clock) as daemon:
                config, changes = reload(daemon, running, wanted)
                self.assertEqual(changes.refused, ("clock.speed",))
                self.assertEqual(changes.safe, ("clock.batch_seconds",))
                self.assertEqual(config.clock.speed, running.clock.speed)

    def test_another_rate_at_restart_holds_beyond_the_last_seal_and_what_was_stays(self):
        old, new = self.config(), self.config(ecommerce__orders_per_second=2)
        run(old, 100)
        with shop_daemon(old, until=400) as daemon:
            while self.journal().sealed_slot == ORIGIN + 100:
                daemon.step()
        edge = self.journal().sealed_slot
        before = tree(self.output)
        reports = run(new, 900)
        self.assertEqual(edge, ORIGIN + 400)
        self.assertIn(400, [end for _, end in spans(reports)])  # no batch goes over it
        after = tree(self.output)
        self.assertEqual([path for path in before if path.endswith(".parquet") and after[path] != before[path]], [])
        self.assertEqual([epoch.from_slot for epoch in self.journal().epochs], [ORIGIN, edge])
        for config in (old, new):  # what is in the file now changes nothing of what is told
            self.assert_verified(config, 900)
        self.assert_rows_before_and_after(edge, 900)

    def assert_rows_before_and_after(self, edge: int, until: int, key: str = "orders_per_second", to: Any = 2) -> None:
        """What a slot starts is made with the inputs of its slot: orders, and payments by the slot of their order."""
        outputs = [self.new_folder(), self.new_folder()]
        run(shop(outputs[0]), until)
        run(shop(outputs[1], {f"ecommerce.{key}": to}), until)
        for table in ("orders", "order_items", "payments"):
            slow, fast = (rows_of(table, output) for output in outputs)
            expected = pa.concat_tables(
                [
                    slow.filter(pc.less(pc.shift_right(slow["order_id"], 22), edge)),
                    fast.filter(pc.greater_equal(pc.shift_right(fast["order_id"], 22), edge)),
                ]
            )
            order = [(name, "ascending") for name in expected.column_names]
            found = rows_of(table, self.output).sort_by(order)
            self.assertTrue(found.equals(expected.combine_chunks().sort_by(order)), table)

    def test_a_journal_from_before_there_were_other_curves_goes_on_and_may_take_one_up(self):
        """What it does not name is at its default, whatever the configuration says now."""
        run(self.config(), 100)
        entry = json.loads((self.output / FOLDER / "0000000001.json").read_text())
        self.assertEqual(entry["inputs"]["options"], {"orders_per_second": 0.5, "promotions": []})
        run(self.config(), 200)
        self.assertEqual(len(self.journal().epochs), 1)
        flat = self.config(ecommerce__curve="flat")
        run(flat, 900)
        self.assertEqual(
            [(epoch.from_slot - ORIGIN, epoch.inputs.options.get("curve")) for epoch in self.journal().epochs],
            [(0, None), (200, "flat")],
        )
        self.assert_verified(self.config(), 900)
        self.assert_rows_before_and_after(ORIGIN + 200, 900, "curve", "flat")
        run(self.config(), 1000)
        self.assertEqual(self.journal().latest_inputs.options, entry["inputs"]["options"])

    def test_another_rate_that_never_came_into_force_leaves_no_trace(self):
        run(self.config(), 60)
        for rate in (2, 3, 0.5):
            with shop_daemon(self.config(ecommerce__orders_per_second=rate)):
                pass
        run(self.config(), 300)
        self.assert_undisturbed(300)

    def test_a_rate_that_another_shard_changes_is_followed(self):
        first = self.config(shard__count=2)
        with shop_daemon(first, until=900) as daemon:
            daemon.step()
            edge = self.journal().sealed_slot
            second = self.config(shard__count=2, shard__index=1, ecommerce__orders_per_second=2)
            run(second, 900)
            finish(daemon)
        self.assert_verified(second, 900)
        self.assert_rows_before_and_after(edge, 900)

    def test_tables_can_come_and_go(self):
        few = ["customers", "products"]
        run(self.config(tables=few), 100)
        with shop_daemon(self.config(), until=500) as daemon:
            finish(daemon)
            self.assertEqual(daemon.status().tables, TABLES)
        run(self.config(tables=[*few, "orders", "payments"]), 700)
        run(self.config(), 900)
        edges = [epoch.from_slot - ORIGIN for epoch in self.journal().epochs]
        self.assertEqual(edges, [0, 100, 500, 700])
        self.assert_verified(self.config(), 900)
        # All are in force at the end, so all are whole: one that joined late is as if it had always been there.
        self.assert_undisturbed(900)

    def test_no_partition_is_marked_that_a_table_may_still_come_back_to(self):
        few, day = list(TABLES[:2]), "year=2026/month=01/day=01"  # the partition ends at 180
        marks = Marks(self.output)
        run(self.config(), 100, hook=marks)
        run(self.config(tables=few), 600, hook=marks)
        self.assertEqual([marks.of(table) for table in TABLES], [[day]] * 2 + [[]] * 3)
        run(self.config(), 900, hook=marks)
        self.assertEqual([marks.of(table) for table in TABLES], [[day]] * 5)
        self.assert_undisturbed(900)

    def test_marks_that_an_earlier_release_has_set_too_early_are_taken_back_in_time(self):
        few, hours = list(TABLES[:2]), ["day=01/hour=23", "day=02/hour=00", "day=02/hour=01"]
        changes: dict[str, Any] = {"partition": "hour", "clock__batch_seconds": 1800}
        run(self.config(**changes), 100)  # the first partition ends at 180
        run(self.config(**changes, tables=few), 9000)
        for hour in hours:
            mark = self.output / "orders/year=2026/month=01" / hour / "_SUCCESS"
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
        marks = Marks(self.output)
        marks()
        self.assertTrue(crash(self.config(**changes), 9100, "parquet.intent", 1))
        self.assertEqual(marks.of("orders"), [])
        run(self.config(**changes), 9100, hook=marks)
        self.assertEqual(marks.of("orders"), marks.of("customers"))
        self.assertEqual(marks.of("orders"), [f"year=2026/month=01/{hour}" for hour in hours])
        self.assert_undisturbed(9100, **changes)

    def test_a_table_that_was_withdrawn_before_the_next_seal_stays_known(self):
        few = list(TABLES[:2])
        for steps in (0, 1):  # without a row, and with some
            with self.subTest(steps):
                self.output = self.new_folder()
                run(self.config(tables=few), 100)
                with shop_daemon(self.config(), until=500) as daemon:
                    for _ in range(steps):
                        self.assertEqual(daemon.step().tables, TABLES[2:])
                with shop_daemon(self.config(tables=few), until=500):
                    pass
                found = {each.table: each for each in oracle.verify(self.config()).tables}
                self.assertEqual((tuple(found), found["orders"].rows_found > 0), (TABLES, steps > 0))
                self.assertEqual(found["orders"].unexpected, 0)
                # It ends like any table that is left out, where it was.
                run(self.config(tables=few), 500)
                self.assert_verified(self.config(), 500)
                status = {each.table: each for each in inspection.status(self.config(), clock=self.clock)}
                self.assertEqual((status["orders"].slot - ORIGIN, status["orders"].rows > 0), (100, True))
                run(self.config(), 900)
                self.assert_undisturbed(900)

    def test_the_folder_of_a_table_that_was_left_out_may_be_removed(self):
        few = self.config(tables=list(TABLES[:4]), partition="hour")
        run(self.config(partition="hour"), 300)
        run(few, 600)
        shutil.rmtree(self.output / "payments")
        run(few, 4000)  # over the end of a partition, which is marked
        self.assertFalse((self.output / "payments").exists())
        self.assertTrue((self.output / "orders/year=2026/month=01/day=02/hour=00/_SUCCESS").exists())
        found = {each.table: each for each in oracle.verify(few).tables}
        self.assertEqual([table for table, each in found.items() if not each.ok], ["payments"])
        self.assertEqual(found["payments"].lost, found["payments"].rows_expected)
        with self.assertRaises(RolledBackError), shop_daemon(self.config(partition="hour"), clock=self.clock):
            self.fail("it started")

    def test_a_table_that_joins_again_while_another_shard_runs(self):
        def shard(index: int, tables: tuple[str, ...]) -> EmitterConfig:
            return self.config(shard__index=index, shard__count=2, tables=list(tables))

        for index in range(2):
            run(shard(index, TABLES[:2]), 100)
        for index in range(2):
            with shop_daemon(shard(index, TABLES), until=500) as daemon:
                daemon.step()
        with shop_daemon(shard(1, TABLES[:2]), until=900) as running:  # withdrawn before the next seal
            run(shard(0, TABLES), 900)
            finish(running)
        self.assert_undisturbed(900)

    def test_another_identity_is_refused_with_the_difference(self):
        run(self.config(), 60)
        for key, value, told in (
            ("seed", 43, "seed: stored 42, asked for 43"),
            ("clock__start", "2026-01-01", f'clock.start: stored "{START}", asked for "2026-01-01T00:00:00Z"'),
            ("partition", "hour", 'partition: stored "day", asked for "hour"'),
            ("ecommerce__customers", 51, "ecommerce.customers: stored 50, asked for 51"),
            ("ecommerce__products", 21, "ecommerce.products: stored 20, asked for 21"),
            ("ecommerce__product_skew", 0.5, "ecommerce.product_skew: stored 1.0, asked for 0.5"),
            ("ecommerce__time_zones", {"Asia/Tokyo": 1}, "ecommerce.time_zones: stored [["),
        ):
            with self.subTest(key):
                error = self.assert_refused(IdentityMismatchError, self.config(**{key: value}))
                self.assertIn(told, error.problem)
                with self.assertRaises(IdentityMismatchError):
                    oracle.verify(self.config(**{key: value}))
        run(self.config(clock__start="now"), 120)  # it is as it was resolved
        self.assert_undisturbed(120)
