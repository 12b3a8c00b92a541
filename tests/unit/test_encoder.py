"""Rows to files: nothing lost at any cut, and the settings that readers and speed rely on."""

from __future__ import annotations

import dataclasses
import unittest
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from emitter import arrow
from emitter.clock import EPOCH_UNIX_SECONDS, parse_time, slot_of
from emitter.encoder import Chunk, Encoder
from emitter.errors import UsageError
from emitter.model import Column, EncodedFile, Frame, Table
from emitter.partitioning import GRANULARITIES, PartitionSpec
from emitter.writers.base import WriterOptions

DAY = 86_400
MIDNIGHT = slot_of(parse_time("2026-02-01"))
TABLE = Table(
    "things",
    (
        Column("id", "int64", ""),
        Column("event_time", "timestamp", ""),
        Column("kind", "string", ""),
        Column("count", "int32", ""),
        Column("price", "money", ""),
        Column("share", "float64", ""),
        Column("good", "bool", ""),
        Column("note", "string", "", nullable=True),
        Column("refund", "money", "", nullable=True),
        Column("size", "int64", "", nullable=True),
    ),
    ("id",),
    (),
    "",
)


def rows(slots: list[int], **replaced: pa.Array) -> pa.RecordBatch:
    """Rows in their inside form, numbered from 0, at the end of these slots."""
    ids = np.arange(len(slots), dtype=np.int64)
    micros = (np.array(slots, dtype=np.int64) + EPOCH_UNIX_SECONDS) * 1_000_000 + 999_999
    odd = ids % 2 == 1
    columns = {
        "id": pa.array(ids),
        "event_time": arrow.times(micros),
        "kind": arrow.labels((ids % 3).astype(np.int8), pa.array(["a", "ü", "エ"])),
        "count": pa.array(ids.astype(np.int32)),
        "price": pa.array(ids * 7 - 5),
        "share": pa.array(ids / 3),
        "good": pa.array(odd),
        "note": pa.array(["n"] * len(ids), pa.string(), mask=odd),
        "refund": pa.array(-ids, mask=odd),
        "size": pa.array(ids, mask=odd),
    } | replaced
    return pa.RecordBatch.from_pydict(columns)


def encoder(rows_target: int = 1000, granularity: str = "day", compression: str = "zstd") -> Encoder:
    return Encoder([TABLE], WriterOptions(compression, rows_target, PartitionSpec.of(granularity)))


def chunks_of(made: Encoder, *batches: pa.RecordBatch) -> list[Chunk]:
    chunks = [chunk for batch in batches for chunk in made.add(Frame(TABLE.name, batch))]
    return [*chunks, *made.finish()]


def read(file: EncodedFile) -> pa.Table:
    return pq.read_table(pa.BufferReader(file.data))


def inside(file: EncodedFile) -> list[dict]:
    return [row for batch in read(file).to_batches() for row in arrow.to_inside_form(TABLE, batch).to_pylist()]


