"""Things that arrive as a population grows, numbered in order of arrival."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from emitter.generators.kit.curve import YEAR_DAYS
from emitter.generators.kit.growth import DAY_SECONDS, UNIT, Growth
from emitter.generators.kit.limits import GROWTH_YEARS
from emitter.model import Slice, Window
from emitter.randomness import Integers, Stream, below, below_low

_PART_NUMBERS = 65_536  # of an opening stock, made at a time


class Population:
    """Things numbered densely in order of arrival: an opening stock at the origin, then arrivals as it grows.

    The days since the origin are its blocks: how many have arrived by a day's edge follows from the growth curve in
    closed form, and within the day the arrivals are shuffled over its seconds, by the weights of its hours (UTC).
    """

    def __init__(
        self,
        origin_slot: int,
        opening: int,
        share_per_year: float,
        stream: Stream,
        hour_weights: Sequence[int] = (1,) * 24,
    ) -> None:
        self.opening = opening
        self._origin_slot = origin_slot
        self._growth = Growth(origin_slot, share_per_year)
        self._grows = share_per_year > 0
        self._stream = stream
        self._hour_edges = np.cumsum(hour_weights)
        # A day of arrivals is made once and kept for the windows after; some days, as a window may lie over an edge.
        self._day = lru_cache(maxsize=8)(self._make_day)

    def _size_at_day(self, day: int) -> int:
        return self.opening * self._growth.millionths(self._origin_slot + day * DAY_SECONDS) // UNIT

    def _make_day(self, day: int) -> tuple[int, Integers]:
        """The number of things at the start of a day since the origin, and the day's arrival slots in order."""
        before = self._size_at_day(day)
        words = self._stream.words(np.arange(before, self._size_at_day(day + 1), dtype=np.int64))
        hours = np.searchsorted(self._hour_edges, below(words, int(self._hour_edges[-1])), side="right")
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

    def slots_of(self, numbers: Integers) -> Integers:
        """When each of these arrived, none of them of the opening stock."""
        slots = np.empty(numbers.shape, dtype=np.int64)
        days = self._days_of(numbers)
        for day in np.unique(days):
            before, arrivals = self._day(int(day))
            inside = days == day
            slots[inside] = arrivals[numbers[inside] - before]
        return slots

    def _days_of(self, numbers: Integers) -> Integers:
        """The day since the origin on which each arrives, by bisection: the curve has a closed form the other way."""
        low, high = np.zeros(numbers.shape, np.int64), np.full(numbers.shape, GROWTH_YEARS * YEAR_DAYS, np.int64)
        while (high - low).max(initial=0) > 1:
            middle = (low + high) // 2
            sizes = np.array([self._size_at_day(day) for day in middle.tolist()], dtype=np.int64)
            low, high = np.where(sizes <= numbers, middle, low), np.where(sizes <= numbers, high, middle)
        return low

    def expected_arrivals(self, window: Window) -> float:
        """The mean number of arrivals in the window, the opening stock not included."""
        first, end = (self._growth.millionths(slot) for slot in (window.first, window.end))
        return self.opening * (end - first) / UNIT
