"""The contract of upkeep for DuckLake, in both catalogues and on both storages; and what is DuckLake's own."""

from __future__ import annotations

import threading
import unittest
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pyarrow as pa

from emitter.clock import SystemClock
from emitter.errors import CommitConflictError, DamagedStateError
from emitter.model import ChoreReport, Slice, TableCommit, TableProgress
from emitter.upkeep.rounds import Round
from emitter.writers.ducklake import replacing, upkeep
from emitter.writers.ducklake.connection import CATALOG
from emitter.writers.ducklake.turns import Turns
from emitter.writers.parts import DataFile
from emitter.writers.shapes import Shapes
from emitter.writers.upkeep import TASKS, Done, Upkeep, UpkeepPolicy
from tests.contract.beats import ODD_ROWS, ORIGIN, TABLE, WHOLE, encoded, files, found, window, write
from tests.contract.ducklake_outputs import OnSqlite, commit, outcomes
from tests.contract.test_ducklake_faults import at
from tests.contract.upkeep_contract import AT_ONCE, POLICY, SECONDS, UpkeepContract
from tests.support import ducklake_reader

HALVES = Slice(0, 2), Slice(1, 2)


class DuckLakeUpkeepCase(UpkeepContract):
    def numbers(self) -> list[int]:
        """The snapshots that the table is in."""
        with self.reader() as reader:
            found = reader.sql("SELECT snapshot_id FROM shop.snapshots() WHERE snapshot_id > 2 ORDER BY ALL").fetchall()
        return [number for (number,) in found]

    def seen(self, snapshots: list[int]) -> list[object]:
        """What anybody's DuckDB finds: the rows with their ids, the changes by snapshot, some of these snapshots."""
        table = f"shop.{TABLE.name}"
        with self.reader() as reader:
            changes = f"ducklake_table_changes('shop', 'main', '{TABLE.name}', {snapshots[0]}, {snapshots[-1]})"
            return [
                reader.sql(f"SELECT rowid, * FROM {table} ORDER BY beat_id").to_arrow_table(),
                reader.sql(f"SELECT * FROM {changes} ORDER BY ALL").to_arrow_table(),
                *(
                    reader.sql(f"SELECT count(*), sum(beat_id) FROM {table} AT (VERSION => {number})").fetchone()
                    for number in snapshots[::5]
                ),
            ]

    def test_old_snapshots_changes_and_row_ids_are_as_they_were(self):
        self.written(15, HALVES[0])  # a partition in which the row ids run on
        for number in range(6):  # and here they do not: the slices write to two partitions in turn
            self.written(1, HALVES[0], first=15 + number)
            self.written(1, HALVES[1], first=number)
        count = self.written(15, HALVES[1], first=6)
        snapshots = self.numbers()
        before = self.seen(snapshots)
        self.assertEqual(before[1].num_rows, count * SECONDS)
        for policy in (POLICY, replace(POLICY, small_files_min=2)):
            self.assert_went_well(self.tended(policy))
            self.assertEqual(self.seen(snapshots), before)
        self.assertLess(len(self.listed()), 9)
        self.assert_whole(count, HALVES)

    def test_a_merged_file_lies_with_the_others_and_is_known_as_well(self):
        self.written(40)
        self.assert_went_well(self.tended())
        merged = [file for file in self.listed() if "/merged-" in file.path]
        self.assertEqual([file.partition["day"] for file in merged], ["1", "2"])
        for file in merged:
            folder = f"{TABLE.name}/year=2026/month=01/day=0{file.partition['day']}/merged-"
            self.assertIn(f"/{folder}", file.path)
            held = ducklake_reader.read([file], self.file_system())
            self.assertEqual(set(file.statistics), {*(column.name for column in TABLE.columns), "year", "month", "day"})
            for name in ("beat_id", "pulse", "cost", "host", "day"):
                values = [value for value in held[name].to_pylist() if value is not None]
                least, most, nulls = file.statistics[name]
                self.assertEqual((type(values[0])(least), type(values[0])(most)), (min(values), max(values)), name)
                self.assertEqual(nulls, held[name].null_count)

    def test_a_set_back_is_found_out_after_compaction_too(self):
        count = self.written(40)
        before = TableProgress(ORIGIN + (count - 1) * SECONDS, 1, 1, 1)
        self.assert_went_well(self.tended(AT_ONCE))
        for known, slot in ((before, before.slot), (None, ORIGIN)):
            writer = self.opened()
            with self.reader() as reader:
                value = "NULL" if known is None else known.slot
                reader.execute(
                    f"UPDATE shop._emitter.progress_0_of_1 SET slot = {value}, rows = 1, files = 1, bytes = 1"
                )
            with self.assertRaises(DamagedStateError):
                writer.check_not_set_back(WHOLE, TABLE.name, writer.recover(WHOLE, TABLE.name), slot)

    def test_an_upkeep_that_stays_open_sees_what_others_do(self):
        self.written(6, HALVES[0])
        kept = self.opened().upkeep(AT_ONCE)
        self.assert_went_well(self.done_by(kept))
        self.written(6, HALVES[0], first=6)
        self.written(6, HALVES[1])  # whose progress has a table of its own, that is new
        self.assert_went_well(self.tended(AT_ONCE))
        count = self.written(6, HALVES[0], first=12)
        self.written(12, HALVES[1], first=6)
        self.assert_went_well(self.done_by(kept))
        self.assertEqual([chore for chore in self.planned(AT_ONCE) if chore.task != "expire"], [])
        self.assert_whole(count, HALVES)

    def test_appends_wait_for_nothing_that_others_on_the_machine_hold_up(self):
        self.written(12)
        seen = self.urgent_seen(Turns, "take")
        self.assertEqual(seen, [True] * len(seen))
        self.assertGreater(len(seen), 2)

    def done_by(self, kept: Upkeep) -> list[ChoreReport]:
        return list(Round(kept, [TABLE.name], SystemClock(), threading.Event()).run(TASKS))

    def test_foreign_upkeep_passes_over_what_ours_has_compacted(self):
        count = self.written(24)
        self.assert_went_well(self.tended())
        count = self.written(12, first=count)
        before = self.listed()
        for _ in range(2):
            with self.reader() as reader:
                reader.execute("CALL ducklake_merge_adjacent_files('shop')").fetchall()
                reader.execute("CHECKPOINT shop")
        self.assertEqual(self.listed(), before)
        self.assert_went_well(self.tended(AT_ONCE))
        self.assert_whole(count)


