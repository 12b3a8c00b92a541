"""What other tools and other writers do to a Delta table: every row is there once, or the run is refused."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
import unittest
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

from deltalake import CommitProperties, DeltaTable, Field, Schema, TableFeatures
from deltalake.table import TableAlterer
from deltalake.transaction import Transaction

from emitter.errors import DamagedStateError, ForeignTableError, OvertakenError, RolledBackError, StorageError
from emitter.model import Slice, TableCommit
from emitter.storage.local import LocalStorage
from emitter.testing import ManualClock
from emitter.writers.base import CrashHook
from emitter.writers.delta import tables as delta_tables
from emitter.writers.delta.tables import DeltaTables
from emitter.writers.delta.writer import DeltaWriter
from tests.contract.beats import (
    OPTIONS,
    ORIGIN,
    RUN,
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
from tests.contract.delta_outputs import ALL, BOTH, FIRST, SECOND, THIRD, BegunCase, OnDisk, OnS3
from tests.support.reading import rows_in

PARTITION = list(OPTIONS.partition.columns)


class Together:
    """What must hold on every storage."""

    def test_four_slices_at_once_create_fill_and_double_nothing(self):
        barrier, asked = threading.Barrier(4), [window(10 * step, 10 * step + 10) for step in range(8)]

        def run(index: int) -> int | None:
            slice, writer, slot = Slice(index, 4), self.opened(), None
            writer.recover(slice, TABLE.name)
            barrier.wait(30)
            for each in asked:
                if files(each, slice):
                    outcomes, error = self.commit(writer, each, slot, slice)
                    self.assertIsNone(error)
                    self.assertIn(outcomes[-1], ("ok", "deduplicated"))
                    slot = each.end
            return slot

        with ThreadPoolExecutor(4) as pool:
            slots = list(pool.map(run, range(4)))
        self.assertEqual(found(self.opened(), window(0, 80)), in_order(rows(window(0, 80))))
        progress = self.opened().progress(TABLE.name)
        self.assertEqual([progress[Slice(index, 4)].slot for index in range(4)], slots)
        self.assertEqual(sum(known.rows for known in progress.values()), 80)

    def test_progress_that_somebody_sets_back_is_missed(self):
        writer, handle = self.begun(), self.handle()
        known = writer.progress(TABLE.name)[WHOLE]
        handle.create_write_transaction(
            [],
            "append",
            handle.schema(),
            PARTITION,
            commit_properties=CommitProperties(
                app_transactions=[Transaction(f"emitter:{RUN}:{TABLE.name}:{WHOLE}", FIRST.end)]
            ),
        )
        assert_progress_is_missed(self, self.opened(), replace(known, slot=FIRST.end))

    def test_a_compaction_and_a_checkpoint_are_not_in_the_way(self):
        writer = self.begun()
        self.assertEqual(self.handle().optimize.compact()["numFilesRemoved"], 2)
        self.handle().create_checkpoint()
        self.goes_on(writer)

    def test_a_change_data_feed_that_others_have_asked_for_tells_of_inserts(self):
        writer = self.begun()
        self.handle().alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
        version = self.handle().version()
        self.goes_on(writer)
        self.handle().optimize.compact()
        changes = self.handle().load_cdf(starting_version=version + 1).read_all()
        self.assertEqual(set(changes["_change_type"].to_pylist()), {"insert"})
        self.assertEqual(changes.num_rows, sum(batch.num_rows for batch in rows(THIRD)))

    def test_a_restore_that_takes_rows_of_ours_is_noticed(self):
        writer = self.begun()
        self.handle().restore(1)
        version = self.handle().version()
        outcomes, error = self.commit(writer, THIRD, SECOND.end)
        self.assertEqual(outcomes, ["error"])
        self.assertIsInstance(error, RolledBackError)
        self.assertIn(f"restore version {version - 1}", error.hint)
        self.assertEqual(self.handle().version(), version)
        for other in (self.opened(), self.writer()):  # and when it starts
            with self.assertRaises(RolledBackError):
                other.progress(TABLE.name)


class TogetherOnS3Test(Together, OnS3, BegunCase):
    """With conditional writes of the log."""


class OtherToolsTest(Together, OnDisk, BegunCase):
    """Maintenance and changes by somebody else, while a daemon holds a handle of the table."""

    def test_a_vacuum_without_mercy_takes_staged_files_and_no_row(self):
        writer = self.begun()
        staged = tuple(writer.stage(WHOLE, THIRD, file) for file in files(THIRD))
        removed = self.handle().vacuum(0, dry_run=False, enforce_retention_duration=False, full=True)
        self.assertEqual(len(removed), len(staged))
        with self.assertRaisesRegex(StorageError, "gone or cut short"):
            list(writer.commit(WHOLE, [TableCommit(TABLE.name, SECOND.end, THIRD.end, staged)]))
        self.assert_once(BOTH)
        self.goes_on(writer)

    def test_progress_outlives_checkpoints_and_clean_ups(self):
        writer = self.begun()
        self.tidy()
        self.assertEqual(len(list(self.log().glob("*.json"))), 1)
        self.goes_on(writer)

    def test_progress_of_every_slice_outlives_checkpoints_and_clean_ups(self):
        writer = self.opened()
        for slice in (Slice(0, 2), Slice(1, 2), Slice(2, 3), Slice(0, 16)):
            write(writer, FIRST, None, slice)
        before = writer.progress(TABLE.name)
        self.assertEqual(len(before), 4)
        self.tidy()
        self.assertEqual(self.opened().progress(TABLE.name), before)
        self.assertEqual(self.writer().progress(TABLE.name), before)

    def test_the_log_of_a_daemon_that_runs_stays_short(self):
        commits = 20
        self.enterContext(patch.object(delta_tables, "CHECKPOINT_COMMITS", commits))
        self.enterContext(patch.object(delta_tables, "CHECKPOINT_GRACE_SECONDS", 0))
        writer, entries = self.opened(), []
        for second in range(4 * commits):
            write(writer, window(second, second + 1), ORIGIN + second if second else None)
            for entry in self.log().iterdir():
                os.utime(entry, (1, 1))  # as if it had been there for long
            entries.append(len(list(self.log().glob("*.json"))))
        self.assertLessEqual(max(entries), 2 * commits + 1)
        self.assertEqual(self.opened().progress(TABLE.name)[WHOLE].rows, 4 * commits)

    def test_a_daemon_leaves_checkpoints_to_upkeep_for_a_minute(self):
        self.enterContext(patch.object(delta_tables, "CHECKPOINT_COMMITS", 10))
        clock, checkpoints = ManualClock(), []
        writer = DeltaWriter(self.storage, OPTIONS, clock=clock)
        writer.open(RUN, TABLE)
        for second in range(62):
            write(writer, window(second, second + 1), ORIGIN + second if second else None)
            checkpoints.append(len(list(self.log().glob("*.checkpoint.parquet"))))
            if second == 40:
                clock.advance(delta_tables.CHECKPOINT_GRACE_SECONDS)
        self.assertEqual((checkpoints[40], checkpoints[61]), (0, 1))
        self.assertEqual(self.opened().progress(TABLE.name)[WHOLE].rows, 62)

    def test_a_handle_whose_log_was_cleaned_up_far_ahead_goes_on(self):
        slow_writer, other = self.opened(), Slice(1, 2)
        write(slow_writer, FIRST, None, Slice(0, 2))
        write(self.opened(), FIRST, None, other)
        for second in range(25):
            write(self.opened(), window(30 + second, 31 + second), ORIGIN + 30 + second, other)
        self.tidy()
        report = write(slow_writer, window(30, 60), FIRST.end, Slice(0, 2))
        self.assertEqual(report.outcome, "ok")
        self.assertEqual(self.opened().progress(TABLE.name)[Slice(0, 2)].slot, ORIGIN + 60)

    def test_the_library_is_asked_once(self):
        writer = self.begun()
        self.compact()
        with patch.object(DeltaTables, "load", side_effect=AssertionError), self.commits_by_library() as commits:
            self.assertEqual(self.commit(writer, THIRD, SECOND.end), (["ok"], None))
        self.assertEqual(commits, [])
        self.assert_once(ALL)
        newest = json.loads((self.log() / f"{self.handle().version():020d}.json").read_text().splitlines()[0])
        self.assertEqual(newest["commitInfo"]["readVersion"], self.handle().version() - 1)

    def test_a_table_that_asks_for_more_is_left_to_the_library(self):
        writer = self.begun()
        self.handle().alter.add_feature(TableFeatures.AppendOnly, allow_protocol_versions_increase=True)
        with self.commits_by_library() as commits:
            self.goes_on(writer)
            self.assertEqual(self.commit(writer, window(90, 100), THIRD.end), (["ok"], None))
        self.assertEqual(len(commits), 2)
        self.assert_once(window(0, 100))

    def test_a_writer_goes_on_from_where_another_has_come(self):
        writer = self.begun()
        write(self.opened(), window(60, 75), SECOND.end)
        self.assertIsInstance(self.commit(writer, THIRD, SECOND.end)[1], OvertakenError)
        self.assertEqual(writer.recover(WHOLE, TABLE.name).slot, ORIGIN + 75)
        self.assertEqual(self.commit(writer, window(75, 90), ORIGIN + 75), (["ok"], None))
        self.assert_once(ALL)

    def test_a_clean_up_under_way_swallows_no_commit(self):
        writer, version = self.begun(), self.handle().version()
        for second in range(5):
            write(self.opened(), window(second, second + 1), ORIGIN + second if second else None, Slice(1, 2))
        self.handle().create_checkpoint()
        for entry in self.log().glob("*.json"):
            if version < int(entry.stem) < self.handle().version():
                entry.unlink()
        outcomes, error = self.commit(writer, THIRD, SECOND.end)
        self.assertEqual((outcomes, error), (["unknown", "ok"], None))
        self.assertEqual(self.opened().recover(WHOLE, TABLE.name).rows, ALL.seconds)
        self.assertEqual(
            self.handle().count(), ALL.seconds + sum(file.rows for file in files(window(0, 5), Slice(1, 2)))
        )

    def test_an_entry_behind_a_checkpoint_is_no_progress_whatever_stands_after_it(self):
        writer, version = self.begun(), self.handle().version()
        for second in range(5):
            write(self.opened(), window(second, second + 1), ORIGIN + second if second else None, Slice(1, 2))
        self.handle().create_checkpoint()
        next(self.log().glob(f"{version + 1:020d}.json")).unlink()  # the next ones are all there
        outcomes, error = self.commit(writer, THIRD, SECOND.end)
        self.assertEqual((outcomes, error), (["unknown", "ok"], None))
        self.assertEqual(self.opened().recover(WHOLE, TABLE.name).rows, ALL.seconds)
        self.assertEqual(
            self.handle().count(), ALL.seconds + sum(file.rows for file in files(window(0, 5), Slice(1, 2)))
        )

    def test_an_entry_that_comes_just_after_it_was_not_there_is_read(self):
        writer, real, missed = self.begun(), LocalStorage.read, []

        def read(storage, path):
            if "_delta_log/0" in path and not missed:
                missed.append(path)
                raise StorageError("read", path, FileNotFoundError(2, "No such file or directory"))
            return real(storage, path)

        write(self.opened(), FIRST, None, Slice(1, 2))
        with patch.object(LocalStorage, "read", read):
            self.assertEqual(self.commit(writer, THIRD, SECOND.end), (["ok"], None))
        self.assertEqual(len(missed), 1)

    @contextmanager
    def commits_by_library(self) -> Iterator[list[int]]:
        """The versions at which the library commits meanwhile."""
        versions, real = [], DeltaTable.create_write_transaction

        def commit(handle, *arguments, **more):
            versions.append(handle.version())
            real(handle, *arguments, **more)

        with patch.object(DeltaTable, "create_write_transaction", commit):
            yield versions

    def test_rows_that_somebody_deletes_are_theirs_to_answer_for(self):
        writer = self.begun()
        self.handle().delete(f"beat_id < {ORIGIN + 10}")
        self.assertEqual(self.commit(writer, THIRD, SECOND.end), (["ok"], None))
        self.assertEqual(self.handle().count(), 80)
        self.assertEqual(self.opened().recover(WHOLE, TABLE.name).rows, 90)

    def test_a_restore_is_noticed_under_what_came_after_it(self):
        self.begun()
        self.handle().restore(1)
        self.handle().optimize.compact()
        self.foreign_append()
        with self.assertRaises(RolledBackError):
            self.opened().recover(WHOLE, TABLE.name)

    def test_a_restore_that_is_undone_as_the_hint_says_is_forgiven(self):
        writer = self.begun()
        self.handle().restore(1)
        _, error = self.commit(writer, THIRD, SECOND.end)
        self.handle().restore(int(error.hint.split()[2].rstrip(",")))
        self.assertEqual(self.opened().recover(WHOLE, TABLE.name).slot, SECOND.end)
        self.goes_on(writer)

    def test_a_restore_that_takes_nothing_of_ours_is_harmless(self):
        writer = self.begun()
        version = self.handle().version()
        self.foreign_append()
        self.handle().restore(version)
        self.goes_on(writer)

    def test_a_restore_to_a_time_cannot_be_judged_and_is_refused(self):
        writer = self.begun()
        after = self.handle().history(1)[0]["timestamp"] + 1
        while time.time() * 1000 < after + 20:  # the next version must not be as old, by the coarse times of files
            time.sleep(0.001)
        self.foreign_append()
        self.handle().restore(datetime.fromtimestamp(after / 1000, UTC))
        self.assertIsInstance(self.commit(writer, THIRD, SECOND.end)[1], RolledBackError)

    def test_a_table_that_is_deleted_is_noticed_and_made_anew_after_a_restart(self):
        writer = self.begun()
        shutil.rmtree(self.root / TABLE.name)
        outcomes, error = self.commit(writer, THIRD, SECOND.end)
        self.assertIsInstance(error, (OvertakenError, StorageError), outcomes)
        self.assertFalse(self.log().exists())
        again = self.opened()
        self.assertIsNone(again.recover(WHOLE, TABLE.name))
        write(again, ALL, None)
        self.assert_once(ALL)

    def test_a_start_loads_a_table_once(self):
        self.begun()
        with patch.object(DeltaTables, "_load", autospec=True, side_effect=DeltaTables._load) as loads:
            writer = self.opened()
            writer.recover(WHOLE, TABLE.name)
            self.assertEqual(writer.progress(TABLE.name)[WHOLE].slot, SECOND.end)
            write(writer, THIRD, SECOND.end)
        self.assertEqual(loads.call_count, 1)
        self.assertEqual(writer.progress(TABLE.name)[WHOLE].slot, THIRD.end)
        self.assert_once(ALL)

    def test_a_table_that_is_made_anew_between_two_looks_is_seen(self):
        writer = self.begun()
        writer.recover(WHOLE, TABLE.name)
        version = self.handle().version()
        shutil.rmtree(self.root / TABLE.name)
        other = self.writer()
        other.open("another run", TABLE)
        write(other, FIRST, None)
        write(other, SECOND, FIRST.end)
        self.assertEqual(self.handle().version(), version)
        with self.assertRaises(ForeignTableError):
            writer.progress(TABLE.name)

    def test_a_table_that_is_replaced_is_refused(self):
        writer = self.begun()
        DeltaTable.create(self.uri(), self.handle().schema(), mode="overwrite", partition_by=PARTITION)
        _, error = self.commit(writer, THIRD, SECOND.end)
        self.assertIsInstance(error, RolledBackError)
        with self.assertRaises(ForeignTableError):
            self.opened()
        adopting = self.opened(adopt=True)
        adopting.recover(WHOLE, TABLE.name)
        _, error = self.commit(adopting, ALL, None)
        self.assertIsInstance(error, RolledBackError)
        self.assertEqual(self.handle().count(), 0)

    def test_a_column_more_is_not_in_the_way(self):
        writer = self.begun()
        self.handle().alter.add_columns([Field("remark", "string")])
        self.goes_on(writer)

    def test_a_daemon_that_runs_notices_another_schema(self):
        writer = self.begun()
        handle = self.handle()
        DeltaTable.create(
            self.uri(),
            Schema([field for field in handle.schema().fields if field.name != "pulse"]),
            mode="overwrite",
            partition_by=PARTITION,
            configuration=handle.metadata().configuration,
            raise_if_key_not_exists=False,
        )
        _, error = self.commit(writer, THIRD, SECOND.end)
        self.assertIsInstance(error, ForeignTableError)
        self.assertIn("column pulse: not there", error.problem)

    def test_what_would_make_rows_or_progress_wrong_is_refused(self):
        def expiring(alter: TableAlterer) -> None:
            alter.set_table_properties({"delta.setTransactionRetentionDuration": "interval 1 days"})

        def constrained(alter: TableAlterer) -> None:
            alter.add_constraint({"positive": "pulse >= 0"})

        def tracked(alter: TableAlterer) -> None:
            alter.add_feature(TableFeatures.RowTracking, allow_protocol_versions_increase=True)

        for change, named in (
            (expiring, "setTransactionRetention"),
            (constrained, "positive"),
            (tracked, "RowTracking"),
        ):
            with self.subTest(named):
                self.new_output()
                writer = self.begun()
                change(self.handle().alter)
                outcomes, error = self.commit(writer, THIRD, SECOND.end)
                self.assertEqual(outcomes, ["error"])
                self.assertIsInstance(error, ForeignTableError)
                self.assertIn(named, error.problem)
                self.assertEqual(self.handle().count(), BOTH.seconds)

    def test_deleted_rows_that_are_still_in_the_files_are_not_read(self):
        writer = self.begun()
        self.handle().alter.add_feature(TableFeatures.DeletionVectors, allow_protocol_versions_increase=True)
        with self.assertRaisesRegex(ForeignTableError, "deletionVectors"):
            rows_in(writer, TABLE, ALL)

    def test_a_data_file_that_is_gone_is_told(self):
        writer, broken = self.begun(), []
        next((self.root / TABLE.name).rglob("*.parquet")).unlink()
        with self.assertRaises(DamagedStateError):
            rows_in(writer, TABLE, ALL)
        self.assertEqual(sum(batch.num_rows for batch in rows_in(writer, TABLE, ALL, broken)), 30)
        self.assertEqual(len(broken), 1)

    def log(self) -> Path:
        return self.root / TABLE.name / "_delta_log"

    def tidy(self) -> None:
        """A checkpoint, and a clean-up of all that it makes superfluous."""
        handle = self.handle()
        handle.create_checkpoint()
        for entry in self.log().iterdir():
            os.utime(entry, (1, 1))
        handle.cleanup_metadata()

    def foreign_append(self) -> None:
        """A commit of somebody else's, with no rows."""
        handle = self.handle()
        handle.create_write_transaction([], "append", handle.schema(), PARTITION)


