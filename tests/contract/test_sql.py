"""SQL over the tables: every format on every storage, seen as another reader sees it; and nothing but reading."""

from __future__ import annotations

import os
import unittest
import unittest.mock
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from emitter.config import EmitterConfig
from emitter.errors import EmitterError, MissingJournalError, StorageError, UsageError
from emitter.sql.session import Interrupted, Session
from emitter.truth import oracle
from tests.support import s3_server
from tests.support.places import TARGETS, Place, Target, digest_of, new_place, shop_table
from tests.support.rest_catalog import RestCatalog
from tests.support.shop import ORIGIN, TABLES, run, shop
from tests.support.tls import TlsFront

MEMORY = 1 << 28
WRITES = (
    "CREATE TABLE mine AS FROM orders",
    "CREATE OR REPLACE VIEW orders AS SELECT 1",
    "INSERT INTO orders FROM orders",
    "UPDATE orders SET amount = 0",
    "DELETE FROM orders",
    "DROP VIEW orders",
    "TRUNCATE orders",
    "COPY orders TO '{folder}/stolen'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{folder}/stolen'",
    "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{folder}/stolen'",
    "-- harmless\nEXPLAIN /* so */ ANALYZE COPY (SELECT 1) TO '{folder}/stolen'",
    "EXPORT DATABASE '{folder}/stolen'",
    "ATTACH '{folder}/stolen' AS stolen",
    "DETACH memory",
    "USE memory",
    "INSTALL spatial",
    "LOAD '{folder}/stolen'",
    "SET memory_limit = '1TB'",
    "RESET memory_limit",
    "PRAGMA enable_profiling",
    "CALL pragma_version()",
    "CREATE SECRET (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "BEGIN",
    "CHECKPOINT",
    "VACUUM",
    "PREPARE mine AS SELECT 1",
    "SELECT 1; DROP VIEW orders",
    "FROM enable_logging(storage_path = '{folder}/stolen')",
    "SELECT (SELECT count(*) FROM ducklake_cleanup_old_files('lake', cleanup_all => true))",
    "WITH a AS (FROM sqlite_attach('{folder}/stolen')) FROM a",
    "DESCRIBE FROM query('FROM enable_logging()')",
    "FROM postgres_query('lake', 'DELETE FROM a')",
    "FROM json_execute_serialized_sql('')",
    "PIVOT orders ON channel USING sum(amount)",
)


def asked(session: Session, text: str) -> pa.Table:
    (statement,) = session.statements(text)
    result = session.run(statement)
    return pa.Table.from_batches(result.batches, result.schema)


def value(session: Session, text: str) -> object:
    return asked(session, text).column(0)[0].as_py()


def secrets_of(place: Place) -> list[str]:
    password = str(place.changes.get("output.catalog.uri", "")).rpartition("@")[0].rpartition(":")[2]
    return [secret for secret in (place.environ.get("AWS_SECRET_ACCESS_KEY"), password) if secret and "/" not in secret]


