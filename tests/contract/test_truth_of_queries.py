"""The truth of a query is what the same query gives over the tables as they were written."""

from __future__ import annotations

import random
import unittest
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier
from unittest.mock import patch

import pyarrow as pa
import pyarrow.dataset

from emitter.clock import parse_time, slot_of, text_of
from emitter.config import EmitterConfig
from emitter.errors import UsageError
from emitter.sql.session import Session
from emitter.truth.made import MadeTable
from emitter.truth.questions import Interrupted, Truth
from emitter.truth.reference import reference_queries
from emitter.truth.sources import configured_source
from tests.support.places import TARGETS, new_place
from tests.support.shop import ORIGIN, TABLES, run, shop

MEMORY = 1 << 28
UNTIL = 1500
NUMBERS = {
    "customers": ["customer_id"],
    "products": ["price", "product_id"],
    "orders": ["amount", "item_count", "customer_id"],
    "order_items": ["amount", "unit_price", "quantity", "line"],
    "payments": ["amount", "attempt"],
}
TEXTS = {
    "customers": ["country", "segment"],
    "products": ["category"],
    "orders": ["channel", "currency"],
    "order_items": ["product_id"],
    "payments": ["status", "method"],
}
JOINS = (
    ("orders", "customers", "customer_id"),
    ("order_items", "orders", "order_id"),
    ("payments", "orders", "order_id"),
    ("orders", "orders", "order_id"),
)


def random_query(chance: random.Random) -> str:
    """A query that has one answer, from a small grammar."""

    def time() -> str:
        return f"TIMESTAMPTZ '{text_of(ORIGIN + chance.randrange(-100, UNTIL + 100))}'"

    def condition(alias: str, table: str) -> str:
        number, text = chance.choice(NUMBERS[table]), chance.choice(TEXTS[table])
        return chance.choice(
            [
                f"{alias}.event_time {chance.choice(['<', '<=', '>', '>=', '<>'])} {time()}",
                f"{alias}.event_time BETWEEN {time()} AND {time()}",
                f"NOT ({alias}.event_time < {time()})",
                f"date_trunc('minute', {alias}.event_time) = date_trunc('minute', {time()})",
                f"({alias}.event_time < {time()} OR {alias}.{number} > {chance.randrange(60)})",
                f"{alias}.{number} {chance.choice(['<', '>', '=', '<>'])} {chance.randrange(60)}",
                f"{alias}.{number} IN ({chance.randrange(9)}, {chance.randrange(9)}, {chance.randrange(60)})",
                f"{alias}.{text}::VARCHAR LIKE '%{chance.choice('aeiou1')}%'",
                f"{alias}.{text} IS NOT NULL",
                f"{alias}.event_time IS NULL",
                f"EXISTS (SELECT 1 FROM orders x WHERE x.customer_id = {alias}.{number} AND x.event_time > {time()})",
            ]
        )

    def conditions(*named: tuple[str, str]) -> str:
        parts = [condition(*chance.choice(named)) for _ in range(chance.randrange(4))]
        return f" WHERE {f' {chance.choice(["AND", "AND", "OR"])} '.join(parts)}" if parts else ""

    first, other, key = chance.choice(JOINS)
    kind = chance.randrange(5)
    if kind == 0:
        table = chance.choice(TABLES)
        return f"SELECT * FROM {table} t{conditions(('t', table))}"
    if kind == 1:
        table = chance.choice(TABLES)
        number, text = chance.choice(NUMBERS[table]), chance.choice(TEXTS[table])
        return (
            f"SELECT {text} AS k, count(*) AS n, sum({number}) AS s, min(event_time) AS a, max({number}) AS m"
            f" FROM {table} t{conditions(('t', table))} GROUP BY ALL"
        )
    if kind == 2:
        join = chance.choice(["JOIN", "LEFT JOIN", "FULL JOIN"])
        return (
            f"SELECT count(*) AS n, sum(a.{chance.choice(NUMBERS[first])}) AS s, max(b.event_time) AS t"
            f" FROM {first} a {join} {other} b ON a.{key} = b.{key}{conditions(('a', first), ('b', other))}"
        )
    if kind == 3:
        return (
            f"WITH c AS (SELECT {key}, count(*) AS n FROM {first} t{conditions(('t', first))} GROUP BY ALL)"
            f" SELECT x.{key}, x.n, y.n AS m FROM c x LEFT JOIN c y ON x.{key} = y.{key} + 1"
        )
    return (
        f"SELECT {key}, event_time FROM {first} t{conditions(('t', first))}"
        f" {chance.choice(['UNION ALL', 'EXCEPT', 'INTERSECT'])} SELECT {key}, event_time FROM {other} t"
    )


