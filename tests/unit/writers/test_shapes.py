"""Each way in which a file may have another shape than its table is told; what no reader notices is not."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from emitter import arrow
from emitter.encoder import Chunk, Encoder
from emitter.generators import domain_class
from emitter.model import Slice, Window
from emitter.testing.memory import MemoryStorage
from emitter.writers.base import WriterOptions, file_name
from emitter.writers.parts import DataFile, Part
from emitter.writers.shapes import Shapes

ORDERS = next(table for table in domain_class("ecommerce").table_declarations if table.name == "orders")
OURS = f"orders/year=2026/month=01/day=01/{file_name(Slice(), Window(0, 60), 0, 'f' * 16)}"
THEIRS = "orders/year=2026/month=01/day=01/part-0.zstd.parquet"
IDS = {column.name: place for place, column in enumerate(ORDERS.columns, 1)}
PARTITION = ("year", "month", "day")

Change = Callable[[pa.Table], pa.Table]


@cache
def encoded() -> pa.Buffer:
    """A file with one order, as the encoder makes it."""
    values = {"int32": 1, "int64": 1, "string": "web", "timestamp": 0, "money": 1}
    row = [pa.array([values[column.type]]) for column in ORDERS.columns]
    schema = arrow.inside_schema(ORDERS)
    columns = [values.cast(kind) for values, kind in zip(row, schema.types, strict=True)]
    batch = pa.RecordBatch.from_arrays(columns, schema=schema)
    return Encoder([ORDERS], WriterOptions()).encode(Chunk("orders", "", 0, (batch,))).data


def right() -> pa.Table:
    return pq.read_table(pa.BufferReader(encoded()))


def retyped(name: str, kind: pa.DataType) -> Change:
    def change(rows: pa.Table) -> pa.Table:
        field = rows.schema.field(name).with_type(kind)
        values = pa.array([None], kind) if pa.types.is_nested(kind) else rows[name].cast(kind)
        return rows.set_column(rows.column_names.index(name), field, values)

    return change


def with_ids(ids: dict[str, int | None]) -> Change:
    def change(rows: pa.Table) -> pa.Table:
        wanted = {**IDS, **ids}
        fields = [
            field.with_metadata({"PARQUET:field_id": str(wanted[field.name])} if wanted[field.name] else {})
            for field in rows.schema
        ]
        return rows.cast(pa.schema(fields))

    return change


def nullable(rows: pa.Table) -> pa.Table:
    return rows.cast(pa.schema([field.with_nullable(True) for field in rows.schema]))


def with_column(name: str, values: pa.Array, nullable: bool = True) -> Change:
    return lambda rows: rows.append_column(pa.field(name, values.type, nullable), values)


ALWAYS_WRONG: list[tuple[Change, str]] = [
    (retyped("order_id", pa.string()), "column order_id is string, not int64"),
    (retyped("customer_id", pa.int32()), "column customer_id is int32, not int64"),
    (retyped("customer_id", pa.uint64()), "column customer_id is int64 Int.*not int64"),
    (retyped("item_count", pa.int64()), "column item_count is int64, not int32"),
    (retyped("item_count", pa.int16()), "column item_count is int32 Int.*not int32"),
    (retyped("event_time", pa.timestamp("us")), r"column event_time is timestamp\[us\] without a zone"),
    (retyped("event_time", pa.timestamp("ms", "UTC")), r"column event_time is timestamp\[ms, UTC\]"),
    (retyped("event_time", pa.timestamp("ns", "UTC")), r"column event_time is timestamp\[ns, UTC\]"),
    (retyped("event_time", pa.int64()), r"column event_time is int64, not timestamp\[us, UTC\]"),
    (retyped("amount", pa.float64()), r"column amount is double, not decimal\(12, 2\)"),
    (retyped("amount", pa.decimal128(18, 4)), r"column amount is decimal\(18, 4\)"),
    (retyped("amount", pa.decimal128(18, 2)), r"column amount is decimal\(18, 2\)"),
    (retyped("channel", pa.binary()), "column channel is byte_array, not string"),
    (lambda rows: rows.drop_columns(["amount"]), "column amount is not there"),
    (with_column("more", pa.array([1]), nullable=False), "column more is none of the table's"),
]
WRONG_IN_OURS: list[tuple[Change, str]] = [
    (nullable, "column order_id allows nulls, and must not"),
    (with_column("more", pa.array([1])), "column more is none of the table's"),
    (with_column("year", pa.array([2026], pa.int32())), "column year is none of the table's"),
    (lambda rows: rows.select(rows.column_names[::-1]), "the columns are in the order amount"),
    (with_ids({"order_id": 3, "customer_id": 1}), "column order_id has the field id 3, not 1"),
    (with_ids({"amount": None}), "column amount has the field id None, not 7"),
]
REWRITTEN: list[Change] = [
    nullable,
    lambda rows: nullable(rows).replace_schema_metadata({"org.apache.spark.version": "3.5"}),
    with_column("year", pa.array([2026], pa.int32())),
    with_column("_ducklake_internal_snapshot_id", pa.array([4])),
    lambda rows: rows.select(rows.column_names[::-1]),
    with_ids(dict.fromkeys(IDS)),
    retyped("channel", pa.large_string()),
    retyped("channel", pa.dictionary(pa.int32(), pa.string())),
]


class ShapesTest(unittest.TestCase):
    def setUp(self) -> None:
        self.storage = MemoryStorage()
        self.shapes = Shapes(ORDERS, PARTITION)

    def faults(self, rows: pa.Table, path: str = OURS, part: dict[str, Any] | None = None, **options: Any) -> list[str]:
        sink = pa.BufferOutputStream()
        pq.write_table(rows, sink, **{"store_schema": False, "store_decimal_as_integer": True, **options})
        self.storage.objects[path] = sink.getvalue().to_pybytes()
        with DataFile(self.storage, path) as file:
            return self.shapes.faults(file, Part(path, (2026, 1, 1), **(part or {})))

    def test_what_the_encoder_writes_is_right(self) -> None:
        for path in (OURS, THEIRS):
            self.storage.objects[path] = encoded().to_pybytes()
            for ids in (None, IDS):
                with DataFile(self.storage, path) as file:
                    part = Part(path, (2026, 1, 1), len(encoded()), 1, ids)
                    self.assertEqual(Shapes(ORDERS, PARTITION).faults(file, part), [])

    def test_another_type_is_told_whoever_wrote_it(self) -> None:
        for change, said in ALWAYS_WRONG:
            for path in (OURS, THEIRS):
                with self.subTest(said, path=path):
                    found = self.faults(change(right()), path)
                    self.assertRegex(found[0], said)
                    self.assertEqual(self.faults(right(), path), [])

    def test_a_file_of_ours_is_as_the_encoder_makes_it(self) -> None:
        for change, said in WRONG_IN_OURS:
            with self.subTest(said):
                self.assertRegex(self.faults(change(right()))[0], said)

    def test_what_compactors_and_engines_change_without_harm_is_no_fault(self) -> None:
        for change in REWRITTEN:
            for options in ({}, {"store_schema": True}, {"store_decimal_as_integer": False}):
                with self.subTest(change, **options):
                    self.assertEqual(self.faults(change(right()), THEIRS, {"field_ids": IDS}, **options), [])
        spark = {"use_deprecated_int96_timestamps": True, "store_decimal_as_integer": False}
        self.assertEqual(self.faults(right(), THEIRS, **spark), [])
        self.assertRegex(self.faults(right(), OURS, **spark)[0], "column event_time is int96")

    def test_other_field_ids_are_told_where_readers_go_by_them(self) -> None:
        swapped = with_ids({"order_id": 3, "customer_id": 1})(right())
        self.assertEqual(self.faults(swapped, THEIRS), [])
        self.assertRegex(
            self.faults(swapped, THEIRS, {"field_ids": IDS})[0], "column order_id has the field id 3, not 1"
        )

    def test_what_is_registered_must_be_so(self) -> None:
        (size,) = self.faults(right(), part={"size_bytes": 7, "rows": 1})
        self.assertRegex(size, r"it has \d+ bytes, registered are 7")
        size_bytes = len(self.storage.objects[OURS])
        self.assertEqual(self.faults(right(), part={"size_bytes": size_bytes, "rows": 1}), [])
        self.assertEqual(self.faults(right(), part={"rows": 2}), ["it has 1 rows, registered are 2"])


if __name__ == "__main__":
    unittest.main()
