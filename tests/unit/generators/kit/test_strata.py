"""Groups have their shares exactly, and each member of each is found both ways."""

from __future__ import annotations

import unittest

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from emitter.generators.kit.strata import BLOCK_NUMBERS, Strata
from emitter.randomness import Stream

QUICK = settings(max_examples=25, deadline=None, derandomize=True)
WEIGHTS = (30, 18, 0, 20, 12, 8, 7, 5, 1)


def strata(weights: tuple[int, ...] = WEIGHTS, seed: int = 1) -> Strata:
    return Strata(weights, Stream(seed, "countries"))


class StrataTest(unittest.TestCase):
    def test_each_block_holds_each_group_in_proportion_to_its_weight(self) -> None:
        for weights in (WEIGHTS, (1,), (1, 1), (1, 2, 5), tuple(range(1, 91))):
            groups = strata(weights).group_of(np.arange(5 * BLOCK_NUMBERS)).reshape(5, -1)
            for block in groups:
                shares = np.bincount(block, minlength=len(weights))
                exact = np.array(weights) * BLOCK_NUMBERS / sum(weights)
                self.assertLess(float(np.abs(shares - exact).max()), 1, weights)
                if BLOCK_NUMBERS % sum(weights) == 0:
                    np.testing.assert_array_equal(shares, exact)

    def test_a_groups_members_are_numbered_as_they_come(self) -> None:
        dealt, numbers = strata(), np.arange(10 * BLOCK_NUMBERS)
        groups, indices = dealt.group_of(numbers), dealt.index_of(numbers)
        for group, weight in enumerate(WEIGHTS):
            np.testing.assert_array_equal(indices[groups == group], np.arange(np.count_nonzero(groups == group)))
            if weight:
                found = dealt.number_of(group, np.arange(np.count_nonzero(groups == group)))
                np.testing.assert_array_equal(found, numbers[groups == group])
        np.testing.assert_array_equal(dealt.number_of(groups, indices), numbers)

    def test_counts_are_those_of_the_first_numbers(self) -> None:
        dealt = strata()
        groups = dealt.group_of(np.arange(3 * BLOCK_NUMBERS))
        for population in (0, 1, 2, 999, BLOCK_NUMBERS - 1, BLOCK_NUMBERS, BLOCK_NUMBERS + 1, 3 * BLOCK_NUMBERS - 7):
            counted = np.bincount(groups[:population], minlength=len(WEIGHTS))
            every = np.arange(len(WEIGHTS))
            np.testing.assert_array_equal(dealt.count(every, np.full(len(WEIGHTS), population)), counted)
            for group in every.tolist():
                self.assertEqual(dealt.count(group, np.array([population])).tolist(), [counted[group]])

    @QUICK
    @given(st.lists(st.integers(1, 100), min_size=1, max_size=40), st.lists(st.integers(0, 2**40), min_size=1))
    def test_far_numbers_go_both_ways_and_are_counted(self, weights: list[int], some: list[int]) -> None:
        dealt, numbers = strata(tuple(weights)), np.array(some, dtype=np.int64)
        groups, indices = dealt.group_of(numbers), dealt.index_of(numbers)
        np.testing.assert_array_equal(dealt.number_of(groups, indices), numbers)
        # A member's index is how many of its group came before it, and it counts from the next number on.
        np.testing.assert_array_equal(dealt.count(groups, numbers), indices)
        np.testing.assert_array_equal(dealt.count(groups, numbers + 1), indices + 1)
        self.assertEqual(numbers.tolist(), some)

    def test_whoever_is_counted_is_there(self) -> None:
        """Any index below the count of a population is of somebody in it: nobody is picked before they come."""
        dealt = strata()
        for population in (100, 5000, 70_000):
            for group in (0, 3, 8):
                count = int(dealt.count(group, np.array([population]))[0])
                self.assertLess(int(dealt.number_of(group, np.arange(count)).max()), population)

    def test_the_order_differs_from_block_to_block_and_shows_no_pattern(self) -> None:
        groups = strata((1, 1)).group_of(np.arange(40 * BLOCK_NUMBERS)).reshape(40, -1)
        self.assertGreater(len(np.unique(groups, axis=0)), 10)
        first = groups[0]
        runs = np.count_nonzero(np.diff(first)) + 1
        self.assertAlmostEqual(runs / BLOCK_NUMBERS, 0.5, delta=0.04)
        # Two places that are of one group in a block are as often as not of two in another.
        together = groups[:, :1000] == groups[:, 1000:2000]
        self.assertAlmostEqual(float(together.mean()), 0.5, delta=0.05)

    def test_a_group_too_small_for_a_block_is_refused(self) -> None:
        with self.assertRaisesRegex(ValueError, "group 1 of weight 1 among 10001"):
            strata((10_000, 1))


if __name__ == "__main__":
    unittest.main()
