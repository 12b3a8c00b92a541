"""The contract of the formats for DuckLake, in both catalogues and on both storages; and what is DuckLake's own."""

from __future__ import annotations

import re
import unittest
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from emitter import duck
from emitter.errors import (
    ConfigurationError,
    DamagedStateError,
    EmitterError,
    MissingExtraError,
    RolledBackError,
    StateError,
    StorageError,
)
from emitter.model import TableCommit
from emitter.partitioning import PartitionSpec
from emitter.settings.connections import CatalogConfig
from emitter.storage.local import LocalStorage
from emitter.writers.ducklake import connection
from emitter.writers.ducklake import writer as ducklake
from emitter.writers.ducklake.connection import catalog_place
from emitter.writers.ducklake.writer import DuckLakeWriter
from tests.contract.beats import (
    CHILDREN,
    OPTIONS,
    ORIGIN,
    PARENTS,
    RUN,
    TABLE,
    WHOLE,
    assert_progress_is_missed,
    files,
    found,
    in_order,
    renamed,
    rows,
    window,
    write,
)
from tests.contract.ducklake_outputs import OnPostgresAndS3, OnSqlite, inside
from tests.contract.writer_contract import WriterContract
from tests.support import ducklake_reader
from tests.support.reading import count_beside, rows_in

ALL = window(0, 200)  # five files: two in the first partition, three in the second


class DuckLakeCase(WriterContract):
    def test_other_readers_see_the_same_rows_and_types(self):
        write(self.opened(), ALL, None)
        by_duckdb = self.reader().sql(f"SELECT * FROM shop.{TABLE.name}")
        types = dict(zip(by_duckdb.columns, map(str, by_duckdb.types), strict=True))
        self.assertEqual(types["event_time"], "TIMESTAMP WITH TIME ZONE")
        self.assertEqual((types["cost"], types["host"], types["pulse"]), ("DECIMAL(12,2)", "VARCHAR", "INTEGER"))
        self.assertEqual((types["year"], types["month"], types["day"]), ("INTEGER", "INTEGER", "INTEGER"))
        whole = by_duckdb.to_arrow_table()
        for moment, day in zip(whole["event_time"].to_pylist(), whole["day"].to_pylist(), strict=True):
            self.assertEqual(moment.day, day)
        self.assertEqual(inside(whole), in_order(rows(ALL)))
        self.assertEqual(self.held(), in_order(rows(ALL)))

    def test_rows_that_others_added_or_deleted_are_seen_as_a_reader_sees_them(self):
        writer = self.opened()
        write(writer, window(0, 120), None)
        reader = self.reader()
        reader.execute(f"DELETE FROM shop.{TABLE.name} WHERE beat_id % 10 = 0 AND day = 1")
        reader.execute(f"INSERT INTO shop.{TABLE.name} FROM shop.{TABLE.name} LIMIT 1")
        count = reader.sql(f"SELECT count(*) FILTER (day = 1) AS a, count(*) AS b FROM shop.{TABLE.name}").fetchone()
        self.assertEqual(found(writer, window(0, 60)).num_rows, count[0])
        self.assertEqual(found(writer, window(0, 120)).num_rows, count[1])
        self.assertEqual(count_beside(writer, TABLE, window(0, 60)), count[1] - count[0])
        self.assertEqual(count_beside(writer, TABLE, window(0, 0)), count[1])

    def test_all_tables_of_a_batch_are_one_snapshot(self):
        writer, tables = self.opened(), (PARENTS, TABLE, CHILDREN)
        for table in tables:
            writer.open(RUN, table)
        self._commit_all(writer, tables, None, window(0, 30))
        before = len(ducklake_reader.snapshots(self.catalog_uri))
        self._commit_all(writer, tables, ORIGIN + 30, window(30, 60))
        self.assertEqual(len(ducklake_reader.snapshots(self.catalog_uri)), before + 1)
        last = ducklake_reader.snapshots(self.catalog_uri)[-1]
        self.assertEqual(last.count("inserted_into_table"), 3)
        self.assertEqual(last.count("inlined_delete"), 1)  # the progress of all three
        for table in tables:
            self.assertEqual(self.held(table.name), in_order(rows(window(0, 60))))

    def _commit_all(self, writer, tables, expected_slot, asked) -> None:
        commits = [
            TableCommit(
                table.name,
                expected_slot,
                asked.end,
                tuple(writer.stage(WHOLE, asked, renamed(file, table)) for file in files(asked)),
            )
            for table in tables
        ]
        list(writer.commit(WHOLE, commits))


