"""The oracle tells exactly what is lost, doubled, altered or foreign, and nothing of what is right."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from emitter.clock import text_of
from emitter.config import EmitterConfig
from emitter.errors import DamagedStateError, MissingJournalError, StateError, UsageError
from emitter.model import CommitReport
from emitter.testing import ManualClock
from emitter.truth import oracle
from emitter.truth.verdict import EXAMPLES_MAX, TableVerification, Verification
from emitter.watch.observer import Observer
from emitter.writers.parquet.writer import ParquetWriter
from tests.support.case import DaemonCase
from tests.support.reader import figures, paths, rows_of
from tests.support.shop import ORIGIN, TABLES, crash, due, run, shop, shop_daemon

UNTIL = 600


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Another file in the place of this one, as somebody's script would make it."""
    pq.write_table(change(pq.read_table(path, partitioning=None)), path, store_schema=False)


def with_value(rows: pa.Table, column: str, row: int, change: Callable) -> pa.Table:
    values = rows[column].to_pylist()
    values[row] = change(values[row])
    return with_column(rows, column, pa.array(values, rows[column].type))


def with_column(rows: pa.Table, column: str, values: pa.Array) -> pa.Table:
    place = rows.column_names.index(column)
    return rows.set_column(place, rows.schema.field(place).with_nullable(bool(values.null_count)), values)


