"""Who acts at a slot follows the clocks of where they live."""

from __future__ import annotations

import unittest

import numpy as np

from emitter.clock import parse_time, slot_of
from emitter.generators.kit.curve import Weights
from emitter.generators.kit.mixes import Mix
from emitter.generators.kit.rates import LocalWeights
from emitter.randomness import Stream

NOON_ONLY = Weights(tuple(1000 if 11 <= hour < 14 else 1 for hour in range(24)), (1,) * 7, (1,) * 12)
EVEN = Weights((1,) * 24, (1,) * 7, (1,) * 12)
ZONES = (("Europe/Berlin", 0.5), ("America/New_York", 0.3), ("Asia/Tokyo", 0.2))


def shares(weights: Weights, time: str, draws: int = 40_000) -> list[float]:
    mix = Mix(LocalWeights(weights, ZONES))
    slots = np.full(draws, slot_of(parse_time(time)))
    zones = mix.choose(Stream(1, "who").words(np.arange(draws)), slots, shift=20)
    return (np.bincount(zones, minlength=len(ZONES)) / draws).tolist()


class MixTest(unittest.TestCase):
    def test_whoever_has_noon_is_chosen(self) -> None:
        for time, zone in (
            ("2026-01-15T11:30:00Z", 0),
            ("2026-01-15T17:30:00Z", 1),
            ("2026-07-15T16:30:00Z", 1),  # in summer an hour earlier
            ("2026-01-15T03:30:00Z", 2),
        ):
            self.assertGreater(shares(NOON_ONLY, time)[zone], 0.98, time)

    def test_where_no_hour_counts_the_weights_do(self) -> None:
        for found, (_, weight) in zip(shares(EVEN, "2026-05-05T05:05:05Z"), ZONES, strict=True):
            self.assertAlmostEqual(found, weight, delta=0.01)

    def test_slots_of_several_days_are_chosen_as_each_by_itself(self) -> None:
        mix, words = Mix(LocalWeights(NOON_ONLY, ZONES)), Stream(1, "who").words(np.arange(200))
        slots = slot_of(parse_time("2026-03-01T00:00:00Z")) + np.arange(200) * 7_001
        together = mix.choose(words, slots)
        apart = [int(mix.choose(words[[place]], slots[[place]])[0]) for place in reversed(range(200))]
        self.assertEqual(together.tolist(), apart[::-1])
        self.assertEqual(set(together.tolist()), {0, 1, 2})


if __name__ == "__main__":
    unittest.main()
