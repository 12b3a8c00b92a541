"""What every table format must do. One suite, run against each of them and against the fake."""

from __future__ import annotations

import tempfile
import unittest
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl

from emitter.errors import ForeignTableError, OvertakenError, SliceLockedError, UsageError
from emitter.local_storage import LocalStorage
from emitter.model import Slice, TableCommit, TableProgress
from emitter.storage import Storage
from emitter.testing import MemoryStorage, MemoryWriter
from emitter.writers import FORMATS, create_writer
from emitter.writers.base import TableWriter
from emitter.writers.parquet import ParquetWriter
from tests.contract.beats import (
    OPTIONS,
    ORIGIN,
    RUN,
    TABLE,
    WHOLE,
    files,
    found,
    in_order,
    rows,
    window,
    write,
)


class WriterContract:
    """Subclasses give a new output and its writers: each as a new process would make it."""

    writer_class: type[TableWriter]
    storage: Storage

    def writer(self) -> TableWriter:
        return self.writer_class(self.storage, OPTIONS)

    def opened(self) -> TableWriter:
        writer = self.writer()
        writer.open(RUN, TABLE)
        return writer

    def test_a_new_output_has_no_progress_and_no_rows(self):
        writer = self.opened()
        self.assertIsNone(writer.recover(WHOLE, TABLE.name))
        self.assertEqual(writer.progress(TABLE.name), {})
        self.assertEqual(list(writer.scan(TABLE, window(0, 100))), [])

    def test_opening_creates_nothing(self):
        self.opened()
        self.assertEqual(self.storage.list(TABLE.name), [])

    def test_committed_rows_are_found_as_they_were_made(self):
        writer, asked = self.opened(), window(0, 200)
        report = write(writer, asked, None)
        self.assertEqual(found(writer, asked), in_order(rows(asked)))
        self.assertEqual((report.outcome, report.rows, report.slot), ("ok", 200, asked.end))

    def test_rows_at_a_partition_edge_go_to_their_own_side(self):
        made = files(window(0, 120))
        folders = {file.partition for file in made}
        self.assertEqual(folders, {"year=2026/month=01/day=01", "year=2026/month=01/day=02"})
        writer = self.opened()
        write(writer, window(0, 120), None)
        self.assertEqual(found(writer, window(0, 1)), in_order(rows(window(0, 60))))
        self.assertEqual(found(writer, window(60, 61)), in_order(rows(window(60, 120))))

    def test_staged_rows_are_not_found(self):
        writer, asked = self.opened(), window(0, 100)
        for file in files(asked):
            writer.stage(WHOLE, asked, file)
        self.assertEqual(list(writer.scan(TABLE, asked)), [])

    def test_progress_counts_all_commits(self):
        writer = self.opened()
        first = write(writer, window(0, 30), None)
        second = write(writer, window(30, 90), ORIGIN + 30)
        self.assertEqual(
            self.opened().progress(TABLE.name),
            {WHOLE: TableProgress(ORIGIN + 90, 90, first.files + second.files, first.bytes + second.bytes)},
        )
        self.assertEqual(second.table_files, first.files + second.files)
        self.assertEqual(self.opened().recover(WHOLE, TABLE.name), self.opened().progress(TABLE.name)[WHOLE])

    def test_progress_can_be_read_before_a_run_is_known(self):
        self.assertEqual(self.writer().progress(TABLE.name), {})
        write(self.opened(), window(0, 30), None)
        self.assertEqual(self.writer().progress(TABLE.name)[WHOLE].slot, ORIGIN + 30)

    def test_a_commit_without_files_moves_the_progress(self):
        writer = self.opened()
        list(writer.commit(WHOLE, [TableCommit(TABLE.name, None, ORIGIN + 10)]))
        list(writer.commit(WHOLE, [TableCommit(TABLE.name, ORIGIN + 10, ORIGIN + 20)]))
        self.assertEqual(writer.progress(TABLE.name), {WHOLE: TableProgress(ORIGIN + 20)})

    def test_a_commit_from_another_slot_is_refused_and_changes_nothing(self):
        writer = self.opened()
        write(writer, window(0, 30), None)
        before = writer.progress(TABLE.name)
        for wrong in (None, ORIGIN + 29):
            with self.subTest(expected_slot=wrong), self.assertRaises(OvertakenError):
                write(writer, window(30, 60), wrong)
        with self.assertRaises(OvertakenError):  # nor one by somebody who has not seen the first
            write(self.opened(), window(0, 30), None)
        self.assertEqual(writer.progress(TABLE.name), before)
        self.assertEqual(found(writer, window(0, 60)), in_order(rows(window(0, 30))))

    def test_slices_go_on_apart_and_add_up(self):
        writer, asked = self.opened(), window(0, 100)
        for half in (Slice(0, 2), Slice(1, 2)):
            self.assertIsNone(writer.recover(half, TABLE.name))
            write(writer, asked, None, half)
        self.assertEqual(set(writer.progress(TABLE.name)), {Slice(0, 2), Slice(1, 2)})
        self.assertEqual(found(writer, asked), in_order(rows(asked)))

    def test_recovery_drops_staged_files_of_its_slice_alone(self):
        writer, asked, other = self.opened(), window(0, 100), Slice(1, 2)
        for file in files(asked):
            writer.stage(Slice(0, 2), asked, file)
        kept = tuple(writer.stage(other, asked, file) for file in files(asked, other))
        for _ in range(2):
            self.assertIsNone(self.opened().recover(Slice(0, 2), TABLE.name))
        list(writer.commit(other, [TableCommit(TABLE.name, None, asked.end, kept)]))
        self.assertEqual(found(writer, asked), in_order(rows(asked, other)))

    def test_tables_commit_in_the_order_given(self):
        writer = self.opened()
        commits = [TableCommit(name, None, ORIGIN + 5) for name in ("parents", TABLE.name, "children")]
        reports = writer.commit(WHOLE, commits)
        self.assertEqual(next(reports).table, "parents")
        self.assertEqual(self.opened().progress("children"), {})
        self.assertEqual([report.table for report in reports], [TABLE.name, "children"])

    def test_a_table_of_another_run_is_refused(self):
        write(self.opened(), window(0, 30), None)
        with self.assertRaises(ForeignTableError) as caught:
            self.writer().open("another", TABLE)
        self.assertIn(RUN, caught.exception.problem)

    def test_a_table_that_is_not_ours_is_refused(self):
        self.storage.write(f"{TABLE.name}/part-0.parquet", b"somebody's")
        with self.assertRaises(ForeignTableError):
            self.opened()

    def test_writing_without_opening_is_refused(self):
        with self.assertRaises(UsageError):
            list(self.writer().commit(WHOLE, [TableCommit(TABLE.name, None, ORIGIN + 5)]))

    def test_a_slice_has_one_holder(self):
        with self.writer().hold(WHOLE):
            with self.assertRaises(SliceLockedError):
                self.writer().hold(WHOLE).__enter__()
            with self.writer().hold(Slice(0, 2)):
                pass
        with self.writer().hold(WHOLE):
            pass

    def test_complete_partitions_are_marked_in_order_and_once(self):
        writer = self.opened()
        if not writer.marks_partitions:
            return
        write(writer, window(0, 30), None)
        edge, day = ORIGIN + 60, 86_400
        marked: list[list[int]] = []
        for complete in (edge - 1, edge, edge + 1, edge + 3 * day + 5, edge + 3 * day + 6):
            self.opened().finish_partitions([TABLE.name], ORIGIN, complete)
            writer.finish_partitions([TABLE.name], ORIGIN, complete)
            marked.append([n for n in range(1, 9) if self._has_mark(n)])
        self.assertEqual(marked, [[], [1], [1], [1, 2, 3, 4], [1, 2, 3, 4]])

    def _has_mark(self, day: int) -> bool:
        entries = self.storage.list(f"{TABLE.name}/year=2026/month=01/day={day:02d}")
        return "_SUCCESS" in {entry.name for entry in entries}


class ParquetContractTest(WriterContract, unittest.TestCase):
    writer_class = ParquetWriter

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name) / "out"
        self.storage = LocalStorage(self.root)

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

    def test_what_was_staged_or_is_recorded_is_hidden_from_globs(self):
        writer, asked = self.opened(), window(0, 100)
        write(writer, asked, None)
        staged = [writer.stage(WHOLE, window(100, 200), file) for file in files(window(100, 200))]
        self.assertTrue(all((self.root / file.staged_path).exists() for file in staged))
        self.assertEqual(pl.scan_parquet(self.glob()).select(pl.len()).collect().item(), 100)

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

    def setUp(self):
        self.storage = MemoryStorage()


class CreateWriterTest(unittest.TestCase):
    def test_every_format_names_its_writer(self):
        for name in FORMATS:
            self.assertEqual(create_writer(name, "somewhere").format_name, name)

    def test_what_there_is_no_support_for_is_refused(self):
        with self.assertRaisesRegex(UsageError, "no format 'csv'"):
            create_writer("csv", "somewhere")
        with self.assertRaisesRegex(UsageError, "not on a local disk"):
            create_writer("parquet", "s3://bucket/shop")


if __name__ == "__main__":
    unittest.main()