class OnSqliteTest(OnSqlite, DuckLakeUpkeepCase, unittest.TestCase):
    """And what does not hang on the place."""

    def compacted(self, writer: Any, policy: UpkeepPolicy = POLICY) -> list[Done]:
        upkeep = writer.upkeep(policy)
        return [upkeep.apply(chore) for chore in upkeep.plan("compact", TABLE.name)]

    def asked(self, query: str) -> list[tuple[Any, ...]]:
        """A question to the catalogue's own tables."""
        return ducklake_reader.query(self.catalog_uri, query)

    def test_what_foreign_upkeep_has_compacted_is_compacted_further(self):
        count = self.written(24)
        snapshots = self.numbers()
        before = self.seen(snapshots)
        with self.reader() as reader:
            reader.execute("CALL ducklake_merge_adjacent_files('shop')").fetchall()
        self.assertEqual(self.seen(snapshots), before)
        count = self.written(12, first=count)
        snapshots = self.numbers()
        before = self.seen(snapshots)
        for _ in range(2):
            self.assert_went_well(self.tended(replace(POLICY, small_files_min=2)))
            self.assertEqual(self.seen(snapshots), before)
            with self.reader() as reader:
                reader.execute("CHECKPOINT shop")
        self.assertEqual(len(list((self.root / "main").rglob("*.parquet"))), 2)
        self.assert_went_well(self.tended(AT_ONCE))
        needed = {file.path for file in self.listed() if "/main/" in file.path}
        self.assertEqual({str(path) for path in (self.root / "main").rglob("*.parquet")}, needed)
        self.assertLess(len(needed), 2)
        self.assert_whole(count)

    def test_an_append_that_lands_while_a_file_is_made_voids_nothing(self):
        count = self.written(12)
        others = lambda: self.written(1, first=count)  # noqa: E731
        done = self.compacted(self.opened(at("ducklake.merged", others)))
        self.assertEqual([(each.files_removed, each.files_written) for each in done], [(11, 1)])
        self.assert_whole(count + 1)

    def test_an_append_that_meets_a_compaction_is_tried_again_and_no_more(self):
        self.written(12)
        writer = self.opened(at("ducklake.registered", lambda: self.assert_went_well(self.tended())))
        reports = commit(writer, window(48, 52), ORIGIN + 48)
        self.assertEqual(outcomes(reports), ["conflict", "ok"])
        self.assert_whole(13)

    def test_what_others_have_done_to_the_files_meanwhile_is_kept(self):
        for act in (
            f"DELETE FROM shop.{TABLE.name} WHERE beat_id % 40 = 0",
            f"ALTER TABLE shop.{TABLE.name} ADD COLUMN remark VARCHAR",
            f"DROP TABLE shop.{TABLE.name}",
        ):
            with self.subTest(act):
                self.new_output()
                self.written(12)
                writer = self.opened(at("ducklake.merged", lambda act=act: self.reader().execute(act).fetchall()))
                held = f"SELECT {', '.join(column.name for column in TABLE.columns)} FROM shop.{TABLE.name}"
                with self.assertRaises(CommitConflictError):
                    self.compacted(writer)
                writer.close()
                left = [name for (name,) in self.asked("SELECT path FROM ducklake_data_file") if "/merged-" in name]
                self.assertEqual(left, [])
                if "DROP" not in act:
                    before = found(self.opened(), window(0, 48))
                    self.assert_went_well(self.tended(AT_ONCE))
                    self.assertEqual(found(self.opened(), window(0, 48)), before)
                    self.assertEqual(self.reader().sql(held).to_arrow_table().num_rows, before.num_rows)

    def test_what_another_upkeep_has_compacted_meanwhile_is_left(self):
        count = self.written(12)
        writer = self.opened(at("ducklake.merged", lambda: self.assert_went_well(self.tended())))
        with self.assertRaises(CommitConflictError):
            self.compacted(writer)
        self.assertEqual(len([file for file in self.listed() if "/merged-" in file.path]), 1)
        self.assert_went_well(self.tended(AT_ONCE))
        self.assertEqual(len(list((self.root / TABLE.name).rglob("merged-*"))), 1)
        self.assert_whole(count)

    def test_a_reader_in_a_transaction_reads_on(self):
        count = self.written(30)
        reader = self.reader("(READ_ONLY)")
        reader.execute("BEGIN")
        query = f"SELECT count(*), sum(beat_id), sum(pulse) FROM shop.{TABLE.name}"
        before = reader.sql(query).fetchone()
        self.assert_went_well(self.tended())
        self.written(1, first=count)
        self.assert_went_well(self.tended())
        self.assertEqual(reader.sql(query).fetchone(), before)

    def test_odd_values_and_their_statistics_survive(self):
        writer, slot = self.opened(), None
        for number in range(6):  # the same rows again and again: as many are to be found
            report = write(writer, window(number, number + 1), slot, encoded=encoded(ODD_ROWS))
            slot = report.slot
        before = found(writer, window(0, 60))
        self.assertEqual([each.files_removed for each in self.compacted(writer)], [5])
        after = found(writer, window(0, 60))
        self.assertTrue(arrow_equal(after, before))
        merged, single = sorted(self.listed(), key=lambda file: "/merged-" not in file.path)
        for name, (least, most, nulls) in single.statistics.items():
            self.assertEqual(merged.statistics[name], (least, most, nulls and nulls * 5), name)
        shapes = Shapes(TABLE, self.opened().options.spec.columns)
        with writer.contents(TABLE) as parts:
            for part in parts:
                with DataFile(self.storage, part.name) as file:
                    self.assertEqual(shapes.faults(file, part), [])

    def test_snapshots_go_by_the_policy_and_the_progress_stays_small(self):
        count = self.written(10)
        self.assertIn(("expire_older_than", "7 days"), self.asked("SELECT key, value FROM ducklake_metadata"))
        before = self.asked("SELECT count(*), max(snapshot_id) FROM ducklake_snapshot")
        self.assert_went_well(self.tended(replace(POLICY, small_files_min=1_000)))
        self.assertEqual(self.asked("SELECT count(*), max(snapshot_id) FROM ducklake_snapshot"), before)
        with patch.object(upkeep, "_SNAPSHOTS_MAX", 5):
            self.assertEqual(len([chore for chore in self.planned(AT_ONCE) if chore.task == "expire"]), 3)
            self.assert_went_well(self.tended(replace(AT_ONCE, small_files_min=1_000)))
        self.assertEqual(self.asked("SELECT count(*), max(snapshot_id) FROM ducklake_snapshot"), [(1, before[0][1])])
        ((name,),) = self.asked(
            "SELECT i.table_name FROM ducklake_inlined_data_tables i JOIN ducklake_table t USING (table_id)"
            " WHERE t.table_name = 'progress_0_of_1'"
        )
        self.assertEqual(self.asked(f"SELECT count(*) FROM {name}"), [(1,)])
        self.assert_whole(count)

    def entries(self) -> tuple[set[int], set[int]]:
        """The numbers of the files, and of those that there are statistics or partition values of."""
        files = {number for (number,) in self.asked("SELECT data_file_id FROM ducklake_data_file")}
        told = "SELECT data_file_id FROM ducklake_file_{} UNION SELECT data_file_id FROM ducklake_file_{}"
        return files, {number for (number,) in self.asked(told.format("column_stats", "partition_value"))}

    def test_statistics_of_files_that_went_are_there_for_a_while(self):
        self.written(12)
        self.assert_went_well(self.tended())
        files, told = self.entries()
        self.assertEqual((len(files), len(told)), (2, 12))  # who has listed the files asks for them next
        self.written(12, first=12)
        with patch.object(replacing, "_SWEEP_SECONDS", 0):
            self.assert_went_well(self.tended())
        files, told = self.entries()
        self.assertEqual(files, told)
        self.written(12, first=24)
        self.assert_went_well(self.tended(AT_ONCE))
        files, told = self.entries()
        self.assertEqual(files, told)

    def test_a_file_that_still_counts_is_not_removed_whatever_is_noted_of_it(self):
        count = self.written(12)
        with self.opened()._lake.session("note") as cursor:
            cursor.execute(
                f"INSERT INTO {CATALOG}.ducklake_files_scheduled_for_deletion SELECT -data_file_id, path, false,"
                f" now() - INTERVAL 1 DAY FROM {CATALOG}.ducklake_data_file"
            )
        self.assert_went_well(self.tended(replace(AT_ONCE, small_files_min=1_000)))
        self.assert_whole(count)

    def test_dead_rows_of_the_progress_are_a_chore_of_their_own(self):
        self.written(6)
        with patch.object(upkeep, "_DEAD_ROWS_MIN", 6):
            self.assertEqual([chore.task for chore in self.planned()], ["compact", "expire"])
            self.assert_went_well(self.tended())
            self.assertEqual(self.planned(), [])

    def test_nothing_is_removed_that_is_not_ours(self):
        count = self.written(12)
        with self.reader() as reader:
            reader.execute("CREATE SCHEMA shop.theirs")
            reader.execute(f"CREATE TABLE shop.theirs.{TABLE.name} AS FROM shop.{TABLE.name}")
            reader.execute(f"CREATE TABLE shop.more AS FROM shop.{TABLE.name}")
        folder = self.root / TABLE.name / "year=2026" / "month=01" / "day=01"
        for name in ("part-0.parquet", "ducklake-0.parquet", "notes.txt"):
            (folder / name).write_bytes(b"theirs")
        before = {path for path in self.root.rglob("*") if path.is_file()}
        own = set(folder.glob("2026*.parquet"))
        self.assert_went_well(self.tended(AT_ONCE))
        self.assertEqual(before - set(self.root.rglob("*")) - own, set())
        self.assertLess(len(set(folder.glob("2026*.parquet"))), len(own))
        self.assertEqual(self.reader().sql(f"SELECT count(*) FROM shop.theirs.{TABLE.name}").fetchone(), (48,))
        self.assert_whole(count)

    def test_what_a_live_process_has_staged_is_kept_however_old(self):
        count = self.written(12)
        writer, asked = self.opened(), window(48, 52)
        with writer.hold(WHOLE):
            staged = tuple(writer.stage(WHOLE, asked, file) for file in files(asked))
            self.assert_went_well(self.tended(AT_ONCE))
            list(writer.commit(WHOLE, [TableCommit(TABLE.name, ORIGIN + 48, asked.end, staged)]))
        self.assert_whole(count + 1)

    def test_a_table_with_columns_of_others_is_left_alone(self):
        self.written(12)
        self.reader().execute(f"ALTER TABLE shop.{TABLE.name} ADD COLUMN remark VARCHAR")
        self.assertEqual([chore for chore in self.planned(AT_ONCE) if chore.task == "compact"], [])


def arrow_equal(left: pa.Table, right: pa.Table) -> bool:
    """Also where there are NaNs, which are not equal to themselves."""
    return repr(left.to_pydict()) == repr(right.to_pydict())


if __name__ == "__main__":
    unittest.main()
