"""How many things start in each slot: Poisson given a rate curve, or evenly at a constant rate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emitter.generators.kit.growth import UNIT
from emitter.generators.kit.limits import SLOT_THINGS_MAX
from emitter.generators.kit.poisson import poisson_thresholds
from emitter.generators.kit.rates import CELL_SECONDS, CELLS_PER_DAY, Curve, FlatCurve
from emitter.model import Window
from emitter.randomness import Integers, Stream, Words

_LEVEL_BITS = 16


class Counts:
    """n(slot), for any slots in any order. Rates and the thresholds of their counts are made when first needed.

    `curves` are (from_slot, curve) in order; each slot has the curve in force at it. What is kept grows with the days
    between the first and the last asked for (0.8 KB each), and with the different rates (by their rounding a few
    thousand at most).
    """

    def __init__(self, origin_slot: int, curves: Sequence[tuple[int, Curve]], stream: Stream) -> None:
        self._origin_slot = origin_slot
        self._stream = stream
        self._froms = np.array([from_slot for from_slot, _ in curves], dtype=np.int64)
        self._tables = [
            _EvenTable(curve, origin_slot) if isinstance(curve, FlatCurve) and curve.is_even else _RateTable(curve)
            for _, curve in curves
        ]

    def __call__(self, slots: Integers) -> Integers:
        """How many things start in each slot; none before the origin."""
        flat = slots.reshape(-1)
        words = self._stream.words(flat)
        counts = np.zeros(flat.shape, dtype=np.int64)
        for table, inside in self._parts(flat):
            counts[inside] = table.counts(flat[inside], words[inside])
        return counts.reshape(slots.shape)

    def rates_micro(self, slots: Integers) -> Integers:
        """The mean number of things in each slot (a flat array), in millionths; zero before the origin."""
        rates = np.zeros(slots.shape, dtype=np.int64)
        for table, inside in self._parts(slots):
            rates[inside] = table.rates_micro(slots[inside])
        return rates

    def expected(self, window: Window) -> float:
        """The mean number of things that start in a window."""
        first = max(window.first, self._origin_slot)
        if first >= window.end:
            return 0.0
        # Every slot where the rate may step: the cells' edges and the epochs' beginnings.
        edges = np.arange(first // CELL_SECONDS + 1, -(-window.end // CELL_SECONDS)) * CELL_SECONDS
        edges = np.unique(
            np.concatenate([[first], edges, self._froms[(self._froms > first) & (self._froms < window.end)]])
        )
        seconds = np.diff(edges, append=window.end)
        return float((self.rates_micro(edges) * seconds).sum()) / UNIT

    def _parts(self, slots: Integers) -> list[tuple[_RateTable, Integers | slice]]:
        if slots.size and slots.min() >= max(self._origin_slot, int(self._froms[-1])):
            return [(self._tables[-1], slice(None))]
        epochs = np.searchsorted(self._froms, slots, side="right") - 1
        epochs[slots < self._origin_slot] = -1
        return [(self._tables[epoch], np.flatnonzero(epochs == epoch)) for epoch in np.unique(epochs) if epoch >= 0]


class _RateTable:
    """A curve's rates by cell, over the days asked for, and the count thresholds of every different rate."""

    def __init__(self, curve: Curve) -> None:
        self._curve = curve
        self._first_cell = 0
        self._levels = np.empty(0, np.int64)  # by cell from _first_cell: the number of its rate
        self._level_of: dict[int, int] = {}  # rate in millionths -> number
        self._rates = np.empty(0, np.int64)  # by level: the rate
        self._firsts = np.empty(0, np.int64)  # by level: the count below its first threshold
        self._starts = np.empty(0, np.int64)  # by level: where its thresholds begin in _keys
        self._keys: Words = np.empty(0, np.uint64)  # level above, threshold below: sorted, so one search serves all

    def rates_micro(self, slots: Integers) -> Integers:
        level = self._level(slots)  # first: it may find new rates
        return self._rates[level]

    def counts(self, slots: Integers, words: Words) -> Integers:
        level = self._level(slots)
        keys = (level.view(np.uint64) << np.uint64(64 - _LEVEL_BITS)) | (words >> np.uint64(_LEVEL_BITS))
        passed = np.searchsorted(self._keys, keys, side="right") - self._starts[level]
        return np.minimum(self._firsts[level] + passed, SLOT_THINGS_MAX - 1)

    def _level(self, slots: Integers) -> Integers:
        if not slots.size:
            return np.empty(0, np.int64)
        cells = slots // CELL_SECONDS
        low, high = int(cells.min()) // CELLS_PER_DAY, int(cells.max()) // CELLS_PER_DAY + 1
        if not self._levels.size:
            self._first_cell = low * CELLS_PER_DAY
        first_day = self._first_cell // CELLS_PER_DAY
        end_day = first_day + len(self._levels) // CELLS_PER_DAY
        if low < first_day or high > end_day:
            before = self._day_levels(range(low, first_day))
            after = self._day_levels(range(end_day, high))
            self._levels = np.concatenate([before, self._levels, after])
            self._first_cell = min(low, first_day) * CELLS_PER_DAY
        return self._levels[cells - self._first_cell]

    def _day_levels(self, days: range) -> Integers:
        rates = [rate for day in days for rate in self._curve.day_rates_micro(day)]
        new = sorted(set(rates) - self._level_of.keys())
        keys, starts, firsts = [self._keys], [self._starts], [self._firsts]
        size = len(self._keys)
        for rate in new:
            level = len(self._level_of)
            if level >= 1 << _LEVEL_BITS:
                raise OverflowError("more different rates than their rounding allows")
            first, thresholds = poisson_thresholds(rate)
            keys.append((np.uint64(level) << np.uint64(64 - _LEVEL_BITS)) | (thresholds >> np.uint64(_LEVEL_BITS)))
            starts.append(np.array([size]))
            firsts.append(np.array([first]))
            size += len(thresholds)
            self._level_of[rate] = level
        self._keys, self._starts, self._firsts = np.concatenate(keys), np.concatenate(starts), np.concatenate(firsts)
        self._rates = np.concatenate([self._rates, np.array(new, dtype=np.int64)])
        return np.array([self._level_of[rate] for rate in rates], dtype=np.int64)


class _EvenTable(_RateTable):
    """Counts that are the rate, in whole things: from the origin to any slot rate * seconds of them, rounded down."""

    def __init__(self, curve: Curve, origin_slot: int) -> None:
        super().__init__(curve)
        self._origin_slot = origin_slot

    def counts(self, slots: Integers, words: Words) -> Integers:  # noqa: ARG002 (there is no chance in it)
        whole, rest = np.divmod(self.rates_micro(slots), UNIT)
        before = rest * (slots - self._origin_slot)
        even: Integers = whole + (before + rest) // UNIT - before // UNIT
        return even
