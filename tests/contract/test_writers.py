"""The contract of the formats, for Parquet on a local disk and for the fake; and what is Parquet's own."""

from __future__ import annotations

import unittest
from datetime import UTC, datetime
from decimal import Decimal

import duckdb
import polars as pl
import pyarrow.parquet as pq

from emitter import arrow
from emitter.errors import CommitConflictError, CommitUnknownError, ForeignTableError, OvertakenError, UsageError
from emitter.model import TableCommit
from emitter.testing import MemoryStorage, MemoryWriter
from emitter.testing.memory import MemoryTable
from emitter.writers import FORMATS, create_writer
from emitter.writers.parquet.writer import ParquetWriter
from emitter.writers.registering import ATTEMPTS_MAX, UNKNOWN_MAX, FoundTable
from tests.contract.beats import ORIGIN, TABLE, WHOLE, files, found, in_order, rows, window, write
from tests.contract.writer_contract import WriterContract
from tests.support.foreign_readers import counts_by_readers


class ParquetContractTest(WriterContract, unittest.TestCase):
    writer_class = ParquetWriter

    def foreign_table(self, table):
        path = self.root / table.name / "year=2026/month=01/day=02/part-0.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(arrow.file_schema(table).empty_table(), path)

    def glob(self) -> str:
        return str(self.root / TABLE.name / "**" / "*.parquet")

    def test_other_readers_see_the_same_rows_and_types(self):
        asked = window(0, 200)
        write(self.opened(), asked, None)
        expected = in_order(rows(asked)).to_pylist()

        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            relation = connection.sql(
                f"SELECT * FROM read_parquet('{self.glob()}', hive_partitioning=true) ORDER BY beat_id"
            )
            types = dict(zip(relation.columns, map(str, relation.types), strict=True))
            by_duckdb = relation.to_arrow_table().to_pylist()
        self.assertEqual(types["event_time"], "TIMESTAMP WITH TIME ZONE")
        self.assertEqual(types["cost"], "DECIMAL(12,2)")
        self.assertEqual((types["host"], types["pulse"], types["load"]), ("VARCHAR", "INTEGER", "DOUBLE"))

        frame = pl.read_parquet(self.glob(), hive_partitioning=True).sort("beat_id")
        self.assertEqual(frame.schema["event_time"], pl.Datetime("us", "UTC"))
        self.assertEqual(frame.schema["cost"], pl.Decimal(12, 2))
        self.assertEqual(frame.schema["host"], pl.String)

        for reader in (by_duckdb, frame.to_dicts()):
            self.assertEqual([_inside(row) for row in reader], expected)
            for row in reader:
                moment = row["event_time"].astimezone(UTC)
                self.assertEqual(
                    (int(row["year"]), int(row["month"]), int(row["day"])),
                    (moment.year, moment.month, moment.day),
                )

    def test_a_reader_of_the_folder_reads_the_table(self):
        writer, asked = self.opened(), window(0, 100)
        writer.recover(WHOLE, TABLE.name)
        write(writer, asked, None)
        writer.finish_partitions([TABLE.name], ORIGIN, ORIGIN + 60)
        staged = [writer.stage(WHOLE, window(100, 200), file) for file in files(window(100, 200))]
        self.assertTrue(all((self.root / file.staged_path).exists() for file in staged))
        for name, counted in counts_by_readers(self.root, TABLE.name).items():
            with self.subTest(name):
                self.assertEqual(counted(), 100)

    def test_partition_columns_are_to_duckdb_what_the_readers_page_says(self):
        write(self.opened(), window(0, 100), None)
        with duckdb.connect() as connection:
            for more, month in (
                ("", ("BIGINT", "VARCHAR")),
                (", hive_types = {'year': INT, 'month': INT}", ("INTEGER",) * 2),
            ):
                source = f"read_parquet('{self.root / TABLE.name}'{more})"
                told = connection.sql(f"SELECT DISTINCT typeof(year), typeof(month) FROM {source}").fetchall()
                self.assertEqual(told, [month])
                self.assertEqual(connection.sql(f"SELECT count(*) FROM {source} WHERE day = 2").fetchone(), (40,))
                self.assertEqual(connection.sql(f"SELECT count(*) FROM {source} WHERE day = '2'").fetchone(), (0,))

    def test_file_names_tell_window_slice_and_content(self):
        writer, asked = self.opened(), window(0, 60)
        first, second = (writer.stage(WHOLE, asked, file) for file in files(asked))
        self.assertRegex(
            first.final_path,
            r"^heartbeats/year=2026/month=01/day=01/20260101T235900Z-20260102T000000Z-0of1-0-[0-9a-f]{16}\.parquet$",
        )
        self.assertIn("-0of1-1-", second.final_path)
        self.assertEqual(writer.stage(WHOLE, asked, files(asked)[0]), first)

    def test_foreign_files_beside_our_progress_are_left_alone_and_seen(self):
        writer, asked = self.opened(), window(0, 30)
        write(writer, asked, None)
        stranger = self.root / TABLE.name / "year=2026/month=01/day=01/stranger.parquet"
        ours = next(stranger.parent.glob("2026*.parquet"))
        stranger.write_bytes(ours.read_bytes())
        (self.root / TABLE.name / "README.txt").write_text("hello")
        again = self.opened()
        self.assertEqual(again.recover(WHOLE, TABLE.name).rows, 30)
        write(again, window(30, 60), ORIGIN + 30)
        self.assertEqual(found(again, window(0, 60)).num_rows, 90)  # a reader sees the doubled rows: so do we
        self.assertEqual(stranger.read_bytes(), ours.read_bytes())

    def test_hidden_files_in_a_partition_are_not_read(self):
        writer, asked = self.opened(), window(0, 30)
        write(writer, asked, None)
        ours = next((self.root / TABLE.name).rglob("*.parquet"))
        for name in (".hidden.parquet", "_hidden.parquet", "notes.txt"):
            ours.with_name(name).write_bytes(ours.read_bytes())
        self.assertEqual(found(writer, asked), in_order(rows(asked)))

    def test_another_format_in_the_folder_is_refused(self):
        (self.root / TABLE.name / "_delta_log").mkdir(parents=True)
        with self.assertRaises(ForeignTableError) as caught:
            self.opened()
        self.assertIn("_delta_log", caught.exception.problem)

    def test_leftovers_of_a_crash_before_the_first_commit_are_ours(self):
        for file in files(window(0, 30)):
            self.opened().stage(WHOLE, window(0, 30), file)
        self.assertIsNone(self.opened().recover(WHOLE, TABLE.name))
        write(self.opened(), window(0, 30), None)

    def test_partitions_without_rows_are_marked_too(self):
        writer = self.opened()
        writer.finish_partitions(["other"], ORIGIN, ORIGIN + 3 * 86_400)
        self.assertEqual(len(list((self.root / "other").rglob("_SUCCESS"))), 3)


