"""Folders of Parquet files that other tools have made: which may be gone on with, and what is said of the others."""

from __future__ import annotations

import tempfile
import unittest
from dataclasses import replace
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from emitter import arrow
from emitter.errors import ForeignTableError
from emitter.storage.local import LocalStorage
from emitter.writers.parquet.writer import ParquetWriter
from tests.contract.beats import OPTIONS, RUN, TABLE, WHOLE, found, rows, window, write

PARTITION = "year=2026/month=01/day=02"


class ForeignFolderTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.table = Path(folder.name) / TABLE.name
        self.storage = LocalStorage(folder.name)
        self.rows = pa.concat_tables([arrow.to_table(TABLE, batch) for batch in rows(window(60, 90))])

    def put(self, table: pa.Table | None = None, path: str = f"{PARTITION}/part-0.parquet") -> None:
        target = self.table / path
        target.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(self.rows if table is None else table, target)

    def adopted(self) -> ParquetWriter:
        writer = ParquetWriter(self.storage, replace(OPTIONS, adopt=True))
        writer.open(RUN, TABLE)
        return writer

    def refusal(self) -> str:
        with self.assertRaises(ForeignTableError) as caught:
            self.adopted()
        return caught.exception.problem

    def test_rows_are_added_to_those_that_were_there(self):
        self.put()
        writer = self.adopted()
        self.assertIsNone(writer.recover(WHOLE, TABLE.name))
        write(writer, window(0, 60), None)
        self.assertEqual(found(writer, window(0, 90)).num_rows, 90)
        self.assertEqual(writer.progress(TABLE.name)[WHOLE].rows, 60)

    def test_other_tools_lay_out_the_same_types_otherwise(self):
        target = self.table / PARTITION / "polars.parquet"
        target.parent.mkdir(parents=True)
        pl.DataFrame(self.rows).write_parquet(target)
        with duckdb.connect() as connection:
            connection.register("beats", self.rows)
            connection.execute(f"COPY beats TO '{target.with_name('duckdb.parquet')}' (FORMAT parquet)")
        place = self.rows.schema.get_field_index("host")
        self.put(self.rows.set_column(place, "host", self.rows.column("host").dictionary_encode()))
        self.put(
            self.rows.set_column(place, "host", self.rows.column("host").cast(pa.large_string())),
            f"{PARTITION}/x.parquet",
        )
        self.adopted()

    def test_marks_and_hidden_files_do_no_harm(self):
        self.put()
        for name in (f"{PARTITION}/_SUCCESS", f"{PARTITION}/.part-0.parquet.crc", ".hidden"):
            (self.table / name).write_bytes(b"")
        self.adopted()

    def test_a_column_more_is_fine_if_it_may_be_null(self):
        extra = self.rows.append_column("remark", pa.nulls(self.rows.num_rows, pa.string()))
        self.put(extra)
        self.adopted()
        always = pa.field("remark", pa.string(), nullable=False)
        self.put(self.rows.append_column(always, pa.array(["x"] * self.rows.num_rows)))
        self.assertRegex(self.refusal(), "column remark: string, not known to this run, and allows no nulls")

    def test_every_file_must_fit_and_the_difference_is_told(self):
        self.put()
        self.put(self.rows.drop(["host"]), f"{PARTITION}/part-1.parquet")
        problem = self.refusal()
        self.assertIn("part-1.parquet", problem)
        self.assertIn("column host: not there, needed as string", problem)

    def test_another_partitioning_is_told(self):
        for path, said in (
            ("part-0.parquet", "part-0.parquet"),
            ("region=eu/part-0.parquet", "region=eu"),
            ("year=2026/part-0.parquet", "partitioned by year, needed by year, month, day"),
            (
                f"{PARTITION}/hour=01/part-0.parquet",
                "partitioned by year, month, day, hour, needed by year, month, day",
            ),
        ):
            with self.subTest(path):
                self.put(path=path)
                self.assertIn(said, self.refusal())
                (self.table / path).unlink()
                for folder in sorted(self.table.rglob("*/"), reverse=True):
                    folder.rmdir()

    def test_what_is_no_parquet_is_named(self):
        self.put()
        (self.table / PARTITION / "part-1.parquet").write_bytes(b"PAR1 and no more")
        self.assertIn("part-1.parquet cannot be read as Parquet", self.refusal())


if __name__ == "__main__":
    unittest.main()