def rows_of(table: pa.Table) -> list[str]:
    """Rows in an order of their own, as what they are."""
    return sorted(map(repr, zip(*table.to_pydict().values(), strict=True)))


def written(session: Session, text: str) -> pa.Table:
    (statement,) = session.statements(text)
    result = session.run(statement)
    return pa.Table.from_batches(result.batches, result.schema)


def true(truth: Truth, text: str) -> pa.Table:
    answer = truth.ask(text)
    return pa.Table.from_batches(answer.batches, answer.schema)


class TruthOfQueriesTest(unittest.TestCase):
    def folder(self) -> Path:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return Path(folder.name)

    def agree(self, config: EmitterConfig, queries: list[str], to_slot: int | None = None) -> int:
        """How many rows the answers have."""
        rows = 0
        source = configured_source(config, None, to_slot).source
        with Session(config, memory_bytes=MEMORY) as session, Truth(source, memory_bytes=MEMORY) as truth:
            for text in queries:
                found, expected = written(session, text), true(truth, text)
                self.assertEqual(expected.schema, found.schema, text)
                self.assertEqual(rows_of(expected), rows_of(found), text)
                rows += found.num_rows
        return rows

    def test_random_queries_over_parquet(self):
        config = shop(self.folder())
        run(config, UNTIL)
        chance = random.Random(5)
        self.assertGreater(self.agree(config, [random_query(chance) for _ in range(60)]), 1000)

    def test_what_comes_along(self):
        config = shop(self.folder())
        run(config, UNTIL)
        queries = reference_queries()
        self.assertEqual(len(queries), 8)
        self.assertGreater(self.agree(config, [query.text for query in queries.values()]), 200)
        for name, query in queries.items():
            self.assertTrue(query.text.startswith(f"-- {name}\n-- {query.summary}\n"), name)
            self.assertGreater(self.agree(config, [query.text]), 0, name)

    def test_every_format(self):
        for target in TARGETS[1:4]:
            with self.subTest(str(target)):
                place = new_place(self, target)
                run(place.config(), 300)
                chance = random.Random(7)
                self.agree(place.config(), ["SELECT * FROM orders", *(random_query(chance) for _ in range(8))])

    def test_two_shards_and_a_change_of_rates(self):
        folder = self.folder()
        for until, rate in ((300, 0.5), (600, 2.0)):
            for index in (0, 1):
                changes = {"shard.count": 2, "shard.index": index, "ecommerce.orders_per_second": rate}
                config = shop(folder, changes)
                run(config, until)
        chance = random.Random(11)
        queries = [random_query(chance) for _ in range(8)]
        by_minute = "SELECT date_trunc('minute', event_time) AS m, count(*) AS n FROM orders GROUP BY ALL ORDER BY m"
        self.agree(config, [by_minute, *queries])
        with Truth(configured_source(config).source) as truth:
            counts = true(truth, by_minute)["n"].to_pylist()
        self.assertGreater(sum(counts[5:10]), 2 * sum(counts[:5]))

    def test_without_an_output_it_needs_an_end_alone(self):
        config = shop(self.folder())
        with self.assertRaisesRegex(UsageError, "nothing says where to end"):
            configured_source(config)
        with Truth(configured_source(config, None, ORIGIN + UNTIL).source) as truth:
            before = true(truth, "SELECT * FROM order_items")
        self.assertEqual(list(Path(config.output.uri).iterdir()), [])
        run(config, UNTIL)
        with Session(config, memory_bytes=MEMORY) as session:
            self.assertEqual(rows_of(written(session, "SELECT * FROM order_items")), rows_of(before))
        self.assertIsInstance(before["amount"][0].as_py(), Decimal)
        asked = configured_source(config, None, ORIGIN + UNTIL + 9999)
        self.assertEqual(asked.sealed_until, text_of(ORIGIN + UNTIL))


