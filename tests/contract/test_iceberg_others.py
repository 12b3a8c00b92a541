"""Who else writes to an Iceberg table: rivals for the same slots, shards, other tools. Every row is there once."""

from __future__ import annotations

import unittest
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import pyarrow as pa
from pyiceberg.table import Table as Handle

from emitter import arrow
from emitter.errors import (
    CommitConflictError,
    DamagedStateError,
    ForeignTableError,
    OvertakenError,
    RolledBackError,
    StorageError,
)
from emitter.model import CommitReport, Slice, StagedFile, Table, TableCommit
from emitter.settings.connections import CatalogConfig
from emitter.storage.local import LocalStorage
from emitter.testing import SimulatedCrash
from emitter.writers.iceberg import io as iceberg_io
from emitter.writers.iceberg import tables as iceberg_tables
from emitter.writers.iceberg.catalog import NAME
from emitter.writers.iceberg.writer import IcebergWriter
from tests.contract.beats import (
    OPTIONS,
    ORIGIN,
    TABLE,
    WHOLE,
    assert_progress_is_missed,
    files,
    found,
    in_order,
    rows,
    window,
    write,
)
from tests.contract.iceberg_case import IcebergOutput, OnSqlite
from tests.support.reading import count_beside


class RivalsTest(OnSqlite, IcebergOutput, unittest.TestCase):
    def test_of_two_who_saw_a_fresh_table_one_lands_and_the_other_finds_it_done(self):
        asked = window(0, 30)
        hook = self.at_first("iceberg.appended", lambda: write(self.opened(), asked, None))
        self.assertEqual(self.outcomes(self.opened(hook), asked, None), ["conflict", "deduplicated"])
        self.assert_whole(asked)

    def test_of_two_who_saw_the_same_state_one_lands_and_the_other_finds_it_done(self):
        write(self.opened(), window(0, 30), None)
        asked = window(30, 60)
        hook = self.at_first("iceberg.appended", lambda: write(self.opened(), asked, ORIGIN + 30))
        self.assertEqual(self.outcomes(self.opened(hook), asked, ORIGIN + 30), ["conflict", "deduplicated"])
        self.assert_whole(window(0, 60))

    def test_who_is_overtaken_by_another_window_gives_up(self):
        hook = self.at_first("iceberg.appended", lambda: write(self.opened(), window(0, 40), None))
        with self.assertRaises(OvertakenError):
            self.outcomes(self.opened(hook), window(0, 30), None)
        self.assert_whole(window(0, 40))

    def test_a_commit_without_files_is_guarded_too(self):
        def empty(writer: IcebergWriter, slot: int) -> list[CommitReport]:
            return list(writer.commit(WHOLE, [TableCommit(TABLE.name, ORIGIN + 30, ORIGIN + slot)]))

        write(self.opened(), window(0, 30), None)
        hook = self.at_first("iceberg.appended", lambda: empty(self.opened(), 50))
        with self.assertRaises(OvertakenError):
            empty(self.opened(hook), 40)
        self.assertEqual(self.opened().progress(TABLE.name)[WHOLE].slot, ORIGIN + 50)

    def test_another_shard_in_between_makes_for_another_attempt(self):
        asked, one, other = window(0, 60), Slice(0, 2), Slice(1, 2)
        hook = self.at_first("iceberg.appended", lambda: write(self.opened(), asked, None, other))
        self.assertEqual(self.outcomes(self.opened(hook), asked, None, one), ["conflict", "ok"])
        self.assert_whole(asked)

    def test_shards_that_write_at_once_lose_and_double_nothing(self):
        def shard(index: int) -> None:
            writer, slot = self.opened(), None
            for first in range(0, 120, 20):
                asked = window(first, first + 20)
                write(writer, asked, slot, Slice(index, 3))
                slot = asked.end

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(shard, range(3)))
        self.assert_whole(window(0, 120))

    def test_the_library_does_not_retry_whatever_the_table_says(self):
        """A retry puts the old transaction on top of what has come meanwhile: the same rows, twice."""
        write(self.opened(), window(0, 30), None)
        self.handle().transaction().set_properties({"commit.retry.num-retries": "4"}).commit_transaction()
        asked = window(30, 60)
        hook = self.at_first("iceberg.appended", lambda: write(self.opened(), asked, ORIGIN + 30))
        self.assertEqual(self.outcomes(self.opened(hook), asked, ORIGIN + 30), ["conflict", "deduplicated"])
        self.assert_whole(window(0, 60))
        self.assertEqual(self.handle().properties["commit.retry.num-retries"], "4")  # it is others' to set

    def test_nothing_of_ours_moves_without_a_snapshot(self):
        """For only a snapshot that has moved makes a stale commit fail."""
        self.foreign_table(TABLE)
        writer = self.opened(adopt=True)
        write(writer, window(0, 30), None)
        list(writer.commit(WHOLE, [TableCommit(TABLE.name, ORIGIN + 30, ORIGIN + 40)]))
        write(writer, window(40, 60), ORIGIN + 40)
        states = self.states()
        moved = 0
        for before, after in pairwise(states):
            ours = [
                {k: v for k, v in state.properties.items() if k.startswith("emitter.")} for state in (before, after)
            ]
            if ours[0] != ours[1]:
                moved += 1
                self.assertNotEqual(before.current_snapshot_id, after.current_snapshot_id)
        self.assertEqual(moved, 4)  # adopted, rows, no rows, rows

    def test_of_two_runs_that_adopt_a_table_at_once_one_has_it(self):
        self.foreign_table(TABLE)

        def other() -> None:
            writer = self.writer(adopt=True)
            writer.open("another", TABLE)
            list(writer.commit(WHOLE, [TableCommit(TABLE.name, None, ORIGIN + 1)]))

        writer = self.opened(adopt=True)
        loaded = writer._loaded

        def late(table: Table) -> Handle:
            handle = loaded(table)
            writer._loaded = loaded
            other()
            return handle

        writer._loaded = late
        with self.assertRaises(CommitConflictError):
            self.outcomes(writer, window(0, 30), None)
        with self.assertRaises(ForeignTableError):
            self.opened(adopt=True)

    def test_a_crash_after_a_table_was_adopted_leaves_it_ours(self):
        self.foreign_table(TABLE)

        def crash() -> None:
            raise SimulatedCrash

        with self.assertRaises(SimulatedCrash):
            write(self.opened(self.at_first("iceberg.adopted", crash), adopt=True), window(0, 30), None)
        self.assertIsNone(self.opened().recover(WHOLE, TABLE.name))
        write(self.opened(), window(0, 30), None)
        self.assert_whole(window(0, 30))

    def test_a_table_that_lies_elsewhere_or_is_of_an_old_format_is_not_adopted(self):
        schema, catalog = iceberg_tables.schema_of(TABLE), self.client()
        spec, place = iceberg_tables.spec_of(schema, "day"), iceberg_io.Place(self.storage)
        catalog.create_namespace(NAME)
        for location, version in ((place.of("other"), "2"), (place.of(TABLE.name), "1")):
            catalog.create_table((NAME, TABLE.name), schema, location, spec, properties={"format-version": version})
            with self.assertRaisesRegex(ForeignTableError, f"is at {location} in format version {version}"):
                self.opened(adopt=True)
            catalog.drop_table((NAME, TABLE.name))


