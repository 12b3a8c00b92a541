"""Who orders: people who are there, by their own clock, most of them seldom."""

from __future__ import annotations

import unittest
from functools import cache

import numpy as np

from emitter.generators.ecommerce.curve import HOUR_WEIGHTS, weights_of
from emitter.generators.kit.growth import DAY_SECONDS
from emitter.generators.kit.mixes import Mix
from emitter.generators.kit.populations import Population
from emitter.generators.kit.rates import LocalWeights
from emitter.generators.shop.habits import HABITS, Habits
from emitter.generators.shop.regions import regions
from emitter.randomness import Integers, Stream, below

ORIGIN = 189_412_200  # 2026-01-01T06:30:00Z
CUSTOMERS, DAYS = 60_000, 92
ORDERS_PER_SECOND = CUSTOMERS * 3 / (365 * DAY_SECONDS)  # three a year of each


def habits(customers: int = CUSTOMERS, rate: float = ORDERS_PER_SECOND) -> Habits:
    found = regions()
    zones = [(zone, share / 10**7) for zone, share in zip(found.time_zones, found.shares, strict=True)]
    population = Population(ORIGIN, customers, 0.2, Stream(1, "arrival"), HOUR_WEIGHTS)
    return Habits(1, found, Mix(LocalWeights(weights_of(None, None, None), zones)), population, rate)


@cache
def quarter() -> tuple[Integers, Integers]:
    """(slots, customers) of a quarter's orders."""
    count = round(ORDERS_PER_SECOND * DAYS * DAY_SECONDS)
    slots = np.sort(ORIGIN + below(Stream(1, "when").words(np.arange(count)), DAYS * DAY_SECONDS))
    return slots, picked(habits(), slots)


def picked(habits: Habits, slots: Integers, first: int = 0) -> Integers:
    numbers = np.arange(first, first + len(slots))
    return habits.pick(Stream(1, "who").words(numbers), slots)


class HabitsTest(unittest.TestCase):
    def test_only_who_is_there_orders(self) -> None:
        slots, customers = quarter()
        population = Population(ORIGIN, CUSTOMERS, 0.2, Stream(1, "arrival"), HOUR_WEIGHTS)
        self.assertTrue((customers < population.sizes_at(slots)).all())
        self.assertTrue((customers >= 0).all())
        self.assertGreater(int(customers.max()), CUSTOMERS)  # those who signed up since the origin too

    def test_windows_may_be_cut_anywhere(self) -> None:
        slots, customers = quarter()
        fresh = habits()
        for begin, end in ((30_000, 30_001), (5, 900), (40_000, 45_000)):
            np.testing.assert_array_equal(picked(fresh, slots[begin:end], begin), customers[begin:end])

    def test_most_order_seldom_and_nobody_hundreds_of_times(self) -> None:
        _, customers = quarter()
        counts = np.bincount(customers)
        counts = np.sort(counts[counts > 0])[::-1]
        self.assertGreater(float((counts == 1).mean()), 0.4)
        self.assertLess(int(counts[0]), 40)
        top = counts[: len(counts) // 100].sum() / counts.sum()
        self.assertGreater(float(top), 0.04)
        self.assertLess(float(top), 0.15)

    def test_the_gap_is_the_habits_own(self) -> None:
        slots, customers = quarter()
        found = habits()
        often = np.flatnonzero(found.habits_of(np.arange(CUSTOMERS)) == HABITS - 1)
        of_often = np.isin(customers, often)
        order = np.lexsort((slots[of_often], customers[of_often]))
        who, when = customers[of_often][order], slots[of_often][order]
        gaps = np.diff(when)[np.diff(who) == 0] / DAY_SECONDS
        mean = float(gaps.mean())
        self.assertAlmostEqual(mean, 10, delta=1.5)  # a third of a year over 11, cut off by the quarter's end
        self.assertAlmostEqual(float((gaps < mean * np.log(2)).mean()), 0.5, delta=0.03)  # as chance has it

    def test_nobody_orders_more_than_daily_in_the_mean(self) -> None:
        slots = ORIGIN + np.arange(0, 30 * DAY_SECONDS, 100)  # 26,000 orders of 5,000 customers
        counts = np.bincount(picked(habits(5_000, 0.01), slots))
        self.assertLess(int(counts.max()), 60)
        self.assertGreater(int(counts.max()), 25)

    def test_each_region_orders_by_its_own_clock(self) -> None:
        found, known = habits(), regions()
        slots = ORIGIN // DAY_SECONDS * DAY_SECONDS + 40 * DAY_SECONDS + np.repeat(np.arange(24) * 3600, 4_000)
        where = found.regions_of(picked(found, slots))
        hours = slots // 3600 % 24
        for zone, asleep, awake in (("America/New_York", 9, 1), ("Europe/Berlin", 3, 19), ("Asia/Tokyo", 19, 11)):
            of_zone = hours[where == known.time_zones.index(zone)]
            self.assertGreater((of_zone == awake).sum(), 3 * (of_zone == asleep).sum(), zone)

    def test_a_region_and_a_habit_have_the_members_that_fall_to_them(self) -> None:
        found, known = habits(), regions()
        numbers = np.arange(3 * 4096)
        shares = np.bincount(found.regions_of(numbers), minlength=len(known)) / len(numbers)
        np.testing.assert_allclose(shares, np.array(known.shares) / sum(known.shares), atol=2e-4)
        self.assertEqual(len(set(found.habits_of(numbers).tolist())), HABITS)

    def test_a_shop_of_few_has_somebody_to_order_at_any_time(self) -> None:
        for customers in (1, 2, 50):
            slots = ORIGIN + np.arange(2_000) * 40
            chosen = picked(habits(customers, 0.5), slots)
            self.assertTrue((chosen < customers + 1).all())


if __name__ == "__main__":
    unittest.main()
