"""Digests: equal for equal rows in any order and form, different for any difference."""

from __future__ import annotations

import unittest
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from emitter import arrow
from emitter.encoder import Encoder
from emitter.generators.base import GeneratorBase
from emitter.model import Column, Slice, Table, Window
from emitter.partitioning import PartitionSpec
from emitter.run.factory import create_generator
from emitter.testing import HeartbeatGenerator, HeartbeatOptions
from emitter.truth.digest import row_words, total
from emitter.writers.base import WriterOptions

QUICK = settings(max_examples=60, deadline=None, derandomize=True)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TYPES = ("int32", "int64", "float64", "bool", "string", "timestamp", "money")
TABLE = Table("things", tuple(Column(name, name, "", nullable=True) for name in TYPES), ("int64",), (), "one of each")  # type: ignore[arg-type]

TEXTS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["", "\0", "\0\0", "12345678", "123456789", "é", "エコー", "x" * 256, "x" * 257, "y" * 700]),
)
VALUES = {
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float64": st.floats(),
    "bool": st.booleans(),
    "string": TEXTS,
    "timestamp": st.integers(0, 3_723_000_000_000_000).map(lambda micros: EPOCH + timedelta(microseconds=micros)),
    "money": st.integers(-(10**12) + 1, 10**12 - 1),
}
ROWS = st.lists(
    st.fixed_dictionaries({name: st.one_of(st.none(), values) for name, values in VALUES.items()}), max_size=12
)
Row = dict[str, Any]


def batch(rows: list[Row]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=arrow.inside_schema(TABLE))


def words(rows: list[Row]) -> list[int]:
    return row_words(TABLE, batch(rows)).tolist()


def with_strings(plain: pa.RecordBatch, strings: pa.Array) -> pa.RecordBatch:
    columns = [strings if name == "string" else plain.column(name) for name in TYPES]
    return pa.RecordBatch.from_arrays(columns, names=list(TYPES))


def same(one: object, other: object) -> bool:
    """As bits: -0.0 is not 0.0, and a NaN is itself."""
    return repr(one) == repr(other)


class FormTests(unittest.TestCase):
    @QUICK
    @given(ROWS, st.randoms(use_true_random=False))
    def test_strings_count_by_their_text_however_they_are_encoded(self, rows: list[Row], random: Any) -> None:
        plain = batch(rows)
        entries = sorted({row["string"] for row in rows if row["string"] is not None} | {"not in any row"})
        random.shuffle(entries)
        codes = pa.array(
            [None if row["string"] is None else entries.index(row["string"]) for row in rows], type=pa.int8()
        )
        forms = {
            "by entries in another order": pa.DictionaryArray.from_arrays(codes, pa.array(entries, pa.string())),
            "by an entry that is null": pa.DictionaryArray.from_arrays(
                codes.fill_null(len(entries)), pa.array([*entries, None], pa.string())
            ),
            "as the library does it": plain.column("string").dictionary_encode(),
            "large": plain.column("string").cast(pa.large_string()),
        }
        for form, strings in forms.items():
            self.assertEqual(row_words(TABLE, with_strings(plain, strings)).tolist(), words(rows), form)

    @QUICK
    @given(ROWS, st.integers(0, 12), st.integers(0, 12))
    def test_a_slice_has_the_words_of_its_rows(self, rows: list[Row], begin: int, length: int) -> None:
        """Whatever stands before and after it in the same buffers, long strings too."""
        whole, expected = batch(rows), words(rows)
        encoded = with_strings(whole, whole.column("string").dictionary_encode())
        for form in (whole, encoded):
            self.assertEqual(row_words(TABLE, form.slice(begin, length)).tolist(), expected[begin : begin + length])
        self.assertEqual([word for row in rows for word in words([row])], expected)

    @QUICK
    @given(ROWS, st.randoms(use_true_random=False))
    def test_the_total_does_not_depend_on_order_or_chunks(self, rows: list[Row], random: Any) -> None:
        shuffled = list(rows)
        random.shuffle(shuffled)
        cut = random.randint(0, len(rows))
        whole = total(row_words(TABLE, batch(rows)))
        parts = [total(row_words(TABLE, batch(part))) for part in (shuffled[:cut], shuffled[cut:])]
        self.assertEqual(sum(parts) % 2**64, whole)

    def test_no_rows_have_no_words(self) -> None:
        self.assertEqual(words([]), [])
        self.assertEqual(total(row_words(TABLE, batch([]))), 0)

    def test_words_are_known_answers(self) -> None:
        row = {
            "int32": -1,
            "int64": 2**53,
            "float64": 0.5,
            "bool": True,
            "string": "Søster",
            "timestamp": datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
            "money": 1999,
        }
        nothing: Row = dict.fromkeys(TYPES)
        long = nothing | {"string": "x" * 300}
        self.assertEqual(
            [f"{word:016x}" for word in words([row, nothing, long])],
            ["921d93b3570a53ce", "b3312024255930c7", "903b690e3f997caf"],
        )