class OtherToolsTest(OnSqlite, IcebergOutput, unittest.TestCase):
    def test_a_table_set_back_is_noticed_until_it_is_set_forward(self):
        writer = self.opened()
        write(writer, window(0, 30), None)
        write(writer, window(30, 60), ORIGIN + 30)
        handle = self.handle()
        newest = handle.current_snapshot()
        handle.manage_snapshots().rollback_to_snapshot(newest.parent_snapshot_id).commit()
        for act in (
            lambda: self.opened().recover(WHOLE, TABLE.name),
            lambda: self.writer().progress(TABLE.name),
            lambda: write(writer, window(60, 90), ORIGIN + 60),
        ):
            with self.assertRaises(RolledBackError) as caught:
                act()
            self.assertIn(str(newest.snapshot_id), caught.exception.report())
        self.handle().manage_snapshots().set_current_snapshot(newest.snapshot_id).commit()
        write(self.opened(), window(60, 90), ORIGIN + 60)
        self.assert_whole(window(0, 90))

    def test_progress_that_somebody_takes_away_is_missed(self):
        write(self.opened(), window(0, 30), None)
        with self.handle().transaction() as others:
            others.remove_properties(f"emitter.progress.{WHOLE}")
        assert_progress_is_missed(self, self.opened(), None)

    def test_progress_that_somebody_sets_back_is_missed(self):
        writer, key = self.opened(), f"emitter.progress.{WHOLE}"
        write(writer, window(0, 30), None)
        known, text = writer.progress(TABLE.name)[WHOLE], self.handle().properties[key]
        write(writer, window(30, 60), ORIGIN + 30)
        with self.handle().transaction() as others:
            others.set_properties({key: text})
        assert_progress_is_missed(self, self.opened(), known)

    def test_a_table_set_back_while_we_commit_is_noticed(self):
        writer = self.opened()
        write(writer, window(0, 30), None)
        write(writer, window(30, 60), ORIGIN + 30)

        def set_back() -> None:
            handle = self.handle()
            handle.manage_snapshots().rollback_to_snapshot(handle.current_snapshot().parent_snapshot_id).commit()

        with self.assertRaises(RolledBackError):
            self.outcomes(self.opened(self.at_first("iceberg.appended", set_back)), window(60, 90), ORIGIN + 60)

    def test_a_table_set_back_is_noticed_also_where_old_snapshots_have_expired_and_others_have_gone_on(self):
        writer, slot = self.opened(), None
        for first in range(0, 100, 20):
            asked = window(first, first + 20)
            write(writer, asked, slot)
            slot = asked.end
        snapshots = [entry.snapshot_id for entry in self.handle().metadata.snapshots]
        self.handle().maintenance.expire_snapshots().by_ids(snapshots[:2]).commit()
        self.assertEqual(self.opened().recover(WHOLE, TABLE.name).slot, slot)
        self.handle().manage_snapshots().rollback_to_snapshot(snapshots[3]).commit()
        with self.handle().transaction() as others, others.update_snapshot().fast_append():
            pass
        with self.assertRaises(RolledBackError):
            self.opened().recover(WHOLE, TABLE.name)

    def test_expiry_by_others_is_no_harm(self):
        writer, asked = self.opened(), window(0, 60)
        write(writer, asked, None, Slice(0, 2))
        write(writer, asked, None, Slice(1, 2))
        write(writer, window(60, 120), asked.end, Slice(1, 2))
        handle = self.handle()
        handle.maintenance.expire_snapshots().by_ids(
            [entry.snapshot_id for entry in handle.metadata.snapshots[:-1]]
        ).commit()
        self.assertEqual(len(self.handle().metadata.snapshots), 1)
        write(self.opened(), window(60, 120), asked.end, Slice(0, 2))
        self.assert_whole(window(0, 120))

    def test_expiry_while_we_commit_is_no_harm(self):
        writer = self.opened()
        write(writer, window(0, 30), None)
        write(writer, window(30, 60), ORIGIN + 30)

        def expire() -> None:
            handle = self.handle()
            handle.maintenance.expire_snapshots().by_id(handle.metadata.snapshots[0].snapshot_id).commit()

        hook = self.at_first("iceberg.appended", expire)
        self.outcomes(self.opened(hook), window(60, 90), ORIGIN + 60)
        self.assert_whole(window(0, 90))

    def test_what_others_tell_readers_by_a_property_stays(self):
        write(self.opened(), window(0, 30), None)
        with self.handle().transaction() as transaction:
            transaction.set_properties({"read.parquet.vectorization.enabled": "false"})
        write(self.opened(), window(30, 60), ORIGIN + 30)
        self.assertEqual(self.handle().properties["read.parquet.vectorization.enabled"], "false")
        self.assert_whole(window(0, 60))

    def test_rows_that_others_delete_are_no_longer_found(self):
        write(self.opened(), window(0, 120), None)
        self.handle().delete(f"beat_id < {ORIGIN + 50}")
        self.assertEqual(found(self.opened(), window(0, 120)), in_order(rows(window(50, 120))))
        write(self.opened(), window(120, 150), ORIGIN + 120)
        self.assertEqual(self.opened().progress(TABLE.name)[WHOLE].rows, 150)  # it counts what was written

    def test_compaction_by_others_is_no_harm(self):
        writer, day = self.opened(), window(60, 180)
        write(writer, window(0, 180), None)

        def compact() -> None:
            (whole,) = files(day, options=replace(OPTIONS, file_rows_target=1000))
            path = f"{TABLE.name}/{whole.partition}/compacted.parquet"
            self.storage.write(path, whole.data)
            staged = StagedFile(TABLE.name, path, path, whole.rows, whole.data.size, whole.partition, whole.metadata)
            handle, place = self.handle(), iceberg_io.Place(self.storage)
            small = [task.file for task in handle.scan(row_filter=f"beat_id >= {day.first}").plan_files()]
            with handle.transaction() as others, others.update_snapshot().overwrite() as rewrite:
                rewrite.append_data_file(
                    iceberg_tables.data_file(staged, place.of(path), iceberg_tables.schema_of(TABLE), handle.spec())
                )
                for file in small:
                    rewrite.delete_data_file(file)

        hook = self.at_first("iceberg.appended", compact)
        self.assertEqual(self.outcomes(self.opened(hook), window(180, 200), day.end), ["conflict", "ok"])
        self.assertEqual(len(list(self.handle().scan().plan_files())), 2 + 1 + 1)
        self.assert_whole(window(0, 200))

    def test_a_file_that_lies_in_several_partitions_is_read_in_part(self):
        """Others may write without partitioning: then a filter decides row by row."""
        write(self.opened(), window(0, 1), None)
        with self.handle().update_spec() as update:
            update.remove_field("event_time_day")
        shaped = pa.Table.from_batches([arrow.to_file_form(TABLE, batch) for batch in rows(window(1, 120))])
        self.handle().append(shaped.cast(arrow.file_schema(TABLE)))
        writer = self.writer()
        self.assertEqual(found(writer, window(0, 60)), in_order(rows(window(0, 60))))
        self.assertEqual(found(writer, window(60, 120)), in_order(rows(window(60, 120))))
        self.assertEqual(count_beside(writer, TABLE, window(0, 60)), 60)
        with self.assertRaisesRegex(ForeignTableError, "partitioned by nothing, needed by day"):
            self.opened()

    def test_a_dropped_table_is_no_progress_and_is_made_anew(self):
        writer = self.opened()
        write(writer, window(0, 30), None)
        self.client().drop_table((NAME, TABLE.name))
        with self.assertRaises(StorageError):
            write(writer, window(30, 60), ORIGIN + 30)
        again = self.opened()
        self.assertIsNone(again.recover(WHOLE, TABLE.name))
        write(again, window(0, 60), None)
        self.assert_whole(window(0, 60))

    def test_a_table_of_the_same_name_elsewhere_is_refused(self):
        write(self.opened(), window(0, 30), None)
        self.catalog = CatalogConfig(uri=f"sqlite:///{self.root}/iceberg.sqlite")
        self.storage = LocalStorage(self.root.with_name("elsewhere"))
        with self.assertRaisesRegex(
            ForeignTableError, r"with file://.*/out/heartbeats/.*, which is not in .*/elsewhere"
        ):
            self.opened()

    def test_progress_that_somebody_has_changed_is_damage(self):
        write(self.opened(), window(0, 30), None)
        for text in ("", "{}", '{"slot":-1,"rows":0,"files":0,"bytes":0,"snapshot":1,"sequence":1}'):
            self.handle().transaction().set_properties({"emitter.progress.0-of-1": text}).commit_transaction()
            with self.assertRaises(DamagedStateError):
                self.opened().recover(WHOLE, TABLE.name)


if __name__ == "__main__":
    unittest.main()
