"""Things are dealt to hands without a gap, and evenly even where they are few."""

from __future__ import annotations

import unittest

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from emitter.generators.kit.dealing import Dealer, deal, places_within
from emitter.generators.kit.keys import times_micros
from emitter.model import Slice
from emitter.randomness import Stream

YEAR_2026 = 189_388_800
QUICK = settings(max_examples=60, deadline=None, derandomize=True)


class MomentTests(unittest.TestCase):
    def test_things_happen_within_their_second_but_never_in_its_last_microsecond(self) -> None:
        """There stand the price changes, which count from the next second on."""
        words = np.array([0, 2**63, 2**64 - 1], dtype=np.uint64)
        moments = times_micros(np.full(3, YEAR_2026), words) - 1_767_225_600_000_000
        self.assertEqual(moments.tolist(), [0, 499_999, 999_998])


class DealingTests(unittest.TestCase):
    @QUICK
    @given(
        st.lists(st.integers(0, 40), min_size=1, max_size=30),
        st.integers(0, 2**30),
        st.integers(1, 12),
    )
    def test_hands_share_all_things_and_nothing_twice(self, numbers: list[int], first_slot: int, hands: int) -> None:
        counts = np.array(numbers, dtype=np.int64)
        offsets = Dealer(Stream(5, "deal")).offsets(np.arange(first_slot, first_slot + len(counts)))
        every = [deal(first_slot, counts, offsets, Slice(index, hands)) for index in range(hands)]
        ids = np.sort(np.concatenate([dealt.ids for dealt in every]))
        groups, places = places_within(counts)
        np.testing.assert_array_equal(ids, ((first_slot + groups) << 22) | (places << 4))
        for dealt in every:
            np.testing.assert_array_equal(dealt.ids >> 22, dealt.slots)
            np.testing.assert_array_equal(
                np.diff(dealt.starts), np.bincount(dealt.slots - first_slot, minlength=len(counts))
            )

    def test_hands_are_even_where_things_are_few(self) -> None:
        """With at most one thing a slot, the hash of the slot alone decides: no hand may get most."""
        slots = np.arange(YEAR_2026, YEAR_2026 + 80_000)
        counts = (slots % 10 == 0).astype(np.int64)
        offsets = Dealer(Stream(5, "deal")).offsets(slots)
        for hands in (2, 3, 8, 64):
            sizes = np.array([len(deal(YEAR_2026, counts, offsets, Slice(i, hands)).ids) for i in range(hands)])
            mean = 8000 / hands
            self.assertLess(float(((sizes - mean) ** 2 / mean).sum()), hands - 1 + 5 * (2 * (hands - 1)) ** 0.5)


if __name__ == "__main__":
    unittest.main()
