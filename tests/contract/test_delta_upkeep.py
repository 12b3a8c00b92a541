"""Upkeep of Delta tables: the contract on both storages, and what readers and writers of Delta notice of it."""

from __future__ import annotations

import errno
import json
import os
import threading
import unittest
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, TableFeatures
from deltalake.transaction import Transaction

from emitter.clock import SystemClock
from emitter.errors import (
    CommitConflictError,
    CommitUnknownError,
    DamagedStateError,
    ForeignTableError,
    RolledBackError,
    StorageError,
)
from emitter.model import TableCommit
from emitter.storage.local import LocalStorage
from emitter.upkeep.rounds import Round
from emitter.writers.base import CrashHook, is_merged_name
from emitter.writers.delta.tables import PROPERTIES, RUN_ID
from emitter.writers.delta.writer import DeltaWriter
from emitter.writers.upkeep import Chore, UpkeepPolicy
from tests.contract.beats import (
    ODD_ROWS,
    ORIGIN,
    RUN,
    TABLE,
    WHOLE,
    assert_progress_is_missed,
    encoded,
    files,
    found,
    in_order,
    rows,
    window,
    write,
)
from tests.contract.delta_outputs import OnDisk
from tests.contract.upkeep_contract import AT_ONCE, POLICY, SECONDS, UpkeepContract

NO_VERSIONS = UpkeepPolicy(small_files_min=5, file_rows_target=1_000, keep_seconds=0)
"""Nothing that was replaced is kept, but what nobody has named yet."""


class DeltaUpkeepCase(UpkeepContract):
    """The contract, and what else must hold on both storages."""

    writer_class = DeltaWriter

    def changed_rows(self, first_version: int = 0) -> int:
        """How many rows a reader is told of who follows the table from version to version."""
        count = 0
        for version in range(first_version, self.handle().version() + 1):
            entry = self.storage.read(f"{TABLE.name}/_delta_log/{version:020d}.json")
            for action in map(json.loads, entry.splitlines()):
                if action.get("add", {}).get("dataChange"):
                    count += json.loads(action["add"]["stats"])["numRecords"]
                self.assertFalse(action.get("remove", {}).get("dataChange"))
        return count

    def between(self, point: str, act) -> CrashHook:
        """A hook that does something once, at a crash point."""
        acts = [act]

        def hook(reached: str) -> None:
            if reached == point and acts:
                acts.pop()()

        return hook

    def chore(self) -> Chore:
        (chore,) = [chore for chore in self.planned() if chore.task == "compact"]
        return chore

    def test_who_follows_the_versions_sees_each_row_once(self):
        self.written(1)
        self.handle().alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
        count = self.written(24, first=1)
        self.assert_went_well(self.tended())
        count = self.written(3, first=count)
        self.assertEqual(self.changed_rows(), count * SECONDS)
        changes = pa.table(self.handle().load_cdf(starting_version=3).read_all())
        self.assertEqual(set(changes["_change_type"].to_pylist()), {"insert"})
        self.assertEqual(len(set(changes["beat_id"].to_pylist())), changes.num_rows)
        self.assertEqual(changes.num_rows, (count - 1) * SECONDS)
        self.assert_whole(count)

    def test_what_waits_for_its_commit_outlives_a_vacuum(self):
        count = self.written(12)
        writer, asked = self.opened(), window(count * SECONDS, (count + 1) * SECONDS)
        staged = tuple(writer.stage(WHOLE, asked, file) for file in files(asked))
        reports = self.tended(NO_VERSIONS)
        self.assert_went_well(reports)
        self.assertGreater(sum(report.files_removed for report in reports if report.task == "vacuum"), 5)
        list(writer.commit(WHOLE, [TableCommit(TABLE.name, ORIGIN + count * SECONDS, asked.end, staged)]))
        self.assert_whole(count + 1)

    def test_a_compaction_by_somebody_else_wins_and_nothing_changes(self):
        count = self.written(12)
        chore = self.chore()
        upkeep = self.opened(self.between("delta.merged", self.handle().optimize.compact)).upkeep(POLICY)
        with self.assertRaises(CommitConflictError):
            upkeep.apply(chore)
        self.assertFalse(any(map(is_merged_name, self.handle().file_uris())))
        self.assert_whole_for_readers(count)

    def test_an_append_between_reading_and_committing_is_passed_by(self):
        count = self.written(12)
        hook = self.between("delta.merged", lambda: self.written(1, first=count))
        done = self.opened(hook).upkeep(POLICY).apply(self.chore())
        self.assertEqual((done.files_removed, done.files_written), (11, 1))
        self.assert_whole(count + 1)

    def assert_whole_for_readers(self, count: int) -> None:
        """Each row is there once, also for polars."""
        writer, asked = self.opened(), window(0, count * SECONDS)
        self.assertEqual(found(writer, asked), in_order(rows(asked)))
        options = self.options()
        given = options and {name: value for name, value in options.items() if name.startswith("AWS_")}
        frame = pl.scan_delta(self.uri(), storage_options=given)
        self.assertEqual(frame.select("beat_id").collect().to_series().n_unique(), asked.seconds)
        late = frame.filter(pl.col("beat_id") >= ORIGIN + asked.seconds - 3).collect()
        self.assertEqual((frame.select(pl.len()).collect().item(), late.height), (asked.seconds, 3))