class VerifyTest(DaemonCase):
    def setUp(self):
        super().setUp()
        self.shop = self.config(clock__batch_seconds=30)
        run(self.shop, UNTIL)
        self.rows = {table: rows for table, (rows, *_) in figures(self.output).items()}

    def verified(self, config: EmitterConfig | None = None, until: int | None = None) -> Verification:
        return oracle.verify(config or self.shop, None, None if until is None else ORIGIN + until)

    def assert_found(self, table: str, **counts: int) -> TableVerification:
        """Exactly these counts in this table, and all others are right."""
        verification = self.verified()
        self.assertFalse(verification.ok)
        for each in verification.tables:
            wanted = counts if each.table == table else {}
            found = {name: getattr(each, name) for name in ("lost", "duplicated", "altered", "unexpected")}
            self.assertEqual(found, {name: wanted.get(name, 0) for name in found}, each.table)
            self.assertEqual(each.ok, each.table != table)
        (result,) = [each for each in verification.tables if each.table == table]
        extra = counts.get("duplicated", 0) + counts.get("unexpected", 0) - counts.get("lost", 0)
        self.assertEqual((result.rows_expected, result.rows_found), (self.rows[table], self.rows[table] + extra))
        return result

    def test_all_is_right(self):
        verification = self.verified()
        self.assertTrue(verification.ok)
        self.assertEqual([each.table for each in verification.tables], list(TABLES))
        for each in verification.tables:
            self.assertEqual((each.rows_expected, each.rows_found), (self.rows[each.table],) * 2)
            self.assertEqual((each.from_slot, each.to_slot, each.examples), (ORIGIN, ORIGIN + UNTIL, []))

    def test_a_file_that_is_gone_is_lost(self):
        for table in TABLES:
            path = paths(self.output, table)[-1]
            rows, whole = pq.read_metadata(path).num_rows, path.read_bytes()
            path.unlink()
            result = self.assert_found(table, lost=rows)
            self.assertRegex(result.examples[0], r"^lost: \w+_id=\d+, .*event_time=2026-01-0")
            self.assertEqual(len(result.examples), min(rows, EXAMPLES_MAX))
            path.write_bytes(whole)
        self.assertTrue(self.verified().ok)

    def test_a_file_that_is_there_twice_is_duplicated(self):
        path = paths(self.output, "order_items")[3]
        rows = pq.read_metadata(path).num_rows
        shutil.copy(path, path.with_name("copy.parquet"))
        self.assert_found("order_items", duplicated=rows)
        shutil.copy(path, path.with_name("copy-2.parquet"))
        self.assert_found("order_items", duplicated=2 * rows)

    def test_a_cell_that_was_changed_is_altered(self):
        for table, column, change in (
            ("orders", "amount", lambda value: value + 1),
            ("orders", "channel", lambda value: value + "x"),
            ("payments", "event_time", lambda value: value.replace(microsecond=(value.microsecond + 1) % 1_000_000)),
            ("customers", "name", lambda _: ""),
            ("products", "price", lambda value: -value),
            ("order_items", "line", lambda value: 1 - value),
        ):
            path = paths(self.output, table)[0]
            whole = path.read_bytes()
            rewrite(path, lambda rows, column=column, change=change: with_value(rows, column, 2, change))
            result = self.assert_found(table, altered=1)
            self.assertEqual(len(result.examples), 1)
            path.write_bytes(whole)

    def test_a_value_that_is_missing_is_altered(self):
        path = paths(self.output, "orders")[0]
        rewrite(path, lambda rows: with_value(rows, "channel", 0, lambda _: None))
        self.assert_found("orders", altered=1)

    def test_a_key_that_was_changed_is_lost_and_unexpected(self):
        path = paths(self.output, "orders")[2]
        rewrite(path, lambda rows: with_value(rows, "order_id", 1, lambda value: value + 16 * 1000))
        result = self.assert_found("orders", lost=1, unexpected=1)
        self.assertEqual([text.split(":")[0] for text in result.examples], ["lost", "unexpected"])

    def test_a_foreign_row_is_unexpected(self):
        path = paths(self.output, "customers")[0]
        foreign = pq.read_table(path, partitioning=None).slice(0, 3)
        foreign = with_column(foreign, "customer_id", pc.add(foreign["customer_id"], 10**9))
        pq.write_table(foreign, path.with_name("foreign.parquet"))
        result = self.assert_found("customers", unexpected=3)
        self.assertIn("customer_id=1000000", result.examples[0])

    def test_an_altered_copy_is_one_row_too_many(self):
        path = paths(self.output, "payments")[1]
        copy = pq.read_table(path, partitioning=None)
        for change in (1, -1, 1000):  # whichever way their digests sort
            altered = with_column(copy, "attempt", pc.add(copy["attempt"], pa.scalar(change, pa.int32())))
            pq.write_table(altered, path.with_name("copy.parquet"))
            self.assert_found("payments", duplicated=copy.num_rows)

    def test_a_row_in_the_wrong_partition_is_unexpected_there(self):
        day_2 = next(path for path in paths(self.output, "orders") if "day=02" in str(path))
        rows = pq.read_metadata(day_2).num_rows
        copy = self.output / "orders/year=2026/month=01/day=01/copy.parquet"
        shutil.copy(day_2, copy)  # a reader that goes by the partition finds nothing wrong; one that reads all does
        self.assert_found("orders", unexpected=rows)
        day_2.unlink()
        self.assert_found("orders", lost=rows, unexpected=rows)

    def test_it_is_counted_once_also_where_a_partition_is_a_month(self):
        self.output = self.new_folder()
        config = self.config(clock__batch_seconds=3600, partition="month", ecommerce__orders_per_second=0.01)
        run(config, 3 * 86_400)
        self.assertTrue(oracle.verify(config).ok)
        path = paths(self.output, "orders")[0]
        misplaced = pq.read_table(path, partitioning=None).slice(0, 2)
        later = pc.add(misplaced["event_time"], pa.scalar(40 * 86_400 * 10**6, pa.duration("us")))
        pq.write_table(with_column(misplaced, "event_time", later), path.with_name("misplaced.parquet"))
        pq.write_table(pa.table({"x": [1, 2, 3]}), path.with_name("other.parquet"))
        found = oracle.verify(config).tables[2]
        self.assertEqual((found.table, found.lost, found.duplicated, found.altered), ("orders", 0, 0, 0))
        self.assertEqual(found.unexpected, 5)

    def test_a_file_of_another_shape_is_unexpected(self):
        folder = paths(self.output, "orders")[0].parent
        pq.write_table(pa.table({"x": [1, 2, 3]}), folder / "other.parquet")
        self.assertIn("without the table's columns", self.assert_found("orders", unexpected=3).examples[0])

    def test_a_broken_file_is_named_and_its_rows_are_lost(self):
        path = paths(self.output, "orders")[0]
        rows = pq.read_metadata(path).num_rows
        path.write_bytes(path.read_bytes()[:-20])
        found = self.assert_found("orders", lost=rows)
        self.assertEqual(found.broken_files, 1)
        self.assertIn(path.name, found.examples[0])

    def test_what_a_run_would_refuse_is_not_vouched_for(self):
        journal = sorted((self.output / "_emitter" / "journal").iterdir())
        progress = self.output / "_emitter/progress/orders" / "0-of-1.json"
        inputs = journal[1]
        for path, old, new in (
            (progress, '"run_id":"', '"run_id":"0'),
            (progress, f'"slot":{ORIGIN + UNTIL}', f'"slot":{ORIGIN + UNTIL + 10**8}'),
            (inputs, '"shard_count":1', '"shard_count":0'),
            (inputs, '"orders_per_second":0.5', '"orders_per_second":"x"'),
            (inputs, '"orders_per_second":', '"orders_per_secnd":'),
            (inputs, '"customers",', '"custmers",'),
        ):
            with self.subTest(new):
                before = path.read_text()
                self.assertIn(old, before)
                path.write_text(before.replace(old, new))
                for ask in (self.verified, lambda: run(self.shop, UNTIL)):
                    with self.assertRaises(StateError):
                        ask()
                path.write_text(before)
        hidden = journal[-1].with_name("hidden")
        journal[-1].rename(hidden)
        for ask in (self.verified, lambda: run(self.shop, UNTIL)):
            with self.assertRaises(DamagedStateError):
                ask()
        hidden.rename(journal[-1])
        shutil.rmtree(progress.parent)
        with self.assertRaises(StateError):
            self.verified()

    def test_everything_at_once_is_told_apart(self):
        first, second, third, *_ = paths(self.output, "order_items")
        lost, twice = pq.read_metadata(first).num_rows, pq.read_metadata(second).num_rows
        first.unlink()
        shutil.copy(second, second.with_name("copy.parquet"))
        rewrite(third, lambda rows: with_value(rows, "quantity", 0, lambda value: value + 1))
        foreign = pq.read_table(second, partitioning=None).slice(0, 1)
        foreign = with_column(foreign, "order_item_id", pc.add(foreign["order_item_id"], 10**15))
        pq.write_table(foreign, second.with_name("foreign.parquet"))
        result = self.assert_found("order_items", lost=lost, duplicated=twice, altered=1, unexpected=1)
        self.assertEqual(len(result.examples), EXAMPLES_MAX)

    def test_beyond_the_end_of_the_tables_nothing_is_lost_and_nothing_is_there(self):
        verification = self.verified(until=UNTIL + 86_400)
        self.assertEqual((verification.ok, verification.is_wrong), (False, False))
        self.assertEqual(sum(each.lost + each.behind for each in verification.tables), 0)
        self.assertEqual(verification.complete_slot, ORIGIN + UNTIL)
        told, ends = verification.sentence(), text_of(ORIGIN + UNTIL)
        self.assertRegex(told, rf"^All [\d,]+ rows are there, each once\. The tables end at {ends}: of about \d\d\d,")
        self.assertTrue(self.verified(until=UNTIL).ok)
        self.assertTrue(self.verified(until=UNTIL - 100).ok)
        far = oracle.verify(self.shop, ORIGIN + 2 * UNTIL, ORIGIN + 3 * UNTIL)
        self.assertEqual((far.ok, far.complete_slot), (False, ORIGIN + UNTIL))
        self.assertIn(f"The tables end at {ends}", far.sentence())
        paths(self.output, "orders")[-1].unlink()
        self.assertRegex(self.verified(until=UNTIL + 60).sentence(), r"^Of [\d,]+ rows: \d+ lost\. The tables end at ")

    def test_where_no_row_comes_beyond_the_end_all_is_there(self):
        self.output = self.new_folder()
        quiet = {"ecommerce.orders_per_second": 0, "ecommerce.customer_growth_per_year": 0}
        config = shop(self.output, {**quiet, "ecommerce.product_growth_per_year": 0})
        run(config, 60)
        self.assertTrue(self.verified(config, UNTIL).ok)

    def test_what_is_wrong_is_told_by_partition(self):
        twice, *_, gone = paths(self.output, "orders")
        rows = {path: pq.read_metadata(path).num_rows for path in (twice, gone)}
        gone.unlink()
        shutil.copy(twice, twice.with_name("copy.parquet"))
        result = self.assert_found("orders", lost=rows[gone], duplicated=rows[twice])
        days = {f"year=2026/month=01/day=0{day}": found for day, found in ((1, twice), (2, gone))}
        self.assertEqual([path.parent.name for path in days.values()], ["day=01", "day=02"])
        self.assertEqual(
            result.partitions,
            {folder: {("duplicated" if path is twice else "lost"): rows[path]} for folder, path in days.items()},
        )
        self.assertIn(f"orders year=2026/month=01/day=02: {rows[gone]} lost", self.verified().partition_lines())

    def test_an_altered_row_is_shown_with_what_it_should_be(self):
        path = paths(self.output, "orders")[0]
        old = pq.read_table(path, partitioning=None).slice(2, 1).to_pylist()[0]
        rewrite(path, lambda rows: with_value(rows, "amount", 2, lambda value: value + 1))
        rewrite(path, lambda rows: with_value(rows, "channel", 2, lambda _: None))
        examples = self.assert_found("orders", altered=1).examples
        (example,) = [text for text in examples if text.startswith(f"altered: order_id={old['order_id']}, event_time=")]
        amount, channel = (
            f"amount is {old['amount'] + 1}, not {old['amount']}",
            f"channel is null, not {old['channel']}",
        )
        self.assertEqual(set(example.split("; ")[1:]), {amount, channel})

    def test_as_many_examples_as_are_asked_for(self):
        paths(self.output, "customers")[0].unlink()
        for count in (0, 1, 12):
            found = oracle.verify(self.shop, table="customers", examples_max=count).tables[0]
            self.assertEqual(len(found.examples), count)

    def test_a_part_of_the_time_and_one_table(self):
        last = paths(self.output, "orders")[-1]
        last.unlink()
        begins = ORIGIN + UNTIL - 30
        self.assertTrue(oracle.verify(self.shop, None, begins).ok)
        self.assertFalse(oracle.verify(self.shop, begins).ok)
        self.assertFalse(oracle.verify(self.shop, begins, ORIGIN + UNTIL + 1).ok)
        self.assertTrue(oracle.verify(self.shop, ORIGIN + UNTIL, ORIGIN + UNTIL).ok)
        (only,) = oracle.verify(self.shop, table="order_items").tables
        self.assertTrue(only.ok)
        self.assertFalse(oracle.verify(self.shop, table="orders").ok)
        with self.assertRaises(UsageError):
            oracle.verify(self.shop, table="refunds")

    def test_it_tells_how_far_it_is(self):
        told: list[tuple[int, ...]] = []
        verification = oracle.verify(self.shop, on_progress=lambda *each: told.append(each))
        self.assertEqual([each[:2] for each in told], [(0, UNTIL), (180, UNTIL), (UNTIL, UNTIL)])
        self.assertEqual(told, sorted(told))
        self.assertEqual(told[-1][2], sum(table.rows_expected for table in verification.tables))

    def test_without_a_journal_there_is_nothing_to_compare(self):
        with self.assertRaises(MissingJournalError):
            oracle.verify(shop(self.new_folder()))


