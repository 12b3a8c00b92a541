"""One shop in every format, on every storage: the same rows, each once, whatever happens on the way."""

from __future__ import annotations

import json
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import deltalake
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.transaction import AddAction
from pyiceberg.catalog.sql import SqlCatalog

from emitter.config import EmitterConfig
from emitter.run.opening import open_tables
from emitter.testing import ManualClock
from emitter.truth import inspection, oracle
from tests.support.places import TARGETS, Place, Target, extension_path, new_place
from tests.support.shop import ORIGIN, TABLES, crash, finish, run, shop_daemon

BATCHES, BATCH_SECONDS = 4, 15
UNTIL = BATCHES * BATCH_SECONDS
CHANGES: dict[str, Any] = {"clock__batch_seconds": BATCH_SECONDS, "ecommerce__orders_per_second": 0.2}


def truth(config: EmitterConfig, until: int) -> dict[str, tuple[int, str]]:
    """By table, how many rows there should be, and their order-free digest."""
    tables = oracle.expect(config, None, ORIGIN + until)["tables"]
    return {name: (tables[name]["rows"], tables[name]["digest"]) for name in TABLES}


class FormatCase(unittest.TestCase):
    maxDiff = None

    def place(self, target: Target) -> Place:
        return new_place(self, target)

    def assert_exact(self, place: Place, until: int, **changes: Any) -> dict[str, tuple[int, str]]:
        """Another reader and our own see every row once, and the output is as complete as it says. What the other
        reader saw, as `truth` says it.
        """
        config = place.config(**{**CHANGES, **changes})
        expected, found = truth(config, until), place.digests()
        self.assertEqual(found, expected)
        verification = oracle.verify(config)
        self.assertTrue(verification.ok, verification)
        for table in inspection.status(config, clock=ManualClock()):
            self.assertEqual(table.rows, expected[table.table][0])
        return found


class SameShopTest(FormatCase):
    def test_the_rows_are_the_same_in_every_format(self):
        digests = {}
        for target in TARGETS:
            with self.subTest(str(target)):
                place = self.place(target)
                run(place.config(**CHANGES), UNTIL)
                digests[str(target)] = self.assert_exact(place, UNTIL)
        self.assertEqual(len(digests), len(TARGETS))
        self.assertEqual(len(set(map(str, digests.values()))), 1)

    def test_a_repeat_does_nothing_and_a_later_end_goes_on(self):
        for target in TARGETS[:4]:
            with self.subTest(str(target)):
                place = self.place(target)
                run(place.config(**CHANGES), 120)
                repeated = run(place.config(**CHANGES), 120)
                self.assertEqual([report for report in repeated if report.commits or report.rows], [])
                run(place.config(**CHANGES), 180)
                self.assert_exact(place, 180)

    def test_two_shards_at_once_add_up(self):
        for target in TARGETS[1:4]:
            with self.subTest(str(target)):
                place = self.place(target)
                configs = [place.config(**CHANGES, shard__count=2, shard__index=index) for index in range(2)]
                with (
                    shop_daemon(configs[0], until=120) as first,
                    shop_daemon(configs[1], until=120) as second,
                ):
                    while not (first.finished and second.finished):
                        for daemon in (first, second):
                            if not daemon.finished:
                                daemon.step()
                self.assert_exact(place, 120, shard__count=2)


class FirstStartTest(FormatCase):
    def test_shards_that_start_now_for_the_first_time_at_once_are_of_one_run(self):
        """While one looks at the empty output, another begins the run, of an earlier second, and writes to it."""
        for target in TARGETS[:4]:
            with self.subTest(str(target)):
                place, runs, clock = self.place(target), [], ManualClock()
                shards = [place.config(**CHANGES, clock__start="now", shard__count=2, shard__index=i) for i in range(2)]

                def start(shards=shards, clock=clock, runs=runs) -> None:
                    with shop_daemon(shards.pop(), clock=clock) as daemon:
                        daemon.step()
                        runs.append(daemon.status().run_id)

                def late(*arguments: Any, shards=shards, clock=clock, start: Callable[[], None] = start) -> None:
                    clock.advance(2)
                    if shards:
                        start()
                    open_tables(*arguments)

                with patch("emitter.run.opening.open_tables", late):
                    start()
                self.assertEqual(len(set(runs)), 1)
                self.assertEqual(len(runs), 2)


