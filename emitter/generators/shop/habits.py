"""How often customers order, from once in years to several times a week, and who orders when.

Each orders by chance at a rate of their own, and the rates are log-normal: purchases of real customers are mostly found
to be a mixture of Poisson processes (Ehrenberg, The Pattern of Consumer Purchases, Applied Statistics 8, 1959).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from emitter.generators.kit.growth import DAY_SECONDS
from emitter.generators.kit.mixes import Mix
from emitter.generators.kit.populations import Population
from emitter.generators.kit.strata import Strata
from emitter.generators.shop.regions import Regions
from emitter.randomness import Integers, Stream, Words, below

# Of 100 customers so many have each habit, and how often they order, in hundredths of what all do in the mean.
_MEMBERS = (25, 20, 18, 14, 10, 7, 4, 2)
_PACES = (7, 18, 37, 74, 138, 277, 554, 1108)
HABITS = len(_MEMBERS)
_DAILY_ORDERS_MAX = 1  # of one customer, in the mean
_UNIT = 1_000
_CELL_SECONDS = 21_600  # who has signed up since the last quarter of a day orders in the next one
_GROUPS_KEPT = 512  # of 7 kB: the quarters of the days that a story may take, twice
_WEIGHT_BITS = 32


class Habits:
    """Customers by region and habit. Within a region the habits are dealt to its members as the regions are dealt to
    the customers, so that the members of a region and a habit are found without a search.
    """

    def __init__(self, seed: int, regions: Regions, mix: Mix, population: Population, orders_per_second: float) -> None:
        self._population, self._mix, self._region_count = population, mix, len(regions)
        self._regions = Strata(regions.shares, Stream(seed, "customers.regions"))
        self._habits = Strata(_MEMBERS, Stream(seed, "customers.habits"))
        self._paces = np.array(_paces(population.opening, orders_per_second), dtype=np.int64)
        self._member = Stream(seed, "customers.members")
        self._groups = lru_cache(maxsize=_GROUPS_KEPT)(self._make_groups)

    def regions_of(self, customers: Integers) -> Integers:
        """The region of each customer."""
        return self._regions.group_of(customers)

    def habits_of(self, customers: Integers) -> Integers:
        """The habit of each customer, from 0, the rarest buyers, to `HABITS` - 1."""
        return self._habits.group_of(self._regions.index_of(customers))

    def pick(self, words: Words, slots: Integers) -> Integers:
        """Who orders in each slot, of those who were there at the last quarter of a day: by what time it is in each
        region, and by how often each customer orders.
        """
        regions = self._mix.choose(words, slots)
        quarters, cells = np.unique(slots // _CELL_SECONDS, return_inverse=True)
        populations = self._population.sizes_at(quarters * _CELL_SECONDS)
        groups = [self._groups(int(size)) for size in populations]
        weights = np.stack([weights for _, weights in groups])[cells, regions]  # by order and habit, summed up
        habits = np.count_nonzero(below(words, weights[:, -1])[:, np.newaxis] >= weights, axis=1)
        np.minimum(habits, HABITS - 1, out=habits)
        sizes = np.stack([sizes for sizes, _ in groups])[cells, regions, habits]
        members = below(self._member.words(words), sizes)
        customers = self._regions.number_of(regions, self._habits.number_of(habits, members))
        if (nobody := np.flatnonzero(sizes == 0)).size:  # in a small shop: then it is anybody
            customers[nobody] = below(words[nobody], populations[cells[nobody]])
        return customers

    def _make_groups(self, population: int) -> tuple[Integers, Integers]:
        """By region and habit: how many there are among so many customers; and how often they order together, summed up
        over the habits of the region, in whole numbers below 2**32.
        """
        count = self._region_count
        members = self._regions.count(np.arange(count), np.full(count, population))
        sizes = self._habits.count(np.tile(np.arange(HABITS), count), np.repeat(members, HABITS)).reshape(count, HABITS)
        weights = np.cumsum(sizes * self._paces, axis=1)
        weights >>= max(0, int(weights.max()).bit_length() - _WEIGHT_BITS)
        return sizes, weights


def _paces(customers: int, orders_per_second: float) -> tuple[int, ...]:
    """How often each habit orders, in hundred-thousandths of what all do in the mean. Whoever would order too often
    does not, and the others make up for it.
    """
    each_daily = orders_per_second * DAY_SECONDS / customers
    most = round(100 * _UNIT * _DAILY_ORDERS_MAX / each_daily) if each_daily else _UNIT * max(_PACES)
    total = _UNIT * sum(members * pace for members, pace in zip(_MEMBERS, _PACES, strict=True))
    for capped in range(HABITS):  # so many of those who order most often
        free = HABITS - capped
        rest = total - sum(members * most for members in _MEMBERS[free:])
        scale = sum(members * pace for members, pace in zip(_MEMBERS[:free], _PACES[:free], strict=True))
        paces = [rest * pace // scale for pace in _PACES[:free]]
        if paces[-1] <= most:
            return (*paces, *[most] * capped)
    return (_UNIT,) * HABITS  # all of them order as often as they may, and more
