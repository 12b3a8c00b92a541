"""The bounds of a file in a Delta log: wide enough for all that it holds, whatever it holds."""

from __future__ import annotations

import io
import json
import unittest
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from emitter.writers.delta.statistics import statistics_text

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.text("az\U0010ffff\ud7ff", min_size=30)


def statistics(values: pa.Array, row_group_size: int = 1000) -> tuple[Any, Any, Any]:
    """(lower bound, upper bound, nulls) of a column."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"x": values}), sink, row_group_size=row_group_size, store_decimal_as_integer=True)
    stats = json.loads(statistics_text(len(values), pq.read_metadata(sink)))
    assert stats["numRecords"] == len(values)
    return stats["minValues"].get("x"), stats["maxValues"].get("x"), stats["nullCount"].get("x")


class StatisticsTest(unittest.TestCase):
    def test_a_file_without_a_footer_has_its_rows_alone(self):
        self.assertEqual(statistics_text(7, None), '{"numRecords":7}')

    def test_bounds_are_taken_over_all_row_groups(self):
        values = pa.array([3, None, 9, -4, None, 5])
        self.assertEqual(statistics(values, row_group_size=2), (-4, 9, 2))

    def test_nulls_alone_have_no_bounds(self):
        self.assertEqual(statistics(pa.array([None, None], pa.int64())), (None, None, 2))
        self.assertEqual(statistics(pa.array([None, None, 1, 2], pa.int64()), row_group_size=2), (1, 2, 2))

    def test_money_is_an_exact_number(self):
        values = pa.array([Decimal("-9999999999.99"), Decimal("0.01"), Decimal("9999999999.99")], pa.decimal128(12, 2))
        self.assertEqual(statistics(values), (-9999999999.99, 9999999999.99, 0))

    def test_numbers_that_are_none_rule_nothing_out(self):
        self.assertEqual(statistics(pa.array([float("nan"), 1.5])), (1.5, None, 0))
        self.assertEqual(statistics(pa.array([float("inf"), 1.5])), (1.5, None, 0))
        self.assertEqual(statistics(pa.array([float("-inf"), 1.5])), (None, None, 0))
        self.assertEqual(statistics(pa.array([float("nan")])), (None, None, 0))
        self.assertEqual(statistics(pa.array([True, False])), (None, None, 0))

    @given(st.lists(st.integers(-(10**15), 4 * 10**15), min_size=1))
    def test_times_are_cut_to_milliseconds_outwards(self, micros: list[int]):
        times = pa.array(micros, pa.timestamp("us", "UTC"))
        low, high, _ = statistics(times)
        moments = times.to_pylist()
        lowest, highest = (datetime.fromisoformat(bound) for bound in (low, high))
        self.assertRegex(low, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        for gap in (min(moments) - lowest, highest - max(moments)):
            self.assertTrue(timedelta() <= gap < timedelta(milliseconds=1), gap)

    @given(st.lists(TEXTS, min_size=1))
    def test_texts_are_cut_outwards(self, texts: list[str]):
        low, high, _ = statistics(pa.array(texts))
        if low is not None:  # a footer leaves out what is too long
            self.assertLessEqual(low, min(texts))
            self.assertLessEqual(len(low), 32)
        if high is not None:
            self.assertGreaterEqual(high.encode(), max(texts).encode())
            self.assertLessEqual(len(high), 32)

    def test_a_text_of_the_highest_characters_has_no_upper_bound(self):
        self.assertEqual(statistics(pa.array(["\U0010ffff" * 33]))[1], None)
        self.assertEqual(statistics(pa.array(["a" + "\U0010ffff" * 33]))[1], "b")
        self.assertEqual(statistics(pa.array(["\ud7ff" * 33]))[1], "\ud7ff" * 31 + "\ue000")


if __name__ == "__main__":
    unittest.main()
