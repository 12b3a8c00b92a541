"""A quarter of the whole shop, checked on its rows by SQL: references, sums, prices, and what is bought."""

from __future__ import annotations

import unittest
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa

from emitter import arrow
from emitter.clock import parse_time, slot_of
from emitter.generators.ecommerce.options import EcommerceOptions
from emitter.generators.kit.growth import DAY_SECONDS
from emitter.generators.shop.generator import ShopGenerator
from emitter.model import Slice, Window

ORIGIN = slot_of(parse_time("2026-09-20T06:30:00Z"))
CUSTOMERS, PRODUCTS = 20_000, 2_000
QUARTER = Window(ORIGIN, ORIGIN + 92 * DAY_SECONDS)
OPTIONS = EcommerceOptions(
    customers=CUSTOMERS, products=PRODUCTS, orders_per_second=CUSTOMERS * 4 / (365 * DAY_SECONDS), price_period_days=10
)


@cache
def tables() -> dict[str, pa.Table]:
    shop = ShopGenerator(seed=11, origin_slot=ORIGIN, options=OPTIONS)
    parts: dict[str, list[pa.Table]] = {}
    for frame in shop.rows(QUARTER, Slice(), shop.tables()):
        parts.setdefault(frame.table, []).append(arrow.to_table(shop.table(frame.table), frame.rows))
    return {name: pa.concat_tables(found) for name, found in parts.items()}


