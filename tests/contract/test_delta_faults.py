"""What others and bad luck do to Delta tables: afterwards every row is there once, or the run is refused."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import threading
import unittest
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from deltalake import DeltaTable, Field, Schema

from emitter.errors import EmitterError, ForeignTableError, OvertakenError, RolledBackError, StorageError
from emitter.local_storage import LocalStorage
from emitter.model import Slice, TableCommit, Window
from emitter.s3 import ATTEMPTS_MAX
from emitter.writers.base import CrashHook, no_crash
from emitter.writers.delta import DeltaWriter
from emitter.writers.delta_tables import CHECKPOINT_COMMITS
from tests.contract.beats import OPTIONS, ORIGIN, RUN, TABLE, WHOLE, files, found, in_order, rows, window, write
from tests.contract.delta_outputs import OnDisk, OnS3
from tests.support.proxy import HttpProxy
from tests.support.wire_faults import Hold, answer, cut, lose_reply, slow

FIRST, SECOND, THIRD = window(0, 30), window(30, 60), window(60, 90)
BOTH, ALL = window(0, 60), window(0, 90)
PARTITION = list(OPTIONS.partition.columns)
REBASES_MAX = 15
LOG_ENTRY = r"_delta_log/\d+[.]json$"


class FaultCase(unittest.TestCase):
    """A table with two commits, and a writer that goes on with it."""

    def setUp(self) -> None:
        self.new_output()

    def writer(self, hook: CrashHook = no_crash, **options: Any) -> DeltaWriter:
        return DeltaWriter(self.storage, replace(OPTIONS, **options), hook)

    def opened(self, hook: CrashHook = no_crash, **options: Any) -> DeltaWriter:
        writer = self.writer(hook, **options)
        writer.open(RUN, TABLE)
        return writer

    def begun(self, hook: CrashHook = no_crash) -> DeltaWriter:
        writer = self.opened(hook)
        writer.recover(WHOLE, TABLE.name)
        write(writer, FIRST, None)
        write(writer, SECOND, FIRST.end)
        return writer

    def commit(
        self, writer: DeltaWriter, asked: Window, expected_slot: int | None, slice: Slice = WHOLE
    ) -> tuple[list[str], EmitterError | None]:
        """The outcomes of all attempts, and the error they ended with."""
        staged = tuple(writer.stage(slice, asked, file) for file in files(asked, slice))
        outcomes: list[str] = []
        try:
            reports = writer.commit(slice, [TableCommit(TABLE.name, expected_slot, asked.end, staged)])
            outcomes.extend(report.outcome for report in reports)
        except EmitterError as error:
            return outcomes, error
        return outcomes, None

    def goes_on(self, writer: DeltaWriter) -> None:
        self.assertEqual(self.commit(writer, THIRD, SECOND.end), (["ok"], None))
        self.assert_once(ALL)

    def compact(self) -> None:
        self.handle().optimize.compact()

    def assert_once(self, asked: Window) -> None:
        """These rows and no others are there, once, for us and for the library."""
        writer = self.opened()
        self.assertEqual(found(writer, asked), in_order(rows(asked)))
        self.assertEqual(list(writer.scan_outside(TABLE, asked)), [])
        progress = writer.recover(WHOLE, TABLE.name)
        self.assertEqual((progress.slot, progress.rows), (asked.end, asked.seconds))
        self.assertEqual(self.handle().count(), asked.seconds)


class OtherToolsTest(OnDisk, FaultCase):
    """Maintenance and changes by somebody else, while a daemon holds a handle of the table."""

    def test_a_compaction_is_not_in_the_way(self):
        writer = self.begun()
        self.assertEqual(self.handle().optimize.compact()["numFilesRemoved"], 2)
        self.goes_on(writer)

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

    def test_a_handle_whose_log_was_cleaned_up_far_ahead_goes_on(self):
        slow_writer, other = self.opened(), Slice(1, 2)
        write(slow_writer, FIRST, None, Slice(0, 2))
        write(self.opened(), FIRST, None, other)
        for second in range(CHECKPOINT_COMMITS + 5):
            write(self.opened(), window(30 + second, 31 + second), ORIGIN + 30 + second, other)
        self.tidy()
        report = write(slow_writer, window(30, 60), FIRST.end, Slice(0, 2))
        self.assertEqual(report.outcome, "ok")
        self.assertEqual(self.opened().progress(TABLE.name)[Slice(0, 2)].slot, ORIGIN + 60)

    def test_rows_that_somebody_deletes_are_theirs_to_answer_for(self):
        writer = self.begun()
        self.handle().delete(f"beat_id < {ORIGIN + 10}")
        self.assertEqual(self.commit(writer, THIRD, SECOND.end), (["ok"], None))
        self.assertEqual(self.handle().count(), 80)
        self.assertEqual(self.opened().recover(WHOLE, TABLE.name).rows, 90)

    def test_a_restore_that_takes_rows_of_ours_is_noticed_by_a_daemon_that_runs(self):
        writer = self.begun()
        self.handle().restore(1)
        version = self.handle().version()
        outcomes, error = self.commit(writer, THIRD, SECOND.end)
        self.assertEqual(outcomes, ["error"])
        self.assertIsInstance(error, RolledBackError)
        self.assertEqual(self.handle().version(), version)
        self.assertIn(f"restore version {version - 1}", error.hint)

    def test_a_restore_that_takes_rows_of_ours_is_noticed_at_the_start(self):
        self.begun()
        self.handle().restore(1)
        for writer in (self.opened(), self.writer()):
            with self.assertRaises(RolledBackError):
                writer.progress(TABLE.name)

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

    def test_a_property_that_makes_progress_expire_is_refused(self):
        writer = self.begun()
        self.handle().alter.set_table_properties({"delta.setTransactionRetentionDuration": "interval 1 days"})
        _, error = self.commit(writer, THIRD, SECOND.end)
        self.assertIsInstance(error, ForeignTableError)
        with self.assertRaisesRegex(ForeignTableError, "setTransactionRetentionDuration"):
            self.opened()

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


class RacesTest(OnDisk, FaultCase):
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


class DiskTest(OnDisk, FaultCase):
    """A local disk that fails."""

    def test_a_log_entry_that_does_not_fit_ends_the_commit_at_once(self):
        writer = self.begun()
        staged = tuple(writer.stage(WHOLE, THIRD, file) for file in files(THIRD))
        commit = TableCommit(TABLE.name, SECOND.end, THIRD.end, staged)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        try:
            with self.assertRaisesRegex(StorageError, "File too large"):
                list(writer.commit(WHOLE, [commit]))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        self.assert_once(BOTH)
        self.goes_on(writer)

    def test_a_failure_that_tells_nothing_is_read_back(self):
        for landed, outcome in ((True, "deduplicated"), (False, "ok")):
            with self.subTest(landed=landed):
                self.new_output()
                writer = self.begun()
                real, failures = DeltaTable.create_write_transaction, [OSError("Input/output error (os error 5)")]

                def failing(handle, *arguments, real=real, failures=failures, landed=landed, **more):
                    if not failures or landed:
                        real(handle, *arguments, **more)
                    if failures:
                        raise failures.pop()

                with patch.object(DeltaTable, "create_write_transaction", failing):
                    self.assertEqual(self.commit(writer, THIRD, SECOND.end), (["unknown", outcome], None))
                self.assert_once(ALL)

    def test_a_folder_that_cannot_be_reached_is_not_absent(self):
        (self.root.parent / "file").write_text("not a folder")
        self.storage = LocalStorage(self.root.parent / "file" / "out")
        with self.assertRaises(StorageError) as caught:
            self.opened()
        self.assertEqual(caught.exception.cause.errno, errno.ENOTDIR)

    def test_a_folder_that_the_library_calls_absent_is_looked_at(self):
        self.root.mkdir()
        (self.root / TABLE.name).symlink_to(TABLE.name)
        with self.assertRaises(StorageError) as caught:
            self.writer().progress(TABLE.name)
        self.assertEqual(caught.exception.cause.errno, errno.ELOOP)

    def test_a_log_that_cannot_be_read_is_not_absent(self):
        self.begun()
        for entry in (self.root / TABLE.name / "_delta_log").glob("*.json"):
            entry.write_text("nonsense")
        with self.assertRaises(StorageError):
            self.opened()


class WireTest(OnS3, FaultCase):
    """Requests to S3 that fail, through a proxy. The library tries `ATTEMPTS_MAX` times by itself."""

    def new_output(self) -> None:
        super().new_output()
        self.proxy = self.enterContext(HttpProxy(self.server.address))
        self.storage = self.storage_at(self.proxy.endpoint_url, self.storage.bucket)

    def test_what_becomes_of_a_commit_whose_request_fails(self):
        every = ATTEMPTS_MAX
        for name, action, times, outcomes in (
            ("refused once", answer(412), 1, ["ok"]),
            ("refused again and again", answer(412), REBASES_MAX + 1, ["conflict", "ok"]),
            ("landed and the reply lost, then refused by itself", lose_reply, 1, ["conflict", "deduplicated"]),
            ("landed and all replies lost", lose_reply, every, ["unknown", "deduplicated"]),
            ("landed and an error said", answer(500, landed=True), every, ["unknown", "deduplicated"]),
            ("never arrived", cut, every, ["unknown", "ok"]),
            ("cut once", cut, 1, ["ok"]),
            ("500", answer(500), 1, ["ok"]),
            ("500 for long", answer(500), every, ["unknown", "ok"]),
            ("503 with Retry-After", answer(503, {"Retry-After": "1"}), 1, ["ok"]),
            ("404", answer(404), 1, ["unknown", "ok"]),
            ("404 although it landed", answer(404, landed=True), 1, ["unknown", "deduplicated"]),
            ("403", answer(403), 1, ["error"]),
            ("slow", slow(0.3), 1, ["ok"]),
        ):
            with self.subTest(name):
                self.new_output()
                writer = self.begun()
                fault = self.proxy.inject(action, method="PUT", path=LOG_ENTRY, times=times)
                found_outcomes, error = self.commit(writer, THIRD, SECOND.end)
                self.assertEqual((found_outcomes, fault.struck), (outcomes, times))
                if error:
                    self.assertIsInstance(error, StorageError)
                    self.assertNotIn("\x1b", error.problem)
                    self.assertEqual(self.commit(writer, THIRD, SECOND.end), (["ok"], None))
                self.assert_once(ALL)

    def test_a_commit_that_lands_late_lands_once(self):
        hold, checked = Hold(), []

        def hook(point: str) -> None:
            checked.append(point)
            if checked.count("delta.checked") == 4:  # the second attempt at the third commit
                hold.release()

        writer = self.begun(hook)
        self.proxy.inject(hold, method="PUT", path=LOG_ENTRY)
        self.proxy.inject(cut, method="PUT", path=LOG_ENTRY, times=ATTEMPTS_MAX - 1)
        self.assertEqual(self.commit(writer, THIRD, SECOND.end), (["unknown", "conflict", "deduplicated"], None))
        self.assert_once(ALL)

    def test_a_commit_that_lands_after_its_repetition_is_refused(self):
        writer, hold = self.begun(), Hold()
        self.proxy.inject(hold, method="PUT", path=LOG_ENTRY)
        self.assertEqual(self.commit(writer, THIRD, SECOND.end), (["ok"], None))
        self.assertIn(b" 412 ", hold.release().split(b"\r\n")[0])
        self.assert_once(ALL)

    def test_no_failure_makes_a_table_absent(self):
        self.begun()
        for status in (403, 404, 500, 503):
            for path in ("_delta_log", "list-type"):
                with self.subTest(status=status, path=path):
                    fault = self.proxy.inject(answer(status), method="GET", path=path, times=None)
                    with self.assertRaises(StorageError):
                        self.opened()
                    with self.assertRaises(StorageError):
                        self.writer().progress(TABLE.name)
                    self.proxy.remove(fault)
        self.assert_once(BOTH)

    def test_nothing_is_created_where_reading_fails(self):
        writer = self.opened()
        fault = self.proxy.inject(answer(404), method="GET", path="_delta_log", times=None)
        outcomes, error = self.commit(writer, FIRST, None)
        self.assertEqual(outcomes, ["error"])
        self.assertIsInstance(error, StorageError)
        self.proxy.remove(fault)
        self.assertEqual([name for name in self.server.objects(self.storage.bucket) if "_delta_log" in name], [])

    def test_a_creation_whose_reply_is_lost_is_seen_to_be_there(self):
        writer = self.opened()
        self.proxy.inject(lose_reply, method="PUT", path=LOG_ENTRY, times=ATTEMPTS_MAX)
        self.assertEqual(self.commit(writer, BOTH, None), (["ok"], None))
        self.assert_once(BOTH)

    def test_an_outage_ends_and_nothing_is_missing(self):
        writer = self.begun()
        staged = tuple(writer.stage(WHOLE, THIRD, file) for file in files(THIRD))
        commit = TableCommit(TABLE.name, SECOND.end, THIRD.end, staged)
        self.proxy.go_down()
        with self.assertRaises(StorageError):
            list(writer.commit(WHOLE, [commit]))
        self.proxy.come_up()
        self.assertEqual([report.outcome for report in writer.commit(WHOLE, [commit])], ["ok"])
        self.assert_once(ALL)

    def test_a_wrong_secret_is_told_from_an_absent_table(self):
        with patch.dict(os.environ, {"AWS_SECRET_ACCESS_KEY": "wrong"}):
            self.storage = self.storage_at(self.server.endpoint_url, self.storage.bucket)
            with self.assertRaises(StorageError) as caught:
                self.opened()
        self.assertNotIn("wrong", caught.exception.report())

    def test_keys_that_are_replaced_while_it_runs_are_taken_up(self):
        iam = self.server.client("iam")
        iam.create_user(UserName="guest")
        everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        iam.put_user_policy(UserName="guest", PolicyName="everything", PolicyDocument=json.dumps(everything))
        keys = [iam.create_access_key(UserName="guest")["AccessKey"] for _ in range(2)]
        environs = [
            {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]} for key in keys
        ]
        with patch.dict(os.environ, environs[0]):
            self.storage = self.storage_at(self.server.endpoint_url, self.storage.bucket)
            writer = self.begun()
        renewed = self.storage_at(self.server.endpoint_url, self.storage.bucket).access
        with patch.dict(os.environ, environs[1]):
            renewed.credentials()
        self.storage.access._credentials = renewed._credentials  # as botocore does in the credentials of a role
        iam.delete_access_key(UserName="guest", AccessKeyId=keys[0]["AccessKeyId"])
        self.goes_on(writer)


if __name__ == "__main__":
    unittest.main()
