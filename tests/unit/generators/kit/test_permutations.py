"""A permutation is one, both ways, and shows no pattern."""

from __future__ import annotations

import unittest
from unittest import mock

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from emitter.generators.kit import permutations as module
from emitter.generators.kit.permutations import SIZE_MAX, Permutation, block_orders
from emitter.randomness import Stream

QUICK = settings(max_examples=60, deadline=None, derandomize=True)
POWERS = [2**bits + near for bits in range(2, 15) for near in (-1, 0, 1)]


def permutation(size: int, seed: int = 1) -> Permutation:
    return Permutation(size, Stream(seed, "order"))


class PermutationTest(unittest.TestCase):
    def test_every_number_has_one_rank_and_every_rank_one_number(self) -> None:
        for size in sorted({1, 2, 3, 5, 6, 7, 9, 10, 1000, 5000, 99_991, 2**18, 2**18 + 1, 300_007, *POWERS}):
            order, every = permutation(size), np.arange(size)
            numbers = order.of(every)
            np.testing.assert_array_equal(np.sort(numbers), every, f"size {size}")
            np.testing.assert_array_equal(order.rank_of(numbers), every, f"size {size}")

    def test_with_and_without_a_table_it_is_the_same(self) -> None:
        for size in (1, 2, 17, 5000):
            every, kept = np.arange(size), permutation(size)
            numbers, ranks = kept.of(every), kept.rank_of(every)
            with mock.patch.object(module, "_TABLE_MAX", 0):
                np.testing.assert_array_equal(permutation(size).of(every), numbers)
                np.testing.assert_array_equal(permutation(size).rank_of(every), ranks)

    @QUICK
    @given(st.integers(2**18 + 1, SIZE_MAX), st.data())
    def test_the_largest_go_both_ways_too(self, size: int, data: st.DataObject) -> None:
        asked = np.array(data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=30)), dtype=np.int64)
        before, order = asked.copy(), permutation(size)
        numbers = order.of(asked)
        self.assertTrue(((numbers >= 0) & (numbers < size)).all())
        np.testing.assert_array_equal(order.rank_of(numbers), asked)
        np.testing.assert_array_equal(order.of(order.rank_of(asked)), asked)
        np.testing.assert_array_equal(asked, before)
        np.testing.assert_array_equal(order.of(asked[::-1]), numbers[::-1])

    def test_neighbours_in_rank_are_far_and_irregular(self) -> None:
        """Differences of neighbours are as those of numbers drawn by chance: a triangle around zero, none frequent."""
        for size in (5000, 100_000, 10**6, 10**9):
            for first in (0, size // 2, size - 2000):
                numbers = permutation(size).of(np.arange(first, first + 2000))
                steps = np.diff(numbers)
                far = np.abs(steps) / size
                with self.subTest(size=size, first=first):
                    self.assertAlmostEqual(float(far.mean()), 1 / 3, delta=0.03)
                    shares = np.histogram(far, [0, 0.25, 0.5, 0.75, 1])[0] / len(far)
                    for share, triangle in zip(shares, (7 / 16, 5 / 16, 3 / 16, 1 / 16), strict=True):
                        self.assertAlmostEqual(float(share), triangle, delta=0.05)
                    # By chance a difference is there about twice at the most among so many, or six times of 5,000.
                    self.assertLessEqual(int(np.unique(steps % size, return_counts=True)[1].max()), 8)
                    # Nor do differences of differences, two and five ranks apart.
                    for apart in (1, 2, 5):
                        second = (steps[apart:] - steps[:-apart]) % size
                        self.assertLessEqual(int(np.unique(second, return_counts=True)[1].max()), 8)
                    follow = np.corrcoef(numbers[:-1], numbers[1:])[0, 1]
                    self.assertLess(abs(float(follow)), 5 / len(numbers) ** 0.5)

    def test_the_top_ranks_of_small_sizes_are_in_no_progression(self) -> None:
        for seed in range(20):
            top = permutation(1000, seed).of(np.arange(20))
            self.assertGreater(len(np.unique(np.diff(top) % 1000)), 14, f"seed {seed}")

    def test_each_rank_has_each_number_as_often(self) -> None:
        """Over many keys, for a size at which numbers go through twice."""
        size, keys = 7, 1400
        table = np.zeros((size, size))
        for seed in range(keys):
            table[np.arange(size), permutation(size, seed).of(np.arange(size))] += 1
        mean = keys / size
        # 36 degrees of freedom: their deviation is 8.5.
        self.assertLess(float(((table - mean) ** 2 / mean).sum()), 36 + 5 * 8.5)

    def test_another_stream_is_another_order(self) -> None:
        one, other = (permutation(10_000, seed).of(np.arange(10_000)) for seed in (1, 2))
        self.assertLess(int(np.count_nonzero(one == other)), 10)

    def test_a_size_that_cannot_be_is_refused(self) -> None:
        for size in (0, -1, SIZE_MAX + 1):
            with self.assertRaisesRegex(ValueError, str(size)):
                permutation(size)


class BlockOrdersTest(unittest.TestCase):
    def test_each_row_is_an_order_of_its_own(self) -> None:
        orders = block_orders(8, 256, Stream(1, "blocks"))
        self.assertEqual(orders.shape, (8, 256))
        np.testing.assert_array_equal(np.sort(orders, axis=1), np.tile(np.arange(256), (8, 1)))
        for row in range(8):
            for other in range(row):
                self.assertLess(int(np.count_nonzero(orders[row] == orders[other])), 10)


if __name__ == "__main__":
    unittest.main()
