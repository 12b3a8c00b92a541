"""Partitions tile the years, and their folders say which is which."""

from __future__ import annotations

import unittest

from hypothesis import given
from hypothesis import strategies as st

from emitter.clock import SLOT_END, parse_time, slot_of
from emitter.errors import UsageError
from emitter.model import Window
from emitter.partitioning import GRANULARITIES, PartitionSpec

SPECS = [PartitionSpec.of(granularity) for granularity in GRANULARITIES]
slots = st.integers(0, SLOT_END - 1)


def at(text: str) -> int:
    return slot_of(parse_time(text))


class PartitionSpecTest(unittest.TestCase):
    def test_folders_are_hive_style_from_the_coarsest(self):
        slot = at("2026-03-04T05:06:07Z")
        self.assertEqual(
            [spec.path(slot) for spec in SPECS],
            ["year=2026/month=03", "year=2026/month=03/day=04", "year=2026/month=03/day=04/hour=05"],
        )
        self.assertEqual([spec.granularity for spec in SPECS], ["month", "day", "hour"])
        self.assertEqual(SPECS[2].values(slot), (2026, 3, 4, 5))

    def test_edges_fall_where_the_calendar_says(self):
        for text, month, day, hour in (
            ("2024-02-29T23:59:59Z", "2024-03-01", "2024-03-01", "2024-03-01T00:00:00Z"),
            ("2025-02-28T00:00:00Z", "2025-03-01", "2025-03-01", "2025-02-28T01:00:00Z"),
            ("2026-12-31T22:30:00Z", "2027-01-01", "2027-01-01", "2026-12-31T23:00:00Z"),
            ("2026-01-31T00:00:00Z", "2026-02-01", "2026-02-01", "2026-01-31T01:00:00Z"),
        ):
            self.assertEqual([spec.end(at(text)) for spec in SPECS], [at(month), at(day), at(hour)], text)

    @given(slots)
    def test_each_slot_is_in_one_partition_and_partitions_touch(self, slot: int):
        for spec in SPECS:
            start, end = spec.start(slot), spec.end(slot)
            self.assertLessEqual(start, slot)
            self.assertLess(slot, end)
            self.assertEqual((spec.start(start), spec.start(end), spec.start(end - 1)), (start, end, start))
            self.assertEqual({spec.path(start), spec.path(end - 1)}, {spec.path(slot)})
            self.assertNotEqual(spec.path(end), spec.path(slot))

    def test_no_other_columns_are_allowed(self):
        for columns in ((), ("year",), ("day",), ("month", "year"), ("year", "month", "day", "hour", "minute")):
            with self.assertRaises(UsageError):
                PartitionSpec(columns)
        with self.assertRaises(UsageError):
            PartitionSpec.of("week")

    def test_a_window_knows_its_partitions_in_order(self):
        window = Window(at("2026-01-30T12:00:00Z"), at("2026-02-01T00:00:01Z"))
        found = list(PartitionSpec().partitions(window))
        self.assertEqual(found, [(2026, 1, 30), (2026, 1, 31), (2026, 2, 1)])
        self.assertEqual(list(PartitionSpec().partitions(Window(5, 5))), [])


if __name__ == "__main__":
    unittest.main()
