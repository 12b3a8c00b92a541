"""Where the tests write Iceberg tables, and how other tools see and change them."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Table as Handle
from pyiceberg.table.metadata import TableMetadata
from sqlalchemy.engine import URL

from emitter.model import Slice, Table, TableCommit, Window
from emitter.settings.connections import CatalogConfig, S3Config
from emitter.storage.objects import ObjectStorage
from emitter.storage.s3 import S3Access
from emitter.writers.base import CrashHook, no_crash
from emitter.writers.iceberg import io as iceberg_io
from emitter.writers.iceberg import tables as iceberg_tables
from emitter.writers.iceberg.catalog import DEFAULT_PATH, NAME
from emitter.writers.iceberg.writer import IcebergWriter
from tests.contract.beats import OPTIONS, TABLE, WHOLE, files, found, in_order, rows
from tests.contract.writer_contract import OutputCase
from tests.support import postgres, s3_server
from tests.support.rest_catalog import RestCatalog, iceberg_properties

_numbers = itertools.count()


class OnSqlite:
    """The default: all in one folder."""

    def client(self) -> Catalog:
        """The catalogue as another tool sees it."""
        self.root.mkdir(parents=True, exist_ok=True)
        url = URL.create("sqlite", database=str(self.root / DEFAULT_PATH))
        client = SqlCatalog(NAME, uri=url.render_as_string(hide_password=False))
        self.addCleanup(client.close)
        return client


class OnPostgresAndS3:
    """Files on S3, and a catalogue in Postgres."""

    def new_output(self) -> None:
        self.s3, self.server = s3_server.shared(), postgres.shared()
        self.enterContext(patch.dict(os.environ, self.s3.environ()))
        uri = f"s3://{self.s3.new_bucket()}/lake"
        self.storage = ObjectStorage(uri, S3Access(S3Config(endpoint_url=self.s3.endpoint_url)))
        self.catalog = CatalogConfig(uri=self.server.url(self.server.new_database()))

    def client(self) -> Catalog:
        client = SqlCatalog(NAME, uri=str(self.catalog.uri), **iceberg_properties(self.s3))
        self.addCleanup(client.close)
        return client


class OnRest:
    """Files on a disk, and a REST catalogue that asks for a token."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.server = RestCatalog(cls.folder.name)
        cls.addClassCleanup(cls.server.close)

    def new_output(self) -> None:
        super().new_output()
        self.enterContext(patch.dict(os.environ, {"PYICEBERG_CATALOG__EMITTER__TOKEN": self.server.token}))
        self.catalog = CatalogConfig(uri=self.server.uri, namespace=f"shop_{next(_numbers)}")

    def client(self) -> Catalog:
        return load_catalog("other", **self.server.properties())


class IcebergOutput(OutputCase):
    """An output, and what other tools do with it."""

    writer_class = IcebergWriter

    def writer(self, hook: CrashHook = no_crash, **options: Any) -> IcebergWriter:
        writer = super().writer(hook, **options)
        self.addCleanup(writer.close)
        return writer

    @property
    def namespace(self) -> str:
        return self.catalog.namespace or NAME

    def foreign_table(self, table: Table) -> None:
        """Make a table as another tool would."""
        schema = iceberg_tables.schema_of(table)
        spec = iceberg_tables.spec_of(schema, OPTIONS.partition.granularity)
        catalog = self.client()
        catalog.create_namespace_if_not_exists(self.namespace)
        catalog.create_table((self.namespace, table.name), schema, iceberg_io.Place(self.storage).of(table.name), spec)

    def handle(self) -> Handle:
        """The table as another tool loads it now."""
        return self.client().load_table((self.namespace, TABLE.name))

    def states(self) -> list[TableMetadata]:
        """Every state that the table was in, in order."""
        handle = self.handle()
        locations = [entry.metadata_file for entry in handle.metadata.metadata_log]
        return [
            FromInputFile.table_metadata(handle.io.new_input(name)) for name in (*locations, handle.metadata_location)
        ]

    def at_first(self, point: str, act: Callable[[], object]) -> CrashHook:
        """A crash hook that lets something happen when a point is passed for the first time."""
        waiting = [act]

        def hook(reached: str) -> None:
            if reached == point and waiting:
                waiting.pop()()

        return hook

    def outcomes(
        self, writer: IcebergWriter, asked: Window, expected_slot: int | None, slice: Slice = WHOLE
    ) -> list[str]:
        staged = tuple(writer.stage(slice, asked, file) for file in files(asked, slice))
        reports = writer.commit(slice, [TableCommit(TABLE.name, expected_slot, asked.end, staged)])
        return [report.outcome for report in reports]

    def assert_whole(self, asked: Window) -> None:
        """What was asked for is there, once; and so says the progress."""
        writer = self.opened()
        self.assertEqual(found(writer, asked), in_order(rows(asked)))
        self.assertEqual(sum(known.rows for known in writer.progress(TABLE.name).values()), asked.seconds)
        self.assertEqual(self.handle().scan().count(), asked.seconds)
