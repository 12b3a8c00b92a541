"""Objects on a real S3 server, with signatures on: what every storage promises, and bad luck on the way there."""

from __future__ import annotations

import io
import os
import unittest
from unittest.mock import patch

from emitter.errors import CommitConflictError, StorageError, StorageNotFoundError, UsageError
from emitter.settings.connections import S3Config
from emitter.storage.base import Entry
from emitter.storage.objects import ObjectStorage
from emitter.storage.s3 import ATTEMPTS_MAX, S3Access
from tests.support import s3_server
from tests.support.proxy import HttpProxy
from tests.support.wire_faults import Hold, answer, cut, cut_reply, lose_reply
from tests.unit.storage.test_storage import StorageContract


class S3Case(unittest.TestCase):
    def setUp(self):
        self.server = s3_server.shared()
        self.enterContext(patch.dict(os.environ, self.server.environ()))
        self.bucket = self.server.new_bucket()
        self.storage = self.new_storage()

    def new_storage(self, endpoint_url: str = "", uri: str = "", **config: object) -> ObjectStorage:
        access = S3Access(S3Config(endpoint_url=endpoint_url or self.server.endpoint_url, **config))
        return ObjectStorage(uri or f"s3://{self.bucket}/deep/shop", access)

    def refused(self, storage: ObjectStorage | None = None) -> StorageError:
        """How a read fails, which is never absence."""
        with self.assertRaises(StorageError) as caught:
            (storage or self.storage).read("a")
        self.assertNotIsInstance(caught.exception, StorageNotFoundError)
        self.assertNotIn(self.server.secret_key, caught.exception.report())
        return caught.exception


class ObjectStorageTest(StorageContract, S3Case):
    def test_objects_are_below_the_prefix_of_the_uri(self):
        for uri, key in (
            (f"s3://{self.bucket}", "a/b"),
            (f"s3://{self.bucket}/", "a/b"),
            (f"s3://{self.bucket}/x/y=1/", "x/y=1/a/b"),
        ):
            storage = self.new_storage(uri=uri)
            storage.write("a/b", b"1")
            self.assertIn(key, self.server.objects(self.bucket))
            self.assertEqual(storage.list("a"), [Entry("b", False, 1)])
        with self.assertRaises(UsageError):
            self.new_storage(uri="s3:///shop")

    def test_the_top_is_listed(self):
        for uri in (f"s3://{self.bucket}", f"s3://{self.bucket}/x"):
            storage = self.new_storage(uri=uri)
            storage.write("orders/a", b"1")
            self.assertIn(Entry("orders", True, 0), storage.list(""))

    def test_listings_go_on_over_many_pages(self):
        client = self.server.client()
        names = [f"{number:04}" for number in range(1010)]
        for name in names:
            client.put_object(Bucket=self.bucket, Key=f"deep/shop/many/{name}")
        self.assertEqual([entry.name for entry in self.storage.list("many")], names)

    def test_what_others_have_just_written_is_seen(self):
        other = self.new_storage()
        self.assertEqual(self.storage.list("a"), [])
        other.write("a/b", b"1")
        self.assertEqual(self.storage.list("a"), [Entry("b", False, 1)])
        other.write("a/b", b"12")
        self.assertEqual((self.storage.read("a/b"), self.storage.size("a/b")), (b"12", 2))

    def test_an_empty_object_is_an_object(self):
        self.storage.write("a", b"")
        self.assertEqual((self.storage.read("a"), self.storage.size("a")), (b"", 0))
        with self.storage.open_file("a") as file:
            self.assertEqual(file.read(), b"")

    def test_large_objects_are_read_in_parts_of_one_version(self):
        self.enterContext(patch("emitter.storage.objects._BLOCK_BYTES", 1000))
        data = bytes(range(256)) * 40
        self.storage.write("a", data)
        with self.storage.open_file("a") as file:
            self.assertEqual(file.seek(-300, io.SEEK_END), len(data) - 300)
            self.assertEqual(file.read(), data[-300:])
            file.seek(5_001)
            self.assertEqual(file.read(9), data[5_001:5_010])
            file.seek(0)
            self.assertEqual(file.read(), data)
            self.storage.write("a", data[::-1])
            file.seek(1_000)
            with self.assertRaises(StorageError):
                file.read(6_000)

    def test_a_rename_that_was_interrupted_is_repeated(self):
        self.storage.write("a", b"1")
        self.storage.write("b", b"1")  # it had got so far
        self.storage.rename("a", "b")
        self.assertEqual(self.storage.read("b"), b"1")
        self.assertFalse(self.storage.list("a"))

    def test_check_leaves_nothing_behind(self):
        self.storage.check()
        self.storage.check_versions()
        self.assertEqual(self.server.objects(self.bucket), {})

    def test_what_a_check_leaves_that_is_killed_is_found(self):
        with patch.object(self.storage, "remove"):  # it comes no further
            self.storage.check()
            self.storage.check_versions()
        self.storage.write("_emitter/anchor.json", b"1")
        names = [entry.name for entry in self.storage.list("_emitter") if entry.name != "anchor.json"]
        self.assertEqual(len(names), 2)
        self.assertEqual(
            [file.path for file in self.storage.leftovers("_emitter")], [f"_emitter/{name}" for name in names]
        )
        self.assertEqual(list(self.storage.leftovers("orders")), [])

    def test_a_storage_that_ignores_conditions_is_refused(self):
        self.bucket = self.server.new_bucket(honours_conditions=False)
        storage = self.new_storage()
        for check, header, user in (
            (storage.check, "If-None-Match", "the journal and Delta's log"),
            (storage.check_versions, "If-Match", "the progress of Parquet tables"),
        ):
            with self.assertRaises(StorageError) as caught:
                check()
            self.assertIn(
                f"ignores the header {header} of a write, which is needed for {user}", caught.exception.problem
            )
            self.assertEqual(self.server.objects(self.bucket), {})


