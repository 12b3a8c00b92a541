"""Each choice has the share of its weight."""

from __future__ import annotations

import unittest

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from emitter.generators.kit.choices import choice_table, choose

WORD_MAX = 2**64 - 1
QUICK = settings(max_examples=50, deadline=None, derandomize=True)


class ChoiceTableTests(unittest.TestCase):
    def test_shares_that_divide_are_exact(self) -> None:
        self.assertEqual(np.bincount(choice_table((1, 2, 5), bits=3)).tolist(), [1, 2, 5])
        self.assertEqual(np.bincount(choice_table((3, 1))).tolist(), [3072, 1024])

    @QUICK
    @given(
        st.lists(st.integers(0, 100_000), min_size=1, max_size=100).filter(any),
        st.sampled_from([4, 12, 16]),
    )
    def test_every_share_is_right_to_one_entry(self, weights: list[int], bits: int) -> None:
        table = choice_table(tuple(weights), bits)
        self.assertEqual(len(table), 1 << bits)
        shares = np.bincount(table, minlength=len(weights))
        self.assertEqual(len(shares), len(weights))
        for share, weight in zip(shares.tolist(), weights, strict=True):
            self.assertLess(abs(share - weight * 2**bits / sum(weights)), 1 + 1e-9)

    def test_a_choice_is_by_the_bits_from_the_shift_on(self) -> None:
        table = np.arange(16, dtype=np.int8) * 3
        words = np.array([0, 5, 0xF0, 0x123456789ABCDEF0, WORD_MAX], dtype=np.uint64)
        for shift in (0, 4, 60):
            chosen = choose(table, words, shift)
            self.assertEqual(chosen.dtype, np.int8)
            self.assertEqual(chosen.tolist(), [3 * (int(word) >> shift & 15) for word in words])


if __name__ == "__main__":
    unittest.main()
