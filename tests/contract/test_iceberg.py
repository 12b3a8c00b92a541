"""The contract of the formats for Iceberg, in every catalogue; and what is Iceberg's own."""

from __future__ import annotations

import itertools
import os
import tempfile
import unittest
from unittest.mock import patch

from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table as Handle

from emitter.connections import CatalogConfig, S3Config
from emitter.object_storage import ObjectStorage
from emitter.s3 import S3Access
from emitter.writers import iceberg_tables
from emitter.writers.iceberg import IcebergWriter
from emitter.writers.iceberg_catalog import NAME
from emitter.writers.iceberg_io import Place
from tests.contract.beats import OPTIONS, TABLE
from tests.contract.writer_contract import WriterContract
from tests.support import postgres, s3_server
from tests.support.rest_catalog import RestCatalog, iceberg_properties

_numbers = itertools.count()


class OnSqlite:
    """The default: all in one folder."""

    def client(self) -> Catalog:
        """The catalogue as another tool sees it."""
        folder = self.root / "_emitter"
        folder.mkdir(parents=True, exist_ok=True)
        return SqlCatalog(NAME, uri=f"sqlite:///{folder}/iceberg.db")


class OnPostgresAndS3:
    """Files on S3, and a catalogue in Postgres."""

    def new_output(self) -> None:
        self.s3, self.server = s3_server.shared(), postgres.shared()
        self.enterContext(patch.dict(os.environ, self.s3.environ()))
        uri = f"s3://{self.s3.new_bucket()}/lake"
        self.storage = ObjectStorage(uri, S3Access(S3Config(endpoint_url=self.s3.endpoint_url)))
        self.catalog = CatalogConfig(uri=self.server.url(self.server.new_database()))

    def client(self) -> Catalog:
        return SqlCatalog(NAME, uri=str(self.catalog.uri), **iceberg_properties(self.s3))


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


class IcebergCase(WriterContract):
    """Subclasses say where the catalogue is."""

    writer_class = IcebergWriter

    @property
    def namespace(self) -> str:
        return self.catalog.namespace or NAME

    def foreign_table(self, table):
        schema = iceberg_tables.schema_of(table)
        spec = iceberg_tables.spec_of(schema, OPTIONS.partition.granularity)
        catalog = self.client()
        catalog.create_namespace_if_not_exists(self.namespace)
        catalog.create_table((self.namespace, table.name), schema, Place(self.storage).of(table.name), spec)

    def handle(self) -> Handle:
        """The table as another tool loads it now."""
        return self.client().load_table((self.namespace, TABLE.name))


class IcebergContractTest(OnSqlite, IcebergCase, unittest.TestCase):
    pass


class IcebergOnPostgresAndS3ContractTest(OnPostgresAndS3, IcebergCase, unittest.TestCase):
    pass


class IcebergOnRestContractTest(OnRest, IcebergCase, unittest.TestCase):
    pass


if __name__ == "__main__":
    unittest.main()
