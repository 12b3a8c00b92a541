"""Exchange rates: a path for each currency, whose value holds for a day, and amounts turned from euro by it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pyarrow as pa

from emitter import arrow
from emitter.clock import EPOCH_UNIX_SECONDS
from emitter.generators.kit.growth import DAY_SECONDS
from emitter.generators.kit.places import countries
from emitter.generators.kit.walks import Walk
from emitter.generators.shop.tables import EXCHANGE_RATES
from emitter.model import Slice, Window
from emitter.randomness import Integers, Stream, entries

RATE_UNIT = 1_000_000
_DEVIATION_MICRO = 30_000  # of the rate's mean: currencies of large economies move by some per cent within months
_MEMORY_BITS, _GRAIN_BITS = 24, 16  # 194 days, 18 hours
_DAYS_KEPT = 128
_COLUMN_NAMES = [column.name for column in EXCHANGE_RATES.columns]


class Currencies:
    """The currencies of `kit.places`, by their place among its labels. The euro's rate stays what it is."""

    def __init__(self, seed: int, origin_slot: int) -> None:
        self._origin_slot = origin_slot
        lands = countries()
        self._codes = lands.currencies.names
        # What is written beside each country is of its currency.
        self._means, self._steps = np.zeros(len(self._codes), np.int64), np.zeros(len(self._codes), np.int64)
        self._means[lands.currencies.codes] = lands.units_per_eur_micros
        self._steps[lands.currencies.codes] = lands.rounding_cents  # the hundredths that amounts are multiples of
        self._moves = np.array([code != "EUR" for code in self._codes.to_pylist()], dtype=np.int64)
        self._walk = Walk(_DEVIATION_MICRO, _MEMORY_BITS, _GRAIN_BITS, Stream(seed, "exchange_rates"))
        self._of_day = lru_cache(maxsize=_DAYS_KEPT)(self._make_day)

    def amounts(self, cents: Integers, currencies: Integers, slots: Integers) -> Integers:
        """Amounts in euro cents, not negative, in each currency's hundredths at the rate of the slot's day, rounded to
        its step, half up.
        """
        return self.rounded(self.precise(cents, currencies, slots), currencies)

    def precise(self, cents: Integers, currencies: Integers, slots: Integers) -> Integers:
        """The same in hundredths, before they are rounded to the step."""
        amounts = cents * self.rates_micro(currencies, slots)
        amounts += RATE_UNIT // 2
        amounts //= RATE_UNIT
        return amounts

    def rounded(self, hundredths: Integers, currencies: Integers) -> Integers:
        """To the step of each currency, half up."""
        steps = entries(self._steps, currencies)
        amounts = hundredths + steps // 2
        amounts //= steps
        amounts *= steps
        return amounts

    def rates_micro(self, currencies: Integers, slots: Integers) -> Integers:
        """The rate of each currency at each slot, in millionths of a unit for a euro."""
        days = slots // DAY_SECONDS
        rates = np.empty(slots.shape, dtype=np.int64)
        for day in days[:1] if (days == days[:1]).all() else np.unique(days):
            inside = days == day
            rates[inside] = entries(self._of_day(int(day)), currencies[inside])
        return rates

    def rows(self, window: Window, slice: Slice) -> pa.RecordBatch | None:
        """The table's rows of a window and a slice, which shares the days; None where there are none."""
        slots = [slot for slot in self._slots(window) if slot // DAY_SECONDS % slice.count == slice.index]
        if not slots:
            return None
        count = len(self._codes)
        rates = np.concatenate([self._of_day(slot // DAY_SECONDS) for slot in slots])
        moments = (np.repeat(np.array(slots, dtype=np.int64), count) + EPOCH_UNIX_SECONDS) * 1_000_000
        codes = np.tile(np.arange(count, dtype=np.int8), len(slots))
        return pa.RecordBatch.from_arrays(
            [arrow.labels(codes, self._codes), arrow.times(moments), pa.array(rates / RATE_UNIT)], names=_COLUMN_NAMES
        )

    def expected_rows(self, window: Window) -> float:
        """How many rows a window has, all slices together."""
        return float(sum(1 for _ in self._slots(window)) * len(self._codes))

    def _slots(self, window: Window) -> Iterator[int]:
        """The origin, and each midnight after it."""
        first = max(window.first, self._origin_slot)
        if first == self._origin_slot < window.end:
            yield first
        midnight = (max(first, self._origin_slot + 1) + DAY_SECONDS - 1) // DAY_SECONDS * DAY_SECONDS
        yield from range(midnight, window.end, DAY_SECONDS)

    def _make_day(self, day: int) -> Integers:
        slots, paths = np.full(len(self._means), day * DAY_SECONDS), np.arange(len(self._means))
        moves = self._walk.at(slots, paths) * self._moves
        rates: Integers = self._means * (RATE_UNIT + moves) // RATE_UNIT
        return rates
