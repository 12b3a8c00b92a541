"""Parquet on a real S3 server: the contract of the formats, kills at every crash point, and bad luck on the wire."""

from __future__ import annotations

import os
import subprocess
import sys
import unittest
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from emitter import arrow
from emitter.errors import ForeignTableError, OvertakenError, StorageError
from emitter.model import Slice
from emitter.settings.connections import S3Config
from emitter.storage.objects import ObjectStorage
from emitter.storage.s3 import S3Access
from emitter.writers import create_writer
from emitter.writers.parquet import earlier
from emitter.writers.parquet.progress import path_of
from emitter.writers.parquet.writer import ParquetWriter
from tests.contract.beats import OPTIONS, ORIGIN, RUN, TABLE, WHOLE, found, in_order, rows, window, write
from tests.contract.writer_contract import WriterContract
from tests.support import s3_server
from tests.support.proxy import HttpProxy
from tests.support.wire_faults import Hold, answer, cut, lose_reply

REPOSITORY = Path(__file__).parents[2]
FIRST, SECOND, ALL = window(0, 120), window(120, 150), window(0, 150)


class S3Outputs(unittest.TestCase):
    def setUp(self):
        self.server = s3_server.shared()
        self.enterContext(patch.dict(os.environ, self.server.environ()))
        self.new_output()

    def new_output(self):
        self.uri = f"s3://{self.server.new_bucket()}/lake"
        self.storage = self.new_storage(self.server.endpoint_url)

    def new_storage(self, endpoint_url: str) -> ObjectStorage:
        return ObjectStorage(self.uri, S3Access(S3Config(endpoint_url=endpoint_url, region=self.server.region)))

    def finish(self, writer: ParquetWriter) -> None:
        """What a daemon does after a restart; then every row is there once, and nothing else."""
        writer.open(RUN, TABLE)
        progress = writer.recover(WHOLE, TABLE.name)
        for asked in (FIRST, SECOND):
            if progress is None or progress.slot < asked.end:
                write(writer, asked, progress.slot if progress else None)
                progress = writer.progress(TABLE.name)[WHOLE]
        self.assertEqual(found(writer, ALL), in_order(rows(ALL)))
        visible = [name for name in self.names() if name.endswith(".parquet")]
        self.assertEqual((progress.slot, progress.rows, progress.files), (ALL.end, 150, len(visible)))
        self.assertEqual([name for name in self.names() if name.endswith(".staged")], [])

    def names(self, table: str = TABLE.name) -> list[str]:
        return list(self.server.objects(self.storage.bucket, f"lake/{table}/"))


class ParquetOnS3ContractTest(S3Outputs, WriterContract):
    writer_class = ParquetWriter
    crash_points_step = 3

    def foreign_table(self, table):
        sink = pa.BufferOutputStream()
        pq.write_table(arrow.file_schema(table).empty_table(), sink)
        self.storage.write(f"{table.name}/year=2026/month=01/day=02/part-0.parquet", sink.getvalue())

    def test_polars_reads_the_same_rows_from_the_folder(self):
        writer = self.opened()
        write(writer, ALL, None)
        writer.finish_partitions([TABLE.name], ORIGIN, ALL.end)
        self.assertEqual(in_order(self.read_by_polars()), in_order(rows(ALL)))

    def test_an_output_of_an_earlier_release_goes_on_and_its_folder_is_the_table(self):
        write(self.opened(), FIRST, None)
        now, before = path_of(TABLE.name, WHOLE), earlier.path_of(TABLE.name, WHOLE)
        self.storage.write(before, self.storage.read(now))
        self.storage.remove(now)
        self.finish(ParquetWriter(self.storage, OPTIONS))
        self.assertEqual(self.storage.read(before), b"")
        self.assertEqual(in_order(self.read_by_polars()), in_order(rows(ALL)))

    def read_by_polars(self) -> list[pa.RecordBatch]:
        options = {"aws_endpoint_url": self.server.endpoint_url, "aws_allow_http": "true"}
        frame = pl.read_parquet(f"{self.uri}/{TABLE.name}/", storage_options=options)
        return [arrow.to_inside_form(TABLE, batch) for batch in frame.select(_names()).to_arrow().to_batches()]

    def test_files_of_another_tool_must_all_fit(self):
        self.foreign_table(TABLE)
        folder = f"{TABLE.name}/year=2026/month=01/day=03"
        for name, data in ((f"{folder}/b.parquet", b"no Parquet"), (f"{TABLE.name}/year=2026/c.parquet", None)):
            self.storage.write(name, self._copy() if data is None else data)
            with self.assertRaises(ForeignTableError):
                self.opened(adopt=True)
            self.storage.remove(name)
        self.opened(adopt=True)

    def _copy(self) -> bytes:
        return self.storage.read(f"{TABLE.name}/year=2026/month=01/day=02/part-0.parquet")

    def test_a_storage_that_ignores_conditions_is_refused(self):
        bucket = self.server.new_bucket(honours_conditions=False)
        writer = create_writer("parquet", f"s3://{bucket}/lake", S3Config(endpoint_url=self.server.endpoint_url))
        with self.assertRaises(StorageError) as caught:
            writer.check()
        self.assertIn("ignores the header", caught.exception.problem)


