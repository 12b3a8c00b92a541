"""The contract of the formats for Delta Lake, on both storages; what other readers find, and what they leave out."""

from __future__ import annotations

import re
import unittest
from datetime import UTC, timedelta
from importlib.util import find_spec
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, Schema

from emitter import arrow
from emitter.clock import time_of
from emitter.errors import UsageError
from emitter.storage.local import LocalStorage
from emitter.writers.delta.tables import PROPERTIES, RUN_ID
from emitter.writers.delta.writer import DeltaWriter
from tests.contract.beats import OPTIONS, ORIGIN, RUN, TABLE, WHOLE, in_order, rows, window, write
from tests.contract.delta_outputs import OnDisk, OnS3
from tests.contract.writer_contract import WriterContract

ALL = window(0, 200)  # five files: two in the first partition, three in the second


class DeltaCase(WriterContract):
    writer_class = DeltaWriter

    def connection(self) -> duckdb.DuckDBPyConnection:
        connection = self.enterContext(duckdb.connect(config={"autoinstall_known_extensions": "false"}))
        found = find_spec("duckdb_extension_delta")
        (path,) = Path(found.origin).parent.rglob("delta.duckdb_extension")
        connection.execute(f"LOAD '{path}'")
        connection.execute("SET TimeZone = 'UTC'")
        return connection

    def polars_options(self) -> dict[str, str] | None:
        options = self.options()  # some are deltalake's own
        return options and {name: value for name, value in options.items() if name.startswith("AWS_")}

    def foreign_table(self, table):
        schema = arrow.file_schema(table)
        for name in OPTIONS.partition.columns:
            schema = schema.append(pa.field(name, pa.int32()))
        DeltaTable.create(
            self.uri(table.name),
            Schema.from_arrow(schema),
            partition_by=list(OPTIONS.partition.columns),
            storage_options=self.options(),
        )

    def written(self) -> None:
        """By the library, then by a log entry of our own."""
        writer = self.opened()
        write(writer, window(0, 60), None)
        write(writer, window(60, 200), ORIGIN + 60)

    def test_other_readers_see_the_same_rows_and_types(self):
        self.written()
        by_duckdb = self.connection().sql(f"SELECT * FROM delta_scan('{self.uri()}')")
        types = dict(zip(by_duckdb.columns, map(str, by_duckdb.types), strict=True))
        self.assertEqual(types["event_time"], "TIMESTAMP WITH TIME ZONE")
        self.assertEqual((types["cost"], types["host"], types["pulse"]), ("DECIMAL(12,2)", "VARCHAR", "INTEGER"))
        frame = pl.scan_delta(self.uri(), storage_options=self.polars_options()).collect()
        self.assertEqual(frame.schema["event_time"], pl.Datetime("us", "UTC"))
        self.assertEqual(frame.schema["cost"], pl.Decimal(12, 2))
        by_library = pa.table(self.handle().to_pyarrow_table())
        names = [column.name for column in TABLE.columns]
        for found in (by_duckdb.to_arrow_table(), frame.to_arrow(), by_library):
            same = [arrow.to_inside_form(TABLE, batch) for batch in found.select(names).combine_chunks().to_batches()]
            self.assertEqual(in_order(same), in_order(rows(ALL)))
            for moment, day in zip(found["event_time"].to_pylist(), found["day"].to_pylist(), strict=True):
                self.assertEqual(moment.astimezone(UTC).day, day)

    def test_usual_readers_and_writers_can_open_the_table(self):
        self.written()
        protocol, metadata = self.handle().protocol(), self.handle().metadata()
        self.assertEqual((protocol.min_reader_version, protocol.min_writer_version), (1, 2))
        self.assertEqual(metadata.configuration, {**PROPERTIES, RUN_ID: RUN})
        self.assertEqual((metadata.name, metadata.description), (TABLE.name, TABLE.description))
        fields = {field.name: field for field in self.handle().schema().fields}
        self.assertEqual(fields["pulse"].metadata, {"comment": "0 to 199"})
        self.assertEqual((fields["cost"].nullable, fields["credit"].nullable), (False, True))


