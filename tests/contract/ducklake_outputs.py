"""Where the tests of DuckLake write to, and how another tool sees it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any
from unittest import TestCase
from unittest.mock import patch

import duckdb
import pyarrow as pa
import pyarrow.fs

from emitter import arrow, duck
from emitter.model import CommitReport, Slice, TableCommit, Window
from emitter.settings.connections import CatalogConfig, S3Config
from emitter.storage.base import Storage
from emitter.storage.local import LocalStorage
from emitter.storage.objects import ObjectStorage
from emitter.storage.s3 import S3Access
from emitter.writers.base import TableWriter
from emitter.writers.ducklake.writer import DuckLakeWriter
from tests.contract.beats import OPTIONS, RUN, TABLE, WHOLE, files, in_order
from tests.support import ducklake_reader, postgres, s3_server

FIELDS = {"int32": "INTEGER", "int64": "BIGINT", "float64": "DOUBLE", "string": "VARCHAR", "bool": "BOOLEAN"}
FIELDS |= {"timestamp": "TIMESTAMPTZ", "money": "DECIMAL(12, 2)"}


class OnSqlite:
    """The default: all in one folder."""

    writer_class = DuckLakeWriter
    storage: Storage
    catalog = CatalogConfig()

    def setUp(self: TestCase) -> None:
        # To check the signature of an extension takes 0.1 s each time. `test_extensions_are_signed` does without.
        self.enterContext(patch.dict(duck.NOTHING_UNASKED, {"allow_unsigned_extensions": True}))
        super().setUp()

    def new_output(self: TestCase) -> None:
        self.root = Path(self.enterContext(tempfile.TemporaryDirectory())) / "out"
        self.storage = LocalStorage(self.root)

    @property
    def catalog_uri(self) -> str:
        return self.catalog.uri or f"sqlite:///{self.root / 'ducklake.sqlite'}"

    @property
    def metadata(self) -> str:
        """The catalogue as DuckDB wants it."""
        if self.catalog_uri.startswith("sqlite"):
            return f"sqlite:{self.catalog_uri.removeprefix('sqlite:///')}"
        return f"postgres:{self.catalog_uri}"

    def reader(self, options: str = "") -> duckdb.DuckDBPyConnection:
        """DuckDB as anybody would attach the lake."""
        connection = duckdb.connect(config=dict(duck.NOTHING_UNASKED))
        self.addCleanup(connection.close)
        connection.execute("SET TimeZone = 'UTC'")
        for name in ("ducklake", "sqlite_scanner", "postgres_scanner", "httpfs"):
            duck.load(connection, name, extra="ducklake", needed_for="a test")
        self.let_in(connection)
        connection.execute(f"ATTACH 'ducklake:{self.metadata}' AS shop {options}")
        return connection

    def let_in(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Give a reader the keys to the files."""

    def file_system(self) -> pyarrow.fs.FileSystem:
        return pyarrow.fs.LocalFileSystem()

    def listed(self, table: str = TABLE.name) -> list[ducklake_reader.LakeFile]:
        return ducklake_reader.files_of(self.catalog_uri, table)

    def held(self, table: str = TABLE.name) -> pa.Table:
        """The rows that the catalogue and pyarrow find, without DuckDB."""
        found = ducklake_reader.read(self.listed(table), self.file_system())
        return inside(found)

    def foreign_table(self, table) -> None:
        self.writer().storage.write("elsewhere", b"")  # there is an output
        columns = [f"{column.name} {FIELDS[column.type]}" for column in table.columns]
        columns += [f"{name} INTEGER" for name in OPTIONS.partition.columns]
        data_path = f"{self.root}/" if isinstance(self.storage, LocalStorage) else f"{self.storage.uri}/"
        connection = self.reader(f"(DATA_PATH '{data_path}')")
        connection.execute(f"CREATE TABLE shop.{table.name} ({', '.join(columns)})")
        keys = ", ".join(OPTIONS.partition.columns)
        connection.execute(f"ALTER TABLE shop.{table.name} SET PARTITIONED BY ({keys})")
        connection.execute(f"COMMENT ON TABLE shop.{table.name} IS 'theirs'")
        connection.close()


def patient(url: str) -> str:
    """A URL by which a connection may take as long as on a machine with too much to do. By default the wait ends after
    10 s, which a daemon tries again, and a writer alone does not.
    """
    return f"{url}?connect_timeout={postgres.CONNECT_SECONDS}"


class OnPostgresAndS3(OnSqlite):
    """Files on a real server that asks for credentials, and a catalogue that asks for a password."""

    def new_output(self: TestCase) -> None:
        self.s3, self.server = s3_server.shared(), postgres.shared()
        self.enterContext(patch.dict(os.environ, self.s3.environ()))
        uri = f"s3://{self.s3.new_bucket()}/lake"
        self.storage = ObjectStorage(uri, S3Access(S3Config(endpoint_url=self.s3.endpoint_url)))
        self.database = self.server.new_database()
        self.catalog = CatalogConfig(uri=patient(self.server.url(self.database)))

    def let_in(self, connection: duckdb.DuckDBPyConnection) -> None:
        secret = ", ".join(f"{name} '{value}'" for name, value in self.storage.access.duckdb_secret().items())
        connection.execute(f"CREATE SECRET (TYPE s3, {secret})")

    def file_system(self) -> pyarrow.fs.FileSystem:
        return pyarrow.fs.S3FileSystem(
            access_key=self.s3.access_key,
            secret_key=self.s3.secret_key,
            endpoint_override=self.s3.endpoint_url,
            region=self.s3.region,
        )


class OnPostgres(OnSqlite):
    """Files on a disk, a catalogue in Postgres."""

    def new_output(self: TestCase) -> None:
        super().new_output()
        self.server = postgres.shared()
        self.database = self.server.new_database()
        self.catalog = CatalogConfig(uri=patient(self.server.url(self.database)))


def inside(found: pa.Table) -> pa.Table:
    """What another tool has found, in the form of `beats.in_order`."""
    plain = found.select([column.name for column in TABLE.columns]).combine_chunks()
    return in_order(arrow.to_inside_form(TABLE, batch) for batch in plain.to_batches())


def commit(writer: TableWriter, asked: Window, expected_slot: int | None, slice: Slice = WHOLE) -> list[CommitReport]:
    """Stage and commit one window; the reports of all attempts."""
    staged = tuple(writer.stage(slice, asked, file) for file in files(asked, slice))
    return list(writer.commit(slice, [TableCommit(TABLE.name, expected_slot, asked.end, staged)]))


def outcomes(reports: list[CommitReport]) -> list[str]:
    return [report.outcome for report in reports]


def opened(writer: Any) -> Any:
    writer.open(RUN, TABLE)
    return writer
