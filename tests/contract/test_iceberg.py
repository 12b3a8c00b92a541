"""The contract of the formats for Iceberg, in every catalogue; what readers find; and where the catalogue is."""

from __future__ import annotations

import os
import re
import unittest
from collections import Counter
from importlib import resources
from pathlib import Path
from unittest.mock import patch

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import IcebergTables
from sqlalchemy import create_engine

from emitter import arrow
from emitter.errors import (
    ConfigurationError,
    DamagedStateError,
    StorageError,
)
from emitter.model import StagedFile
from emitter.settings.connections import CatalogConfig, S3Config
from emitter.storage.local import LocalStorage
from emitter.storage.objects import ObjectStorage
from emitter.storage.s3 import S3Access
from emitter.writers.iceberg import tables as iceberg_tables
from emitter.writers.iceberg.writer import IcebergWriter
from tests.contract.beats import OPTIONS, ORIGIN, RUN, TABLE, WHOLE, in_order, rows, window, write
from tests.contract.iceberg_case import IcebergOutput, OnPostgresAndS3, OnRest, OnSqlite
from tests.contract.writer_contract import WriterContract
from tests.support.reading import rows_in


class IcebergContractTest(OnSqlite, IcebergOutput, WriterContract, unittest.TestCase):
    pass


class IcebergOnPostgresAndS3ContractTest(OnPostgresAndS3, IcebergOutput, WriterContract, unittest.TestCase):
    crash_points_step = 3


class IcebergOnRestContractTest(OnRest, IcebergOutput, WriterContract, unittest.TestCase):
    crash_points_step = 3


class ReadersTest(OnSqlite, IcebergOutput, unittest.TestCase):
    def test_plans_prune_by_partition_and_by_statistics(self):
        write(self.opened(), window(0, 200), None)  # files of 50 rows: the first minute is another day's
        handle = self.handle()

        def planned(row_filter: str) -> int:
            return len(list(handle.scan(row_filter=row_filter).plan_files()))

        whole = planned("beat_id >= 0")
        self.assertGreater(whole, 3)
        self.assertEqual(planned("event_time < '2026-01-02T00:00:00+00:00'"), 2)
        self.assertEqual(planned("event_time >= '2026-01-03T00:00:00+00:00'"), 0)
        self.assertEqual(planned(f"beat_id = {ORIGIN + 199}"), 1)  # within a day: by the least and greatest values
        self.assertEqual(planned("cost > 49.99"), 0)
        self.assertEqual(planned("cost >= 0"), whole)
        self.assertEqual(planned("host < 'a'"), 0)
        self.assertEqual(planned("credit is null"), whole)
        self.assertEqual(planned("pulse is null"), 0)

    def test_bounds_that_are_not_known_to_be_true_are_left_out(self):
        """pyiceberg would take those of the other row group for the whole, and fail on the other text."""
        for texts, bounded in ((["b", "é" * 5000], False), (["\ud7ff" * 20, "a"], False), (["b", "a" * 20], True)):
            shaped = pa.Table.from_batches([arrow.to_file_form(TABLE, batch) for batch in rows(window(0, 2))])
            place = shaped.schema.get_field_index("note")
            shaped = shaped.set_column(place, pa.field("note", pa.string()), pa.array(texts))
            sink = pa.BufferOutputStream()
            pq.write_table(shaped, sink, row_group_size=1, store_decimal_as_integer=True)
            footer = pq.read_metadata(pa.BufferReader(sink.getvalue()))
            staged = StagedFile(TABLE.name, "x", "x", 2, 1, metadata=footer)
            schema = iceberg_tables.schema_of(TABLE)
            made = iceberg_tables.data_file(staged, "x", schema, iceberg_tables.spec_of(schema, "day"))
            note = schema.find_field("note").field_id
            self.assertEqual((note in made.lower_bounds, note in made.upper_bounds), (bounded, bounded))
            self.assertIn(schema.find_field("event_time").field_id, made.upper_bounds)
            load = schema.find_field("load").field_id  # NaN is in no footer, and above all numbers to many readers
            self.assertEqual((load in made.lower_bounds, load in made.upper_bounds), (True, False))

    def test_other_readers_see_the_same_rows_and_types(self):
        writer, asked = self.opened(), window(0, 200)
        write(writer, window(0, 120), None)
        write(writer, window(120, 200), ORIGIN + 120)
        location = self.handle().metadata_location
        with patch.dict(os.environ, {"POLARS_ICEBERG_PLANNER": "pyiceberg"}):  # its own is a package more
            frame = pl.scan_iceberg(location).collect()
        with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connected:
            connected.execute("SET TimeZone = 'UTC'")
            for name in ("avro", "iceberg"):
                (extension,) = resources.files(f"duckdb_extension_{name}").glob("**/*.duckdb_extension")
                connected.execute(f"LOAD '{extension}'")
            relation = connected.sql(f"SELECT * FROM iceberg_scan('{location}')")
            types = dict(zip(relation.columns, map(str, relation.types), strict=True))
            by_duckdb = relation.to_arrow_table()
        self.assertEqual((types["event_time"], types["cost"]), ("TIMESTAMP WITH TIME ZONE", "DECIMAL(12,2)"))
        for reader in (by_duckdb, frame.to_arrow(), self.handle().scan().to_arrow()):
            shaped = reader.select([column.name for column in TABLE.columns]).cast(arrow.file_schema(TABLE))
            inside = [arrow.to_inside_form(TABLE, batch) for batch in shaped.combine_chunks().to_batches()]
            self.assertEqual(in_order(inside), in_order(rows(asked)))

    def test_a_file_that_is_gone_or_damaged_is_told_by_name(self):
        write(self.opened(), window(0, 120), None)
        first, second, *_ = sorted((self.root / TABLE.name).rglob("*.parquet"))
        first.unlink()
        second.write_bytes(second.read_bytes()[:100])
        with self.assertRaises(DamagedStateError):
            rows_in(self.opened(), TABLE, window(0, 120))
        told: list[DamagedStateError] = []
        left = sum(batch.num_rows for batch in rows_in(self.opened(), TABLE, window(0, 120), told))
        self.assertEqual(left, 60)
        self.assertEqual([any(path.name in error.problem for error in told) for path in (first, second)], [True, True])
        self.assertEqual(len(told), 2)