class DifferenceTests(unittest.TestCase):
    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(ROWS.filter(bool), st.data())
    def test_any_changed_cell_changes_the_word_of_its_row_alone(self, rows: list[Row], data: Any) -> None:
        place = data.draw(st.integers(0, len(rows) - 1))
        name = data.draw(st.sampled_from(TYPES))
        value = data.draw(st.one_of(st.none(), VALUES[name]))
        assume(not same(rows[place][name], value))
        changed = [*rows[:place], rows[place] | {name: value}, *rows[place + 1 :]]
        old, new = words(rows), words(changed)
        self.assertNotEqual(new[place], old[place])
        self.assertEqual(new[:place] + new[place + 1 :], old[:place] + old[place + 1 :])
        self.assertNotEqual(total(np.array(new, np.uint64)), total(np.array(old, np.uint64)))

    @QUICK
    @given(ROWS.filter(bool))
    def test_a_lost_or_doubled_row_changes_the_total(self, rows: list[Row]) -> None:
        whole = total(row_words(TABLE, batch(rows)))
        self.assertNotEqual(total(row_words(TABLE, batch(rows[1:]))), whole)
        self.assertNotEqual(total(row_words(TABLE, batch([*rows, rows[0]]))), whole)

    def test_nothing_is_not_zero_nor_empty(self) -> None:
        zeros = {"int32": 0, "int64": 0, "float64": 0.0, "bool": False, "string": "", "money": 0}
        zeros["timestamp"] = EPOCH
        nothing: Row = dict.fromkeys(TYPES)
        rows = [nothing, *(nothing | {name: zeros[name]} for name in TYPES)]
        self.assertEqual(len(set(words(rows))), len(rows))

    def test_values_that_change_places_change_the_words(self) -> None:
        """Between columns and between rows: neither cancels out."""
        nothing: Row = dict.fromkeys(TYPES)
        one, other = nothing | {"int64": 5, "money": 7}, nothing | {"int64": 7, "money": 5}
        self.assertNotEqual(words([one]), words([other]))
        both = nothing | {"int64": 5, "money": 5}, nothing | {"int64": 7, "money": 7}
        self.assertNotEqual(sum(words([one, other])) % 2**64, sum(words(list(both))) % 2**64)

    def test_neighbouring_values_and_strings_of_all_lengths_have_words_of_their_own(self) -> None:
        nothing: Row = dict.fromkeys(TYPES)
        lengths = [length for edge in (0, 8, 16, 248, 256, 264) for length in (edge, edge + 1, edge + 7)]
        texts = {letter * length for length in lengths for letter in "ab\0"} | {"a" * 7 + "b", "b" + "a" * 7}
        start = datetime(2026, 1, 1, tzinfo=UTC)
        rows = [nothing | {"string": text} for text in texts]
        rows += [nothing | {"int64": number} for number in range(-500, 500)]
        rows += [nothing | {"float64": number / 8} for number in range(-500, 500)]
        rows += [nothing | {"timestamp": start + timedelta(microseconds=micros)} for micros in range(500)]
        self.assertEqual([word for word, count in Counter(words(rows)).items() if count > 1], [])

    def test_only_the_named_columns_count(self) -> None:
        nothing: Row = dict.fromkeys(TYPES)
        rows = [nothing | {"int64": 1, "string": "a"}, nothing | {"int64": 1, "string": "b"}]
        by_key = row_words(TABLE, batch(rows), ("int64",)).tolist()
        self.assertEqual(by_key[0], by_key[1])
        by_text = row_words(TABLE, batch(rows), ("int64", "string")).tolist()
        self.assertNotEqual(by_text[0], by_text[1])


class ReadBackTests(unittest.TestCase):
    """What was made and what a reader finds in the files have the same digest."""

    def read_back(self, generator: GeneratorBase, window: Window) -> None:
        options = WriterOptions(file_rows_target=1000, partition=PartitionSpec.of("hour"))
        for name in generator.tables():
            table = generator.table(name)
            encoder = Encoder([table], options)
            frames = list(generator.rows(window, Slice(), (name,)))
            chunks = [chunk for frame in frames for chunk in encoder.add(frame)]
            files = [encoder.encode(chunk) for chunk in (*chunks, *encoder.finish())]
            made = sum(total(row_words(table, frame.rows)) for frame in frames) % 2**64
            found, rows = 0, 0
            for file in files:
                for read in pq.read_table(pa.BufferReader(file.data), partitioning=None).to_batches(max_chunksize=301):
                    found += total(row_words(table, arrow.to_inside_form(table, read)))
                    rows += read.num_rows
            with self.subTest(table=name):
                self.assertGreater(rows, 100)
                self.assertEqual(rows, sum(frame.rows.num_rows for frame in frames))
                self.assertEqual(found % 2**64, made)

    def test_the_shop(self) -> None:
        shop = create_generator("ecommerce", customers=300, products=200, orders_per_second=1.0)
        self.read_back(shop, Window(shop.origin_slot, shop.origin_slot + 4000))

    def test_a_domain_with_every_type_and_with_nulls(self) -> None:
        beats = HeartbeatGenerator(seed=7, origin_slot=189_388_800, options=HeartbeatOptions())
        self.read_back(beats, Window(beats.origin_slot, beats.origin_slot + 5000))


if __name__ == "__main__":
    unittest.main()
