"""A choice between groups that live by different clocks: who is awake is chosen more often."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from emitter.generators.kit.choices import choice_rows, choose_by
from emitter.generators.kit.growth import DAY_SECONDS
from emitter.generators.kit.rates import CELL_SECONDS, CELLS_PER_DAY, LocalWeights
from emitter.randomness import Integers, Words

_BITS = 12
_DAYS_KEPT = 8  # 0.8 MB each


class Mix:
    """Which of the zones of some local weights something falls to that happens at a slot: by a quarter of an hour, in
    proportion to one in 4096.
    """

    def __init__(self, weights: LocalWeights) -> None:
        self._weights = weights
        self._day = lru_cache(maxsize=_DAYS_KEPT)(self._make_day)

    def choose(self, words: Words, slots: Integers, shift: int = 0) -> Integers:
        """A zone, by its place among them, for each word, by the 12 bits from `shift` on, at its slot."""
        days = slots // DAY_SECONDS
        zones = np.empty(slots.shape, dtype=np.int64)
        for day in days[:1] if (days == days[:1]).all() else np.unique(days):
            inside = days == day
            cells = (slots[inside] - day * DAY_SECONDS) // CELL_SECONDS
            zones[inside] = choose_by(self._day(int(day)), cells, words[inside], shift)
        return zones

    def _make_day(self, day: int) -> NDArray[np.int16]:
        rows = self._weights.of_day(day)
        assert len(rows) == CELLS_PER_DAY
        return choice_rows([tuple(row) for row in rows], _BITS)
