"""Growth over the years, and what it brings: rates that rise, and people and products that arrive."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, localcontext
from functools import lru_cache

import numpy as np

from emitter.generators.ecommerce.curve import HOUR_WEIGHTS
from emitter.generators.ecommerce.options import GROWTH_YEARS
from emitter.model import Slice, Window
from emitter.randomness import EXACT, Integers, Stream, below, below_low, entries, modulo

YEAR_SECONDS = 365 * 86_400
DAY_SECONDS = 86_400
_PART_NUMBERS = 65_536  # of an opening stock, made at a time
UNIT = 1_000_000  # growth factors are integers in millionths


class Growth:
    """A factor that grows by a share each year after the origin, straight within a year, for `GROWTH_YEARS`."""

    def __init__(self, origin_slot: int, share_per_year: float) -> None:
        share = Decimal(str(share_per_year))
        self._origin_slot = origin_slot
        with localcontext(EXACT):
            self._factors = [int(UNIT * (1 + share) ** year) for year in range(GROWTH_YEARS + 1)]

    def millionths(self, slot: int) -> int:
        """The factor at a slot, in millionths."""
        year, rest = divmod(max(0, slot - self._origin_slot), YEAR_SECONDS)
        if year >= GROWTH_YEARS:
            return self._factors[-1]
        low, high = self._factors[year], self._factors[year + 1]
        return low + (high - low) * rest // YEAR_SECONDS


class Population:
    """Things numbered densely in order of arrival: an opening stock at the origin, then arrivals as it grows.

    The days since the origin are its blocks: how many have arrived by a day's edge follows from the growth curve in
    closed form, and within the day the arrivals are shuffled over its seconds (more by day than by night).
    """

    def __init__(self, origin_slot: int, opening: int, share_per_year: float, stream: Stream) -> None:
        self.opening = opening
        self._origin_slot = origin_slot
        self._growth = Growth(origin_slot, share_per_year)
        self._grows = share_per_year > 0
        self._stream = stream
        # A day of arrivals is made once and kept for the windows after; some days, as a window may lie over an edge.
        self._day = lru_cache(maxsize=8)(self._make_day)

    def _size_at_day(self, day: int) -> int:
        return self.opening * self._growth.millionths(self._origin_slot + day * DAY_SECONDS) // UNIT

    def _make_day(self, day: int) -> tuple[int, Integers]:
        """The number of things at the start of a day since the origin, and the day's arrival slots in order."""
        before = self._size_at_day(day)
        words = self._stream.words(np.arange(before, self._size_at_day(day + 1), dtype=np.int64))
        hours = np.searchsorted(_HOUR_EDGES, below(words, int(_HOUR_EDGES[-1])), side="right")
        start = self._origin_slot + day * DAY_SECONDS
        seconds = (hours * 3600 + below_low(words, 3600) - start) % DAY_SECONDS
        return before, np.sort(start + seconds)

    def sizes_at(self, slots: Integers) -> Integers:
        """How many there are at the start of each slot (none of those that arrive within it)."""
        if not self._grows:
            return np.full(slots.shape, self.opening, dtype=np.int64)
        days = (slots - self._origin_slot) // DAY_SECONDS
        sizes = np.empty(slots.shape, dtype=np.int64)
        # Mostly there is one, and numpy takes 49 ns a slot to find that.
        for day in days[:1] if (days == days[:1]).all() else np.unique(days):
            before, arrivals = self._day(int(day))
            inside = days == day
            sizes[inside] = before + np.searchsorted(arrivals, slots[inside], side="left")
        return sizes

    def sizes_within(self, slots: Integers) -> int | Integers:
        """The same for slots that lie close together: one number where it doesn't change between them."""
        first, last = int(slots.min()), int(slots.max())
        ends = self.sizes_at(np.array([first, last]))
        return int(ends[0]) if ends[0] == ends[1] else self.sizes_at(slots)

    def opening_within(self, window: Window, slice: Slice) -> Iterator[Integers]:
        """The numbers of the opening stock that fall to a slice, in parts, if the origin is in the window."""
        if window.first <= self._origin_slot < window.end:
            for begin in range(slice.index, self.opening, _PART_NUMBERS * slice.count):
                end = min(begin + _PART_NUMBERS * slice.count, self.opening)
                yield np.arange(begin, end, slice.count, dtype=np.int64)

    def arrivals(self, window: Window) -> tuple[Integers, Integers]:
        """(numbers, slots) of those that arrive in the window, the opening stock not included."""
        first = max(window.first, self._origin_slot)
        numbers, slots = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        if self._grows and first < window.end:
            for day in range(
                (first - self._origin_slot) // DAY_SECONDS, (window.end - 1 - self._origin_slot) // DAY_SECONDS + 1
            ):
                before, arrivals = self._day(day)
                low, high = np.searchsorted(arrivals, [first, window.end], side="left")
                numbers.append(np.arange(before + low, before + high, dtype=np.int64))
                slots.append(arrivals[low:high])
        return np.concatenate(numbers), np.concatenate(slots)

    def expected_arrivals(self, window: Window) -> float:
        """The mean number of arrivals in the window, the opening stock not included."""
        first, end = (self._growth.millionths(slot) for slot in (window.first, window.end))
        return self.opening * (end - first) / UNIT


class Shuffle:
    """A fixed shuffle of the opening stock, so that the best sellers are not the lowest numbers. What arrives later
    keeps its place.
    """

    def __init__(self, size: int, stream: Stream) -> None:
        self._size = size
        factor = stream.word(0) % size
        while np.gcd(factor, size) != 1:
            factor = (factor + 1) % size
        self._factor, self._offset = factor, stream.word(1) % size
        # Looking up is faster than dividing, as long as the table stays in the cache.
        self._table = self._shuffled(np.arange(size)) if size <= _SHUFFLE_TABLE_MAX else None

    def __call__(self, ranks: Integers) -> Integers:
        """The number at each rank."""
        if int(ranks.max(initial=0)) < self._size:
            return self._shuffled(ranks) if self._table is None else entries(self._table, ranks)
        inside = ranks < self._size
        return np.where(inside, self(np.where(inside, ranks, 0)), ranks)

    def _shuffled(self, ranks: Integers) -> Integers:
        # Sizes up to 2**31 keep the product within 63 bits.
        return modulo(ranks * self._factor + self._offset, self._size)


_SHUFFLE_TABLE_MAX = 1 << 18
_HOUR_EDGES = np.cumsum(HOUR_WEIGHTS)