class OthersTest(FormatCase):
    """What other tools do to the tables: a verdict is of what readers see."""

    def written(self, target: Target) -> Place:
        place = self.place(target)
        run(place.config(**CHANGES), UNTIL)
        return place

    def lake(self, place: Place) -> duckdb.DuckDBPyConnection:
        connected = self.enterContext(duckdb.connect(config={"autoinstall_known_extensions": "false"}))
        for name in ("ducklake", "sqlite_scanner"):
            connected.execute(f"LOAD '{extension_path(name)}'")
        path = str(place.changes["output.catalog.uri"]).removeprefix("sqlite:///")
        connected.execute(f"SET TimeZone = 'UTC'; ATTACH 'ducklake:sqlite:{path}' AS lake")
        return connected

    def files(self, place: Place) -> list[Path]:
        return sorted(Path(place.uri, "orders").rglob("*.parquet"))

    def register_again(self, place: Place, path: Path) -> None:
        match place.target.format:
            case "delta":
                handle = deltalake.DeltaTable(f"{place.uri}/orders")
                (known,) = [
                    added
                    for added in pa.table(handle.get_add_actions()).to_pylist()
                    if added["path"].endswith(path.name)
                ]
                values = {name: str(value) for name, value in known["partition"].items()}
                stats = json.dumps({"numRecords": known["num_records"]})
                again = AddAction(known["path"], known["size_bytes"], values, 0, True, stats)
                handle.create_write_transaction([again], "append", handle.schema(), list(values))
            case "iceberg":
                catalog = SqlCatalog("emitter", uri=place.changes["output.catalog.uri"])
                catalog.load_table("emitter.orders").add_files([f"file://{path}"], check_duplicate_files=False)
            case "ducklake":
                add = f"CALL ducklake_add_data_files('lake', 'orders', '{path}', hive_partitioning => true)"
                self.lake(place).execute(add)

    def test_rows_of_a_file_that_is_registered_twice_are_there_as_often_as_readers_see_them(self):
        for target in TARGETS[1:4]:
            with self.subTest(str(target)):
                place = self.written(target)
                self.register_again(place, self.files(place)[1])
                seen, truly = place.digests()["orders"][0], truth(place.config(**CHANGES), UNTIL)["orders"][0]
                verification = oracle.verify(place.config(**CHANGES))
                found = {each.table: each for each in verification.tables}["orders"]
                self.assertEqual((found.rows_found, found.duplicated), (seen, seen - truly))
                self.assertEqual(verification.ok, seen == truly)
                self.assertEqual(seen == truly, target.format == "delta")  # whose log goes by the paths

    def test_rows_that_others_add_to_a_lake_are_unexpected_once_wherever_they_are(self):
        place = self.written(TARGETS[3])
        lake = self.lake(place)
        columns = "order_id + 16000, event_time + INTERVAL 900 DAY, * EXCLUDE (order_id, event_time)"
        lake.execute(f"INSERT INTO lake.orders SELECT {columns} FROM lake.orders LIMIT 3")
        for change, count in (
            ("SELECT 1", 3),  # in the catalogue itself, at a time that their partition does not say
            ("CALL ducklake_flush_inlined_data('lake')", 3),
            ("DELETE FROM lake.orders WHERE rowid IN (SELECT max(rowid) FROM lake.orders)", 2),
        ):
            lake.execute(change)
            found = {each.table: each for each in oracle.verify(place.config(**CHANGES)).tables}["orders"]
            self.assertEqual((found.unexpected, found.lost), (count, 0), (change, found.examples))

    def test_what_compactors_make_of_our_files_is_right(self):
        for target in TARGETS[1:4:2]:
            with self.subTest(str(target)):
                place = self.written(target)
                before = len(list(Path(place.uri).rglob("*.parquet")))
                if target.format == "delta":
                    deltalake.DeltaTable(f"{place.uri}/orders").optimize.compact()
                else:
                    self.lake(place).execute("CALL ducklake_merge_adjacent_files('lake')")
                self.assertGreater(len(list(Path(place.uri).rglob("*.parquet"))), before)
                self.assert_exact(place, UNTIL)

    def test_what_other_tools_make_of_a_parquet_file_is_right(self):
        place = self.written(TARGETS[0])
        first, second, third, *_ = self.files(place)
        pl.read_parquet(first, hive_partitioning=False).write_parquet(first.with_name("polars.parquet"))
        pq.write_table(pq.read_table(second, partitioning=None), second.with_name("arrow.parquet"))
        duckdb.sql(f"COPY (FROM read_parquet('{third}', hive_partitioning = false)) TO '{third.parent}/duck.parquet'")
        for path in (first, second, third):
            path.unlink()
        self.assert_exact(place, UNTIL)

    def test_a_file_of_another_shape_or_size_is_found(self):
        def swapped(rows: pa.Table) -> pa.Table:  # in Iceberg, readers get orders for customers
            order, *rest = rows.schema
            (place,) = [place for place, field in enumerate(rest) if field.name == "customer_id"]
            ids = order.metadata, rest[place].metadata
            rest[place] = rest[place].with_metadata(ids[0])
            return rows.cast(pa.schema([order.with_metadata(ids[1]), *rest]))

        for target in TARGETS[:4]:
            with self.subTest(str(target)):
                place = self.written(target)
                path = self.files(place)[0]
                whole = path.read_bytes()
                rows = pq.read_table(path, partitioning=None)
                for change, compression, said in (
                    (swapped, "zstd", "column order_id has the field id 3, not 1"),
                    (lambda rows: rows, "none", "bytes, registered are"),
                ):
                    pq.write_table(change(rows), path, compression=compression, store_schema=False)
                    found = {each.table: each for each in oracle.verify(place.config(**CHANGES)).tables}["orders"]
                    is_told = target.format != "parquet" or change is swapped  # there nobody has noted a size
                    self.assertEqual((found.misshapen_files, found.ok), (int(is_told), not is_told))
                    self.assertEqual(any(said in text for text in found.examples), is_told, found.examples)
                    self.assertEqual((found.lost, found.altered, found.unexpected), (0, 0, 0))
                path.write_bytes(whole)
                self.assertTrue(oracle.verify(place.config(**CHANGES)).ok)


class CrashTest(FormatCase):
    def test_a_crash_at_any_point_leaves_every_table_exact(self):
        # Each format, a part of the points; all, on S3 too and in processes that really end, in `make test-long`.
        for target in TARGETS[1:4]:
            for point in self.place(target).crash_points()[::4]:
                with self.subTest(f"{target}: {point}"):
                    place = self.place(target)
                    config = place.config(**CHANGES)
                    self.assertTrue(crash(config, 90, point, 2))
                    crash(config, 90, point, 7)
                    run(config, 105)
                    self.assert_exact(place, 105)

    def test_tables_at_different_slots_are_brought_together(self):
        for target in TARGETS[1:4]:
            with self.subTest(str(target)):
                place = self.place(target)
                few = place.config(**CHANGES, tables=["customers", "products"])
                run(few, 90)
                with shop_daemon(place.config(**CHANGES), until=240) as daemon:
                    finish(daemon)
                self.assert_exact(place, 240)