class SqlTest(unittest.TestCase):
    def test_each_format_gives_what_another_reader_finds_and_what_came_since(self) -> None:
        for target in TARGETS:
            with self.subTest(str(target)):
                place = new_place(self, target)
                run(place.config(), 60)
                with Session(place.config(), memory_bytes=MEMORY) as session:
                    before = value(session, "SELECT count(*) FROM orders")
                    run(place.config(), 360)
                    found = {
                        name: digest_of(
                            shop_table(name), asked(session, f"FROM {name}").drop_columns(self.hidden(target))
                        )
                        for name in TABLES
                    }
                    self.assertEqual(found, place.digests())
                    self.assertGreater(found["orders"][0], before)
                    days = "SELECT count(*) FROM orders WHERE event_time >= '2026-01-02'"
                    since = value(session, days)
                    self.assertGreater(since, 0)
                    if target.format != "iceberg":
                        month = "SELECT count(*) FROM Orders WHERE year = 2026 AND month = 1 AND day = 2"
                        self.assertEqual(value(session, month), since)
                    said = str(
                        [asked(session, f"FROM duckdb_{what}()") for what in ("secrets", "settings", "databases")]
                    )
                    for secret in secrets_of(place):
                        self.assertNotIn(secret, said)

    def test_a_rest_catalogue_is_asked_with_its_token_on_a_disk_and_on_s3(self) -> None:
        for target in (Target("iceberg"), Target("iceberg", "s3")):
            with self.subTest(str(target)):
                place = new_place(self, target)
                rest = self.enterContext(RestCatalog(place.uri, s3_server.shared() if target.storage == "s3" else None))
                place.changes["output.catalog.uri"] = rest.uri
                with unittest.mock.patch.dict(os.environ, {"PYICEBERG_CATALOG__EMITTER__TOKEN": rest.token}):
                    self.assert_right(place)
                    with Session(place.config(), memory_bytes=MEMORY) as session:
                        said = str([asked(session, f"FROM duckdb_{what}()") for what in ("secrets", "settings")])
                        self.assertNotIn(rest.token, said)

    def test_a_catalogue_in_postgres_is_asked_for_files_on_a_disk(self) -> None:
        for kind in ("iceberg", "ducklake"):
            with self.subTest(kind):
                self.assert_right(new_place(self, Target(kind, catalog="postgres")))

    def test_storage_with_an_authority_of_its_own_is_reached_by_every_format(self) -> None:
        front = self.enterContext(TlsFront(s3_server.shared().address, Path(self.enterContext(TemporaryDirectory()))))
        for target in TARGETS[4:]:
            with self.subTest(str(target)):
                place = new_place(self, target)
                run(place.config(), 60)
                place.changes["output.s3.endpoint_url"] = front.endpoint_url
                place.changes["output.s3.ca_file"] = str(front.ca_file)
                with Session(place.config(), memory_bytes=MEMORY) as session:
                    self.assertGreater(value(session, "SELECT count(*) FROM orders"), 0)

    def assert_right(self, place: Place) -> None:
        """SQL finds what the run has to have."""
        run(place.config(), 60)
        truth = oracle.expect(place.config(), None, ORIGIN + 60)["tables"]
        with Session(place.config(), memory_bytes=MEMORY) as session:
            for name in TABLES:
                self.assertEqual(value(session, f"SELECT count(*) FROM {name}"), truth[name]["rows"], name)

    @staticmethod
    def hidden(target: object) -> list[str]:
        return [] if getattr(target, "format", "") == "iceberg" else ["year", "month", "day"]

    def test_a_table_without_rows_has_its_columns(self) -> None:
        for target in TARGETS[:4]:
            with self.subTest(str(target)):
                place = new_place(self, target)
                run(place.config(ecommerce__orders_per_second=0.000001), 1)
                with Session(place.config(ecommerce__orders_per_second=0.000001), memory_bytes=MEMORY) as session:
                    self.assertEqual(value(session, "SELECT count(*) FROM payments WHERE amount > 1"), 0)
                    types = asked(session, "DESCRIBE payments").to_pydict()
                    self.assertIn("TIMESTAMP WITH TIME ZONE", types["column_type"])

    def test_a_lake_cannot_be_written_to_by_a_function_that_gets_through(self) -> None:
        place = new_place(self, TARGETS[3])
        run(place.config(), 120)
        with Session(place.config(), memory_bytes=MEMORY) as session:
            self.assertGreater(value(session, "SELECT count(*) FROM ducklake_snapshots('lake')"), 1)
            with self.assertRaisesRegex(duckdb.Error, "read-only"):
                session._connection.execute("DELETE FROM lake.main.orders")


class ParquetCase(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(TemporaryDirectory()))
        self.config: EmitterConfig = shop(self.folder / "out")
        run(self.config, 120)

    def session(self, memory_bytes: int = MEMORY) -> Session:
        return self.enterContext(Session(self.config, memory_bytes=memory_bytes))


