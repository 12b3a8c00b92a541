"""Each thing has its number in its group and turn, counted one by one."""

from __future__ import annotations

import unittest
from collections import Counter

import numpy as np

from emitter.generators.kit.counts import Counts
from emitter.generators.kit.dealing import Dealer, places_within
from emitter.generators.kit.rates import FlatCurve
from emitter.generators.kit.things import Things
from emitter.generators.kit.turns import Turns
from emitter.model import Slice
from emitter.randomness import Integers, Stream, below

ORIGIN = 189_412_200
THINGS = Things(Counts(ORIGIN, [(ORIGIN, FlatCurve(1.7))], Stream(1, "count")), Dealer(Stream(1, "deal")))
GROUP = Stream(1, "group")


def group_of(slots: Integers, seqs: Integers) -> Integers:
    return below(GROUP.words(slots << 18 | seqs), 7)


class TurnsTest(unittest.TestCase):
    def test_things_are_numbered_through_their_turn(self) -> None:
        slots = np.arange(ORIGIN - 100, ORIGIN + 1500)
        places, seqs = places_within(THINGS.counts(slots))
        slots = slots[places]
        groups = group_of(slots, seqs)
        for seconds in (1, 60, 500):
            members: Counter[tuple[int, int]] = Counter()
            ordinals = []
            for cell in zip((slots // seconds).tolist(), groups.tolist(), strict=True):
                ordinals.append(members[cell])
                members[cell] += 1
            order = np.argsort(Stream(1, "order").words(np.arange(len(slots))))
            found = Turns(THINGS, seconds, group_of, 7).of(slots[order], seqs[order])
            np.testing.assert_array_equal(found.turns, slots[order] // seconds)
            np.testing.assert_array_equal(found.groups, groups[order])
            np.testing.assert_array_equal(found.ordinals, np.array(ordinals)[order])
            whole = found.turns < (ORIGIN + 1500) // seconds  # the last turn goes on
            cells = zip(found.turns[whole].tolist(), found.groups[whole].tolist(), strict=True)
            self.assertEqual(found.counts[whole].tolist(), [members[cell] for cell in cells])

    def test_whoever_asks_for_whichever_things_gets_the_same(self) -> None:
        dealt = THINGS.dealt(ORIGIN + 50_000, ORIGIN + 50_400, Slice(1, 3))
        seqs = (dealt.ids >> 4) & (2**18 - 1)
        whole = Turns(THINGS, 300, group_of, 7).of(dealt.slots, seqs)
        used = Turns(THINGS, 300, group_of, 7)
        for place in reversed(range(0, len(seqs), 9)):
            one = used.of(dealt.slots[place : place + 1], seqs[place : place + 1])
            self.assertEqual(
                (one.ordinals[0], one.counts[0], one.groups[0]),
                (whole.ordinals[place], whole.counts[place], whole.groups[place]),
            )

    def test_what_cannot_be_is_refused(self) -> None:
        for seconds, groups in ((0, 1), (60, 0), (60, 2**15 + 1)):
            with self.assertRaisesRegex(ValueError, "turns"):
                Turns(THINGS, seconds, group_of, groups)


if __name__ == "__main__":
    unittest.main()
