"""Where the tests of Delta Lake write to, how another tool sees it, and what they begin and end with."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import TestCase
from unittest.mock import patch

from deltalake import DeltaTable

from emitter.errors import EmitterError
from emitter.model import Slice, TableCommit, Window
from emitter.settings.connections import S3Config
from emitter.storage.base import Storage
from emitter.storage.local import LocalStorage
from emitter.storage.objects import ObjectStorage
from emitter.storage.s3 import S3Access
from emitter.writers.base import CrashHook, no_crash
from emitter.writers.delta.writer import DeltaWriter
from tests.contract.beats import OPTIONS, RUN, TABLE, WHOLE, files, found, in_order, rows, window, write
from tests.support import s3_server
from tests.support.reading import count_beside

FIRST, SECOND, THIRD = window(0, 30), window(30, 60), window(60, 90)
BOTH, ALL = window(0, 60), window(0, 90)


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


class BegunCase(TestCase):
    """A table with two commits, and a writer that goes on with it."""

    def setUp(self) -> None:
        self.new_output()

    def writer(self, hook: CrashHook = no_crash, **options: Any) -> DeltaWriter:
        return DeltaWriter(self.storage, replace(OPTIONS, **options), hook)

    def opened(self, hook: CrashHook = no_crash, **options: Any) -> DeltaWriter:
        writer = self.writer(hook, **options)
        writer.open(RUN, TABLE)
        return writer

    def begun(self, hook: CrashHook = no_crash) -> DeltaWriter:
        writer = self.opened(hook)
        writer.recover(WHOLE, TABLE.name)
        write(writer, FIRST, None)
        write(writer, SECOND, FIRST.end)
        return writer

    def commit(
        self, writer: DeltaWriter, asked: Window, expected_slot: int | None, slice: Slice = WHOLE
    ) -> tuple[list[str], EmitterError | None]:
        """The outcomes of all attempts, and the error they ended with."""
        staged = tuple(writer.stage(slice, asked, file) for file in files(asked, slice))
        outcomes: list[str] = []
        try:
            reports = writer.commit(slice, [TableCommit(TABLE.name, expected_slot, asked.end, staged)])
            outcomes.extend(report.outcome for report in reports)
        except EmitterError as error:
            return outcomes, error
        return outcomes, None

    def goes_on(self, writer: DeltaWriter) -> None:
        self.assertEqual(self.commit(writer, THIRD, SECOND.end), (["ok"], None))
        self.assert_once(ALL)

    def compact(self) -> None:
        self.handle().optimize.compact()

    def assert_once(self, asked: Window) -> None:
        """These rows and no others are there, once, for us and for the library."""
        writer = self.opened()
        self.assertEqual(found(writer, asked), in_order(rows(asked)))
        self.assertEqual(count_beside(writer, TABLE, asked), 0)
        progress = writer.recover(WHOLE, TABLE.name)
        self.assertEqual((progress.slot, progress.rows), (asked.end, asked.seconds))
        self.assertEqual(self.handle().count(), asked.seconds)