class KilledOnS3Test(S3Outputs):
    def test_a_kill_at_any_crash_point_is_survived(self):
        passed = Counter()
        writer = ParquetWriter(self.storage, OPTIONS, lambda point: passed.update([point]))
        writer.open(RUN, TABLE)
        writer.recover(WHOLE, TABLE.name)
        write(writer, FIRST, None)
        write(writer, SECOND, FIRST.end)
        writer.finish_partitions([TABLE.name], ORIGIN, ORIGIN + 100)
        self.assertEqual(set(passed), set(ParquetWriter.crash_points))
        environ = {**os.environ, "AWS_ENDPOINT_URL_S3": self.server.endpoint_url}
        children = []
        for point in ParquetWriter.crash_points[::2]:  # all of them in `make test-long`
            self.new_output()
            command = [sys.executable, "-m", "tests.contract.crash_child", self.uri, point, str(passed[point])]
            children.append((point, self.storage, subprocess.Popen(command, cwd=REPOSITORY, env=environ)))
        for point, self.storage, child in children:
            with self.subTest(point=point):
                self.assertEqual(child.wait(), 137)
                self.finish(ParquetWriter(self.storage, OPTIONS))


class WireTest(S3Outputs):
    """A proxy between writer and server. What fails is tried again as a daemon does it."""

    def setUp(self):
        super().setUp()
        self.proxy = self.enterContext(HttpProxy(self.server.address))
        self.wired = self.opened(self.proxy.endpoint_url)

    def opened(self, endpoint_url: str) -> ParquetWriter:
        writer = ParquetWriter(self.new_storage(endpoint_url), OPTIONS)
        writer.open(RUN, TABLE)
        return writer

    def test_any_one_reply_may_be_lost(self):
        for method, path in (
            ("PUT", "_emitter/progress"),
            ("PUT", "_emitter/staging"),
            ("PUT", r"day=02/"),
            ("DELETE", "_emitter/staging"),
            ("GET", "_emitter/progress"),
            ("GET", "list-type"),
        ):
            for nth, fault in ((2, lose_reply), (1, answer(503, {"Retry-After": "1"})), (2, answer(500, landed=True))):
                with self.subTest(method=method, path=path, fault=fault):
                    self.new_output()
                    self.wired = self.opened(self.proxy.endpoint_url)
                    struck = self.proxy.inject(fault, method=method, path=path, nth=nth)
                    self.finish(self.wired)  # botocore tries again
                    self.assertEqual(struck.struck, 1)
                    self.proxy.remove()

    def test_any_one_request_may_fail_for_good(self):
        for method, path in (
            ("PUT", "_emitter/progress"),
            ("PUT", "_emitter/staging"),
            ("PUT", r"day=02/"),
            ("DELETE", "_emitter/staging"),
        ):
            for nth, fault in ((1, cut), (2, answer(403))):
                with self.subTest(method=method, path=path, nth=nth):
                    self.new_output()
                    self.wired = self.opened(self.proxy.endpoint_url)
                    self.proxy.inject(fault, method=method, path=path, nth=nth, times=None)
                    with self.assertRaises(StorageError):
                        self.finish(self.wired)
                    self.proxy.remove()
                    self.finish(self.wired)

    def test_a_progress_that_lands_late_changes_nothing(self):
        for nth in (1, 2, 3):
            with self.subTest(nth=nth):
                self.new_output()
                self.wired = self.opened(self.proxy.endpoint_url)
                late = Hold()
                self.proxy.inject(late, method="PUT", path="_emitter/progress", nth=nth)
                self.finish(self.wired)
                late.release()
                self.finish(self.opened(self.server.endpoint_url))

    def test_a_server_that_is_gone_for_a_while_is_waited_for_by_the_caller(self):
        write(self.wired, FIRST, None)
        self.proxy.go_down()
        with self.assertRaises(StorageError):
            write(self.wired, SECOND, FIRST.end)
        self.proxy.come_up()
        self.finish(self.wired)

    def test_a_writer_that_wakes_up_is_told_that_it_was_overtaken(self):
        self.wired.recover(WHOLE, TABLE.name)
        write(self.wired, FIRST, None)
        self.finish(self.opened(self.server.endpoint_url))
        with self.assertRaises(OvertakenError):
            write(self.wired, SECOND, FIRST.end)

    def test_slices_do_not_take_each_other(self):
        others = [self.opened(self.server.endpoint_url) for _ in range(2)]
        for index, writer in enumerate(others):
            writer.recover(Slice(index, 2), TABLE.name)
        for index, writer in enumerate(others):
            write(writer, ALL, None, Slice(index, 2))
        self.assertEqual(found(self.wired, ALL), in_order(rows(ALL)))


def _names() -> list[str]:
    return [column.name for column in TABLE.columns]


if __name__ == "__main__":
    unittest.main()