class OnSqliteTest(OnSqlite, DuckLakeCase, unittest.TestCase):
    """And what does not hang on the place."""

    def files_that_duckdb_reads(self, condition: str) -> int:
        query = f"EXPLAIN ANALYZE SELECT * FROM shop.{TABLE.name} WHERE {condition}"
        plan = self.reader().sql(query).fetchall()[0][1]
        count = re.search(r"Total Files Read: (\d+)", plan)
        return int(count[1]) if count else 0

    def test_a_reader_leaves_out_files_by_partition_and_by_statistics(self):
        write(self.opened(), ALL, None)
        for condition, read in (
            ("day = 1", 2),
            ("year = 2026 AND month = 1 AND day = 2", 3),
            (f"beat_id >= {ORIGIN + 150}", 2),
            (f"beat_id < {ORIGIN + 50}", 1),
            ("event_time < TIMESTAMPTZ '2026-01-01 23:59:50+00'", 1),
            ("cost > 49.50", 1),
            ("host > 'エコーz'", 0),
            ("pulse > 199", 0),
            ("true", 5),
        ):
            with self.subTest(condition):
                self.assertEqual(self.files_that_duckdb_reads(condition), read)

    def test_the_catalogue_knows_partition_and_statistics_of_each_file(self):
        write(self.opened(), ALL, None)
        listed = self.listed()
        self.assertEqual(sorted(file.partition["day"] for file in listed), ["1", "1", "2", "2", "2"])
        for file in listed:
            self.assertEqual(file.partition, {"year": "2026", "month": "1", "day": file.partition["day"]})
            (held,) = [ducklake_reader.read([file], self.file_system())]
            self.assertEqual(file.bytes, Path(file.path).stat().st_size)
            self.assertEqual(set(file.statistics), {*(column.name for column in TABLE.columns), "year", "month", "day"})
            for name in ("beat_id", "pulse", "cost", "host"):
                values = [value for value in held[name].to_pylist() if value is not None]
                kind = type(values[0])
                least, most, nulls = file.statistics[name]
                self.assertEqual((kind(least), kind(most)), (min(values), max(values)), name)
                self.assertEqual(nulls, held[name].null_count)

    def test_readers_can_attach_while_the_writer_is_open(self):
        writer = self.opened()
        write(writer, window(0, 30), None)
        reader = self.reader("(READ_ONLY)")
        counts = []
        for end in (60, 90):
            write(writer, window(end - 30, end), ORIGIN + end - 30)
            counts.append(reader.sql(f"SELECT count(*) FROM shop.{TABLE.name}").fetchone())
        self.assertEqual(counts, [(60,), (90,)])
        reader.execute("BEGIN")
        reader.sql(f"SELECT count(*) FROM shop.{TABLE.name}").fetchone()
        write(writer, window(90, 120), ORIGIN + 90)  # a long look keeps nobody from writing
        self.assertEqual(reader.sql(f"SELECT count(*) FROM shop.{TABLE.name}").fetchone(), (90,))

    def test_progress_is_told_to_people_too(self):
        write(self.opened(), window(0, 30), None)
        told = self.reader().sql("FROM shop._emitter.progress_0_of_1").to_arrow_table().to_pylist()
        self.assertEqual(
            [(row["table_name"], row["slot"], row["rows"]) for row in told], [("main.heartbeats", ORIGIN + 30, 30)]
        )

    def test_progress_stays_in_the_catalogue_and_small(self):
        writer = self.opened()
        with patch.object(ducklake, "_COMMITS_PER_PRUNING", 5):
            for number in range(12):
                write(writer, window(number, number + 1), ORIGIN + number if number else None)
        self.assertEqual(list(self.root.glob("_emitter/progress*/**/*.parquet")), [])
        names = ducklake_reader.query(self.catalog_uri, "SELECT table_name FROM ducklake_inlined_data_tables")
        counts = [ducklake_reader.query(self.catalog_uri, f"SELECT count(*) FROM {name}") for (name,) in names]
        self.assertEqual(counts, [[(0,)], [(4,)]])  # what there is, and what the last three commits replaced
        self.reader().execute("CALL ducklake_flush_inlined_data('shop')").to_arrow_table()
        write(writer, window(12, 13), ORIGIN + 12)
        self.assertEqual(writer.progress(TABLE.name)[WHOLE].rows, 13)

    def test_what_duckdb_remembers_of_commits_does_not_grow_for_good(self):
        writer, sizes, count = self.opened(), [], f"SELECT count(*) FROM lake.main.{TABLE.name}"
        write(writer, window(0, 1), None)
        with patch.object(connection, "_SESSIONS_MAX", 8), writer._lake.session("read") as reader:
            reader.execute("BEGIN")
            self.assertEqual(reader.execute(count).fetchone(), (1,))
            for number in range(1, 12):
                write(writer, window(number, number + 1), ORIGIN + number)
                with writer._lake.session("look at") as cursor:
                    sizes.append(cursor.sql("SELECT sum(memory_usage_bytes) FROM duckdb_memory()").fetchone())
            self.assertEqual(reader.execute(count).fetchone(), (1,))  # who was at it goes on
        self.assertNotEqual(sizes, sorted(sizes))

    def test_upkeep_by_others_changes_nothing(self):
        writer = self.opened()
        calls = (
            "ducklake_flush_inlined_data('shop')",
            "ducklake_merge_adjacent_files('shop')",
            "ducklake_rewrite_data_files('shop')",
            "ducklake_expire_snapshots('shop', older_than => now())",
            "ducklake_cleanup_old_files('shop', cleanup_all => true)",
            "ducklake_delete_orphaned_files('shop', cleanup_all => true)",
        )
        asked = [window(20 * number, 20 * number + 20) for number in range(10)]
        slot = None
        for number, each in enumerate(asked):
            if number:
                self.reader().execute(f"CALL {calls[number % len(calls)]}").to_arrow_table()
            write(writer, each, slot)
            slot = each.end
        for each in calls:
            self.reader().execute(f"CALL {each}").to_arrow_table()
        self.assertEqual(writer.progress(TABLE.name)[WHOLE].rows, 200)
        self.assertEqual(found(writer, ALL), in_order(rows(ALL)))
        self.assertEqual(self.held(), in_order(rows(ALL)))

    def test_a_table_that_was_dropped_behind_its_progress_is_refused(self):
        writer = self.opened()
        write(writer, window(0, 30), None)
        self.reader().execute(f"DROP TABLE shop.{TABLE.name}")
        for refused in (
            lambda: writer.progress(TABLE.name),
            lambda: self.opened().recover(WHOLE, TABLE.name),
            lambda: write(writer, window(30, 60), ORIGIN + 30),
        ):
            with self.assertRaises(RolledBackError):
                refused()
        self.foreign_table(TABLE)
        with self.assertRaises(RolledBackError):
            write(writer, window(30, 60), ORIGIN + 30)
        with self.assertRaises(RolledBackError):
            write(self.opened(adopt=True), window(30, 60), ORIGIN + 30)
        self.assertEqual(self.listed(), [])

    def test_progress_that_somebody_takes_away_is_missed(self):
        writer = self.opened()
        write(writer, window(0, 30), None)
        self.reader().execute("UPDATE shop._emitter.progress_0_of_1 SET slot = NULL, rows = 0, files = 0, bytes = 0")
        assert_progress_is_missed(self, self.opened(), None)
        self.reader().execute("DROP TABLE shop._emitter.progress_0_of_1")
        assert_progress_is_missed(self, self.opened(), None)

    def test_an_adopted_table_keeps_its_comment_and_columns(self):
        self.foreign_table(TABLE)
        self.reader().execute(f"ALTER TABLE shop.{TABLE.name} ADD COLUMN remark VARCHAR")
        writer = self.opened(adopt=True)
        write(writer, window(0, 30), None)
        reader = self.reader()
        (comment,) = reader.sql(f"SELECT comment FROM duckdb_tables() WHERE table_name = '{TABLE.name}'").fetchone()
        self.assertEqual(comment, f"theirs [emitter run {RUN}]")
        self.assertEqual(reader.sql(f"SELECT count(*) - count(remark) FROM shop.{TABLE.name}").fetchone(), (30,))
        self.assertEqual(found(writer, window(0, 30)), in_order(rows(window(0, 30))))

    def test_a_broken_file_is_named_and_the_others_are_read(self):
        writer = self.opened()
        write(writer, ALL, None)
        listed = self.listed()
        paths = [Path(file.path) for file in listed]
        paths[0].write_bytes(b"PAR1 garbage PAR1")
        paths[2].unlink()
        data = bytearray(paths[3].read_bytes())
        data[60:600] = b"\xff" * 540
        paths[3].write_bytes(data)
        broken: list[DamagedStateError] = []
        count = sum(batch.num_rows for batch in rows_in(writer, TABLE, ALL, broken))
        self.assertEqual(count, sum(file.rows for file in (listed[1], listed[4])))
        named = {path.name for path in paths if any(path.name in error.problem for error in broken)}
        self.assertEqual(named, {paths[0].name, paths[2].name, paths[3].name})
        with self.assertRaises(DamagedStateError):
            rows_in(writer, TABLE, ALL)

    def test_a_broken_file_of_which_rows_were_deleted_is_an_error(self):
        writer = self.opened()
        write(writer, window(0, 30), None)
        self.reader().execute(f"DELETE FROM shop.{TABLE.name} WHERE beat_id % 10 = 0")
        path = Path(self.listed_with_deletes()[0])
        data = bytearray(path.read_bytes())
        data[60:600] = b"\xff" * 540
        path.write_bytes(data)
        with self.assertRaises(StorageError) as caught:
            rows_in(writer, TABLE, ALL)
        self.assertIn(path.name, str(caught.exception))

    def listed_with_deletes(self) -> list[str]:
        return [path for (path,) in ducklake_reader.query(self.catalog_uri, "SELECT path FROM ducklake_data_file")]

    def test_hours_are_partitions_too(self):
        options = replace(OPTIONS, partition=PartitionSpec.of("hour"))
        writer = DuckLakeWriter(self.storage, options)
        writer.open(RUN, TABLE)
        write(writer, window(0, 120), None)
        self.assertEqual(
            {(file.partition["day"], file.partition["hour"]) for file in self.listed()}, {("1", "23"), ("2", "0")}
        )
        self.assertEqual(found(writer, window(60, 61)), in_order(rows(window(60, 120))))
        self.assertEqual(count_beside(writer, TABLE, window(60, 61)), 60)
        self.reader().execute(f"INSERT INTO shop.{TABLE.name} FROM shop.{TABLE.name} WHERE hour = 23 LIMIT 1")
        self.assertEqual(found(writer, window(0, 60)).num_rows, 61)

    def test_another_namespace_is_apart(self):
        write(self.opened(), window(0, 30), None)
        self.catalog = CatalogConfig(namespace="second")
        second = self.opened()
        self.assertEqual(second.progress(TABLE.name), {})
        write(second, window(0, 60), None)
        self.assertEqual(second.progress(TABLE.name)[WHOLE].rows, 60)
        self.catalog = CatalogConfig()
        self.assertEqual(self.opened().progress(TABLE.name)[WHOLE].rows, 30)
        self.assertEqual(self.held(), in_order(rows(window(0, 30))))

    def test_the_path_of_an_output_may_hold_anything(self):
        for name in ("a space", "it's", "per%20cent", "ha#sh", "[brackets]", "st*r?", "ü+&", "{a,b}", "k=v"):
            with self.subTest(name):
                self.storage = LocalStorage(self.root / name)
                write(self.opened(), window(0, 120), None)
                self.assertEqual(found(self.opened(), window(60, 120)), in_order(rows(window(60, 120))))
        with self.assertRaisesRegex(ConfigurationError, "takes it for the partition"):
            DuckLakeWriter(LocalStorage(self.root / "year=1999" / "out"), OPTIONS)

    def test_a_lake_that_was_moved_is_refused(self):
        write(self.opened(), window(0, 30), None)
        moved = self.root.with_name("moved")
        self.root.rename(moved)
        self.storage = LocalStorage(moved)
        with self.assertRaisesRegex(StateError, "belongs to another output"):
            self.opened()

    def test_a_relative_path_means_the_same_from_anywhere(self):
        self.assertEqual(catalog_place("sqlite:///some/../lake.sqlite", None).sqlite_path, Path.cwd() / "lake.sqlite")
        self.assertEqual(catalog_place("sqlite:////lake.sqlite", None).sqlite_path, Path("/lake.sqlite"))

    def test_a_postgres_uri_may_say_all_that_its_library_knows(self):
        place = catalog_place("postgresql://us%40er:p%27w@[::1]:5433/sh%20op?sslmode=require&connect_timeout=3", None)
        for part in ("host='::1'", "port='5433'", "user='us@er'", "dbname='sh op'", "sslmode='require'"):
            self.assertIn(part, place.metadata)
        self.assertIn("connect_timeout='3'", place.metadata)
        self.assertIn("options='-c statement_timeout=", place.metadata)
        self.assertEqual((place.password, "p'w" in f"{place!r}"), ("p'w", False))
        socket = catalog_place("postgresql:///shop?host=/run/postgresql&options=", None)
        self.assertIn("host='/run/postgresql'", socket.metadata)
        self.assertNotIn("options", socket.metadata)

    def test_old_snapshots_may_go_and_compaction_keeps_our_compression(self):
        write(self.opened(), window(0, 30), None)
        options = self.reader().sql("SELECT option_name, value, scope_entry FROM shop.options()").fetchall()
        self.assertIn(("expire_older_than", "7 days", None), options)
        self.assertIn(("parquet_compression", "zstd", "main.heartbeats"), options)

    def test_extensions_are_signed(self):
        with patch.dict(duck.NOTHING_UNASKED, {"allow_unsigned_extensions": False}):
            write(self.opened(), window(0, 30), None)
        unsigned = self.root / "ducklake.duckdb_extension"
        unsigned.write_bytes(b"not one")
        with (
            patch.object(duck, "_packaged", return_value=unsigned),
            self.assertRaisesRegex(EmitterError, "cannot load"),
        ):
            self.opened()

    def test_a_missing_extension_names_the_extra(self):
        write(self.opened(), window(0, 30), None)
        nowhere = {"custom_extension_repository": "http://127.0.0.1:9", "extension_directory": str(self.root / "none")}
        with (
            patch.object(duck, "_packaged", return_value=None),
            patch.dict(duck.NOTHING_UNASKED, nowhere),
            self.assertRaises(MissingExtraError) as caught,
        ):
            self.opened()
        self.assertIn("emitter[ducklake]", caught.exception.hint)


class OnPostgresAndS3Test(OnPostgresAndS3, DuckLakeCase, unittest.TestCase):
    crash_points_step = 3


if __name__ == "__main__":
    unittest.main()
