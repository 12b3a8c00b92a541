"""The servers that the other tests trust: that they are as strict, and as faulty, as they claim."""

from __future__ import annotations

import json
import unittest
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError, ResponseStreamingError
from deltalake import DeltaTable, write_deltalake
from pyarrow.fs import S3FileSystem as ArrowS3
from s3fs import S3FileSystem

from tests.support import s3_server
from tests.support.proxy import HttpProxy
from tests.support.wire_faults import Hold, answer, cut, cut_reply, lose_reply

MEBIBYTE = 2**20


def status_of(call: Any, **arguments: Any) -> int:
    """The HTTP status that a call of a boto3 client ends with."""
    try:
        return call(**arguments)["ResponseMetadata"]["HTTPStatusCode"]
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"]


def extension(name: str) -> str:
    """The path of an extension of DuckDB inside its Python package."""
    package = import_module(f"duckdb_extension_{name}")
    return str(next(Path(package.__path__[0]).rglob("*.duckdb_extension")))


def policy(**statement: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


class S3ServerTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = s3_server.shared()
        cls.s3 = cls.server.client()

    def setUp(self):
        self.bucket = self.server.new_bucket()

    def put(self, key: str = "key", body: bytes = b"mine", **conditions: str) -> int:
        return status_of(self.s3.put_object, Bucket=self.bucket, Key=key, Body=body, **conditions)

    def body(self, key: str = "key") -> bytes:
        return self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def test_who_can_not_sign_is_refused(self):
        strangers = [
            self.server.client(aws_secret_access_key="another"),
            self.server.client(aws_access_key_id="AKIAANOTHER"),
        ]
        for stranger in strangers:
            self.assertEqual(status_of(stranger.list_objects_v2, Bucket=self.bucket), 403)
            self.assertEqual(status_of(stranger.put_object, Bucket=self.bucket, Key="key", Body=b"theirs"), 403)
        with self.assertRaises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{self.server.endpoint_url}/{self.bucket}/key")
        self.assertEqual(caught.exception.code, 403)
        caught.exception.close()
        self.assertEqual(self.server.objects(self.bucket), {})

    def test_only_the_first_may_create_an_object(self):
        self.assertEqual(self.put(IfNoneMatch="*"), 200)
        self.assertEqual(self.put(IfNoneMatch="*", body=b"theirs"), 412)
        self.assertEqual(self.body(), b"mine")

    def test_only_who_knows_an_object_may_replace_it(self):
        self.put()
        etag = self.s3.head_object(Bucket=self.bucket, Key="key")["ETag"]
        self.assertEqual(self.put(IfMatch=etag, body=b"second"), 200)
        self.assertEqual(self.put(IfMatch=etag, body=b"third"), 412)
        self.assertEqual(self.body(), b"second")
        self.assertEqual(self.put("absent", IfMatch=etag), 404)

    def test_a_race_has_one_winner(self):
        with ThreadPoolExecutor(8) as threads:
            for race in range(20):
                statuses = list(threads.map(lambda _, key=f"{race}": self.put(key, IfNoneMatch="*"), range(8)))
                self.assertEqual(sorted(statuses), [200] + [412] * 7)

    def test_a_server_without_conditions_lets_everyone_win(self):
        self.bucket = self.server.new_bucket(honours_conditions=False)
        self.assertEqual(self.put(IfNoneMatch="*"), 200)
        self.assertEqual(self.put(IfNoneMatch="*", body=b"theirs"), 200)
        self.assertEqual(self.put(IfMatch='"0123"', body=b"a third"), 200)
        self.assertEqual(self.body(), b"a third")
        stranger = self.server.client(aws_secret_access_key="another")
        self.assertEqual(status_of(stranger.put_object, Bucket=self.bucket, Key="key", IfMatch='"0123"'), 403)

    def test_an_upload_in_parts_appears_whole_and_once(self):
        for expected in [200, 412]:
            upload = self.s3.create_multipart_upload(Bucket=self.bucket, Key="key")["UploadId"]
            request = {"Bucket": self.bucket, "Key": "key", "UploadId": upload}
            parts = []
            for number, body in enumerate([b"x" * 5 * MEBIBYTE, b"y"], 1):
                part = self.s3.upload_part(**request, PartNumber=number, Body=body)
                parts.append({"PartNumber": number, "ETag": part["ETag"]})
            self.assertEqual(len(self.server.objects(self.bucket)), int(expected == 412))
            complete = self.s3.complete_multipart_upload
            self.assertEqual(
                status_of(complete, **request, MultipartUpload={"Parts": parts}, IfNoneMatch="*"), expected
            )
        self.assertEqual(self.server.objects(self.bucket), {"key": 5 * MEBIBYTE + 1})

    def test_absent_is_told_as_such(self):
        self.assertEqual(status_of(self.s3.head_object, Bucket=self.bucket, Key="key"), 404)
        self.assertEqual(status_of(self.s3.get_object, Bucket=self.bucket, Key="key"), 404)
        self.assertEqual(status_of(self.s3.list_objects_v2, Bucket="no-such-bucket"), 404)

    def test_a_role_can_be_assumed(self):
        trust = policy(Action="sts:AssumeRole", Principal={"AWS": "*"})
        everything = policy(Action="*", Resource="*")
        iam = self.server.client("iam")
        role = iam.create_role(RoleName=self.bucket, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        iam.put_role_policy(RoleName=self.bucket, PolicyName="everything", PolicyDocument=everything)
        lent = self.server.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
        keys = {"aws_access_key_id": lent["AccessKeyId"], "aws_secret_access_key": lent["SecretAccessKey"]}
        borrower = self.server.client(**keys, aws_session_token=lent["SessionToken"])
        self.assertEqual(status_of(borrower.put_object, Bucket=self.bucket, Key="key", Body=b"mine"), 200)

    def test_s3fs_is_served(self):
        s3 = S3FileSystem(
            key=self.server.access_key,
            secret=self.server.secret_key,
            endpoint_url=self.server.endpoint_url,
            client_kwargs={"region_name": self.server.region},
            skip_instance_cache=True,
        )
        s3.pipe_file(f"{self.bucket}/a/key", b"0123456789", mode="create")
        with self.assertRaises(FileExistsError):
            s3.pipe_file(f"{self.bucket}/a/key", b"theirs", mode="create")
        self.assertEqual(s3.cat_file(f"{self.bucket}/a/key", start=2, end=5), b"234")
        with s3.open(f"{self.bucket}/a/large", "wb", block_size=5 * MEBIBYTE) as file:
            file.write(b"x" * 6 * MEBIBYTE)
        s3.copy(f"{self.bucket}/a/large", f"{self.bucket}/a/copy")
        self.assertEqual(s3.info(f"{self.bucket}/a/copy")["size"], 6 * MEBIBYTE)
        self.assertEqual(len(s3.find(f"{self.bucket}/a")), 3)

    def test_pyarrow_is_served(self):
        s3 = ArrowS3(
            access_key=self.server.access_key,
            secret_key=self.server.secret_key,
            endpoint_override=self.server.endpoint_url,
            region=self.server.region,
        )
        pq.write_table(pa.table({"x": range(1000)}), f"{self.bucket}/x.parquet", filesystem=s3)
        self.assertEqual(pq.read_table(f"{self.bucket}/x.parquet", filesystem=s3).num_rows, 1000)

    def test_deltalake_is_served(self):
        options = {**self.server.environ(), "AWS_ENDPOINT_URL": self.server.endpoint_url, "AWS_ALLOW_HTTP": "true"}
        for _ in range(2):
            write_deltalake(f"s3://{self.bucket}/t", pa.table({"x": [1]}), mode="append", storage_options=options)
        self.assertEqual(DeltaTable(f"s3://{self.bucket}/t", storage_options=options).to_pyarrow_table().num_rows, 2)

    def test_duckdb_is_served(self):
        with duckdb.connect(config={"autoinstall_known_extensions": False}) as database:
            database.execute(f"LOAD '{extension('httpfs')}'")
            database.execute(
                f"""CREATE SECRET (TYPE s3, KEY_ID '{self.server.access_key}', SECRET '{self.server.secret_key}',
                    ENDPOINT '{self.server.endpoint_url.removeprefix("http://")}', REGION '{self.server.region}',
                    URL_STYLE 'path', USE_SSL false)"""
            )
            database.execute(f"COPY (SELECT range AS x FROM range(1000)) TO 's3://{self.bucket}/x.parquet'")
            found = database.execute(f"SELECT count(*) FROM 's3://{self.bucket}/*.parquet'").fetchone()
            self.assertEqual(found, (1000,))


class HttpProxyTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = s3_server.shared()
        cls.direct = cls.server.client()

    def setUp(self):
        self.bucket = self.server.new_bucket()
        self.proxy = self.enterContext(HttpProxy(self.server.address))
        self.s3 = self.server.client(endpoint_url=self.proxy.endpoint_url)

    def put(self, key: str = "key", **conditions: str) -> int:
        return status_of(self.s3.put_object, Bucket=self.bucket, Key=key, Body=b"0123456789", **conditions)

    def assert_lost(self, call: Any = None, **arguments: Any) -> None:
        with self.assertRaises((HTTPClientError, ConnectionClosedError, ResponseStreamingError)):
            (call or self.put)(**arguments)

    def keys(self) -> list[str]:
        return list(self.server.objects(self.bucket))

    def test_without_a_fault_nothing_changes(self):
        self.assertEqual(self.put("a=1/key", IfNoneMatch="*"), 200)
        self.assertEqual(self.put("a=1/key", IfNoneMatch="*"), 412)
        self.assertEqual(status_of(self.s3.head_object, Bucket=self.bucket, Key="a=1/key"), 200)
        self.assertEqual(self.s3.get_object(Bucket=self.bucket, Key="a=1/key")["Body"].read(), b"0123456789")
        self.assertEqual(self.proxy.requests[0], ("PUT", f"/{self.bucket}/a=1/key"))

    def test_the_libraries_can_be_led_through_it(self):
        options = {**self.server.environ(), "AWS_ENDPOINT_URL": self.proxy.endpoint_url, "AWS_ALLOW_HTTP": "true"}
        write_deltalake(f"s3://{self.bucket}/t", pa.table({"x": [1]}), storage_options=options)
        self.assertEqual(DeltaTable(f"s3://{self.bucket}/t", storage_options=options).to_pyarrow_table().num_rows, 1)
        arrow = ArrowS3(
            access_key=self.server.access_key,
            secret_key=self.server.secret_key,
            endpoint_override=self.proxy.endpoint_url,
            region=self.server.region,
        )
        pq.write_table(pa.table({"x": range(1000)}), f"{self.bucket}/x.parquet", filesystem=arrow)
        self.assertEqual(pq.read_table(f"{self.bucket}/x.parquet", filesystem=arrow).num_rows, 1000)

    def test_a_request_that_is_cut_does_not_land(self):
        self.proxy.inject(cut, method="PUT")
        self.assert_lost()
        self.assertEqual(self.keys(), [])
        self.assertEqual(self.put(), 200)

    def test_a_request_whose_reply_is_lost_has_landed(self):
        fault = self.proxy.inject(lose_reply, method="PUT", path="/key$")
        self.assert_lost()
        fault.wait()
        self.assertEqual(self.keys(), ["key"])

    def test_a_request_that_is_held_lands_late(self):
        hold = Hold()
        self.proxy.inject(hold, method="PUT")
        self.assert_lost()
        hold.wait()
        self.assertEqual(self.keys(), [])
        self.assertIn(b"200 OK", hold.release())
        self.assertEqual(self.keys(), ["key"])

    def test_a_client_may_wait_for_what_is_held(self):
        hold = Hold(client_waits=True)
        self.proxy.inject(hold, method="PUT")
        with ThreadPoolExecutor(1) as thread:
            status = thread.submit(self.put)
            hold.wait()
            self.assertEqual(self.keys(), [])
            hold.release()
            self.assertEqual(status.result(), 200)

    def test_answers_are_invented_landed_or_not(self):
        self.proxy.inject(answer(503, {"Retry-After": "1"}), method="PUT", path="/first$")
        self.proxy.inject(answer(500, landed=True), method="PUT", path="/second$")
        self.assertEqual(self.put("first"), 503)
        self.assertEqual(self.put("second"), 500)
        self.assertEqual(self.keys(), ["second"])

    def test_a_reply_can_end_in_the_middle(self):
        self.put()
        self.proxy.inject(cut_reply(-4), method="GET")
        self.assert_lost(self.s3.get_object(Bucket=self.bucket, Key="key")["Body"].read)

    def test_a_fault_strikes_as_often_as_it_was_told(self):
        fault = self.proxy.inject(answer(403), method="PUT", nth=2, times=2)
        self.assertEqual([self.put() for _ in range(5)], [200, 403, 403, 200, 200])
        self.assertEqual(fault.struck, 2)
        forever = self.proxy.inject(answer(404), times=None)
        self.assertEqual([self.put() for _ in range(3)], [404, 404, 404])
        self.proxy.remove(forever)
        self.assertEqual(self.put(), 200)

    def test_an_outage_ends_when_it_is_told_to(self):
        self.put()
        self.proxy.go_down()
        self.assert_lost()
        self.proxy.come_up()
        self.assertEqual(self.put(), 200)


if __name__ == "__main__":
    unittest.main()