class UnderWayTest(DaemonCase):
    """A run that was interrupted, or goes on: what it has not told of yet is neither lost nor unexpected."""

    def test_after_a_crash_between_two_tables_nothing_is_lost(self):
        behind = 0
        for nth in range(1, 8):  # five commits of the first batch, three of the second
            self.output = self.new_folder()
            self.assertTrue(crash(self.config(), 120, "parquet.progress", nth))
            verification = oracle.verify(self.config())
            self.assertTrue(verification.ok, (nth, verification))
            slots = {each.table: each.rows_found for each in verification.tables}
            behind += slots["customers"] > 0 and slots["orders"] == 0
            self.assertFalse(oracle.verify(self.config(), None, ORIGIN + 120).ok)
        self.assertGreater(behind, 0)

    def test_after_a_crash_at_a_partitions_edge_nothing_is_behind(self):
        # Customers and products come first and have no rows in it: their progress alone would not tell where it began.
        config = self.live(ecommerce__customer_growth_per_year=0, ecommerce__products=1)
        for nth in (1, 2):
            self.output, self.clock = self.new_folder(), ManualClock()
            config = replace(config, output=replace(config.output, uri=str(self.output)))
            with shop_daemon(config, clock=self.clock) as daemon:
                self.clock.advance(60)
                due(daemon)
            self.clock.advance(UNTIL)  # caught up in one batch, over midnight
            self.assertTrue(crash(config, UNTIL, "parquet.progress", nth, steps=due, clock=self.clock))
            verification = oracle.verify(config)
            self.assertTrue(verification.ok, (nth, verification))
            self.assertGreater(verification.tables[-1].under_way, 0)

    def test_a_commit_under_way_is_no_fault(self):
        for point in ParquetWriter.crash_points:
            for nth in (1, 4, 9):
                self.output = self.new_folder()
                crash(self.config(), 240, point, nth)
                verification = oracle.verify(self.config())
                self.assertTrue(verification.ok, (point, nth, verification))

    def test_but_rows_that_are_visible_early_must_be_true_and_there_once(self):
        self.assertTrue(crash(self.config(), 240, "parquet.renamed", 8))
        path = paths(self.output, "order_items")[-1]
        shutil.copy(path, path.with_name("copy.parquet"))
        found = {each.table: each for each in oracle.verify(self.config()).tables}
        self.assertEqual(found["order_items"].duplicated, pq.read_metadata(path).num_rows)
        rewrite(path.with_name("copy.parquet"), lambda rows: rows.slice(0, 0))
        rewrite(path, lambda rows: with_value(rows, "line", 0, lambda value: value + 1))
        found = {each.table: each for each in oracle.verify(self.config()).tables}
        self.assertEqual((found["order_items"].altered, found["order_items"].unexpected), (1, 0))

    def test_beside_a_running_daemon_nothing_seems_wrong(self):
        case, config = self, self.config()

        class Watch(Observer):
            def committed(self, report: CommitReport) -> None:
                case.assertTrue(oracle.verify(config).ok)

        # Where storage has locks they would explain all: without, it has to follow from what the tables hold.
        with mock.patch.object(ParquetWriter, "is_held", return_value=False):
            run(config, 240, observer=Watch())

    def test_each_slice_counts_as_far_as_it_is(self):
        self.assertTrue(crash(self.config(shard__count=3), 240, "parquet.progress", 8))
        self.assertTrue(crash(self.config(shard__count=3, shard__index=2), 240, "parquet.intent", 13))
        verification = oracle.verify(self.config())
        self.assertFalse(verification.is_wrong, verification)
        self.assertGreater(verification.tables[2].rows_found, 0)
        for each in verification.tables:  # the one that never began
            self.assertRegex(" ".join(each.examples), "^behind: [0-9]+ rows of slice 1-of-3 are not there")


