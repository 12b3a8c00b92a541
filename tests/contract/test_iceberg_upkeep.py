"""The upkeep of Iceberg tables: the contract in every catalogue, and what readers, writers and other tools notice."""

from __future__ import annotations

import os
import threading
import unittest
from collections import Counter
from dataclasses import replace
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.manifest import ManifestEntryStatus
from pyiceberg.table import Table as Handle
from pyiceberg.table.snapshots import Operation

from emitter.clock import SystemClock
from emitter.model import TASKS, ChoreReport
from emitter.upkeep.rounds import Round
from emitter.writers.base import is_merged_name
from emitter.writers.iceberg import expiry, replacing, unnamed, upkeep
from emitter.writers.iceberg.io import Place
from emitter.writers.upkeep import UpkeepPolicy
from tests.contract.beats import ORIGIN, TABLE, WHOLE, assert_progress_is_missed, window, write
from tests.contract.iceberg_case import IcebergOutput, OnSqlite
from tests.contract.upkeep_contract import AT_ONCE, POLICY, SECONDS, UpkeepContract
from tests.support.foreign_readers import counts_by_readers

ONE_LISTED = replace(POLICY, versions_max=1, orphan_seconds=0)
"""What was replaced is kept for readers, though no version is listed but the newest."""
NO_VERSIONS = replace(POLICY, keep_seconds=0)
"""Nothing that was replaced is kept, but what nobody has named yet."""


class IcebergUpkeepContract(IcebergOutput, UpkeepContract):
    assert_whole = UpkeepContract.assert_whole


