"""A memo of values by thing: whatever it has kept or forgotten, it gives what would be made again."""

from __future__ import annotations

import unittest
from unittest import mock

import numpy as np

from emitter.generators.kit import memos as module
from emitter.generators.kit.counts import Counts
from emitter.generators.kit.dealing import Dealer
from emitter.generators.kit.memos import RecentValues
from emitter.generators.kit.rates import FlatCurve
from emitter.generators.kit.things import Things
from emitter.model import Slice
from emitter.randomness import Integers, Stream, below

ORIGIN = 189_412_200
VALUES = Stream(1, "values")
THINGS = Things(Counts(ORIGIN, [(ORIGIN, FlatCurve(20.0))], Stream(1, "count")), Dealer(Stream(1, "deal")))


def value_of(ids: Integers) -> Integers:
    return below(VALUES.words(ids), 100_000)


class RecentValuesTest(unittest.TestCase):
    def test_values_are_the_same_with_and_without_the_memo(self) -> None:
        for slice in (Slice(), Slice(1, 3)):
            memo = RecentValues(value_of)
            # One after the other, after a gap, back again; never more kept than 100 seconds.
            for first, end in ((0, 60), (60, 61), (61, 300), (400, 410), (410, 500), (10, 20), (20, 40)):
                dealt = THINGS.dealt(ORIGIN + first, ORIGIN + end, slice)
                memo.add(dealt, value_of(dealt.ids), 100)
                ids = THINGS.dealt(ORIGIN + max(0, first - 150), ORIGIN + end, slice).ids[::-3]
                np.testing.assert_array_equal(memo.of(ids, slice), value_of(ids))
            self.assertEqual((memo._first, memo._end), (ORIGIN + 10, ORIGIN + 40))

    def test_what_is_kept_is_not_made_again(self) -> None:
        make = mock.Mock(side_effect=value_of)
        memo = RecentValues(make)
        dealt = THINGS.dealt(ORIGIN, ORIGIN + 60, Slice())
        memo.add(dealt, value_of(dealt.ids), 100)
        memo.of(dealt.ids[::2], Slice())
        make.assert_not_called()
        later = THINGS.dealt(ORIGIN, ORIGIN + 70, Slice()).ids
        np.testing.assert_array_equal(memo.of(later, Slice()), value_of(later))
        self.assertTrue((make.call_args.args[0] >> 22 >= ORIGIN + 60).all())

    def test_the_memo_is_bounded(self) -> None:
        memo = RecentValues(value_of)
        with mock.patch.object(module, "_VALUES_MAX", 2000):
            for first in range(0, 3000, 50):
                dealt = THINGS.dealt(ORIGIN + first, ORIGIN + first + 50, Slice())
                memo.add(dealt, value_of(dealt.ids), 1000)
                self.assertLess(memo._starts[-1], 2000 + 2 * len(dealt.ids))
                np.testing.assert_array_equal(memo.of(dealt.ids, Slice()), value_of(dealt.ids))

    def test_a_thing_of_another_slice_is_not_looked_up(self) -> None:
        memo, mine, other = RecentValues(value_of), Slice(0, 2), Slice(1, 2)
        dealt = THINGS.dealt(ORIGIN, ORIGIN + 50, mine)
        memo.add(dealt, value_of(dealt.ids), 100)
        ids = THINGS.dealt(ORIGIN, ORIGIN + 50, other).ids
        np.testing.assert_array_equal(memo.of(ids, other), value_of(ids))
        # Nor are those of the one taken for the other's where slots follow on each other.
        after = THINGS.dealt(ORIGIN + 50, ORIGIN + 100, other)
        memo.add(after, value_of(after.ids), 100)
        for slice in (mine, other):
            ids = THINGS.dealt(ORIGIN, ORIGIN + 100, slice).ids
            np.testing.assert_array_equal(memo.of(ids, slice), value_of(ids))


if __name__ == "__main__":
    unittest.main()