class QuarterTest(unittest.TestCase):
    def setUp(self) -> None:
        self.connection = duckdb.connect()
        self.addCleanup(self.connection.close)
        self.connection.execute("SET TimeZone = 'UTC'")
        for name, table in tables().items():
            self.connection.register(name, table)

    def one(self, sql: str) -> Any:
        row = self.connection.execute(sql).fetchone()
        assert row is not None
        return row[0] if len(row) == 1 else row

    def assert_none(self, sql: str) -> None:
        self.assertEqual(self.one(f"SELECT count(*) FROM ({sql})"), 0, sql)

    def test_every_key_is_unique_and_every_reference_resolves(self) -> None:
        for table, key in (
            ("customers", "customer_id"),
            ("products", "product_id, valid_from"),
            ("exchange_rates", "currency, event_time"),
            ("orders", "order_id"),
            ("order_items", "order_item_id"),
        ):
            self.assert_none(f"SELECT {key} FROM {table} GROUP BY ALL HAVING count(*) > 1")
        self.assert_none("FROM orders ANTI JOIN customers USING (customer_id)")
        self.assert_none("FROM order_items ANTI JOIN orders USING (order_id)")
        self.assert_none("FROM order_items ANTI JOIN products USING (product_id)")
        self.assert_none("FROM orders ANTI JOIN exchange_rates USING (currency)")

    def test_nobody_orders_before_signing_up_and_nothing_before_or_after_its_sale(self) -> None:
        self.assert_none("FROM orders o JOIN customers c USING (customer_id) WHERE o.event_time < c.event_time")
        self.assert_none(
            """FROM order_items i
            JOIN (SELECT product_id, min(event_time) AS first, min(ends_at) AS ends FROM products GROUP BY ALL) p
            USING (product_id) WHERE i.event_time < p.first OR i.event_time > ends + INTERVAL 1 SECOND"""
        )
        self.assertGreater(self.one("SELECT count(*) FROM products WHERE ends_at < TIMESTAMPTZ '2026-12-20'"), 20)

    def test_lives_follow_their_orders_and_give_back_no_more_than_was_taken(self) -> None:
        for table in ("payments", "shipments", "returns"):
            self.assert_none(f"FROM {table} ANTI JOIN orders USING (order_id)")
            self.assert_none(f"FROM {table} t JOIN orders o USING (order_id) WHERE t.event_time <= o.event_time")
        self.assert_none("FROM returns r ANTI JOIN order_items i ON r.order_item_id = i.order_item_id")
        self.assert_none(
            """SELECT order_id FROM payments JOIN orders USING (order_id) GROUP BY order_id, total, orders.currency
            HAVING coalesce(sum(amount) FILTER (status IN ('partly_refunded', 'refunded', 'charged_back')), 0) > total
                OR coalesce(max(amount) FILTER (status = 'captured'), total) != total
                OR any_value(payments.currency) != orders.currency"""
        )
        self.assert_none(
            """FROM payments p JOIN (SELECT order_id, sum(amount) AS back FROM returns WHERE status = 'received'
                GROUP BY ALL) r USING (order_id) WHERE p.status = 'partly_refunded' AND p.amount != r.back
                AND NOT EXISTS (FROM shipments s WHERE s.order_id = p.order_id AND s.status = 'lost')"""
        )
        declined, returned = self.one(
            """SELECT (SELECT avg((status = 'declined')::int) FROM payments WHERE status IN ('authorised', 'declined')),
            (SELECT count(DISTINCT return_id) / (SELECT count(*) FROM order_items) FROM returns)"""
        )
        self.assertTrue(0.03 < declined < 0.05, declined)
        self.assertTrue(0.08 < returned < 0.22, returned)

    def test_orders_are_the_sums_of_their_items(self) -> None:
        self.assert_none(
            """FROM orders o LEFT JOIN (
                SELECT order_id, count(*) AS lines, max(line) AS last, sum(quantity * unit_price) AS subtotal,
                    sum(discount) AS discount, sum(tax) AS tax, sum(amount) AS amount FROM order_items GROUP BY ALL
            ) i USING (order_id)
            WHERE i.order_id IS NULL OR item_count != lines OR item_count != last OR o.subtotal != i.subtotal
                OR o.discount != i.discount OR o.tax != i.tax OR total != i.amount + shipping"""
        )
        self.assert_none("FROM order_items WHERE amount != quantity * unit_price - discount + tax")
        self.assert_none("SELECT order_id, product_id FROM order_items GROUP BY ALL HAVING count(*) > 1")

    def test_a_price_is_the_products_at_that_moment_at_the_rate_of_the_day(self) -> None:
        # JPY has no hundredths, CHF none but fives.
        self.assert_none(
            """SELECT i.unit_price, round(round(p.price * r.rate, 2) / s.step, 0) * s.step AS expected
            FROM order_items i JOIN orders o USING (order_id)
            ASOF JOIN products p ON i.product_id = p.product_id AND i.event_time > p.valid_from
            ASOF JOIN exchange_rates r ON o.currency = r.currency AND o.event_time >= r.event_time
            JOIN (SELECT DISTINCT currency, CASE currency WHEN 'JPY' THEN 1 WHEN 'CHF' THEN 0.05 ELSE 0.01 END AS step
                FROM orders) s ON s.currency = o.currency
            WHERE abs(i.unit_price - expected) > s.step * 0.51 AND o.event_time > TIMESTAMPTZ '2026-09-20 06:30:01'"""
        )

    def test_customers_order_as_people_do(self) -> None:
        once, busiest, top = self.one(
            """SELECT avg((n = 1)::int), max(n), sum(n) FILTER (WHERE place <= buyers * 0.01) / sum(n)
            FROM (SELECT count(*) AS n, row_number() OVER (ORDER BY count(*) DESC) AS place,
                count(*) OVER () AS buyers FROM orders GROUP BY customer_id)"""
        )
        self.assertGreater(once, 0.4)
        self.assertLess(busiest, 60)
        self.assertTrue(0.04 < top < 0.12, top)

    def test_orders_come_by_day_where_their_customers_live(self) -> None:
        for country, zone in (("DE", "Europe/Berlin"), ("JP", "Asia/Tokyo"), ("GB", "Europe/London")):
            night, evening = self.one(
                f"""SELECT count(*) FILTER (WHERE h BETWEEN 2 AND 4), count(*) FILTER (WHERE h BETWEEN 19 AND 21)
                FROM (SELECT hour(event_time AT TIME ZONE '{zone}') AS h FROM orders WHERE country = '{country}')"""
            )
            self.assertGreater(evening, 4 * night, country)

    def test_baskets_show_what_goes_together(self) -> None:
        """The best pair is bought together far more often than chance has it."""
        pairs, lift = self.one(
            """WITH baskets AS (SELECT order_id, product_id FROM order_items JOIN orders USING (order_id)
                WHERE item_count > 1),
            single AS (SELECT product_id, count(*) AS n FROM baskets GROUP BY ALL),
            pair AS (SELECT a.product_id AS a, b.product_id AS b, count(*) AS n FROM baskets a JOIN baskets b
                ON a.order_id = b.order_id AND a.product_id < b.product_id GROUP BY ALL)
            SELECT pair.n, pair.n * (SELECT count(DISTINCT order_id) FROM baskets) / (x.n * y.n)
            FROM pair JOIN single x ON x.product_id = a JOIN single y ON y.product_id = b
            ORDER BY pair.n DESC LIMIT 1"""
        )
        self.assertGreater(pairs, 8)
        self.assertGreater(lift, 5)

    def test_seasons_change_what_is_bought(self) -> None:
        autumn, december = (
            self.one(
                f"""SELECT avg((department = 'Toys')::int) FROM order_items JOIN
                (SELECT DISTINCT product_id, department FROM products) USING (product_id)
                WHERE month(event_time) = {month}"""
            )
            for month in (9, 12)
        )
        self.assertGreater(december, 1.3 * autumn)

    def test_discount_codes_are_given_in_their_months_alone(self) -> None:
        self.assert_none("FROM orders WHERE discount_code = 'BLACKWEEK25' AND month(event_time) != 11")
        share = self.one("SELECT avg((discount_code = 'BLACKWEEK25')::int) FROM orders WHERE month(event_time) = 11")
        self.assertGreater(share or 0, 0.1)
        self.assert_none("FROM orders WHERE (discount_code IS NULL) != (discount = 0) AND subtotal > 1")


if __name__ == "__main__":
    unittest.main()