class StandingTest(DaemonCase):
    """A verdict says up to where all is there, and what is behind the others is told, also if all it says is true."""

    def test_a_table_from_an_older_copy_is_behind(self):
        config, copy = self.config(clock__batch_seconds=30), self.new_folder()
        parts = "payments", "_emitter/progress/payments"
        run(config, 300)
        for part in parts:
            shutil.copytree(self.output / part, copy / part)
        rows = len(rows_of("payments", self.output))
        run(config, UNTIL)
        missing = len(rows_of("payments", self.output)) - rows
        for part in parts:
            shutil.rmtree(self.output / part)
            shutil.copytree(copy / part, self.output / part)
        verification = oracle.verify(config)
        self.assertFalse(verification.ok)
        self.assertEqual([each.table for each in verification.tables if not each.ok], ["payments"])
        found = verification.tables[-1]
        self.assertEqual((found.behind, found.lost, found.under_way), (missing, 0, 0))
        self.assertEqual(found.slices, {"0-of-1": found.complete_slot})
        self.assertEqual(verification.complete_slot, found.complete_slot)
        self.assertTrue(ORIGIN + 300 <= found.complete_slot < ORIGIN + 330)
        self.assertFalse(oracle.verify(config, table="payments").ok)
        run(config, UNTIL)  # brings it to the others
        verification = oracle.verify(config)
        self.assertTrue(verification.ok, verification)
        self.assertEqual(verification.complete_slot, ORIGIN + UNTIL)

    def test_a_slice_that_nobody_has_finished_is_behind(self):
        config, other = (self.config(shard__count=2, shard__index=index) for index in range(2))
        run(config, UNTIL)
        run(other, 240)
        for each in oracle.verify(config).tables[2:]:
            self.assertGreater(each.behind, 0)
            self.assertEqual(list(each.slices), ["1-of-2"])
            self.assertTrue(ORIGIN + 240 <= each.complete_slot < ORIGIN + 300)
        run(other, UNTIL - 180)
        verification = oracle.verify(config)
        self.assertTrue(verification.ok, verification)  # three batches are no more than shards at work are apart
        self.assertGreater(verification.tables[2].under_way, 0)
        run(other, UNTIL)
        self.assertEqual(oracle.verify(config).complete_slot, ORIGIN + UNTIL)

    def test_what_a_live_process_brings_is_on_its_way(self):
        config, other = (self.config(shard__count=2, shard__index=index) for index in range(2))
        run(config, UNTIL)
        with shop_daemon(other, until=UNTIL) as daemon:
            daemon.step()
            verification = oracle.verify(config)
            self.assertTrue(verification.ok, verification)
            self.assertGreater(sum(each.under_way for each in verification.tables), 0)
        self.assertFalse(oracle.verify(config).ok)

    def test_a_table_without_rows_is_not_behind(self):
        config = self.config(ecommerce__orders_per_second=0, ecommerce__customer_growth_per_year=0)
        run(config, UNTIL)
        verification = oracle.verify(config)
        self.assertTrue(verification.ok, verification)