class DeltaOnDiskTest(OnDisk, DeltaCase, unittest.TestCase):
    def files_that_duckdb_reads(self, condition: str) -> str:
        query = f"EXPLAIN ANALYZE SELECT count(*) FROM delta_scan('{self.uri()}') WHERE {condition}"
        plan = self.connection().sql(query).fetchall()[0][1]
        return re.search(r"Scanning Files: (\d+/\d+)", plan)[1]

    def test_a_reader_leaves_out_files_by_partition_and_by_statistics(self):
        self.written()
        for condition, read in (
            ("day = 1", "2/5"),
            (f"beat_id >= {ORIGIN + 150}", "2/5"),
            (f"beat_id < {ORIGIN + 50}", "1/5"),
            ("cost > 49.50", "1/5"),
            ("load < 0.02", "2/5"),
            ("host > 'エコーz'", "0/5"),
            ("pulse > 199", "0/5"),
        ):
            with self.subTest(condition):
                self.assertEqual(self.files_that_duckdb_reads(condition), read)

    def test_no_reader_leaves_out_a_row_by_its_time(self):
        self.written()
        whole = in_order(rows(ALL))
        for moment in (whole["event_time"][place].as_py() for place in (0, 49, 50, 59, 60, 149, 199)):
            for asked in (pl.col("event_time") == moment, pl.col("event_time") >= moment):
                found = pl.scan_delta(self.uri()).filter(asked).collect().height
                self.assertEqual(found, pl.from_arrow(whole).filter(asked).height)
        late = pl.scan_delta(self.uri()).filter(pl.col("event_time") >= time_of(ALL.end) - timedelta(seconds=50))
        self.assertEqual(late.explain().count(".parquet"), 2)

    def test_statistics_hold_for_what_a_file_holds(self):
        self.written()
        added = pa.table(self.handle().get_add_actions(flatten=True)).to_pylist()
        for file in added:
            held = pl.read_parquet(f"{self.uri()}/{file['path']}", hive_partitioning=False)
            self.assertEqual(file["num_records"], held.height)
            for name in held.columns:
                self.assertEqual(file[f"null_count.{name}"], held[name].null_count())
                low, high = file.get(f"min.{name}"), file.get(f"max.{name}")
                self.assertTrue(low is None or low <= held[name].min(), name)
                self.assertTrue(high is None or high >= held[name].max(), name)
            self.assertLess(file["max.event_time"] - held["event_time"].max(), timedelta(milliseconds=1))

    def test_an_output_that_the_library_takes_for_another_is_refused(self):
        for name in ("per%20cent", "back\\slash"):
            with self.assertRaisesRegex(UsageError, "cannot write below"):
                DeltaWriter(LocalStorage(self.root / name), OPTIONS)
        for name in ("a space", "ha#sh", "que?stion", "ü+&", "[brackets]"):
            self.storage = LocalStorage(self.root / name)
            self.written()
            self.assertEqual(self.opened().recover(WHOLE, TABLE.name).rows, 200)


class DeltaOnS3Test(OnS3, DeltaCase, unittest.TestCase):
    crash_points_step = 3

    def connection(self) -> duckdb.DuckDBPyConnection:
        connection = super().connection()
        found = find_spec("duckdb_extension_httpfs")
        (path,) = Path(found.origin).parent.rglob("httpfs.duckdb_extension")
        connection.execute(f"LOAD '{path}'")
        secret = ", ".join(f"{name} '{value}'" for name, value in self.storage.access.duckdb_secret().items())
        connection.execute(f"CREATE SECRET (TYPE s3, {secret})")
        return connection


if __name__ == "__main__":
    unittest.main()
