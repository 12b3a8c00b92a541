"""The contract of the formats for Iceberg, in every catalogue; and what is Iceberg's own."""

from __future__ import annotations

import itertools
import os
import tempfile
import unittest
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import resources
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Table as Handle
from pyiceberg.table.metadata import TableMetadata
from sqlalchemy.engine import URL

from emitter import arrow
from emitter.connections import CatalogConfig, S3Config
from emitter.errors import (
    CommitConflictError,
    ConfigurationError,
    DamagedStateError,
    ForeignTableError,
    OvertakenError,
    RolledBackError,
    StorageError,
)
from emitter.local_storage import LocalStorage
from emitter.model import CommitReport, Slice, StagedFile, Table, TableCommit, Window
from emitter.object_storage import ObjectStorage
from emitter.s3 import S3Access
from emitter.testing import SimulatedCrash
from emitter.writers import iceberg_io, iceberg_tables
from emitter.writers.base import CrashHook
from emitter.writers.iceberg import IcebergWriter
from emitter.writers.iceberg_catalog import DEFAULT_PATH, NAME
from tests.contract.beats import OPTIONS, ORIGIN, RUN, TABLE, WHOLE, files, found, in_order, rows, window, write
from tests.contract.writer_contract import WriterContract
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


class IcebergCase(WriterContract):
    """Subclasses say where the catalogue is."""

    writer_class = IcebergWriter

    @property
    def namespace(self) -> str:
        return self.catalog.namespace or NAME

    def writer(self, *arguments, **more):
        writer = super().writer(*arguments, **more)
        self.addCleanup(writer.close)
        return writer

    def foreign_table(self, table):
        schema = iceberg_tables.schema_of(table)
        spec = iceberg_tables.spec_of(schema, OPTIONS.partition.granularity)
        catalog = self.client()
        catalog.create_namespace_if_not_exists(self.namespace)
        catalog.create_table((self.namespace, table.name), schema, iceberg_io.Place(self.storage).of(table.name), spec)

    def handle(self) -> Handle:
        """The table as another tool loads it now."""
        return self.client().load_table((self.namespace, TABLE.name))