class DeltaUpkeepOnDiskTest(OnDisk, DeltaUpkeepCase, unittest.TestCase):
    """And what is only to be seen on a disk."""

    def test_an_older_version_can_be_read_for_as_long_as_is_promised(self):
        self.written(20)
        pinned = self.handle()
        version = pinned.version()
        for first in (20, 32):
            self.written(12, first=first)
            self.assert_went_well(self.tended(replace(POLICY, orphan_seconds=0)))
        self.assertEqual(pa.table(pinned.to_pyarrow_table()).num_rows, 20 * SECONDS)
        back = DeltaTable(self.uri(), version=version, storage_options=self.options())
        self.assertEqual(pa.table(back.to_pyarrow_table()).num_rows, 20 * SECONDS)

    def test_a_compaction_by_somebody_else_goes_on_from_ours(self):
        count = self.written(12)
        self.opened().upkeep(POLICY).apply(self.chore())
        self.handle().optimize.compact()
        self.assertNotIn("compact", [chore.task for chore in self.planned()])
        self.assert_whole_for_readers(count)

    def test_the_same_compaction_twice_at_once_lands_once(self):
        count = self.written(12)
        chore = self.chore()
        other = self.opened().upkeep(POLICY)
        upkeep = self.opened(self.between("delta.merged", lambda: other.apply(chore))).upkeep(POLICY)
        with self.assertRaises(CommitConflictError):
            upkeep.apply(chore)
        self.assertEqual(sum(map(is_merged_name, self.handle().file_uris())), 1)
        self.assert_whole(count)

    def test_rows_that_somebody_deletes_meanwhile_do_not_come_back(self):
        self.written(12)
        act = lambda: self.handle().delete(f"beat_id < {ORIGIN + 2}")  # noqa: E731
        with self.assertRaises(CommitConflictError):
            self.opened(self.between("delta.merged", act)).upkeep(POLICY).apply(self.chore())
        self.assertEqual(self.handle().count(), 12 * SECONDS - 2)

    def test_a_lost_reply_is_told_and_found_out(self):
        count, real = self.written(12), LocalStorage.put_if_absent
        for landed, left in ((False, 1), (True, 0)):
            chore = self.chore()

            def failing(storage, path, data, landed=landed):
                if "_delta_log" not in path or landed:
                    real(storage, path, data)
                if "_delta_log" in path:
                    raise StorageError("write", path, OSError(errno.EIO, os.strerror(errno.EIO)))

            with patch.object(LocalStorage, "put_if_absent", failing), self.assertRaises(CommitUnknownError):
                self.opened().upkeep(POLICY).apply(chore)
            self.assertEqual(len([chore for chore in self.planned() if chore.task == "compact"]), left)
            self.assert_whole(count)

    def test_a_restore_that_undoes_a_compaction_is_harmless(self):
        count = self.written(12)
        version = self.handle().version()
        self.assert_went_well(self.tended())
        self.handle().restore(version)
        self.assert_whole(self.written(2, first=count))

    def test_a_restore_behind_rows_is_noticed_across_compactions(self):
        self.written(12)
        self.assert_went_well(self.tended())
        self.written(8, first=12)
        self.handle().restore(self.handle().version() - 4)
        self.tended()
        with self.assertRaises(RolledBackError):
            self.opened().recover(WHOLE, TABLE.name)

    def test_progress_that_is_set_back_is_missed_though_files_were_merged(self):
        self.written(12)
        self.assert_went_well(self.tended(AT_ONCE))
        known, handle = self.opened().progress(TABLE.name)[WHOLE], self.handle()
        slot = ORIGIN + 3 * SECONDS
        back = CommitProperties(app_transactions=[Transaction(f"emitter:{RUN}:{TABLE.name}:{WHOLE}", slot)])
        handle.create_write_transaction(
            [], "append", handle.schema(), handle.metadata().partition_columns, commit_properties=back
        )
        assert_progress_is_missed(self, self.opened(), replace(known, slot=slot))

    def test_what_an_append_was_overtaken_with_goes_before_it_is_old(self):
        count = self.written(12)
        writer, asked = self.opened(), window(0, count * SECONDS)
        staged = [writer.stage(WHOLE, asked, file) for file in files(asked)]
        self.assert_went_well(self.tended(NO_VERSIONS))
        left = {file.path for file in self.storage.walk(TABLE.name)}
        self.assertEqual([file for file in staged if file.final_path in left], [])
        self.assert_whole(count)

    def test_every_value_is_as_it_was(self):
        writer, slot = self.opened(), None
        for number in range(0, ODD_ROWS.num_rows, 2):
            asked = window(number, number + 2)
            write(writer, asked, slot, encoded=encoded(ODD_ROWS.slice(number, 2)))
            slot = asked.end
        end = window(200, 202)
        write(writer, end, slot)
        self.assert_went_well(self.tended())
        self.assertEqual(sum(map(is_merged_name, self.handle().file_uris())), 1)
        there = found(self.opened(), window(0, 1))
        self.assertEqual(str(there.to_pylist()), str(in_order([ODD_ROWS]).to_pylist()))

    def test_a_table_of_an_earlier_release_keeps_what_is_promised_and_no_more(self):
        count, writer = self.written(2), self.opened()
        writer.recover(WHOLE, TABLE.name)
        self.handle().alter.set_table_properties(
            {
                "delta.logRetentionDuration": "interval 1 days",
                "delta.deletedFileRetentionDuration": "interval 7 days",
            }
        )
        self.assert_went_well(self.tended(UpkeepPolicy()))
        self.assertEqual(self.handle().metadata().configuration, {**PROPERTIES, RUN_ID: RUN})
        self.assertNotIn("expire", [report.task for report in self.tended(UpkeepPolicy())])
        write(writer, window(count * SECONDS, (count + 1) * SECONDS), ORIGIN + count * SECONDS)
        self.assert_whole(count + 1)

    def test_statistics_of_merged_files_hold(self):
        count = self.written(30)
        self.assert_went_well(self.tended())
        added = pa.table(self.handle().get_add_actions(flatten=True)).to_pylist()
        merged = [file for file in added if is_merged_name(file["path"])]
        self.assertEqual(len(merged), 2)
        for file in merged:
            held = pl.read_parquet(f"{self.uri()}/{file['path']}", hive_partitioning=False)
            self.assertEqual(file["num_records"], held.height)
            self.assertEqual(file["min.beat_id"], held["beat_id"].min())
            self.assertEqual(file["max.beat_id"], held["beat_id"].max())
            for name in held.columns:
                self.assertEqual(file[f"null_count.{name}"], held[name].null_count())
        self.assert_whole_for_readers(count)

    def test_what_upkeep_writes_is_durable(self):
        synced, real = set(), os.fsync
        self.written(30)
        log = self.root / TABLE.name / "_delta_log"
        before = {path.name for path in log.iterdir()}

        def recording(descriptor: int) -> None:
            synced.add(os.fstat(descriptor).st_ino)
            real(descriptor)

        with patch("os.fsync", recording):
            self.assert_went_well(self.tended(AT_ONCE))
        new = [path for path in log.iterdir() if path.name not in before or path.name == "_last_checkpoint"]
        new += [path for path in (self.root / TABLE.name).rglob("*.parquet") if is_merged_name(path.name)]
        self.assertGreaterEqual(len(new), 4)
        self.assertEqual([path.name for path in (log, *new) if path.stat().st_ino not in synced], [])

    def test_a_damaged_file_is_left_alone_and_told_of(self):
        count = self.written(12)
        path = sorted((self.root / TABLE.name).rglob("*.parquet"))[3]
        path.write_bytes(path.read_bytes() + b"\0")
        version = self.handle().version()
        with self.assertRaises(DamagedStateError):
            self.opened().upkeep(POLICY).apply(self.chore())
        self.assertEqual(self.handle().version(), version)
        path.unlink()
        with self.assertRaises(DamagedStateError):
            self.opened().upkeep(POLICY).apply(self.chore())
        self.assertEqual(len(self.handle().file_uris()), count)

    def test_a_log_that_is_looked_after_stays_short(self):
        count, lengths = 0, []
        for _ in range(6):
            count = self.written(15, first=count)
            self.assert_went_well(self.tended(NO_VERSIONS))
            lengths.append(len(list((self.root / TABLE.name / "_delta_log").iterdir())))
        self.assertLess(max(lengths), 30)
        self.assertLess(len(list((self.root / TABLE.name).rglob("*.parquet"))), 40)
        self.assert_whole(count)

    def test_checkpoints_are_shorter_than_commits_though_each_round_begins_anew(self):
        count, log = self.written(30), self.root / TABLE.name / "_delta_log"
        self.tended()
        self.tended()
        before = set(log.iterdir())
        for _ in range(5):
            count = self.written(12, first=count)
            self.assert_went_well(self.tended())
        new = [path for path in log.iterdir() if path not in before]
        checkpoints = [path.stat().st_size for path in new if path.suffix == ".parquet"]
        commits = [path.stat().st_size for path in new if path.suffix == ".json"]
        self.assertIn(len(checkpoints), range(1, 4))
        self.assertLess(sum(checkpoints), sum(commits))

    def test_what_others_put_beside_old_entries_goes_with_them(self):
        log, count = self.root / TABLE.name / "_delta_log", self.written(4)
        self.assert_went_well(self.tended(NO_VERSIONS))
        count = self.written(12, first=count)
        last = self.handle().version()
        old = [f"{last - 1:020d}.crc", f"{last - 3:020d}.{last - 1:020d}.compacted.json"]
        old.append(f"{last - 1:020d}.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json")
        kept = [f"{last:020d}.crc", f"{last - 1:020d}.{last:020d}.compacted.json"]
        writer = self.opened()
        round_ = Round(writer.upkeep(NO_VERSIONS), [TABLE.name], SystemClock(), threading.Event())
        self.assert_went_well([*round_.run(("checkpoint",))])
        for name in (*old, *kept):
            (log / name).write_text("{}")
        self.assert_went_well([*round_.run(("expire",))])
        self.assertEqual([name for name in (*old, *kept) if (log / name).exists()], kept)
        for name in kept:
            (log / name).unlink()
        self.assert_whole(count)

    def test_no_commit_goes_behind_a_checkpoint_that_is_not_told_of(self):
        count, log, writer = self.written(3), self.root / TABLE.name / "_delta_log", self.opened()
        self.tended(NO_VERSIONS)  # says what is kept
        write(writer, window(count * SECONDS, (count + 1) * SECONDS), ORIGIN + count * SECONDS)
        self.handle().create_checkpoint()
        real, acts = LocalStorage.put_if_absent, [lambda: self.sum_up_half(log)]

        def late(storage: LocalStorage, path: str, data: bytes) -> bool:
            if "_delta_log" in path and acts:
                acts.pop()()
            return real(storage, path, data)

        with patch.object(LocalStorage, "put_if_absent", late):
            asked = window((count + 1) * SECONDS, (count + 2) * SECONDS)
            write(writer, asked, ORIGIN + (count + 1) * SECONDS)
        self.assertEqual(acts, [])
        self.assert_whole(count + 2)

    def sum_up_half(self, log: Path) -> None:
        """Others commit, and make a checkpoint, and are killed before they tell of it; then the log is cleaned up."""
        handle, told = self.handle(), (log / "_last_checkpoint").read_bytes()
        for _ in range(6):
            self.handle().create_write_transaction([], "append", handle.schema(), handle.metadata().partition_columns)
        self.handle().create_checkpoint()
        (log / "_last_checkpoint").write_bytes(told)
        upkeep = self.opened().upkeep(NO_VERSIONS)
        for chore in upkeep.plan("expire", TABLE.name):
            upkeep.apply(chore)

    def test_the_log_of_a_table_with_deletion_vectors_is_looked_after(self):
        count = self.written(4)
        self.handle().alter.add_feature(TableFeatures.DeletionVectors, allow_protocol_versions_increase=True)
        self.tended(AT_ONCE)
        self.written(12, first=count)
        before = {file.path for file in self.storage.walk(TABLE.name)}
        reports = {report.task: report for report in self.tended(AT_ONCE)}
        self.assertEqual(self.opened()._delta.log.checkpoint_version(TABLE.name), self.handle().version())
        self.assertGreater(reports["expire"].files_removed, 12)
        self.assertRegex(reports.pop("vacuum").problem, "has the feature deletionVectors")
        self.assert_went_well(reports.values())
        left = {file.path for file in self.storage.walk(TABLE.name)}
        self.assertEqual([path for path in before - left if not path.startswith(f"{TABLE.name}/_delta_log/")], [])
        with self.assertRaisesRegex(ForeignTableError, "deletionVectors"):
            self.opened().size(TABLE.name)

    def test_a_closed_partition_ends_with_few_files(self):
        count = self.written(100)
        for _ in range(3):
            self.assert_went_well(self.tended())
        size = self.opened().size(TABLE.name)
        self.assertLessEqual(size.files, 6)
        self.assertEqual(
            size.bytes, sum(Path(uri.removeprefix("file://")).stat().st_size for uri in self.handle().file_uris())
        )
        self.assert_whole_for_readers(count)

    def test_two_rounds_at_once_beside_appends_are_whole(self):
        count, ended = self.written(12), threading.Event()

        def tend() -> None:
            while not ended.is_set():
                writer = self.opened()
                list(Round(writer.upkeep(NO_VERSIONS), [TABLE.name], SystemClock(), ended).run(("compact", "expire")))

        threads = [threading.Thread(target=tend) for _ in range(2)]
        for thread in threads:
            thread.start()
        count = self.written(40, first=count)
        ended.set()
        for thread in threads:
            thread.join()
        self.assert_whole(count)


if __name__ == "__main__":
    unittest.main()
