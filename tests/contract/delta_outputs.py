"""Where the tests of Delta Lake write to, and how another tool sees it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from unittest import TestCase
from unittest.mock import patch

from deltalake import DeltaTable

from emitter.connections import S3Config
from emitter.local_storage import LocalStorage
from emitter.object_storage import ObjectStorage
from emitter.s3 import S3Access
from emitter.storage import Storage
from tests.contract.beats import TABLE
from tests.support import s3_server


class OnDisk:
    """A new folder."""

    storage: Storage

    def new_output(self: TestCase) -> None:
        self.root = Path(self.enterContext(tempfile.TemporaryDirectory())) / "out"
        self.storage = LocalStorage(self.root)

    def options(self) -> dict[str, str] | None:
        return None

    def uri(self, table: str = TABLE.name) -> str:
        return f"{self.storage.uri}/{table}"

    def handle(self, table: str = TABLE.name) -> DeltaTable:
        """The table, for the library alone."""
        return DeltaTable(self.uri(table), storage_options=self.options())


class OnS3(OnDisk):
    """A new bucket of a real server, which asks for credentials."""

    def new_output(self: TestCase) -> None:
        self.server = s3_server.shared()
        self.enterContext(patch.dict(os.environ, self.server.environ()))
        self.storage = self.storage_at(self.server.endpoint_url, self.server.new_bucket())

    def storage_at(self, endpoint_url: str, bucket: str) -> ObjectStorage:
        return ObjectStorage(f"s3://{bucket}/lake", S3Access(S3Config(endpoint_url=endpoint_url)))

    def options(self) -> dict[str, str] | None:
        return self.storage.access.delta_options()