class IcebergContractTest(OnSqlite, IcebergCase, unittest.TestCase):
    """And what is Iceberg's own, in the default catalogue."""

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

    # Who came first

    def test_of_two_who_saw_a_fresh_table_one_lands_and_the_other_finds_it_done(self):
        asked = window(0, 30)
        hook = self.at_first("iceberg.appended", lambda: write(self.opened(), asked, None))
        self.assertEqual(self.outcomes(self.opened(hook), asked, None), ["conflict", "deduplicated"])
        self.assert_whole(asked)

    def test_of_two_who_saw_the_same_state_one_lands_and_the_other_finds_it_done(self):
        write(self.opened(), window(0, 30), None)
        asked = window(30, 60)
        hook = self.at_first("iceberg.appended", lambda: write(self.opened(), asked, ORIGIN + 30))
        self.assertEqual(self.outcomes(self.opened(hook), asked, ORIGIN + 30), ["conflict", "deduplicated"])
        self.assert_whole(window(0, 60))

    def test_who_is_overtaken_by_another_window_gives_up(self):
        hook = self.at_first("iceberg.appended", lambda: write(self.opened(), window(0, 40), None))
        with self.assertRaises(OvertakenError):
            self.outcomes(self.opened(hook), window(0, 30), None)
        self.assert_whole(window(0, 40))

    def test_a_commit_without_files_is_guarded_too(self):
        def empty(writer: IcebergWriter, slot: int) -> list[CommitReport]:
            return list(writer.commit(WHOLE, [TableCommit(TABLE.name, ORIGIN + 30, ORIGIN + slot)]))

        write(self.opened(), window(0, 30), None)
        hook = self.at_first("iceberg.appended", lambda: empty(self.opened(), 50))
        with self.assertRaises(OvertakenError):
            empty(self.opened(hook), 40)
        self.assertEqual(self.opened().progress(TABLE.name)[WHOLE].slot, ORIGIN + 50)

    def test_another_shard_in_between_makes_for_another_attempt(self):
        asked, one, other = window(0, 60), Slice(0, 2), Slice(1, 2)
        hook = self.at_first("iceberg.appended", lambda: write(self.opened(), asked, None, other))
        self.assertEqual(self.outcomes(self.opened(hook), asked, None, one), ["conflict", "ok"])
        self.assert_whole(asked)

    def test_shards_that_write_at_once_lose_and_double_nothing(self):
        def shard(index: int) -> None:
            writer, slot = self.opened(), None
            for first in range(0, 120, 20):
                asked = window(first, first + 20)
                write(writer, asked, slot, Slice(index, 3))
                slot = asked.end

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(shard, range(3)))
        self.assert_whole(window(0, 120))

    def test_the_library_does_not_retry_whatever_the_table_says(self):
        """A retry puts the old transaction on top of what has come meanwhile: the same rows, twice."""
        write(self.opened(), window(0, 30), None)
        self.handle().transaction().set_properties({"commit.retry.num-retries": "4"}).commit_transaction()
        asked = window(30, 60)
        hook = self.at_first("iceberg.appended", lambda: write(self.opened(), asked, ORIGIN + 30))
        self.assertEqual(self.outcomes(self.opened(hook), asked, ORIGIN + 30), ["conflict", "deduplicated"])
        self.assert_whole(window(0, 60))
        self.assertEqual(self.handle().properties["commit.retry.num-retries"], "4")  # it is others' to set

    def test_nothing_of_ours_moves_without_a_snapshot(self):
        """For only a snapshot that has moved makes a stale commit fail."""
        self.foreign_table(TABLE)
        writer = self.opened(adopt=True)
        write(writer, window(0, 30), None)
        list(writer.commit(WHOLE, [TableCommit(TABLE.name, ORIGIN + 30, ORIGIN + 40)]))
        write(writer, window(40, 60), ORIGIN + 40)
        states = self.states()
        moved = 0
        for before, after in pairwise(states):
            ours = [
                {k: v for k, v in state.properties.items() if k.startswith("emitter.")} for state in (before, after)
            ]
            if ours[0] != ours[1]:
                moved += 1
                self.assertNotEqual(before.current_snapshot_id, after.current_snapshot_id)
        self.assertEqual(moved, 4)  # adopted, rows, no rows, rows

    def test_of_two_runs_that_adopt_a_table_at_once_one_has_it(self):
        self.foreign_table(TABLE)

        def other() -> None:
            writer = self.writer(adopt=True)
            writer.open("another", TABLE)
            list(writer.commit(WHOLE, [TableCommit(TABLE.name, None, ORIGIN + 1)]))

        writer = self.opened(adopt=True)
        loaded = writer._loaded

        def late(table: Table) -> Handle:
            handle = loaded(table)
            writer._loaded = loaded
            other()
            return handle

        writer._loaded = late
        with self.assertRaises(CommitConflictError):
            self.outcomes(writer, window(0, 30), None)
        with self.assertRaises(ForeignTableError):
            self.opened(adopt=True)

    def test_a_crash_after_a_table_was_adopted_leaves_it_ours(self):
        self.foreign_table(TABLE)

        def crash() -> None:
            raise SimulatedCrash

        with self.assertRaises(SimulatedCrash):
            write(self.opened(self.at_first("iceberg.adopted", crash), adopt=True), window(0, 30), None)
        self.assertIsNone(self.opened().recover(WHOLE, TABLE.name))
        write(self.opened(), window(0, 30), None)
        self.assert_whole(window(0, 30))

    def test_a_table_that_lies_elsewhere_or_is_of_an_old_format_is_not_adopted(self):
        schema, catalog = iceberg_tables.schema_of(TABLE), self.client()
        spec, place = iceberg_tables.spec_of(schema, "day"), iceberg_io.Place(self.storage)
        catalog.create_namespace(NAME)
        for location, version in ((place.of("other"), "2"), (place.of(TABLE.name), "1")):
            catalog.create_table((NAME, TABLE.name), schema, location, spec, properties={"format-version": version})
            with self.assertRaisesRegex(ForeignTableError, f"is at {location} in format version {version}"):
                self.opened(adopt=True)
            catalog.drop_table((NAME, TABLE.name))

    # What others do to the table

    def test_a_table_set_back_is_noticed_until_it_is_set_forward(self):
        writer = self.opened()
        write(writer, window(0, 30), None)
        write(writer, window(30, 60), ORIGIN + 30)
        handle = self.handle()
        newest = handle.current_snapshot()
        handle.manage_snapshots().rollback_to_snapshot(newest.parent_snapshot_id).commit()
        for act in (
            lambda: self.opened().recover(WHOLE, TABLE.name),
            lambda: self.writer().progress(TABLE.name),
            lambda: write(writer, window(60, 90), ORIGIN + 60),
        ):
            with self.assertRaises(RolledBackError) as caught:
                act()
            self.assertIn(str(newest.snapshot_id), caught.exception.report())
        self.handle().manage_snapshots().set_current_snapshot(newest.snapshot_id).commit()
        write(self.opened(), window(60, 90), ORIGIN + 60)
        self.assert_whole(window(0, 90))

    def test_a_table_set_back_while_we_commit_is_noticed(self):
        writer = self.opened()
        write(writer, window(0, 30), None)
        write(writer, window(30, 60), ORIGIN + 30)

        def set_back() -> None:
            handle = self.handle()
            handle.manage_snapshots().rollback_to_snapshot(handle.current_snapshot().parent_snapshot_id).commit()

        with self.assertRaises(RolledBackError):
            self.outcomes(self.opened(self.at_first("iceberg.appended", set_back)), window(60, 90), ORIGIN + 60)

    def test_a_table_set_back_is_noticed_also_where_old_snapshots_have_expired_and_others_have_gone_on(self):
        writer, slot = self.opened(), None
        for first in range(0, 100, 20):
            asked = window(first, first + 20)
            write(writer, asked, slot)
            slot = asked.end
        snapshots = [entry.snapshot_id for entry in self.handle().metadata.snapshots]
        self.handle().maintenance.expire_snapshots().by_ids(snapshots[:2]).commit()
        self.assertEqual(self.opened().recover(WHOLE, TABLE.name).slot, slot)
        self.handle().manage_snapshots().rollback_to_snapshot(snapshots[3]).commit()
        with self.handle().transaction() as others, others.update_snapshot().fast_append():
            pass
        with self.assertRaises(RolledBackError):
            self.opened().recover(WHOLE, TABLE.name)

    def test_expiry_by_others_is_no_harm(self):
        writer, asked = self.opened(), window(0, 60)
        write(writer, asked, None, Slice(0, 2))
        write(writer, asked, None, Slice(1, 2))
        write(writer, window(60, 120), asked.end, Slice(1, 2))
        handle = self.handle()
        handle.maintenance.expire_snapshots().by_ids(
            [entry.snapshot_id for entry in handle.metadata.snapshots[:-1]]
        ).commit()
        self.assertEqual(len(self.handle().metadata.snapshots), 1)
        write(self.opened(), window(60, 120), asked.end, Slice(0, 2))
        self.assert_whole(window(0, 120))

    def test_expiry_while_we_commit_is_no_harm(self):
        writer = self.opened()
        write(writer, window(0, 30), None)
        write(writer, window(30, 60), ORIGIN + 30)

        def expire() -> None:
            handle = self.handle()
            handle.maintenance.expire_snapshots().by_id(handle.metadata.snapshots[0].snapshot_id).commit()

        hook = self.at_first("iceberg.appended", expire)
        self.outcomes(self.opened(hook), window(60, 90), ORIGIN + 60)
        self.assert_whole(window(0, 90))

    def test_rows_that_others_delete_are_no_longer_found(self):
        write(self.opened(), window(0, 120), None)
        self.handle().delete(f"beat_id < {ORIGIN + 50}")
        self.assertEqual(found(self.opened(), window(0, 120)), in_order(rows(window(50, 120))))
        write(self.opened(), window(120, 150), ORIGIN + 120)
        self.assertEqual(self.opened().progress(TABLE.name)[WHOLE].rows, 150)  # it counts what was written

    def test_compaction_by_others_is_no_harm(self):
        writer, day = self.opened(), window(60, 180)
        write(writer, window(0, 180), None)

        def compact() -> None:
            (whole,) = files(day, options=replace(OPTIONS, file_rows_target=1000))
            path = f"{TABLE.name}/{whole.partition}/compacted.parquet"
            self.storage.write(path, whole.data)
            staged = StagedFile(TABLE.name, path, path, whole.rows, whole.data.size, whole.partition, whole.metadata)
            handle, place = self.handle(), iceberg_io.Place(self.storage)
            small = [task.file for task in handle.scan(row_filter=f"beat_id >= {day.first}").plan_files()]
            with handle.transaction() as others, others.update_snapshot().overwrite() as rewrite:
                rewrite.append_data_file(
                    iceberg_tables.data_file(staged, place.of(path), iceberg_tables.schema_of(TABLE), handle.spec())
                )
                for file in small:
                    rewrite.delete_data_file(file)

        hook = self.at_first("iceberg.appended", compact)
        self.assertEqual(self.outcomes(self.opened(hook), window(180, 200), day.end), ["conflict", "ok"])
        self.assertEqual(len(list(self.handle().scan().plan_files())), 2 + 1 + 1)
        self.assert_whole(window(0, 200))

    def test_a_file_that_lies_in_several_partitions_is_read_in_part(self):
        """Others may write without partitioning: then a filter decides row by row."""
        write(self.opened(), window(0, 1), None)
        with self.handle().update_spec() as update:
            update.remove_field("event_time_day")
        shaped = pa.Table.from_batches([arrow.to_file_form(TABLE, batch) for batch in rows(window(1, 120))])
        self.handle().append(shaped.cast(arrow.file_schema(TABLE)))
        writer = self.writer()
        self.assertEqual(found(writer, window(0, 60)), in_order(rows(window(0, 60))))
        self.assertEqual(found(writer, window(60, 120)), in_order(rows(window(60, 120))))
        outside = [arrow.to_inside_form(TABLE, batch) for batch in writer.scan_outside(TABLE, window(0, 60))]
        self.assertEqual(in_order(outside), in_order(rows(window(60, 120))))
        with self.assertRaisesRegex(ForeignTableError, "partitioned by nothing, needed by day"):
            self.opened()

    def test_a_dropped_table_is_no_progress_and_is_made_anew(self):
        writer = self.opened()
        write(writer, window(0, 30), None)
        self.client().drop_table((NAME, TABLE.name))
        with self.assertRaises(StorageError):
            write(writer, window(30, 60), ORIGIN + 30)
        again = self.opened()
        self.assertIsNone(again.recover(WHOLE, TABLE.name))
        write(again, window(0, 60), None)
        self.assert_whole(window(0, 60))

    def test_a_table_of_the_same_name_elsewhere_is_refused(self):
        write(self.opened(), window(0, 30), None)
        self.catalog = CatalogConfig(uri=f"sqlite:///{self.root}/iceberg.sqlite")
        self.storage = LocalStorage(self.root.with_name("elsewhere"))
        with self.assertRaisesRegex(
            ForeignTableError, r"with file://.*/out/heartbeats/.*, which is not in .*/elsewhere"
        ):
            self.opened()

    def test_progress_that_somebody_has_changed_is_damage(self):
        write(self.opened(), window(0, 30), None)
        for text in ("", "{}", '{"slot":-1,"rows":0,"files":0,"bytes":0,"snapshot":1,"sequence":1}'):
            self.handle().transaction().set_properties({"emitter.progress.0-of-1": text}).commit_transaction()
            with self.assertRaises(DamagedStateError):
                self.opened().recover(WHOLE, TABLE.name)

    # What readers find

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
            list(self.opened().scan(TABLE, window(0, 120)))
        told: list[DamagedStateError] = []
        left = sum(batch.num_rows for batch in self.opened().scan(TABLE, window(0, 120), told.append))
        self.assertEqual(left, 60)
        self.assertEqual([any(path.name in error.problem for error in told) for path in (first, second)], [True, True])
        self.assertEqual(len(told), 2)

    # A long life

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

    def test_a_new_table_has_its_identity_and_properties_from_the_start(self):
        write(self.opened(), window(0, 30), None)
        first = self.states()[0]
        self.assertEqual(first.snapshots, [])
        self.assertEqual((first.properties["emitter.run-id"], first.format_version), (RUN, 2))
        self.assertEqual(first.schema().field_ids, set(range(1, len(TABLE.columns) + 1)))
        self.assertIsNotNone(first.name_mapping())
        self.assertNotIn("commit.retry.num-retries", first.properties)

    # Where the catalogue is

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


class IcebergOnPostgresAndS3ContractTest(OnPostgresAndS3, IcebergCase, unittest.TestCase):
    pass


class IcebergOnRestContractTest(OnRest, IcebergCase, unittest.TestCase):
    pass


if __name__ == "__main__":
    unittest.main()
