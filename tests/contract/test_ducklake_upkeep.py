"""The contract of upkeep for DuckLake, in both catalogues and on both storages; and what is DuckLake's own."""

from __future__ import annotations

import unittest
from dataclasses import replace

from emitter.errors import DamagedStateError
from emitter.model import Slice, TableProgress
from tests.contract.beats import ORIGIN, TABLE, WHOLE
from tests.contract.ducklake_outputs import OnPostgresAndS3, OnSqlite
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
        for half in HALVES:  # the ids of a slice's files run on
            self.written(15, half)
        for number in range(15, 24):  # and here they do not
            for half in HALVES:
                self.written(1, half, first=number)
        snapshots = self.numbers()
        before = self.seen(snapshots)
        self.assertEqual(before[1].num_rows, 24 * SECONDS)
        for policy in (POLICY, replace(POLICY, small_files_min=2)):
            self.assert_went_well(self.tended(policy))
            self.assertEqual(self.seen(snapshots), before)
        self.assertLess(len(self.listed()), 9)
        self.assert_whole(24, HALVES)

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

    def test_foreign_upkeep_of_merged_files_changes_nothing(self):
        count = self.written(24)
        self.assert_went_well(self.tended())
        count = self.written(6, first=count)
        snapshots = self.numbers()
        before = self.seen(snapshots)
        with self.reader() as reader:
            reader.execute("CALL ducklake_merge_adjacent_files('shop')").fetchall()
        self.assertEqual(self.seen(snapshots), before)
        self.assert_whole(count)
        count = self.written(24, first=count)
        self.assert_went_well(self.tended())
        with self.reader() as reader:
            reader.execute("CHECKPOINT shop")
        self.assert_went_well(self.tended(AT_ONCE))
        self.assert_whole(count)


class OnSqliteTest(OnSqlite, DuckLakeUpkeepCase, unittest.TestCase):
    """And what does not hang on the place."""


class OnPostgresAndS3Test(OnPostgresAndS3, DuckLakeUpkeepCase, unittest.TestCase):
    pass


if __name__ == "__main__":
    unittest.main()
