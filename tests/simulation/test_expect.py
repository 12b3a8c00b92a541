"""What `expect` tells: the truth of a period, computed without a table."""

from __future__ import annotations

import json
import unittest
from collections import Counter
from itertools import pairwise

import polars as pl

from emitter import create_generator
from emitter.clock import parse_time, slot_of, text_of
from emitter.errors import UsageError
from emitter.partitioning import PartitionSpec
from emitter.testing import ManualClock
from emitter.truth import inspection, oracle
from tests.support.case import DaemonCase
from tests.support.reader import figures, rows_of
from tests.support.shop import ORIGIN, TABLES, run, shop_daemon

UNTIL = 600


class ExpectTest(DaemonCase):
    def setUp(self):
        super().setUp()
        self.shop = self.config(ecommerce__orders_per_second=0.3)
        self.until = ORIGIN + 2 * 3600 + 700
        generator = create_generator(
            "ecommerce",
            start=text_of(ORIGIN),
            end=text_of(self.until),
            batch_seconds=1000,
            customers=50,
            products=20,
            orders_per_second=0.3,
            customer_growth_per_year=1.0,
        )
        self.frames = {table: pl.concat(list(generator.batches_for(table))) for table in TABLES}

    def test_it_is_what_polars_makes_of_the_same_rows(self):
        expected = oracle.expect(self.shop, None, self.until)
        self.assertEqual((expected["from"], expected["to"]), (text_of(ORIGIN), text_of(self.until)))
        self.assertEqual(list(expected["tables"]), list(TABLES))
        for table, frame in self.frames.items():
            told = expected["tables"][table]
            self.assertEqual(told["rows"], frame.height)
            for column, value in told["sums"].items():
                self.assertEqual(str(value), str(frame[column].sum()), (table, column))
            by_hour = frame.group_by(pl.col("event_time").dt.truncate("1h").alias("hour")).len()
            hours = {f"{hour:%Y-%m-%dT%H:%M:%SZ}": rows for hour, rows in by_hour.iter_rows()}
            self.assertEqual({hour: each["rows"] for hour, each in told["hours"].items()}, hours)
        self.assertEqual(set(expected["tables"]["order_items"]["sums"]), {"amount", "line", "quantity", "unit_price"})
        self.assertGreater(expected["tables"]["orders"]["rows"], 1000)

    def test_hours_add_up(self):
        for table in oracle.expect(self.shop, None, self.until)["tables"].values():
            hours = table["hours"].values()
            self.assertEqual(table["rows"], sum(hour["rows"] for hour in hours))
            self.assertEqual(int(table["digest"], 16), sum(int(hour["digest"], 16) for hour in hours) % 2**64)

    def test_parts_of_the_time_add_up(self):
        cuts = [None, ORIGIN + 1, ORIGIN + 777, ORIGIN + 3600, self.until]
        whole = oracle.expect(self.shop, None, self.until)["tables"]
        parts = [oracle.expect(self.shop, a, b)["tables"] for a, b in pairwise(cuts)]
        for table in TABLES:
            self.assertEqual(sum(part[table]["rows"] for part in parts), whole[table]["rows"])
            self.assertEqual(
                sum(int(part[table]["digest"], 16) for part in parts) % 2**64, int(whole[table]["digest"], 16)
            )

    def test_it_needs_no_output_and_a_written_one_changes_nothing(self):
        before = oracle.expect(self.shop, None, ORIGIN + UNTIL)
        self.assertEqual(list(self.output.iterdir()), [])
        self.assertEqual(json.loads(json.dumps(before)), before)
        run(self.shop, UNTIL)
        after = oracle.expect(self.shop, None, ORIGIN + UNTIL)
        self.assertEqual(after, {**before, "sealed_until": text_of(ORIGIN + UNTIL)})
        self.assertEqual(before["tables"]["orders"]["rows"], rows_of("orders", self.output).num_rows)

    def test_it_follows_the_journal_not_the_file(self):
        run(self.shop, 300)
        with shop_daemon(self.config(ecommerce__orders_per_second=3), until=UNTIL):
            pass
        told = oracle.expect(self.shop, None, ORIGIN + UNTIL)
        self.assertEqual(told, oracle.expect(self.config(ecommerce__orders_per_second=3), None, ORIGIN + UNTIL))
        run(self.config(ecommerce__orders_per_second=3), UNTIL)
        self.assertEqual(
            {table: each["rows"] for table, each in told["tables"].items()},
            {table: rows for table, (rows, *_) in figures(self.output).items()},
        )

    def test_what_ends_beyond_the_last_seal_says_so(self):
        run(self.shop, UNTIL)
        seal = text_of(ORIGIN + UNTIL)
        for by, parts in (("hour", "hours"), ("partition", "partitions")):
            told = oracle.expect(self.shop, None, ORIGIN + 2 * 86_400, "orders", by)
            self.assertEqual((told["sealed_until"], list(told["tables"])), (seal, ["orders"]))
            marks = [each.get("sealed_until") for each in told["tables"]["orders"][parts].values()]
            self.assertEqual(marks, [None] + [seal] * (len(marks) - 1), by)  # the first ends at midnight
            self.assertEqual(told["tables"]["orders"]["sealed_until"], seal)
        sealed = oracle.expect(self.shop, None, ORIGIN + UNTIL)["tables"]["orders"]
        self.assertNotIn("sealed_until", str(sealed))
        self.assertEqual({each.sealed_until for each in inspection.status(self.shop, clock=ManualClock())}, {seal})

    def test_partitions_add_up_to_the_same(self):
        by_hour = oracle.expect(self.shop, None, self.until)["tables"]
        for partition in ("day", "hour", "month"):
            by_partition = oracle.expect(
                self.config(partition=partition, ecommerce__orders_per_second=0.3), None, self.until, by="partition"
            )["tables"]
            for table, told in by_partition.items():
                rows: Counter[str] = Counter()
                for hour, each in by_hour[table]["hours"].items():
                    slot = slot_of(parse_time(hour))
                    rows[PartitionSpec.of(partition).path(slot)] += each["rows"]
                self.assertEqual({name: each["rows"] for name, each in told["partitions"].items()}, rows, partition)
                self.assertEqual((told["digest"], told["sums"]), (by_hour[table]["digest"], by_hour[table]["sums"]))

    def test_a_table_or_a_cut_that_there_is_not_is_refused(self):
        with self.assertRaisesRegex(UsageError, "no table 'order'"):
            oracle.expect(self.shop, None, self.until, "order")
        with self.assertRaisesRegex(UsageError, "no totals by 'day'"):
            oracle.expect(self.shop, None, self.until, by="day")

    def test_a_period_that_ends_before_it_begins_is_refused(self):
        with self.assertRaises(UsageError):
            oracle.expect(self.shop, ORIGIN + 10, ORIGIN + 9)
        with self.assertRaises(UsageError):
            oracle.expect(self.shop, None, ORIGIN - 1)
        self.assertEqual(oracle.expect(self.shop, None, ORIGIN)["tables"]["orders"]["rows"], 0)


if __name__ == "__main__":
    unittest.main()