class IcebergUpkeepTest(OnSqlite, IcebergUpkeepContract, unittest.TestCase):
    """The contract, and what readers, writers and other tools notice."""

    def append(self, number: int) -> None:
        """One more of the small commits."""
        write(self.opened(), window(number * SECONDS, (number + 1) * SECONDS), ORIGIN + number * SECONDS)

    def problems(self, policy: UpkeepPolicy, hook) -> list[str]:
        return [report.problem for report in self.tended(policy, hook) if report.problem]

    def compacted(self, reports: list[ChoreReport]) -> int:
        return sum(report.files_removed for report in reports if report.task == "compact")

    def test_appends_wait_for_nothing_that_others_on_the_machine_hold_up(self):
        self.written(8)
        self.assertEqual(self.urgent_seen(Handle, "_do_commit"), [True, True])

    def test_who_follows_what_is_appended_sees_each_row_once(self):
        count = self.written(8)
        first = self.handle().metadata.snapshots[0]
        self.assertGreater(self.compacted(self.tended()), 4)
        count = self.written(9, first=count)
        self.assertGreater(self.compacted(self.tended()), 4)
        handle = self.handle()
        operations = {snapshot.summary.operation for snapshot in handle.metadata.snapshots}
        self.assertEqual(operations, {Operation.APPEND, Operation.REPLACE})
        followed = handle.incremental_append_scan(from_snapshot_id_exclusive=first.snapshot_id).to_arrow()
        self.assertEqual(len(set(followed["beat_id"].to_pylist())), (count - 1) * SECONDS)
        self.assertEqual(followed.num_rows, (count - 1) * SECONDS)

    def test_who_follows_changes_is_told_of_each_file_that_is_replaced_in_short(self):
        self.written(12)
        before = {task.file.file_path: task.file.record_count for task in self.handle().scan().plan_files()}
        self.assertGreater(self.compacted(self.tended()), 4)
        handle = self.handle()
        after = {task.file.file_path for task in handle.scan().plan_files()}
        replaced = next(each for each in handle.metadata.snapshots if each.summary.operation is Operation.REPLACE)
        deleted = [
            entry
            for manifest in replaced.manifests(handle.io)
            if manifest.added_snapshot_id == replaced.snapshot_id
            for entry in manifest.fetch_manifest_entry(handle.io, discard_deleted=False)
            if entry.status == ManifestEntryStatus.DELETED
        ]
        files = {entry.data_file.file_path: entry.data_file for entry in deleted}
        self.assertEqual(files.keys(), before.keys() - after)
        self.assertEqual({entry.snapshot_id for entry in deleted}, {replaced.snapshot_id})
        self.assertNotIn(None, [entry.sequence_number for entry in deleted])
        for path, file in files.items():
            self.assertEqual(file.record_count, before[path])
            self.assertGreater(file.file_size_in_bytes, 0)
            self.assertIsNotNone(file.partition[0])
            self.assertFalse(file.column_sizes or file.value_counts or file.lower_bounds or file.upper_bounds)
        self.assertGreaterEqual(handle.inspect.entries().num_rows, len(after))  # it can be looked at all the same

    def test_a_handle_that_was_loaded_before_reads_all_its_versions(self):
        count = self.written(12)
        pinned = self.handle()
        self.assertGreater(self.compacted(self.tended(ONE_LISTED)), 4)
        between = self.handle()
        self.written(8, first=count)
        for _ in range(2):
            self.assert_went_well(self.tended(ONE_LISTED))
        self.assertLessEqual(len(self.handle().metadata.snapshots), 2)
        for handle in (pinned, between):
            self.assertEqual(handle.scan().to_arrow().num_rows, count * SECONDS)
        for number, snapshot in enumerate(pinned.metadata.snapshots, 1):
            rows = pinned.scan(snapshot_id=snapshot.snapshot_id).to_arrow().num_rows
            self.assertEqual(rows, number * SECONDS)

    def test_what_a_tag_or_a_branch_names_stays_until_they_go(self):
        count = self.written(12)
        second, third = (snapshot.snapshot_id for snapshot in self.handle().metadata.snapshots[1:3])
        self.handle().manage_snapshots().create_tag(second, "second").create_branch(third, "third").commit()
        for _ in range(2):
            self.assert_went_well(self.tended(AT_ONCE))
        handle = self.handle()
        self.assertEqual(len(handle.metadata.snapshots), 3)
        for snapshot_id, commits in ((second, 2), (third, 3)):
            rows = handle.scan(snapshot_id=snapshot_id).to_arrow().num_rows
            self.assertEqual(rows, commits * SECONDS)
        self.assert_whole(count)
        handle.manage_snapshots().remove_tag("second").remove_branch("third").commit()
        self.assert_went_well(self.tended(AT_ONCE))
        self.assertEqual(len(self.handle().metadata.snapshots), 1)
        self.assert_only_what_is_named()

    def assert_only_what_is_named(self) -> None:
        handle = self.handle()
        there = {file.path.rpartition("/")[2] for file in self.storage.walk(TABLE.name)}
        named = {_name(entry.metadata_file) for entry in handle.metadata.metadata_log} | {
            _name(handle.metadata_location)
        }
        for snapshot in handle.metadata.snapshots:
            named.add(_name(snapshot.manifest_list))
            for manifest in snapshot.manifests(handle.io):
                named.add(_name(manifest.manifest_path))
                named.update(_name(entry.data_file.file_path) for entry in manifest.fetch_manifest_entry(handle.io))
        self.assertEqual(there, named)

    def test_nothing_is_left_of_many_rounds_but_what_the_table_names(self):
        count = 0
        for _ in range(3):
            count = self.written(7, first=count)
            self.assert_went_well(self.tended(AT_ONCE))
        self.assert_only_what_is_named()
        self.assert_whole(count)

    def test_each_list_and_manifest_is_read_once_by_whoever_goes_on(self):
        reads, read = Counter[str](), unnamed.Unnamed._records

        def counted(look: unnamed.Unnamed, location: str):
            reads[location] += 1
            return read(look, location)

        rounds = Round(
            self.opened().upkeep(replace(POLICY, versions_max=1)), [TABLE.name], SystemClock(), threading.Event()
        )
        with patch.object(unnamed.Unnamed, "_records", counted):
            count = self.written(12)
            for tasks in (("vacuum",), TASKS):  # listed, then forgotten by the table and kept for readers
                self.assert_went_well(list(rounds.run(tasks)))
            for path in (self.root / TABLE.name).rglob("*.avro"):
                os.utime(path, (0, 0))
            count = self.written(2, first=count)
            self.assertGreater(sum(report.files_removed for report in rounds.run(("vacuum",))), 12)
        self.assertEqual(set(reads.values()), {1}, reads)
        self.assert_whole(count)

    def test_a_table_made_anew_beside_the_lists_of_a_former_one_is_looked_after(self):
        self.written(12)
        self.client().drop_table((self.namespace, TABLE.name))
        for path in (self.root / TABLE.name).rglob("*.avro"):
            os.utime(path, (0, 0))
        self.written(3)
        self.assert_went_well(self.tended())
        self.assert_whole(3)

    def test_metadata_in_every_compression_is_understood(self):
        count = self.written(1)
        for codec in ("zstd", "gzip"):
            self.handle().transaction().set_properties({"write.avro.compression-codec": codec}).commit_transaction()
            count = self.written(7, first=count)
            self.assert_went_well(self.tended(AT_ONCE))
        self.assert_only_what_is_named()
        self.assert_whole(count)

    def test_a_list_that_is_damaged_is_told_by_name_and_nothing_is_removed(self):
        self.written(5)
        oldest, *_ = self.handle().metadata.snapshots
        path = Place(self.storage).path(oldest.manifest_list)
        there = {file.path for file in self.storage.walk(TABLE.name)}
        whole = self.storage.read(path)
        for data in (b"", whole[:200], whole[:-20], b"x" * 100):
            self.storage.replace(path, data)
            problems = [report.problem for report in self.tended() if report.task == "vacuum"]
            self.assertEqual([_name(path) in problem for problem in problems], [True])
            self.assertLessEqual(there, {file.path for file in self.storage.walk(TABLE.name)})

    def test_an_append_that_comes_first_is_looked_at_and_kept(self):
        count = self.written(12)
        hook = self.at_first("iceberg.replacing", lambda: self.append(count))
        reports = self.tended(POLICY, hook)
        self.assert_went_well(reports)
        self.assertGreater(self.compacted(reports), 4)
        self.assertEqual([report.conflicts for report in reports if report.conflicts], [])
        self.assert_whole(count + 1)

    def test_an_append_in_the_middle_of_the_commit_makes_for_another_attempt(self):
        count = self.written(12)
        appends = [lambda: self.append(count)]

        def beaten(*arguments: object) -> None:
            if appends:
                appends.pop()()
            replacing.commit(*arguments)

        with patch.object(upkeep, "commit", beaten):
            reports = self.tended()
        self.assert_went_well(reports)
        self.assertGreater(self.compacted(reports), 4)
        self.assert_whole(count + 1)

    def test_a_reply_that_is_lost_is_no_harm(self):
        count = self.written(12)

        def lost(*arguments: object) -> None:
            replacing.commit(*arguments)
            raise ConnectionError("the line went dead")

        with patch.object(upkeep, "commit", lost):
            problems = [report.problem for report in self.tended() if report.problem]
        self.assertIn("nobody knows what became of", problems[0])
        self.assert_whole(count)
        self.assertEqual(self.compacted(self.tended()), 0)
        self.assert_whole(count)

    def test_a_table_that_is_set_back_meanwhile_is_left_as_it_is(self):
        for point in ("iceberg.merged", "iceberg.replacing", "iceberg.expired"):
            with self.subTest(point=point):
                self.new_output()
                count = self.written(12)
                policy = replace(ONE_LISTED, versions_max=4)

                def set_back() -> None:
                    handle = self.handle()
                    appended = [
                        each for each in handle.metadata.snapshots if each.summary.operation is Operation.APPEND
                    ]
                    handle.manage_snapshots().rollback_to_snapshot(appended[-2].snapshot_id).commit()

                newest: list[Handle] = []
                hook = self.at_first(point, lambda newest=newest: (newest.append(self.handle()), set_back()))
                problems = self.problems(policy, hook)
                self.assertTrue(problems)
                self.assertIn("was set back", problems[-1])
                snapshot_id = newest[0].current_snapshot().snapshot_id
                self.handle().manage_snapshots().set_current_snapshot(snapshot_id).commit()
                self.assert_whole(count)
                self.assert_went_well(self.tended(policy))
                self.assert_whole(count)

    def test_the_progress_that_somebody_sets_back_is_missed_after_compaction_too(self):
        count, key = self.written(6), f"emitter.progress.{WHOLE}"
        known, text = self.opened().progress(TABLE.name)[WHOLE], self.handle().properties[key]
        self.written(8, first=count)
        self.assertGreater(self.compacted(self.tended(AT_ONCE)), 4)
        with self.handle().transaction() as others:
            others.set_properties({key: text})
        assert_progress_is_missed(self, self.opened(), known)

    def test_what_others_have_added_is_left_to_them(self):
        count = self.written(8)
        handle = self.handle()
        added = handle.scan().to_arrow().slice(0, 3)
        plain = pa.schema([pa.field(field.name, field.type, field.nullable) for field in added.schema])
        path = self.root / TABLE.name / "theirs.parquet"
        pq.write_table(pa.table(added.columns, schema=plain), path)
        handle.add_files([f"file://{path}"])
        self.assertGreater(self.compacted(self.tended(AT_ONCE)), 4)
        self.assertIn(f"file://{path}", [task.file.file_path for task in self.handle().scan().plan_files()])
        self.assertEqual(self.handle().scan().to_arrow().num_rows, count * SECONDS + 3)

    def test_partitions_with_deletes_are_left_alone(self):
        self.written(12)
        with patch.object(upkeep, "with_deletes", lambda *_: lambda _: True):
            self.assertEqual(self.compacted(self.tended()), 0)
        deleted = iter([False])
        with patch.object(upkeep, "with_deletes", lambda *_: lambda _: next(deleted, True)):
            self.assertEqual(self.compacted(self.tended()), 0)

    def test_what_an_append_has_written_and_not_committed_stays(self):
        count = self.written(3)
        asked = window(count * SECONDS, (count + 1) * SECONDS)
        hook = self.at_first("iceberg.appended", lambda: self.assert_went_well(self.tended(NO_VERSIONS)))
        self.assertEqual(self.outcomes(self.opened(hook), asked, asked.first), ["ok"])
        count = self.written(8, first=count + 1)
        asked = window(count * SECONDS, (count + 1) * SECONDS)
        hook = self.at_first("iceberg.appended", lambda: self.assert_went_well(self.tended(NO_VERSIONS)))
        self.assertEqual(self.outcomes(self.opened(hook), asked, asked.first), ["conflict", "ok"])
        self.assert_whole(count + 1)

    def test_merged_files_tell_what_they_are_and_readers_count_them(self):
        self.written(10)
        self.tended()
        size, tasks = self.opened().size(TABLE.name), list(self.handle().scan().plan_files())
        self.assertEqual(size.files, len(tasks))
        self.assertEqual(size.bytes, sum(task.file.file_size_in_bytes for task in tasks))
        self.assertEqual(sum(is_merged_name(task.file.file_path) for task in tasks), 1)

    def test_other_readers_agree(self):
        count = self.written(20)
        self.tended(AT_ONCE)
        for name, rows in counts_by_readers(self.root, TABLE.name, "iceberg").items():
            with self.subTest(reader=name):
                self.assertEqual(rows(), count * SECONDS)

    def test_a_tag_that_is_made_while_snapshots_expire_stays(self):
        self.written(4)
        doomed = self.handle().metadata.snapshots[1].snapshot_id
        tags = [lambda: self.handle().manage_snapshots().create_tag(doomed, "late").commit()]

        def beaten(*arguments: object) -> None:
            if tags:
                tags.pop()()
            expiry.expire(*arguments)

        with patch.object(upkeep, "expire", beaten):
            self.assert_went_well(self.tended(AT_ONCE))
        handle = self.handle()
        self.assertEqual(len(handle.metadata.snapshots), 2)
        self.assertEqual(handle.scan(snapshot_id=doomed).to_arrow().num_rows, 2 * SECONDS)

    def test_what_an_earlier_release_made_a_table_say_is_brought_up_to_date(self):
        count, versions, merges = (
            self.written(1),
            "write.metadata.previous-versions-max",
            "commit.manifest.min-count-to-merge",
        )
        with self.handle().transaction() as others:
            others.set_properties({versions: "100", merges: "7"})
        self.append(count)
        properties = self.handle().properties
        self.assertEqual(properties[versions], "20")
        self.assertEqual(properties[merges], "7")  # that was somebody's will


def _name(location: str) -> str:
    return location.rpartition("/")[2]
