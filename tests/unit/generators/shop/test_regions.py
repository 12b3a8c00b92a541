"""Regions hold the cities that go by their clock, with the customers that their country has."""

from __future__ import annotations

import unittest
from collections import defaultdict
from itertools import pairwise

import numpy as np

from emitter.generators.kit.places import cities, countries
from emitter.generators.shop.regions import regions
from emitter.randomness import Stream


class RegionsTest(unittest.TestCase):
    def test_each_country_has_its_share(self) -> None:
        found, wanted = regions(), countries().customers_bp
        shares: dict[int, int] = defaultdict(int)
        for country, share in zip(found.countries.tolist(), found.shares, strict=True):
            shares[country] += share
        for country, share in shares.items():
            self.assertAlmostEqual(share / sum(found.shares), wanted[country] / wanted.sum(), places=5)
        self.assertEqual(len(shares), len(wanted))
        self.assertGreaterEqual(min(found.shares) / sum(found.shares), 3.9e-4)

    def test_the_cities_of_a_region_are_of_its_country_by_population(self) -> None:
        found, towns = regions(), cities()
        words, seen = Stream(1, "cities").words(np.arange(20_000)), set[int]()
        zones = towns.time_zones.names.to_pylist()
        for place, country in enumerate(found.countries.tolist()):
            chosen, counts = np.unique(found.cities(np.full(20_000, place), words), return_counts=True)
            self.assertEqual(set(towns.countries[chosen].tolist()), {country})
            largest = int(chosen[towns.populations[chosen].argmax()])
            self.assertEqual(zones[towns.time_zones.codes[largest]], found.time_zones[place])
            share = int(towns.populations[largest]) / int(towns.populations[chosen].sum())
            self.assertAlmostEqual(int(counts[chosen == largest][0]) / 20_000, share, delta=0.02)
            seen |= set(chosen.tolist())
        self.assertEqual(len(seen), len(towns.countries))

    def test_the_largest_of_a_country_comes_first(self) -> None:
        found = regions()
        for before, after in pairwise(range(len(found))):
            if found.countries[before] == found.countries[after]:
                self.assertGreaterEqual(found.shares[before], found.shares[after])


if __name__ == "__main__":
    unittest.main()
