"""Members are numbered as they arrive, and counted at any slot without the past."""

from __future__ import annotations

import unittest
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from emitter.generators.kit.growth import DAY_SECONDS, YEAR_SECONDS, Growth
from emitter.generators.kit.limits import GROWTH_YEARS
from emitter.generators.kit.populations import Population
from emitter.model import Window
from emitter.randomness import Stream

ORIGIN = 189_412_200  # 2026-01-01T06:30:00Z: days since the origin are not those of the calendar
HOURS = (*[100] * 4, 0, *[100] * 15, 1000, *[100] * 3)
QUICK = settings(max_examples=30, deadline=None, derandomize=True)


def population(opening: int = 5000, share: float = 1.0, seed: int = 1) -> Population:
    return Population(ORIGIN, opening, share, Stream(seed, "arrival"), HOURS)


class PopulationTests(unittest.TestCase):
    def test_sizes_count_the_arrivals_before_the_slot(self) -> None:
        """Every arrival of a week, one by one: it counts from the next slot on."""
        people = population()
        first, end = ORIGIN, ORIGIN + 7 * DAY_SECONDS
        numbers, slots = people.arrivals(Window(first, end))
        self.assertGreater(len(numbers), 80)
        np.testing.assert_array_equal(numbers, np.arange(people.opening, people.opening + len(numbers)))
        self.assertTrue((np.diff(slots) >= 0).all())
        asked = np.unique(np.concatenate([slots - 1, slots, slots + 1, np.arange(first, end, 7919)]))
        asked = asked[(asked >= first) & (asked < end)]
        counted = np.array([people.opening + np.count_nonzero(slots < slot) for slot in asked])
        np.testing.assert_array_equal(people.sizes_at(asked), counted)

    def test_windows_of_one_second_hold_the_arrivals_of_that_second(self) -> None:
        people = population(opening=10**6)
        numbers, slots = people.arrivals(Window(ORIGIN, ORIGIN + 2 * DAY_SECONDS))
        for slot in (*slots[:20].tolist(), *slots[-20:].tolist(), ORIGIN + DAY_SECONDS):
            found, seconds = people.arrivals(Window(slot, slot + 1))
            np.testing.assert_array_equal(found, numbers[slots == slot])
            self.assertTrue((seconds == slot).all())

    def test_sizes_are_the_curve_at_the_edges_of_days(self) -> None:
        people, growth = population(), Growth(ORIGIN, 1.0)
        for day in (0, 1, 2, 100, 364, 365, 366, 1000, 3649, 3650, 3651, 5000):
            edge = ORIGIN + day * DAY_SECONDS
            exact = 5000 * growth.millionths(edge) // 1_000_000
            self.assertEqual(int(people.sizes_at(np.array([edge]))[0]), exact)
            before, after = Window(edge - 1, edge), Window(edge, edge + 1)
            arrived = len(people.arrivals(before)[0]) if day else 0
            self.assertEqual(int(people.sizes_at(np.array([max(ORIGIN, before.first)]))[0]), exact - arrived)
            numbers, _ = people.arrivals(after)
            self.assertTrue((numbers == exact + np.arange(len(numbers))).all())

    def test_arrivals_end_after_ten_years(self) -> None:
        people = population()
        last = ORIGIN + GROWTH_YEARS * YEAR_SECONDS
        self.assertGreater(len(people.arrivals(Window(last - DAY_SECONDS, last))[0]), 0)
        self.assertEqual(len(people.arrivals(Window(last, last + 30 * DAY_SECONDS))[0]), 0)
        sizes = people.sizes_at(np.array([last, last + YEAR_SECONDS]))
        self.assertEqual(sizes.tolist(), [5000 * 1024] * 2)
        self.assertEqual(people.expected_arrivals(Window(last, last + YEAR_SECONDS)), 0.0)

    def test_without_growth_nobody_arrives(self) -> None:
        people = population(share=0.0)
        self.assertEqual(len(people.arrivals(Window(ORIGIN, ORIGIN + YEAR_SECONDS))[0]), 0)
        self.assertEqual(people.sizes_at(np.array([ORIGIN, ORIGIN + YEAR_SECONDS])).tolist(), [5000, 5000])

    def test_nobody_arrives_before_the_origin(self) -> None:
        people = population(opening=10**6)
        numbers, slots = people.arrivals(Window(ORIGIN - DAY_SECONDS, ORIGIN + 600))
        self.assertGreaterEqual(int(slots.min()), ORIGIN)
        self.assertEqual(int(numbers[0]), 10**6)
        self.assertEqual(len(people.arrivals(Window(ORIGIN - DAY_SECONDS, ORIGIN))[0]), 0)
        self.assertEqual(people.sizes_at(np.array([ORIGIN - 1, ORIGIN])).tolist(), [10**6] * 2)

    def test_expected_arrivals_are_those_of_whole_days(self) -> None:
        people = population(opening=100_000)
        for first, days in ((0, 1), (3, 30), (400, 365)):
            window = Window(ORIGIN + first * DAY_SECONDS, ORIGIN + (first + days) * DAY_SECONDS)
            self.assertAlmostEqual(len(people.arrivals(window)[0]), people.expected_arrivals(window), delta=1)

    def test_arrivals_follow_the_weights_of_the_hours(self) -> None:
        _, slots = population(opening=10**6).arrivals(Window(ORIGIN, ORIGIN + 30 * DAY_SECONDS))
        hours = np.bincount(slots % DAY_SECONDS // 3600, minlength=24)
        self.assertEqual(int(hours[4]), 0)
        self.assertGreater(int(hours[20]), 5 * int(hours[3]))

    @QUICK
    @given(st.lists(st.integers(-1000, 5 * DAY_SECONDS), min_size=2, max_size=8))
    def test_however_a_period_is_cut_the_same_arrive(self, cuts: list[int]) -> None:
        edges = sorted(ORIGIN + cut for cut in cuts)
        used = population(opening=200_000)
        windows = [Window(first, end) for first, end in pairwise(edges)]
        parts = {window: used.arrivals(window) for window in reversed(windows)}
        numbers, slots = population(opening=200_000).arrivals(Window(edges[0], edges[-1]))
        np.testing.assert_array_equal(np.concatenate([parts[window][0] for window in windows]), numbers)
        np.testing.assert_array_equal(np.concatenate([parts[window][1] for window in windows]), slots)
        asked = np.array(cuts) + ORIGIN
        np.testing.assert_array_equal(
            used.sizes_at(asked), [population(opening=200_000).sizes_at(np.array([slot]))[0] for slot in asked]
        )

    @QUICK
    @given(st.lists(st.integers(0, 3 * DAY_SECONDS), min_size=1, max_size=20))
    def test_sizes_of_slots_close_together_are_the_same_sizes(self, offsets: list[int]) -> None:
        people, slots = population(), np.array(offsets) + ORIGIN
        np.testing.assert_array_equal(np.broadcast_to(people.sizes_within(slots), slots.shape), people.sizes_at(slots))


if __name__ == "__main__":
    unittest.main()
