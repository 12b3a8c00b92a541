"""Bad luck with the disk and on the wire, while a Delta table is written: every row is there once afterwards."""

from __future__ import annotations

import errno
import json
import os
import resource
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from deltalake import DeltaTable

from emitter.errors import StorageError
from emitter.model import TableCommit
from emitter.storage.local import LocalStorage
from emitter.storage.s3 import ATTEMPTS_MAX
from emitter.writers.delta import tables as delta_tables
from tests.contract.beats import ORIGIN, TABLE, WHOLE, files, window, write
from tests.contract.delta_outputs import ALL, BOTH, FIRST, SECOND, THIRD, BegunCase, OnDisk, OnS3
from tests.support.proxy import HttpProxy
from tests.support.wire_faults import Hold, answer, cut, lose_reply, slow

TURNS_MAX = 16  # of one attempt
LOG_ENTRY = r"_delta_log/\d+[.]json$"


class DiskTest(OnDisk, BegunCase):
    """A local disk that fails."""

    @contextmanager
    def room_for(self, size_bytes: int) -> Iterator[None]:
        """Let no file become larger: it stands for a disk that is full."""
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    def test_a_log_entry_that_does_not_fit_ends_the_commit_at_once(self):
        writer = self.begun()
        staged = tuple(writer.stage(WHOLE, THIRD, file) for file in files(THIRD))
        commit = TableCommit(TABLE.name, SECOND.end, THIRD.end, staged)
        with self.room_for(100), self.assertRaisesRegex(StorageError, "File too large"):
            list(writer.commit(WHOLE, [commit]))
        self.assert_once(BOTH)
        self.goes_on(writer)

    def test_a_checkpoint_that_does_not_fit_leaves_its_commit_in_place(self):
        self.enterContext(patch.object(delta_tables, "CHECKPOINT_COMMITS", 20))
        self.enterContext(patch.object(delta_tables, "CHECKPOINT_GRACE_SECONDS", 0))
        writer, failed = self.opened(), []
        for second in range(50):
            asked = window(second, second + 1)
            staged = tuple(writer.stage(WHOLE, asked, file) for file in files(asked))
            commit = TableCommit(TABLE.name, ORIGIN + second if second else None, asked.end, staged)
            with self.room_for(4_000 if second else 10_000):  # the creation is longer
                try:
                    list(writer.commit(WHOLE, [commit]))
                except StorageError:
                    failed.append(second)
            self.assertEqual(self.opened().recover(WHOLE, TABLE.name).slot, asked.end)
        self.assertEqual(failed, [18, 38])
        self.assert_once(window(0, 50))

    def test_what_the_library_writes_to_the_log_is_synced(self):
        synced, real = set(), os.fsync

        def recording(descriptor: int) -> None:
            synced.add(os.fstat(descriptor).st_ino)
            real(descriptor)

        self.enterContext(patch.object(delta_tables, "CHECKPOINT_COMMITS", 20))
        self.enterContext(patch.object(delta_tables, "CHECKPOINT_GRACE_SECONDS", 0))
        with patch("os.fsync", recording):
            writer = self.opened()
            for second in range(21):
                write(writer, window(second, second + 1), ORIGIN + second if second else None)
        log = self.root / TABLE.name / "_delta_log"
        entries = [log, *log.iterdir()]
        self.assertEqual([path.name for path in entries if path.stat().st_ino not in synced], [])
        self.assertIn("_last_checkpoint", [path.name for path in entries])

    def test_a_failure_that_tells_nothing_is_read_back(self):
        for landed, outcome in ((True, "deduplicated"), (False, "ok")):
            with self.subTest(landed=landed):
                self.new_output()
                writer = self.begun()
                real, failures = LocalStorage.put_if_absent, [OSError(errno.EIO, os.strerror(errno.EIO))]

                def failing(storage, path, data, real=real, failures=failures, landed=landed):
                    if "_delta_log" not in path or not failures:
                        return real(storage, path, data)
                    if landed:
                        real(storage, path, data)
                    raise StorageError("write", path, failures.pop())

                with patch.object(LocalStorage, "put_if_absent", failing):
                    self.assertEqual(self.commit(writer, THIRD, SECOND.end), (["unknown", outcome], None))
                self.assert_once(ALL)

    def test_a_failure_of_the_library_is_read_back(self):
        for landed, outcome in ((True, "deduplicated"), (False, "ok")):
            with self.subTest(landed=landed):
                self.new_output()
                self.begun()
                real, failures = DeltaTable.create_write_transaction, [OSError("Input/output error (os error 5)")]

                def failing(handle, *arguments, real=real, failures=failures, landed=landed, **more):
                    if not failures or landed:
                        real(handle, *arguments, **more)
                    if failures:
                        raise failures.pop()

                with patch.object(DeltaTable, "create_write_transaction", failing):
                    self.assertEqual(self.commit(self.opened(), THIRD, SECOND.end), (["unknown", outcome], None))
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


class WireTest(OnS3, BegunCase):
    """Requests to S3 that fail, through a proxy. The libraries try `ATTEMPTS_MAX` times by themselves."""

    def new_output(self) -> None:
        super().new_output()
        self.proxy = self.enterContext(HttpProxy(self.server.address))
        self.storage = self.storage_at(self.proxy.endpoint_url, self.storage.bucket)

    def test_what_becomes_of_a_commit_whose_request_fails(self):
        every = ATTEMPTS_MAX
        for name, action, times, outcomes in (
            ("refused once", answer(412), 1, ["ok"]),
            ("refused again and again", answer(412), TURNS_MAX, ["conflict", "ok"]),
            ("landed and the reply lost, then refused by itself", lose_reply, 1, ["ok"]),
            ("landed and many replies lost", lose_reply, every, ["ok"]),
            ("landed and an error said", answer(500, landed=True), every, ["unknown", "deduplicated"]),
            ("cut again and again", cut, every, ["ok"]),
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
        self.proxy.inject(answer(500), method="PUT", path=LOG_ENTRY, times=ATTEMPTS_MAX)
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