class CuttingTest(unittest.TestCase):
    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.lists(st.integers(MIDNIGHT - 2 * DAY, MIDNIGHT + 2 * DAY), max_size=60), max_size=4),
        st.integers(1, 50),
        st.sampled_from(sorted(GRANULARITIES)),
    )
    def test_every_row_is_in_one_chunk_of_its_own_partition(self, frames, rows_target, granularity):
        made = encoder(rows_target, granularity)
        batches = [rows(slots) for slots in frames]
        chunks = chunks_of(made, *batches)
        spec = PartitionSpec.of(granularity)
        placed = Counter()
        for chunk in chunks:
            self.assertTrue(0 < chunk.rows <= rows_target)
            for batch in chunk.batches:
                for row, micros in zip(batch.to_pylist(), arrow.micros(batch.column("event_time")), strict=True):
                    self.assertEqual(chunk.partition, spec.path(int(micros) // 1_000_000 - EPOCH_UNIX_SECONDS))
                    placed[str(row)] += 1
        self.assertEqual(placed, Counter(str(row) for batch in batches for row in batch.to_pylist()))
        parts = Counter((chunk.partition, chunk.part) for chunk in chunks)
        self.assertEqual(set(parts.values()) - {1}, set())

    def test_the_last_microsecond_belongs_to_the_day_before(self):
        chunks = chunks_of(encoder(), rows([MIDNIGHT - 1, MIDNIGHT]))
        self.assertEqual(
            [(chunk.partition, chunk.rows) for chunk in chunks],
            [("year=2026/month=01/day=31", 1), ("year=2026/month=02/day=01", 1)],
        )

    def test_order_is_kept_within_a_second(self):
        (before, after) = chunks_of(encoder(), rows([MIDNIGHT, MIDNIGHT - 1] * 3))
        self.assertEqual([row["id"] for batch in before.batches for row in batch.to_pylist()], [1, 3, 5])
        self.assertEqual([row["id"] for batch in after.batches for row in batch.to_pylist()], [0, 2, 4])

    def test_full_chunks_come_at_once_and_the_rest_at_the_end(self):
        made = encoder(rows_target=10)
        full = made.add(Frame(TABLE.name, rows([MIDNIGHT] * 25)))
        self.assertEqual([(chunk.rows, chunk.part) for chunk in full], [(10, 0), (10, 1)])
        self.assertEqual([(chunk.rows, chunk.part) for chunk in made.finish()], [(5, 2)])
        self.assertEqual(made.finish(), [])

    def test_small_frames_are_gathered(self):
        (chunk,) = chunks_of(encoder(), *[rows([MIDNIGHT])] * 9)
        self.assertEqual(chunk.rows, 9)

    def test_what_waits_is_bounded_however_many_partitions_there_are(self):
        made = encoder(rows_target=10, granularity="hour")
        waiting = most = 0
        for hour in range(300):
            batch = rows([MIDNIGHT + 3600 * hour] * 9)
            waiting += batch.num_rows - sum(chunk.rows for chunk in made.add(Frame(TABLE.name, batch)))
            most = max(most, waiting)
        self.assertLessEqual(most, 80)
        self.assertEqual(sum(chunk.rows for chunk in made.finish()), waiting)

    def test_frames_without_rows_are_nothing(self):
        self.assertEqual(chunks_of(encoder(), rows([])), [])


class RefusalTest(unittest.TestCase):
    def refused(self, batch: pa.RecordBatch, why: str, table: str = TABLE.name) -> None:
        with self.assertRaisesRegex(UsageError, why) as caught:
            encoder().add(Frame(table, batch))
        self.assertIn("generator", caught.exception.hint)

    def test_rows_that_are_not_as_declared_are_refused(self):
        good = rows([MIDNIGHT] * 2)
        self.refused(good, "unknown.*no table", "unknown")
        self.refused(good.drop_columns(["size"]), "things have columns")
        self.refused(good.select(["event_time", *[name for name in good.schema.names if name != "event_time"]]), "have")
        self.refused(rows([1, 2], id=pa.array([1, 2], pa.int32())), r"things\.id is int32, declared as int64")
        self.refused(rows([1, 2], event_time=pa.array([1, 2], pa.timestamp("ms", "UTC"))), r"event_time is timestamp")
        self.refused(rows([1, 2], event_time=pa.array([1, 2], pa.timestamp("us"))), r"event_time is timestamp")
        self.refused(rows([1, 2], price=pa.array([Decimal(1), Decimal(2)])), r"price is decimal")
        self.refused(rows([1, 2], count=pa.array([1, 2], pa.int32()).dictionary_encode()), r"count is dictionary")

    def test_nulls_are_refused_where_they_may_not_be(self):
        for name in ("id", "event_time", "kind", "price", "good"):
            nulls = pa.nulls(2, arrow.inside_schema(TABLE).field(name).type)
            self.refused(rows([1, 2], **{name: nulls}), f"{name} has nulls")
        hidden = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array(["a", None]))
        self.refused(rows([1, 2], kind=hidden), "kind has nulls")

    def test_amounts_beyond_twelve_digits_are_refused(self):
        for cents in (10**12, -(10**12)):
            self.refused(rows([1, 2], price=pa.array([0, cents])), "12 digits")
        most = rows([1, 2], price=pa.array([10**12 - 1, 1 - 10**12]), refund=pa.nulls(2, pa.int64()))
        (chunk,) = chunks_of(encoder(), most)
        self.assertEqual(
            read(encoder().encode(chunk))["price"].to_pylist(),
            [Decimal("9999999999.99")] * 1 + [Decimal("-9999999999.99")],
        )


class FileTest(unittest.TestCase):
    def file(self, *batches: pa.RecordBatch, **options) -> EncodedFile:
        made = encoder(**options)
        (chunk,) = chunks_of(made, *batches)
        return made.encode(chunk)

    def test_rows_come_back_as_they_were(self):
        batch = rows([MIDNIGHT] * 100)
        for compression in ("zstd", "snappy", "lz4", "gzip", "none"):
            file = self.file(batch, compression=compression)
            self.assertEqual(inside(file), batch.to_pylist())
            self.assertEqual((file.rows, file.partition), (100, "year=2026/month=02/day=01"))

    def test_readers_get_the_declared_types_and_plain_strings(self):
        schema = read(self.file(rows([MIDNIGHT] * 5))).schema
        self.assertTrue(schema.equals(arrow.file_schema(TABLE)), schema)
        self.assertEqual(schema.field("price").type, pa.decimal128(12, 2))
        self.assertEqual(schema.field("kind").type, pa.string())
        self.assertFalse(schema.field("kind").nullable)
        self.assertTrue(schema.field("note").nullable)

    def test_field_ids_count_the_columns_from_one(self):
        schema = read(self.file(rows([MIDNIGHT]))).schema
        self.assertEqual(
            [field.metadata[b"PARQUET:field_id"] for field in schema],
            [str(place + 1).encode() for place in range(len(TABLE.columns))],
        )

    def test_encodings_follow_the_types(self):
        batch = rows([MIDNIGHT] * 100)
        group = pq.read_metadata(pa.BufferReader(self.file(batch).data)).row_group(0)
        chunks = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
        for column in TABLE.columns:
            chunk = chunks[column.name]
            expected = {"string": "RLE_DICTIONARY", "float64": "PLAIN", "bool": "PLAIN"}
            self.assertIn(expected.get(column.type, "DELTA_BINARY_PACKED"), chunk.encodings, column.name)
            self.assertEqual(chunk.has_dictionary_page, column.type == "string", column.name)
            self.assertTrue(chunk.is_stats_set, column.name)
            has_pattern = column.type not in ("timestamp", "money")
            self.assertEqual(chunk.compression, "ZSTD" if has_pattern else "UNCOMPRESSED", column.name)
        self.assertEqual(chunks["price"].physical_type, "INT64")
        self.assertEqual(chunks["price"].statistics.max, Decimal("6.88"))
        self.assertEqual((chunks["kind"].statistics.min, chunks["kind"].statistics.max), ("a", "エ"))

    def test_money_is_in_the_file_what_wide_decimals_would_be(self):
        made = encoder()
        (chunk,) = chunks_of(made, rows([MIDNIGHT] * 100))
        narrow = made.encode(chunk)

        def wide(table: Table, batch: pa.RecordBatch) -> pa.RecordBatch:
            whole = pa.Table.from_batches([to_file_form(table, batch)])
            return whole.cast(arrow.file_schema(table)).combine_chunks().to_batches()[0]

        to_file_form = arrow.to_file_form
        with patch.object(arrow, "to_file_form", wide):
            self.assertEqual(narrow.data, made.encode(chunk).data)
        self.assertEqual(to_file_form(TABLE, chunk.batches[0])["price"].type, pa.decimal64(12, 2))

    def test_a_column_with_nan_has_no_bounds_that_readers_could_skip_it_by(self):
        for shares, has_bounds in (([0.5, 2.0], True), ([0.5, float("nan")], False)):
            batch = rows([MIDNIGHT] * 2, share=pa.array(shares))
            group = pq.read_metadata(pa.BufferReader(self.file(batch).data)).row_group(0)
            self.assertEqual(group.column(5).is_stats_set, has_bounds)
            self.assertTrue(group.column(0).is_stats_set)

    def test_a_file_is_one_row_group(self):
        file = self.file(rows([MIDNIGHT] * 999), *[rows([MIDNIGHT])] * 1)
        self.assertEqual(pq.read_metadata(pa.BufferReader(file.data)).num_row_groups, 1)

    def test_the_same_rows_give_the_same_bytes(self):
        batch = rows([MIDNIGHT] * 100)
        self.assertEqual(self.file(batch).data, self.file(batch).data)
        self.assertEqual(self.file(batch).data, self.file(batch.slice(0, 30), batch.slice(30)).data)

    def test_strings_may_be_encoded_in_any_mixture(self):
        def kind(values: list[str], shape: pa.DataType | None) -> pa.Array:
            return pa.array(values).cast(shape) if shape else pa.array(values)

        pieces = [["b", "a"], ["c", "a"], ["ü", "b"]]
        for types in (
            (None, None, None),
            (pa.dictionary(pa.int8(), pa.string()),) * 3,
            (pa.dictionary(pa.int8(), pa.string()), None, pa.dictionary(pa.int32(), pa.string())),
        ):
            batches = [
                rows([MIDNIGHT] * 2, kind=kind(values, shape)) for values, shape in zip(pieces, types, strict=True)
            ]
            file = self.file(*batches)
            self.assertEqual(read(file)["kind"].to_pylist(), ["b", "a", "c", "a", "ü", "b"])
            group = pq.read_metadata(pa.BufferReader(file.data)).row_group(0)
            self.assertNotIn("PLAIN_DICTIONARY", group.column(2).encodings)
            self.assertTrue(group.column(2).has_dictionary_page)

    def test_a_second_dictionary_does_not_end_the_encoding(self):
        pieces = [pa.array([letter * 50] * 500).dictionary_encode() for letter in "ab"]
        file = self.file(*[rows([MIDNIGHT] * 500, kind=piece) for piece in pieces], compression="none")
        group = pq.read_metadata(pa.BufferReader(file.data)).row_group(0)
        self.assertLess(group.column(2).total_compressed_size, 1000)  # 25,000 for the second half alone if plain

    def test_a_large_dictionary_is_not_stored_for_a_few_rows(self):
        names = pa.array([f"name {number} of very many" for number in range(20_000)])
        codes = pa.array([3, 19_999], pa.int32())
        few = self.file(rows([MIDNIGHT] * 2, kind=pa.DictionaryArray.from_arrays(codes, names)))
        self.assertLess(few.data.size, 10_000)
        self.assertEqual(read(few)["kind"].to_pylist(), [names[3].as_py(), names[19_999].as_py()])

    def test_slices_of_larger_frames_are_encoded_alone(self):
        batch = rows([MIDNIGHT + number * 3600 for number in range(48)])
        made = encoder()
        files = [made.encode(chunk) for chunk in chunks_of(made, batch)]
        self.assertEqual([row for file in files for row in inside(file)], batch.to_pylist())

    def test_other_tables_can_share_an_encoder(self):
        other = dataclasses.replace(TABLE, name="others")
        made = Encoder([TABLE, other], WriterOptions())
        for name in ("things", "others", "things"):
            self.assertEqual(made.add(Frame(name, rows([MIDNIGHT]))), [])
        self.assertEqual([(chunk.table, chunk.rows) for chunk in made.finish()], [("things", 2), ("others", 1)])


class MoneyTest(unittest.TestCase):
    @settings(deadline=None)
    @given(st.lists(st.none() | st.integers(1 - 10**12, 10**12 - 1), min_size=1), st.integers(0, 3))
    def test_cents_survive_the_way_to_decimals_and_back(self, cents, skipped):
        table = Table("t", (Column("amount", "money", "", nullable=True),), (), (), "")
        batch = pa.RecordBatch.from_pydict({"amount": pa.array(cents, pa.int64())}).slice(min(skipped, len(cents)))
        shaped = arrow.to_file_form(table, batch)
        shaped.validate(full=True)
        asked = [None if value is None else Decimal(value) / 100 for value in batch["amount"].to_pylist()]
        self.assertEqual(shaped["amount"].to_pylist(), asked)
        for again in (shaped, shaped.slice(min(1, len(shaped)))):
            self.assertEqual(
                arrow.to_inside_form(table, again)["amount"].to_pylist(),
                batch["amount"].to_pylist()[len(shaped) - len(again) :],
            )


class OrderTest(unittest.TestCase):
    def test_parts_of_a_partition_come_in_order(self):
        chunks = chunks_of(encoder(rows_target=7), *[rows([MIDNIGHT, MIDNIGHT + DAY] * 11)] * 3)
        for partition in {chunk.partition for chunk in chunks}:
            parts = [chunk.part for chunk in chunks if chunk.partition == partition]
            self.assertTrue(all(second == first + 1 for first, second in pairwise(parts)))


if __name__ == "__main__":
    unittest.main()