class QuestionsTest(unittest.TestCase):
    """What is made for a query, and which queries are refused."""

    def setUp(self):
        folder = self.enterContext(TemporaryDirectory())
        config = shop(Path(folder), {"clock.start": "2026-01-01", "ecommerce.orders_per_second": 0.01})
        self.source = configured_source(config, None, slot_of(parse_time("2026-01-11"))).source
        self.truth = self.enterContext(Truth(self.source))

    def hours(self, text: str) -> list[tuple[str, float]]:
        return [(reading.table, reading.hours) for reading in self.truth.explain(text)]

    def test_only_the_hours_that_a_filter_leaves_are_made(self):
        for condition, hours in (
            ("true", 240),
            ("event_time < '2026-01-02'", 24),
            ("event_time >= '2026-01-03 10:30:00Z' AND event_time < '2026-01-03 11:30:00Z'", 2),
            ("year = 2026 AND month = 1 AND day IN (3, 4)", 48),
            ("year = 2025", 0),
            ("extract(hour FROM event_time) = 3", 240),  # which DuckDB keeps for itself
        ):
            self.assertEqual(
                self.hours(f"SELECT count(*) FROM orders WHERE {condition}"), [("orders", hours)], condition
            )
            counted = true(self.truth, f"SELECT count(*) AS n FROM orders WHERE {condition}")["n"][0].as_py()
            whole = true(self.truth, f"SELECT count(*) FILTER (WHERE {condition}) AS n FROM orders")["n"][0].as_py()
            self.assertEqual(counted, whole, condition)

    def test_each_reading_is_told_with_its_columns(self):
        readings = self.truth.explain(
            "SELECT a.amount FROM orders a JOIN orders b USING (order_id) WHERE b.event_time < '2026-01-02'"
        )
        told = sorted((reading.table, reading.hours, *reading.columns) for reading in readings)
        self.assertEqual(told, [("orders", 24.0, "order_id", "event_time"), ("orders", 240.0, "order_id", "amount")])
        self.assertEqual(readings[0].rows > 0, True)

    def test_what_has_no_one_answer_or_is_no_query_is_refused(self):
        for text, said in (
            ("SELEC 1", "syntax error"),
            ("", "0 statements"),
            ("SELECT 1; SELECT 2", "2 statements"),
            ("FROM ordrs", "did you mean orders"),
            ("SELECT amuont FROM orders", '"amount"'),
            ("DROP VIEW orders", "only reads"),
            ("ATTACH 'x.db'", "only reads"),
            ("COPY orders TO 'x.csv'", "only reads"),
            ("EXPLAIN SELECT 1", "--explain"),
            ("FROM read_csv('/etc/passwd')", "refused in a FROM"),
            ("FROM '/etc/passwd.csv'", "no file is read"),
            ("SELECT now()", "clock of this machine"),
            ("SELECT current_timestamp", "clock of this machine"),
            ("FROM orders WHERE event_time < today()", "clock of this machine"),
            ("SELECT age(event_time) FROM orders", "clock of this machine"),
            ("SELECT event_time.age() FROM orders", "clock of this machine"),
            ("SELECT random()", "another result each time"),
            ("SELECT count(*) FROM orders ORDER BY UUID()", "another result each time"),
            ("FROM orders USING SAMPLE 3 ROWS", "a sample is refused"),
            ("FROM orders TABLESAMPLE 10%", "a sample is refused"),
            ("SELECT approx_quantile(amount, 0.5) FROM orders", "quantile_cont"),
        ):
            with self.assertRaises(UsageError, msg=text) as caught:
                self.truth.ask(text)
            self.assertIn(said, str(caught.exception), text)
        self.assertEqual(true(self.truth, "SELECT 1 AS one")["one"].to_pylist(), [1])

    def test_many_read_a_table_at_once(self):
        for _ in range(5):
            table = MadeTable(self.source, self.source.generator.table("orders"))
            begin = Barrier(8)

            def read(_: int, table: MadeTable = table, begin: Barrier = begin) -> pa.Table:
                begin.wait()
                return table.scanner(filter=pa.dataset.field("day") > 7).to_reader().read_all()

            with ThreadPoolExecutor(8) as pool:
                first, *others = pool.map(read, range(8))
            self.assertGreater(first.num_rows, 1000)
            self.assertTrue(all(other.equals(first) for other in others))

    def test_a_fault_in_making_is_told_as_one(self):
        generator = type(self.source.generator)
        with patch.object(generator, "rows", side_effect=ZeroDivisionError), self.assertRaises(ZeroDivisionError):
            true(self.truth, "SELECT count(*) FROM orders")

    def test_what_does_not_fit_in_memory_is_spilled(self):
        with Truth(self.source, memory_bytes=80_000_000) as truth:
            text = "SELECT payment_id, md5(payment_id::VARCHAR || range) AS m FROM payments, range(100) ORDER BY m"
            answer = truth.ask(text)
            rows = sum(batch.num_rows for batch in answer.batches)
        self.assertGreater(rows, 1_500_000)  # of more than sixty bytes each
        with Truth(self.source, memory_bytes=1_000_000) as truth, self.assertRaisesRegex(UsageError, "--memory"):
            list(truth.ask("SELECT list(payment_id ORDER BY amount) FROM payments, range(99)").batches)

    def test_who_interrupts_ends_it(self):
        answer = self.truth.ask("SELECT * FROM orders")
        next(answer.batches)
        self.truth.interrupt()
        with self.assertRaises(Interrupted):
            list(answer.batches)
        self.assertEqual(true(self.truth, "SELECT 1 AS one")["one"].to_pylist(), [1])