class OnlyReadingTest(ParquetCase):
    def test_what_does_more_than_to_read_is_refused_and_leaves_nothing(self) -> None:
        session = self.session()
        before = sorted(path for path in self.folder.rglob("*"))
        for text in WRITES:
            with self.subTest(text), self.assertRaisesRegex(UsageError, "refused") as caught:
                session.statements(text.replace("{folder}", str(self.folder)))
            self.assertEqual(caught.exception.exit_code, 2)
        self.assertEqual(sorted(path for path in self.folder.rglob("*")), before)
        self.assertGreater(value(session, "SELECT count(*) FROM orders"), 0)

    def test_every_way_to_ask_is_allowed(self) -> None:
        session = self.session()
        for text in (
            "FROM orders",
            "VALUES (1)",
            "TABLE orders",
            "DESCRIBE orders",
            "SHOW TABLES",
            "SUMMARIZE orders",
            "EXPLAIN FROM orders",
            "EXPLAIN ANALYZE FROM orders",
            "EXPLAIN (FORMAT json) FROM orders",
            "WITH RECURSIVE a AS (SELECT 1) FROM a",
            "PIVOT orders ON channel IN ('app') USING sum(amount)",
            "FROM range(3) UNION ALL SELECT unnest([1])",
            f"SELECT count(*) FROM read_parquet('{self.folder}/out/orders/**/*.parquet')",
            "FROM query_table('orders')",
            "FROM orders o JOIN customers USING (customer_id) WHERE order_id IN (SELECT order_id FROM payments)",
        ):
            with self.subTest(text):
                self.assertGreater(asked(session, text).num_rows, 0)

    def test_a_name_never_means_a_variable_of_this_program(self) -> None:
        session = self.session()
        settings = pa.table({"a": [1]})
        self.assertEqual(settings.num_rows, 1)
        with self.assertRaisesRegex(UsageError, "settings does not exist"):
            asked(session, "FROM settings")


class FailuresTest(ParquetCase):
    def test_errors_of_sql_say_which_tables_there_are(self) -> None:
        session = self.session()
        for text in ("SELEC 1", "FROM nowhere", "SELECT nothing FROM orders", "SELECT 'a'::INTEGER", "SELECT $1"):
            with self.subTest(text), self.assertRaises(UsageError) as caught:
                asked(session, text)
            self.assertIn("customers, products, orders", caught.exception.hint)
        self.assertEqual(value(session, "SELECT 1"), 1)

    def test_a_file_that_is_gone_is_told_and_the_next_statement_goes_on(self) -> None:
        place = new_place(self, TARGETS[1])
        run(place.config(), 120)
        with Session(place.config(), memory_bytes=MEMORY) as session:
            (file, *_) = sorted(Path(place.uri, "orders").rglob("*.parquet"))
            away = file.rename(f"{file}.away")
            with self.assertRaises(StorageError) as caught:
                asked(session, "SELECT sum(amount) FROM orders")
            self.assertIn("ask again", caught.exception.hint)
            away.rename(file)
            self.assertGreater(value(session, "SELECT sum(amount) FROM orders"), 0)

    def test_more_memory_than_allowed_is_told(self) -> None:
        session = self.session(memory_bytes=20_000_000)
        with self.assertRaises(UsageError) as caught:
            asked(session, "SELECT list(range) FROM range(100_000_000)")
        self.assertIn("--memory", caught.exception.hint)

    def test_an_interrupt_ends_what_is_running(self) -> None:
        session = self.session()
        (statement,) = session.statements("FROM range(1_000_000_000)")
        result = session.run(statement)
        next(result.batches)
        session.interrupt()
        with self.assertRaises(Interrupted):
            list(result.batches)
        self.assertEqual(value(session, "SELECT 1"), 1)

    def test_no_run_and_another_run_are_told(self) -> None:
        with self.assertRaises(MissingJournalError):
            Session(shop(self.folder / "nothing"), memory_bytes=MEMORY)
        self.assertFalse((self.folder / "nothing").exists())
        with self.assertRaises(EmitterError):
            Session(shop(self.folder / "out", {"seed": 7}), memory_bytes=MEMORY)

    def test_nothing_is_left_in_the_temporary_folder(self) -> None:
        with TemporaryDirectory() as folder, unittest.mock.patch("tempfile.tempdir", folder):
            with Session(self.config, memory_bytes=MEMORY) as session:
                asked(session, "FROM orders")
                self.assertEqual(len(list(Path(folder).iterdir())), 1)
            self.assertEqual(list(Path(folder).iterdir()), [])


if __name__ == "__main__":
    unittest.main()
