"""The servers that the other tests trust: that they are as strict, and as faulty, as they claim."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import unittest
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import psutil
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import requests
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError, ResponseStreamingError
from deltalake import DeltaTable, write_deltalake
from pyarrow.fs import S3FileSystem as ArrowS3
from pyiceberg.catalog import load_catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    NamespaceAlreadyExistsError,
    NoSuchTableError,
    TableAlreadyExistsError,
    UnauthorizedError,
)
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import LongType, NestedField
from s3fs import S3FileSystem

from tests.support import postgres, s3_server
from tests.support.proxy import HttpProxy, TcpProxy
from tests.support.rest_catalog import RestCatalog, rest_error
from tests.support.wire_faults import Hold, answer, cut, cut_reply, lose_reply

REPOSITORY = Path(__file__).parents[2]
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


def pyarrow_is_served(server: s3_server.S3Server, endpoint_url: str, bucket: str) -> bool:
    """Whether what pyarrow writes there can be read back."""
    s3 = ArrowS3(
        access_key=server.access_key,
        secret_key=server.secret_key,
        endpoint_override=endpoint_url,
        region=server.region,
    )
    table = pa.table({"x": range(1000)})
    pq.write_table(table, f"{bucket}/x.parquet", filesystem=s3)
    return pq.read_table(f"{bucket}/x.parquet", filesystem=s3).equals(table)


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
        self.assertTrue(pyarrow_is_served(self.server, self.server.endpoint_url, self.bucket))

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
        self.assertTrue(pyarrow_is_served(self.server, self.proxy.endpoint_url, self.bucket))

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


class PostgresTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = postgres.shared()

    def setUp(self):
        self.database = self.server.new_database()
        self.direct = self.enterContext(self.server.connect(self.database))
        self.direct.execute("CREATE TABLE t (x int)")

    def rows(self) -> list[int]:
        return [x for (x,) in self.direct.execute("SELECT x FROM t ORDER BY x").fetchall()]

    def insert(self, url: str, x: int) -> None:
        """In a transaction with a COMMIT of its own."""
        with psycopg.connect(url, connect_timeout=5) as connection:
            connection.execute(f"INSERT INTO t VALUES ({x})")

    def test_a_wrong_password_is_refused(self):
        with self.assertRaisesRegex(psycopg.OperationalError, "password authentication failed"):
            psycopg.connect(self.server.url(self.database).replace("emitter:", "emitter:not"))

    def test_each_database_is_empty_and_apart(self):
        with self.server.connect(self.server.new_database()) as other:
            other.execute("CREATE TABLE t (x int)")

    def test_a_commit_that_is_cut_does_not_land(self):
        with TcpProxy(self.server.address) as proxy:
            proxy.inject(cut, text=b"COMMIT")
            url = self.server.url(self.database, proxy.address)
            self.assertRaises(psycopg.OperationalError, self.insert, url, 1)
            self.insert(url, 2)
        self.assertEqual(self.rows(), [2])

    def test_a_commit_whose_reply_is_lost_has_landed(self):
        with TcpProxy(self.server.address) as proxy:
            fault = proxy.inject(lose_reply, text=b"COMMIT")
            self.assertRaises(psycopg.OperationalError, self.insert, self.server.url(self.database, proxy.address), 1)
            fault.wait()
        self.assertEqual(self.rows(), [1])

    def test_a_commit_that_is_held_lands_late(self):
        with TcpProxy(self.server.address) as proxy:
            hold = Hold()
            proxy.inject(hold, text=b"COMMIT")
            self.assertRaises(psycopg.OperationalError, self.insert, self.server.url(self.database, proxy.address), 1)
            hold.wait()
            self.assertEqual(self.rows(), [])
            hold.release()
        self.assertEqual(self.rows(), [1])

    def test_an_outage_cuts_who_is_connected(self):
        with TcpProxy(self.server.address) as proxy:
            url = self.server.url(self.database, proxy.address)
            with closing(psycopg.connect(url)) as connected:
                proxy.go_down()
                self.assertRaises(psycopg.OperationalError, connected.execute, "SELECT 1")
            self.assertRaises(psycopg.OperationalError, self.insert, url, 1)
            proxy.come_up()
            self.insert(url, 2)
        self.assertEqual(self.rows(), [2])

    def test_what_was_committed_survives_a_stop_and_a_crash(self):
        with postgres.Postgres() as server:
            url = server.url("postgres")
            with server.connect("postgres") as connection:
                connection.execute("CREATE TABLE t (x int)")
            for x, end in enumerate([server.stop, server.crash]):
                self.insert(url, x)
                end()
                self.assertRaises(psycopg.OperationalError, self.insert, url, 9)
                server.start()
            with server.connect("postgres") as connection:
                self.assertEqual(connection.execute("SELECT x FROM t ORDER BY x").fetchall(), [(0,), (1,)])

    def test_pyiceberg_keeps_a_catalogue_in_it(self):
        for scheme in ["postgresql", "postgresql+psycopg2"]:
            url = self.server.url(self.server.new_database()).replace("postgresql", scheme, 1)
            catalogue = SqlCatalog("test", uri=url)
            catalogue.create_namespace("shop")
            self.assertEqual(catalogue.list_namespaces(), [("shop",)])
            catalogue.close()

    def test_ducklake_keeps_a_catalogue_in_it(self):
        with tempfile.TemporaryDirectory() as folder, duckdb.connect() as database:
            for name in ["ducklake", "postgres_scanner"]:
                database.execute(f"LOAD '{extension(name)}'")
            database.execute(
                f"ATTACH 'ducklake:postgres:{self.server.url(self.database)}' AS lake (DATA_PATH '{folder}')"
            )
            database.execute("CREATE TABLE lake.t AS SELECT 1 AS x")
            self.assertEqual(database.execute("FROM lake.t").fetchall(), [(1,)])

    def test_it_goes_with_the_tests_even_if_they_are_killed(self):
        script = "from tests.support.postgres import Postgres; p = Postgres(); print(p.url('postgres'), p._folder.name)"
        with subprocess.Popen(
            [sys.executable, "-c", f"{script}; import sys, time; sys.stdout.flush(); time.sleep(600)"],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        ) as tests:
            url, folder = tests.stdout.readline().split()
            psycopg.connect(url).close()
            [between] = psutil.Process(tests.pid).children()
            tests.kill()
        psutil.wait_procs([between], timeout=30)
        self.assertRaises(psycopg.OperationalError, psycopg.connect, url)
        self.assertFalse(Path(folder).exists())


class RestCatalogTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.s3 = s3_server.shared()
        cls.warehouse = f"s3://{cls.s3.new_bucket()}"
        cls.server = cls.enterClassContext(RestCatalog(cls.warehouse, cls.s3))

    def setUp(self):
        self.proxy = self.enterContext(HttpProxy(self.server.address))
        self.catalogue = load_catalog("test", **self.server.properties(self.proxy.endpoint_url))
        self.addCleanup(self.catalogue.close)
        self.namespace = self.id().rpartition(".")[2]
        self.catalogue.create_namespace(self.namespace)
        self.name = f"{self.namespace}.t"
        schema = Schema(NestedField(1, "x", LongType()))
        self.table = self.catalogue.create_table(self.name, schema, properties={"commit.retry.num-retries": "0"})

    def append(self, x: int, table: Table | None = None) -> None:
        (table or self.catalogue.load_table(self.name)).append(pa.table({"x": [x]}))

    def rows(self) -> list[int]:
        return sorted(self.catalogue.load_table(self.name).scan().to_arrow()["x"].to_pylist())

    def test_without_the_token_nobody_is_let_in(self):
        with self.assertRaises(UnauthorizedError):
            load_catalog("test", **{**self.server.properties(), "token": "another"})

    def test_tables_are_made_once_listed_and_dropped(self):
        self.assertRaises(TableAlreadyExistsError, self.catalogue.create_table, self.name, self.table.schema())
        self.assertRaises(NamespaceAlreadyExistsError, self.catalogue.create_namespace, self.namespace)
        with self.catalogue.create_table_transaction(f"{self.namespace}.u", self.table.schema()) as transaction:
            self.assertEqual(self.catalogue.list_tables(self.namespace), [(self.namespace, "t")])
            transaction.set_properties({"made": "with it"})
        self.assertEqual(self.catalogue.load_table(f"{self.namespace}.u").properties["made"], "with it")
        self.catalogue.drop_table(f"{self.namespace}.u")
        self.assertRaises(NoSuchTableError, self.catalogue.load_table, f"{self.namespace}.u")

    def test_of_two_commits_on_one_snapshot_the_second_is_refused(self):
        first, second = (self.catalogue.load_table(self.name) for _ in range(2))
        self.append(1, first)
        self.assertRaises(CommitFailedException, self.append, 2, second)
        self.assertEqual(self.rows(), [1])

    def test_answers_are_invented_landed_or_not(self):
        commit = {"method": "POST", "path": "/tables/t$"}
        self.proxy.inject(answer(409, body=rest_error("CommitFailedException")), **commit)
        self.assertRaises(CommitFailedException, self.append, 1)
        for x, (status, landed) in enumerate(product([500, 502, 504], [False, True])):
            self.proxy.inject(answer(status, landed=landed), **commit)
            with self.subTest(status=status, landed=landed):
                self.assertRaises(CommitStateUnknownException, self.append, x)
        self.assertEqual(self.rows(), [1, 3, 5])

    def test_a_commit_lands_late_unless_another_came_first(self):
        late, too_late = Hold(), Hold()
        for x, hold in enumerate([late, too_late]):
            self.proxy.inject(hold, method="POST", path="/tables/t$")
            self.assertRaises(requests.ConnectionError, self.append, x)
            self.assertEqual(self.rows(), [])
        self.assertIn(b"200 OK", late.release())
        self.assertIn(b"409 Conflict", too_late.release())
        self.assertEqual(self.rows(), [0])


if __name__ == "__main__":
    unittest.main()