def _inside(row: dict) -> dict:
    """A reader's row in the inside form: cents, UTC."""
    plain = {column.name: row[column.name] for column in TABLE.columns}
    for name in ("cost", "credit"):
        if plain[name] is not None:
            assert isinstance(plain[name], Decimal)
            plain[name] = int(plain[name] * 100)
    assert isinstance(plain["event_time"], datetime)
    return plain


class MemoryContractTest(WriterContract, unittest.TestCase):
    writer_class = MemoryWriter

    def new_output(self):
        self.storage = MemoryStorage()

    def foreign_table(self, table):
        columns = tuple((column.name, column.type, column.nullable) for column in table.columns)
        self.storage.tables[table.name] = MemoryTable(FoundTable(None, columns, "day"))

    def settled(self, *script: str):
        """The outcomes of one commit to which this happens, and what the table holds then."""
        self.new_output()
        writer = self.opened()
        write(writer, window(0, 30), None)
        writer.script.extend(script)
        staged = tuple(writer.stage(WHOLE, window(30, 60), file) for file in files(window(30, 60)))
        reports = list(writer.commit(WHOLE, [TableCommit(TABLE.name, ORIGIN + 30, ORIGIN + 60, staged)]))
        self.assertEqual(found(writer, window(0, 60)), in_order(rows(window(0, 60))))
        self.assertEqual(writer.progress(TABLE.name)[WHOLE].rows, 60)
        return [report.outcome for report in reports]

    def test_conflicts_are_tried_again_and_counted(self):
        self.assertEqual(self.settled("conflict", "conflict"), ["conflict", "conflict", "ok"])

    def test_a_lost_reply_is_read_back(self):
        self.assertEqual(self.settled("lost"), ["unknown", "deduplicated"])
        self.assertEqual(self.settled("vanished"), ["unknown", "ok"])

    def test_a_commit_that_lands_late_lands_once(self):
        writer = self.opened()
        writer.script.append("late")
        with self.assertRaises(OvertakenError):
            write(writer, window(0, 30), None)
        self.assertEqual(writer.recover(WHOLE, TABLE.name).slot, ORIGIN + 30)
        self.assertEqual(found(writer, window(0, 30)), in_order(rows(window(0, 30))))

    def test_attempts_are_bounded(self):
        writer = self.opened()
        writer.script.extend(["conflict"] * 100)
        with self.assertRaises(CommitConflictError):
            write(writer, window(0, 30), None)
        self.assertEqual(100 - len(writer.script), ATTEMPTS_MAX)

    def test_attempts_without_a_reply_are_few(self):
        writer = self.opened()
        writer.script.extend(["conflict", *["vanished"] * 100])
        with self.assertRaises(CommitUnknownError):
            write(writer, window(0, 30), None)
        self.assertEqual(101 - len(writer.script), 1 + UNKNOWN_MAX)


class CreateWriterTest(unittest.TestCase):
    def test_every_format_names_its_writer(self):
        for name in FORMATS:
            self.assertEqual(create_writer(name, "somewhere").format_name, name)

    def test_what_there_is_no_support_for_is_refused(self):
        with self.assertRaisesRegex(UsageError, "no format 'csv'"):
            create_writer("csv", "somewhere")
        with self.assertRaisesRegex(UsageError, "not on a local disk"):
            create_writer("parquet", "gs://bucket/shop")


if __name__ == "__main__":
    unittest.main()
