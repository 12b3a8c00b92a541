from __future__ import annotations

import unittest

import numpy as np

from emitter.generators.kit.shuffles import Shuffle
from emitter.randomness import Stream


class ShuffleTests(unittest.TestCase):
    def test_it_is_a_bijection_of_the_opening_stock_and_leaves_the_rest(self) -> None:
        for size in (1, 2, 3, 6, 5000, 2**18, 2**18 + 1, 300_007):
            shuffle = Shuffle(size, Stream(1, "shuffle"))
            numbers = shuffle(np.arange(size + 10))
            np.testing.assert_array_equal(np.sort(numbers[:size]), np.arange(size))
            np.testing.assert_array_equal(numbers[size:], np.arange(size, size + 10))
            np.testing.assert_array_equal(shuffle(np.arange(size)), numbers[:size])

    def test_the_largest_stock_stays_within_its_numbers(self) -> None:
        size = 10**9
        numbers = Shuffle(size, Stream(1, "shuffle"))(np.arange(size - 1000, size))
        self.assertTrue(((numbers >= 0) & (numbers < size)).all())
        self.assertEqual(len(np.unique(numbers)), 1000)


if __name__ == "__main__":
    unittest.main()
