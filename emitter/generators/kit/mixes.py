"""A choice between groups that live by different clocks: who is awake is chosen more often."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from emitter.generators.kit.growth import DAY_SECONDS
from emitter.generators.kit.rates import CELL_SECONDS, CELLS_PER_DAY, LocalWeights
from emitter.randomness import Integers, Words

_BITS = 12
_DAYS_KEPT = 128  # some 20 kB each


class Mix:
    """Which of the zones of some local weights something falls to that happens at a slot: by a quarter of an hour, in
    proportion to one in 4096.
    """

    def __init__(self, weights: LocalWeights) -> None:
        self._weights, self._zones = weights, len(weights.zone_weights)
        self._day = lru_cache(maxsize=_DAYS_KEPT)(self._make_day)

    def choose(self, words: Words, slots: Integers, shift: int = 0) -> Integers:
        """A zone, by its place among them, for each word, by the 12 bits from `shift` on, at its slot."""
        days = slots // DAY_SECONDS
        cells = (slots - days * DAY_SECONDS) // CELL_SECONDS
        keys = (((words >> np.uint64(shift)) & np.uint64((1 << _BITS) - 1)).view(np.int64)) + (cells << _BITS)
        zones = np.empty(slots.shape, dtype=np.int64)
        for day in days[:1] if (days == days[:1]).all() else np.unique(days):
            inside = days == day
            zones[inside] = np.searchsorted(self._day(int(day)), keys[inside], side="right")
        zones -= cells * self._zones
        return zones

    def _make_day(self, day: int) -> Integers:
        """Where the shares of the zones end in each cell, the cells one after the other."""
        sums = np.cumsum(np.array(self._weights.of_day(day), dtype=np.float64), axis=1)
        edges = np.floor(sums * (1 << _BITS) / sums[:, -1:]).astype(np.int64)
        found: Integers = (edges + (np.arange(CELLS_PER_DAY)[:, np.newaxis] << _BITS)).reshape(-1)
        return found