class RefusalTest(S3Case):
    def test_a_wrong_secret_is_refused(self):
        with patch.dict(os.environ, {"AWS_SECRET_ACCESS_KEY": "wrong"}):
            error = self.refused(self.new_storage())
        self.assertIn("SignatureDoesNotMatch", error.problem)
        self.assertIn("AWS_ACCESS_KEY_ID", error.hint)

    def test_a_stranger_is_refused(self):
        with patch.dict(os.environ, {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE"}):
            self.assertIn("InvalidAccessKeyId", self.refused(self.new_storage()).problem)

    def test_who_may_not_is_told_what_to_allow(self):
        iam = self.server.client("iam")
        iam.create_user(UserName=self.bucket)
        key = iam.create_access_key(UserName=self.bucket)["AccessKey"]
        names = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        with patch.dict(os.environ, names):
            self.assertIn("s3:ListBucket", self.refused(self.new_storage()).hint)

    def test_no_credentials_at_all_are_an_error_of_their_own(self):
        names = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
        with patch.dict(os.environ):
            for name in names:
                del os.environ[name]
            error = self.refused(self.new_storage())
        self.assertIn("could not get credentials", error.problem)

    def test_a_bucket_that_is_not_there_is_no_absent_object(self):
        storage = self.new_storage(uri="s3://nobodys-bucket/shop")
        self.assertIn("make the bucket", self.refused(storage).hint)
        for attempt in (storage.check, lambda: storage.list("a"), lambda: storage.size("a")):
            with self.assertRaises(StorageError) as caught:
                attempt()
            self.assertNotIsInstance(caught.exception, StorageNotFoundError)

    def test_a_host_that_is_not_there_is_named(self):
        error = self.refused(self.new_storage("http://nowhere.invalid:1"))
        self.assertIn("nowhere.invalid", error.problem)
        self.assertIn("output.s3.endpoint_url", error.hint)

    def test_an_endpoint_without_tls_is_told(self):
        error = self.refused(self.new_storage(self.server.endpoint_url.replace("http://", "https://")))
        self.assertIn("could not read s3://", error.problem)


class WireTest(S3Case):
    """A proxy between storage and server loses, cuts and invents answers."""

    def setUp(self):
        super().setUp()
        self.proxy = self.enterContext(HttpProxy(self.server.address))
        self.direct, self.storage = self.storage, self.new_storage(self.proxy.endpoint_url)

    def test_a_put_whose_reply_was_lost_is_known_to_be_ours(self):
        self.proxy.inject(lose_reply, method="PUT")
        self.assertTrue(self.storage.put_if_absent("a", b"ours"))
        self.assertEqual(self.direct.read("a"), b"ours")

    def test_a_put_that_never_arrived_is_repeated(self):
        self.proxy.inject(cut, method="PUT")
        self.assertTrue(self.storage.put_if_absent("a", b"ours"))

    def test_a_put_repeated_after_somebody_elses_is_lost(self):
        self.direct.write("a", b"theirs")
        self.proxy.inject(cut, method="PUT")
        self.assertFalse(self.storage.put_if_absent("a", b"ours"))
        self.assertEqual(self.direct.read("a"), b"theirs")

    def test_a_replacement_whose_reply_was_lost_is_known_to_be_ours(self):
        version = self.storage.replace_version("a", b"first", None)
        self.proxy.inject(lose_reply, method="PUT")
        version = self.storage.replace_version("a", b"second", version)
        self.storage.replace_version("a", b"third", version)
        self.assertEqual(self.direct.read("a"), b"third")

    def test_a_replacement_repeated_after_somebody_elses_is_refused(self):
        version = self.storage.replace_version("a", b"first", None)
        self.direct.write("a", b"theirs")
        self.proxy.inject(cut, method="PUT")
        with self.assertRaises(CommitConflictError):
            self.storage.replace_version("a", b"second", version)
        self.assertEqual(self.direct.read("a"), b"theirs")

    def test_a_replacement_that_lands_late_is_refused(self):
        version = self.direct.replace_version("a", b"first", None)
        late = Hold()
        self.proxy.inject(late, method="PUT")
        self.storage.replace_version("a", b"second", version)  # by the second attempt
        self.assertIn(b"412", late.release().split(b"\r\n")[0])
        self.assertEqual(self.direct.read("a"), b"second")

    def test_conditional_writes_that_met_are_tried_again(self):
        body = b"<Error><Code>ConditionalRequestConflict</Code><Message>Busy</Message></Error>"
        self.proxy.inject(answer(409, body=body), method="PUT")
        self.assertTrue(self.storage.put_if_absent("a", b"ours"))
        self.proxy.inject(answer(409, body=body), method="PUT", times=None)
        with self.assertRaises(StorageError):
            self.storage.put_if_absent("b", b"ours")

    def test_a_busy_server_is_tried_again_a_few_times(self):
        self.direct.write("a", b"1")
        for status, headers in ((500, {}), (503, {"Retry-After": "1"})):
            self.proxy.inject(answer(status, headers), method="GET")
            self.assertEqual(self.storage.read("a"), b"1")
        fault = self.proxy.inject(answer(503), method="GET", times=None)
        error = self.refused()
        self.assertIn("tried several times", error.hint)
        self.assertEqual(fault.struck, ATTEMPTS_MAX)

    def test_a_body_that_was_cut_is_fetched_again(self):
        data = b"0123456789" * 100_000
        self.direct.write("a", data)
        self.proxy.inject(cut_reply(100_000), method="GET")
        self.assertEqual(self.storage.read("a"), data)
        with self.storage.open_file("a") as file:
            self.assertEqual(file.read(), data)
        self.proxy.inject(cut_reply(100_000), method="GET", times=None)
        self.refused()

    def test_a_reply_that_does_not_come_is_not_waited_for(self):
        self.direct.write("a", b"1")
        for method, work in (("GET", lambda: self.storage.read("a")), ("PUT", lambda: self.storage.write("a", b"1"))):
            with patch("emitter.storage.s3.READ_SECONDS_MAX", 1):
                self.storage = self.new_storage(self.proxy.endpoint_url)
                late = Hold(client_waits=True)
                self.proxy.inject(late, method=method)
                work()
                late.release()

    def test_a_connection_that_always_ends_is_an_error(self):
        self.direct.write("a", b"1")
        fault = self.proxy.inject(cut, times=None)
        self.refused()
        self.assertLessEqual(fault.struck, 2 * ATTEMPTS_MAX)  # aiohttp repeats once what it sent on an old connection
        with self.assertRaises(StorageError):
            self.storage.put_if_absent("b", b"2")

    def test_403_and_404_without_a_word_are_no_absence(self):
        for status in (403, 404):
            for body in (b"", b"<html>a gateway</html>", b"<html>an unclosed", b"{}"):
                fault = self.proxy.inject(answer(status, body=body), method="GET", times=None)
                self.refused()
                self.proxy.remove(fault)

    def test_a_removal_and_a_rename_survive_a_lost_reply(self):
        self.direct.write("a", b"1")
        self.proxy.inject(lose_reply, method="PUT")
        self.proxy.inject(lose_reply, method="DELETE")
        self.storage.rename("a", "b")
        self.assertEqual([entry.name for entry in self.direct.list("")], ["b"])


if __name__ == "__main__":
    unittest.main()
