"""The contract of the formats for Iceberg, in every catalogue; and what is Iceberg's own."""

from __future__ import annotations

import unittest

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog

from emitter.writers import iceberg_tables
from emitter.writers.iceberg import IcebergWriter
from emitter.writers.iceberg_catalog import NAME
from emitter.writers.iceberg_io import Place
from tests.contract.beats import OPTIONS
from tests.contract.writer_contract import WriterContract


class IcebergContract(WriterContract):
    """Subclasses say where the catalogue is, and where the files are."""

    writer_class = IcebergWriter

    def client(self) -> Catalog:
        """The catalogue as another tool sees it."""
        folder = self.root / "_emitter"
        folder.mkdir(parents=True, exist_ok=True)
        return SqlCatalog(NAME, uri=f"sqlite:///{folder}/iceberg.db")

    def foreign_table(self, table):
        catalog = self.client()
        catalog.create_namespace_if_not_exists(NAME)
        schema = iceberg_tables.schema_of(table)
        spec = iceberg_tables.spec_of(schema, OPTIONS.partition.granularity)
        catalog.create_table((NAME, table.name), schema, Place(self.storage).of(table.name), spec)


class IcebergContractTest(IcebergContract, unittest.TestCase):
    pass


if __name__ == "__main__":
    unittest.main()