class LongLifeTest(OnSqlite, IcebergOutput, unittest.TestCase):
    def test_manifests_and_metadata_files_stay_few(self):
        writer, slot = self.opened(), None
        write(writer, window(0, 1), None)
        self.handle().transaction().set_properties(
            {"commit.manifest.min-count-to-merge": "4", "write.metadata.previous-versions-max": "5"}
        ).commit_transaction()
        slot = ORIGIN + 1
        for first in range(1, 31):
            write(writer, window(first, first + 1), slot)
            slot += 1
        handle = self.handle()
        self.assertLessEqual(len(handle.current_snapshot().manifests(handle.io)), 4)
        self.assertLessEqual(len(list((self.root / TABLE.name / "metadata").glob("*.metadata.json"))), 8)
        self.assert_whole(window(0, 31))

    def test_a_start_reads_each_metadata_file_once(self):
        write(self.opened(), window(0, 20), None)
        read = Counter[str]()

        def counted(storage: LocalStorage, path: str) -> bytes:
            read[path] += path.endswith(".metadata.json")
            return plain(storage, path)

        plain = LocalStorage.read
        with patch.object(LocalStorage, "read", counted):
            writer = self.opened()
            known = writer.recover(WHOLE, TABLE.name)
            writer.check_not_set_back(WHOLE, TABLE.name, known, known.slot)
            self.assertEqual([path for path in read if re.search(r"-m\d+\.avro$", path)], [])  # and no manifest
            self.assertEqual(writer.progress(TABLE.name)[WHOLE], known)
            write(writer, window(20, 40), known.slot)
        self.assertEqual(max(read.values()), 1)
        self.assertEqual(len(self.states()), 3)

    def test_a_new_table_has_its_identity_and_properties_from_the_start(self):
        write(self.opened(), window(0, 30), None)
        first = self.states()[0]
        self.assertEqual(first.snapshots, [])
        self.assertEqual((first.properties["emitter.run-id"], first.format_version), (RUN, 2))
        self.assertEqual(first.schema().field_ids, set(range(1, len(TABLE.columns) + 1)))
        self.assertIsNotNone(first.name_mapping())
        self.assertNotIn("commit.retry.num-retries", first.properties)


class CatalogueTest(OnSqlite, IcebergOutput, unittest.TestCase):
    def test_looking_leaves_no_catalogue(self):
        writer = self.opened()
        writer.check()
        self.assertEqual(writer.progress(TABLE.name), {})
        self.assertFalse(self.root.exists())

    def test_a_catalogue_that_cannot_be_is_told_by_its_key(self):
        for uri, shown in (
            ("mysql://u:secret@h/d", "mysql"),
            ("no uri", "no URI"),
            ("sqlite://", "without a database"),
        ):
            self.catalog = CatalogConfig(uri=uri)
            with self.assertRaises(ConfigurationError) as caught:
                self.writer()
            self.assertRegex(caught.exception.problem, f"output.catalog.uri: got .*{shown}")
            self.assertNotIn("secret", caught.exception.report())

    def test_an_object_store_needs_a_catalogue_that_is_named(self):
        storage = ObjectStorage("s3://bucket/lake", S3Access(S3Config(endpoint_url="http://127.0.0.1:9")))
        with self.assertRaisesRegex(ConfigurationError, "output.catalog.uri: got nothing"):
            IcebergWriter(storage, OPTIONS)

    def test_a_file_that_is_no_catalogue_is_an_error_and_not_absence(self):
        self.root.mkdir()
        (self.root / "iceberg.sqlite").write_bytes(b"not a database at all, " * 100)
        with self.assertRaisesRegex(StorageError, "not a database"):
            self.opened()

    def test_a_catalogue_that_was_begun_is_completed(self):
        self.root.mkdir()
        engine = create_engine(f"sqlite:///{self.root / 'iceberg.sqlite'}")
        IcebergTables.__table__.create(engine)  # whoever made it died before the second table
        engine.dispose()
        writer = self.opened()
        writer.check()
        write(writer, window(0, 30), None)
        self.assert_whole(window(0, 30))

    def test_lost_metadata_is_an_error_and_not_absence(self):
        write(self.opened(), window(0, 30), None)
        newest = Path(self.handle().metadata_location.removeprefix("file://"))
        whole = newest.read_bytes()
        newest.write_bytes(whole[: len(whole) // 2])
        with self.assertRaises(DamagedStateError):
            self.opened()
        newest.unlink()
        with self.assertRaises(StorageError):
            self.opened()

    def test_an_output_may_have_any_name(self):
        for name in ("with space", "ünï", "a%20b", "a=b,c"):
            with self.subTest(name):
                self.root = self.root.with_name(name)
                self.storage = LocalStorage(self.root)
                write(self.opened(), window(0, 30), None)
                self.assert_whole(window(0, 30))


if __name__ == "__main__":
    unittest.main()