class RacesTest(OnDisk, BegunCase):
    """Somebody comes between reading the progress and committing."""

    def between(self, *acts: Callable[[], object]) -> CrashHook:
        """A hook that does each of these once, before the attempts that follow the first two commits."""
        waiting = [lambda: None, lambda: None, *acts]

        def hook(point: str) -> None:
            if point == "delta.checked" and waiting:
                waiting.pop(0)()

        return hook

    def test_the_same_commit_by_another_lands_once(self):
        writer = self.begun(self.between(lambda: write(self.opened(), THIRD, SECOND.end)))
        self.assertEqual(self.commit(writer, THIRD, SECOND.end), (["conflict", "deduplicated"], None))
        self.assert_once(ALL)

    def test_another_commit_of_the_same_slice_wins(self):
        asked = window(60, 75)
        writer = self.begun(self.between(lambda: write(self.opened(), asked, SECOND.end)))
        outcomes, error = self.commit(writer, THIRD, SECOND.end)
        self.assertEqual(outcomes[0], "conflict")
        self.assertIsInstance(error, OvertakenError)
        self.assert_once(window(0, 75))

    def test_another_slice_is_passed_by(self):
        writer = self.begun(self.between(lambda: write(self.opened(), FIRST, None, Slice(1, 2))))
        self.assertEqual(self.commit(writer, THIRD, SECOND.end), (["ok"], None))
        self.assertEqual(set(self.opened().progress(TABLE.name)), {WHOLE, Slice(1, 2)})

    def test_a_compaction_is_passed_by(self):
        writer = self.begun(self.between(self.compact))
        self.goes_on(writer)

    def test_a_change_of_properties_is_looked_at_first(self):
        change = {"delta.appendOnly": "false"}
        writer = self.begun(self.between(lambda: self.handle().alter.set_table_properties(change)))
        self.assertEqual(self.commit(writer, THIRD, SECOND.end), (["conflict", "ok"], None))
        self.assert_once(ALL)

    def test_a_restore_is_looked_at_first(self):
        writer = self.begun(self.between(lambda: self.handle().restore(1)))
        outcomes, error = self.commit(writer, THIRD, SECOND.end)
        self.assertEqual(outcomes[0], "conflict")
        self.assertIsInstance(error, RolledBackError)

    def test_a_deletion_of_the_table_leaves_no_broken_one(self):
        writer = self.begun(self.between(lambda: shutil.rmtree(self.root / TABLE.name)))
        _, error = self.commit(writer, THIRD, SECOND.end)
        self.assertIsInstance(error, OvertakenError)
        self.assertIsNone(self.opened().recover(WHOLE, TABLE.name))

    def test_two_shard_counts_that_are_new_are_both_remembered(self):
        begun = self.begun(self.between(lambda: write(self.opened(), THIRD, None, Slice(1, 3))))
        self.assertEqual(self.commit(begun, THIRD, None, Slice(1, 2)), (["conflict", "ok"], None))
        self.assertEqual(set(self.opened().progress(TABLE.name)), {WHOLE, Slice(1, 2), Slice(1, 3)})


if __name__ == "__main__":
    unittest.main()
