"""One configuration and one chain of credentials for every library, on a real S3 server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import unittest
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import deltalake
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from emitter.errors import ConfigurationError, MissingExtraError, StorageError
from emitter.settings.connections import S3Config
from emitter.storage.objects import ObjectStorage
from emitter.storage.s3 import S3Access
from emitter.writers import create_writer
from tests.support import s3_server
from tests.support.proxy import HttpProxy
from tests.support.tls import TlsFront
from tests.support.wire_faults import answer

ALLOW_ALL = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
TRUST_ALL = ALLOW_ALL.replace('"*", "Resource": "*"', '"sts:AssumeRole", "Principal": {"AWS": "*"}')
REPOSITORY = Path(__file__).parents[2]
DELTA_CHILD = """
import os, sys
import deltalake, pyarrow
from emitter.settings.connections import S3Config
from emitter.storage.s3 import S3Access
options = S3Access(S3Config(endpoint_url=sys.argv[1], ca_file=sys.argv[2])).delta_options()
deltalake.write_deltalake(sys.argv[3], pyarrow.table({"a": [1]}), storage_options=options)
assert deltalake.DeltaTable(sys.argv[3], storage_options=options).to_pyarrow_table().num_rows == 1
os._exit(0)  # pyarrow's threads may still be there when the interpreter is gone
"""
ROWS = pa.table({"a": [1, 2, 3]})


class S3AccessCase(unittest.TestCase):
    def setUp(self):
        self.server = s3_server.shared()
        self.enterContext(patch.dict(os.environ, self.server.environ()))
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.bucket = self.server.new_bucket()

    def access(self, **config: object) -> S3Access:
        return S3Access(S3Config(**{"endpoint_url": self.server.endpoint_url, **config}))

    def storage(self, access: S3Access) -> ObjectStorage:
        return ObjectStorage(f"s3://{self.bucket}/shop", access)

    def write_and_read(self, access: S3Access) -> None:
        self.storage(access).write("plain", b"1")
        self.assertEqual(self.storage(access).read("plain"), b"1")

        self.write_and_read_delta(access)

        with access.file_system().open(f"{self.bucket}/plain.parquet", "wb") as file:
            pq.write_table(ROWS, file)
        with duckdb_with(access) as connection:
            found = connection.sql(f"SELECT * FROM 's3://{self.bucket}/plain.parquet'").to_arrow_table()
        self.assertEqual(found.column("a").to_pylist(), [1, 2, 3])

    def write_and_read_delta(self, access: S3Access) -> None:
        place = f"s3://{self.bucket}/delta"
        deltalake.write_deltalake(place, ROWS, storage_options=access.delta_options())
        table = deltalake.DeltaTable(place, storage_options=access.delta_options())
        self.assertEqual(table.to_pyarrow_table(), ROWS)


class LibrariesTest(S3AccessCase):
    def test_each_library_gets_there_by_what_it_is_given(self):
        access = self.access()
        self.write_and_read(access)

    def test_the_bucket_stands_in_the_path_or_in_the_host(self):
        endpoint = self.server.endpoint_url.replace("127.0.0.1", "localhost")  # before a number nothing can stand
        path, host = self.access(endpoint_url=endpoint), self.access(endpoint_url=endpoint, path_style=False)
        self.assertEqual(path.delta_options()["AWS_VIRTUAL_HOSTED_STYLE_REQUEST"], "false")
        self.assertEqual(host.delta_options()["AWS_VIRTUAL_HOSTED_STYLE_REQUEST"], "true")
        self.assertEqual((path.duckdb_secret()["URL_STYLE"], host.duckdb_secret()["URL_STYLE"]), ("path", "vhost"))
        for access, begin in ((path, f"{endpoint}/{self.bucket}"), (host, f"http://{self.bucket}.localhost")):
            self.assertTrue(access.file_system().sign(f"{self.bucket}/x").startswith(begin))
        aws = S3Access(S3Config(region="eu-central-1"))
        self.assertEqual((aws.path_style, aws.endpoint_url), (False, None))
        self.assertNotIn("ENDPOINT", aws.duckdb_secret())

    def test_a_listing_is_never_remembered(self):
        system = self.access().file_system()
        self.assertFalse(system.dircache.use_listings_cache)
        self.assertIsNot(self.access().file_system(), system)


class CredentialsTest(S3AccessCase):
    def use_process(self) -> None:
        """Let the AWS chain find credentials that a process hands out: what stands in a file, good for a minute."""
        config = self.folder / "config"
        config.write_text(f"[default]\ncredential_process = cat {self.folder}/keys.json\n")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            del os.environ[name]
        os.environ["AWS_CONFIG_FILE"] = str(config)

    def hand_out(self, key: dict[str, str]) -> None:
        expires = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
        value = {"Version": 1, "Expiration": expires, **key}
        (self.folder / "keys.json").write_text(json.dumps(value))

    def new_key(self, user: str) -> dict[str, str]:
        key = self.server.client("iam").create_access_key(UserName=user)["AccessKey"]
        return {name: key[name] for name in ("AccessKeyId", "SecretAccessKey")}

    def test_credentials_that_expire_are_renewed_while_it_runs(self):
        user, iam = self.bucket, self.server.client("iam")
        iam.create_user(UserName=user)
        iam.put_user_policy(UserName=user, PolicyName="all", PolicyDocument=ALLOW_ALL)
        first = self.new_key(user)
        self.use_process()
        self.hand_out(first)
        access = self.access()
        storage, version = self.storage(access), access.credentials_version()
        storage.write("a", b"1")
        self.assertEqual(access.credentials_version(), version)

        second = self.new_key(user)
        iam.delete_access_key(UserName=user, AccessKeyId=first["AccessKeyId"])
        with self.assertRaises(StorageError):
            storage.read("a")
        self.hand_out(second)
        self.assertEqual(storage.read("a"), b"1")
        self.assertGreater(access.credentials_version(), version)
        self.assertEqual(access.delta_options()["AWS_ACCESS_KEY_ID"], second["AccessKeyId"])
        self.assertEqual(access.duckdb_secret()["KEY_ID"], second["AccessKeyId"])

    def test_a_process_that_fails_is_told_without_its_words(self):
        self.use_process()
        config = Path(os.environ["AWS_CONFIG_FILE"])
        script = self.folder / "keys.sh"
        script.write_text("echo hush-hush >&2; exit 1")
        config.write_text(f"[default]\ncredential_process = sh {script}\n")
        with self.assertRaises(StorageError) as caught:
            self.storage(self.access()).read("a")
        self.assertIn("could not get credentials", caught.exception.problem)
        self.assertNotIn("hush-hush", caught.exception.report())

    def test_credentials_that_come_expired_are_an_error(self):
        self.use_process()
        self.hand_out({"AccessKeyId": "A", "SecretAccessKey": "B", "Expiration": "2020-01-01T00:00:00Z"})
        with self.assertRaises(StorageError):
            self.storage(self.access()).read("a")

    def test_a_role_is_assumed(self):
        iam = self.server.client("iam")
        role = iam.create_role(RoleName=self.bucket, AssumeRolePolicyDocument=TRUST_ALL)["Role"]["Arn"]
        iam.put_role_policy(RoleName=self.bucket, PolicyName="all", PolicyDocument=ALLOW_ALL)
        os.environ["AWS_ENDPOINT_URL_STS"] = self.server.endpoint_url
        access = self.access(role_arn=role)
        self.storage(access).write("a", b"1")
        self.assertEqual(self.storage(access).read("a"), b"1")
        self.assertTrue(access.credentials().token)
        self.write_and_read(access)
        self.assertNotEqual(access.credentials().access_key, self.server.access_key)

    def test_a_role_that_may_not_be_assumed_is_told(self):
        with HttpProxy(self.server.address) as proxy:
            proxy.inject(answer(403), times=None)
            os.environ["AWS_ENDPOINT_URL_STS"] = proxy.endpoint_url
            with self.assertRaises(StorageError) as caught:
                self.storage(self.access(role_arn="arn:aws:iam::123456789012:role/none")).read("a")
        self.assertIn("output.s3.role_arn", caught.exception.hint)

    def test_no_secret_shows(self):
        access = self.access()
        access.credentials()
        for shown in (repr(access), str(access), repr(self.storage(access))):
            self.assertNotIn(self.server.secret_key, shown)
            self.assertNotIn(self.server.access_key, shown)


class TlsTest(LibrariesTest):
    def setUp(self):
        super().setUp()
        self.front = self.enterContext(TlsFront(self.server.address, self.folder))

    def access(self, **config: object) -> S3Access:
        return S3Access(S3Config(**{"endpoint_url": self.front.endpoint_url, **config}))

    def test_each_library_gets_there_by_what_it_is_given(self):
        self.write_and_read(self.access(ca_file=str(self.front.ca_file)))

    def write_and_read_delta(self, access: S3Access) -> None:
        """In a process of its own, as deltalake reads its authorities once."""
        arguments = [self.front.endpoint_url, str(self.front.ca_file), f"s3://{self.bucket}/delta"]
        child = subprocess.run([sys.executable, "-c", DELTA_CHILD, *arguments], cwd=REPOSITORY, check=True)
        self.assertEqual(child.returncode, 0)

    def test_an_authority_that_is_not_known_is_told(self):
        with self.assertRaises(StorageError) as caught:
            self.storage(self.access()).read("a")
        self.assertIn("output.s3.ca_file", caught.exception.hint)

    def test_the_authority_of_the_aws_chain_is_used(self):
        os.environ["AWS_CA_BUNDLE"] = str(self.front.ca_file)
        self.storage(self.access()).write("a", b"1")


class ConfigurationTest(S3AccessCase):
    def test_a_region_or_an_endpoint_must_be_known(self):
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
            del os.environ[name]
        with self.assertRaises(ConfigurationError) as caught:
            S3Access(S3Config())
        self.assertIn("output.s3.region", caught.exception.problem)
        self.assertEqual(self.access().region, "us-east-1")
        os.environ["AWS_REGION"] = "eu-north-1"
        self.assertEqual(S3Access(S3Config()).region, "eu-north-1")
        self.assertEqual(S3Access(S3Config(region="eu-west-1")).region, "eu-west-1")

    def test_the_endpoint_may_come_from_the_aws_chain(self):
        os.environ["AWS_ENDPOINT_URL"] = "http://one"
        self.assertEqual(S3Access(S3Config()).endpoint_url, "http://one")
        os.environ["AWS_ENDPOINT_URL_S3"] = "http://two"
        self.assertEqual(S3Access(S3Config()).endpoint_url, "http://two")

    def test_an_authority_that_cannot_be_read_is_a_fault(self):
        with self.assertRaises(ConfigurationError) as caught:
            self.access(ca_file="/nowhere/ca.pem")
        self.assertIn("output.s3.ca_file", caught.exception.problem)

    def test_a_missing_package_names_the_extra(self):
        with patch.dict(sys.modules, {"s3fs": None}), self.assertRaises(MissingExtraError) as caught:
            create_writer("parquet", "s3://bucket/shop", S3Config(endpoint_url="http://x"))
        self.assertIn("pip install 'emitter[s3]'", caught.exception.hint)


def duckdb_with(access: S3Access) -> duckdb.DuckDBPyConnection:
    """DuckDB with its httpfs, and the key to S3."""
    import duckdb_extension_httpfs

    (extension,) = Path(str(duckdb_extension_httpfs.__file__)).parent.rglob("*.duckdb_extension")
    connection = duckdb.connect()
    connection.execute(f"LOAD '{extension}'")
    for name, value in access.duckdb_settings().items():
        connection.execute(f"SET {name} = {text_of(value)}")
    parts = ", ".join(f"{name} {text_of(value)}" for name, value in access.duckdb_secret().items())
    connection.execute(f"CREATE OR REPLACE SECRET s (TYPE s3, {parts})")
    return connection


def text_of(value: str | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else f"'{value}'"


if __name__ == "__main__":
    unittest.main()
