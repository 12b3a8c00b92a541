"""The contract of the formats for Delta Lake, on both storages; and what other readers find."""

from __future__ import annotations

import os
import unittest
from unittest.mock import patch

from deltalake import DeltaTable, Schema

from emitter import arrow
from emitter.connections import S3Config
from emitter.object_storage import ObjectStorage
from emitter.s3 import S3Access
from emitter.writers.delta import DeltaWriter
from tests.contract.writer_contract import WriterContract
from tests.support import s3_server


class DeltaCase(WriterContract):
    """Tables as another tool sees them."""

    writer_class = DeltaWriter

    def uri(self, table: str) -> str:
        return f"{self.storage.uri}/{table}"

    def options(self) -> dict[str, str] | None:
        return None

    def foreign_table(self, table):
        schema = arrow.file_schema(table)
        for name in ("year", "month", "day"):
            schema = schema.append(arrow.pa.field(name, arrow.pa.int32()))
        DeltaTable.create(
            self.uri(table.name),
            Schema.from_arrow(schema),
            partition_by=["year", "month", "day"],
            storage_options=self.options(),
        )


class DeltaOnDiskTest(DeltaCase, unittest.TestCase):
    pass


class DeltaOnS3Test(DeltaCase, unittest.TestCase):
    def new_output(self) -> None:
        server = s3_server.shared()
        self.enterContext(patch.dict(os.environ, server.environ()))
        access = S3Access(S3Config(endpoint_url=server.endpoint_url))
        self.storage = ObjectStorage(f"s3://{server.new_bucket()}/lake", access)

    def options(self) -> dict[str, str] | None:
        return self.storage.access.delta_options()


if __name__ == "__main__":
    unittest.main()
