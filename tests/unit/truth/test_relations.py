"""Made tables as relations of DuckDB and lazy frames of polars: all rows, and no more made than is needed."""

from __future__ import annotations

import gc
import unittest
from datetime import UTC, datetime, timedelta
from unittest import mock

import duckdb
import polars as pl
from polars.testing import assert_frame_equal

import emitter
from emitter.errors import UsageError
from emitter.truth import made

DAY = datetime(2026, 1, 3, tzinfo=UTC)


class RelationsTest(unittest.TestCase):
    def setUp(self):
        self.shop = emitter.create_generator(
            "ecommerce", start="2026-01-01", end="2026-01-11", customers=50, products=20, orders_per_second=0.01
        )
        self.orders = pl.concat(list(self.shop.batches_for("orders")))
        self.made: list[tuple[set[str], float]] = []
        scan = made.MadeTable.scan

        def seen(table: made.MadeTable, *asked: object) -> made.Scan:
            found = scan(table, *asked)  # type: ignore[arg-type]
            self.made.append((set(found.columns), found.seconds / 3600))
            return found

        self.enterContext(mock.patch.object(made.MadeTable, "scan", seen))

    def test_a_relation_is_read_as_often_as_it_is_asked(self):
        connection = duckdb.connect()
        relation = emitter.relation(self.shop, "orders", connection)
        gc.collect()
        for _ in range(2):
            self.assertEqual(relation.count("*").fetchall(), [(self.orders.height,)])
        of_day = self.orders.filter(pl.col("event_time").dt.date() == DAY.date())
        asked = relation.filter("day = 3").aggregate("sum(amount)").fetchall()
        self.assertEqual(asked, [(of_day["amount"].sum(),)])
        self.assertEqual(self.made[-1], ({"amount", "day"}, 24))

    def test_a_scan_is_the_same_rows_and_makes_what_is_needed(self):
        scan = emitter.scan(self.shop, "orders")
        time, parts = pl.col("event_time"), ["year", "month", "day"]
        self.assertEqual(scan.collect_schema()["amount"], pl.Decimal(12, 2))
        assert_frame_equal(scan.drop(parts).collect(), self.orders)
        for predicate, hours in (
            ((time >= DAY) & (time < DAY + timedelta(hours=30)), 30),
            (time < DAY, 48),
            ((time < DAY) | (time > DAY + timedelta(days=7)), 72),
            ((time < DAY) | (pl.col("item_count") > 2), 240),
            (~(time < DAY), 192),
            (time.dt.hour() == 3, 240),
            (time.is_between(DAY, DAY + timedelta(hours=1)), 240),
        ):
            found = scan.filter(predicate).select("order_id", "amount").collect()
            assert_frame_equal(found, self.orders.filter(predicate).select("order_id", "amount"))
            self.assertEqual(self.made[-1][1], hours, str(predicate))
            self.assertNotIn("channel", self.made[-1][0])
        self.assertEqual(scan.filter(pl.col("day") == 3).collect()["day"].unique().to_list(), [3])
        self.assertEqual(self.made[-1][1], 24)
        self.assertEqual(scan.head(7).collect().height, 7)

    def test_a_query_gives_a_frame(self):
        found = emitter.query(self.shop, "SELECT channel, sum(amount) AS s FROM orders GROUP BY ALL ORDER BY channel")
        expected = self.orders.group_by("channel").agg(s=pl.col("amount").sum()).sort("channel")
        assert_frame_equal(found.with_columns(pl.col("s").cast(pl.Decimal(38, 2))), expected, check_dtypes=False)
        self.assertEqual(emitter.query(self.shop, "FROM orders", end="2026-01-02")["day"].unique().to_list(), [1])

    def test_what_cannot_be_asked_is_told(self):
        endless = emitter.create_generator("ecommerce", start="2026-01-01")
        for asked, said in (
            (lambda: emitter.query(endless, "FROM orders"), "has no end"),
            (lambda: emitter.query(self.shop, "FROM orders", start="2026-01-05", end="2026-01-04"), "before it begins"),
            (lambda: emitter.query(self.shop, 7), "no text"),
            (lambda: emitter.query(7, "FROM orders"), "what is asked about"),
            (lambda: emitter.scan(self.shop, "ordrs"), "choose from: customers"),
            (lambda: emitter.scan(self.shop, "orders", end="soon"), "end='soon'"),
            (lambda: emitter.relation(self.shop, "orders", duckdb.connect(), writer=3), "the writer"),
        ):
            with self.assertRaises(UsageError) as caught:
                asked()
            self.assertIn(said, str(caught.exception))
