"""Each choice has the share of its weight."""

from __future__ import annotations

import unittest

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from emitter.generators.kit.choices import choice_rows, choice_table, choose, choose_by, member_rows
from emitter.randomness import Stream

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


class ConditionTests(unittest.TestCase):
    def test_each_condition_has_the_shares_of_its_own_weights(self) -> None:
        rows = ((1, 2, 5), (5, 2, 1), (0, 8, 0))
        table = choice_rows(rows, bits=3)
        self.assertEqual([np.bincount(row, minlength=3).tolist() for row in table], [list(row) for row in rows])

    def test_a_row_is_the_table_of_its_weights(self) -> None:
        rows = [tuple(below) for below in (np.arange(1, 31), np.arange(30, 0, -1), np.ones(30, dtype=int))]
        table, words = choice_rows(rows), Stream(1, "words").words(np.arange(5000))
        for shift in (0, 12, 40):
            for condition, weights in enumerate(rows):
                np.testing.assert_array_equal(
                    choose_by(table, np.full(5000, condition), words, shift),
                    choose(choice_table(weights), words, shift),
                )

    def test_conditions_can_be_mixed_in_one_draw(self) -> None:
        table, words = choice_rows([(9, 1), (1, 9)]), Stream(1, "words").words(np.arange(40_000))
        conditions = np.arange(40_000) % 2
        before = conditions.copy()
        chosen = choose_by(table, conditions, words)
        for condition, share in ((0, 0.1), (1, 0.9)):
            self.assertAlmostEqual(float(chosen[conditions == condition].mean()), share, delta=0.01)
        np.testing.assert_array_equal(conditions, before)

    def test_there_can_be_many_to_choose_from(self) -> None:
        table = choice_rows([(1,) * 400], bits=16)
        self.assertEqual(set(table[0].tolist()), set(range(400)))


class MemberRowsTests(unittest.TestCase):
    def test_members_stand_in_the_row_of_their_group_by_their_weights(self) -> None:
        rows = member_rows(np.array([1, 0, 1, 0, 1]), np.array([1, 6, 2, 2, 1]), bits=3)
        self.assertEqual(rows.tolist(), [[1, 1, 1, 1, 1, 1, 3, 3], [0, 0, 2, 2, 2, 2, 4, 4]])

    def test_large_weights_and_long_rows_keep_to_the_entry(self) -> None:
        weights = np.array([12_691_836, 1, 15_701_602, 300_000])
        counts = np.bincount(member_rows(np.zeros(4, np.int64), weights, bits=16)[0], minlength=4)
        for count, weight in zip(counts.tolist(), weights.tolist(), strict=True):
            self.assertLess(abs(count - weight * 65_536 / int(weights.sum())), 1 + 1e-9)


if __name__ == "__main__":
    unittest.main()
