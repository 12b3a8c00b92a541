"""The things of one kind that start in any slots: how many, and which keys they have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from emitter.generators.kit.counts import Counts
from emitter.generators.kit.dealing import Dealer, Dealt, deal
from emitter.model import Slice, Window
from emitter.randomness import Integers, entries

_KNOWN_SLOTS_MAX = 1 << 23  # 97 days, 64 MB
_AHEAD_SECONDS = 3600


class Things:
    """Counts by slot, and the dealer that gives each thing to a lane and a shard."""

    def __init__(self, counts: Counts, dealer: Dealer) -> None:
        self._counts, self._dealer = counts, dealer
        self._known = _Known(counts, dealer)

    def dealt(self, first_slot: int, end_slot: int, slice: Slice) -> Dealt:
        """The keys of a slice's things in consecutive slots."""
        slots = np.arange(first_slot, end_slot, dtype=np.int64)
        return deal(first_slot, self.counts(slots), self.offsets(slots), slice)

    def counts(self, slots: Integers) -> Integers:
        """How many things start in each slot."""
        places = self._known.places(slots)
        return self._counts(slots) if places is None else self._known.counts(places)

    def offsets(self, slots: Integers) -> Integers:
        """From where the things of each slot are dealt."""
        places = self._known.places(slots)
        return self._dealer.offsets(slots) if places is None else self._known.offsets(places)

    def expected(self, window: Window) -> float:
        """The mean number of things that start in a window."""
        return self._counts.expected(window)

    def expect(self, span: Window, lookups: int) -> None:
        """So many slots of a span will be asked for: where those are more than have to be made, all of it is made at
        once, and kept. Changes no result.
        """
        self._known.expect(span, lookups)


class _Known:
    """Counts and offsets of consecutive slots, made once for all who look a lane's steps up in them."""

    def __init__(self, counts: Counts, dealer: Dealer) -> None:
        self._make_counts, self._make_offsets = counts, dealer.offsets
        self._first = self._end = 0
        self._counts = self._offsets = np.empty(0, np.int32)

    def expect(self, span: Window, lookups: int) -> None:
        if self._first <= span.first and span.end <= self._end:
            return
        # As far as the hour goes, so that who asks second by second does not have all of it copied each time.
        span = Window(span.first, -(-span.end // _AHEAD_SECONDS) * _AHEAD_SECONDS)
        keeps = span.first < self._end and self._first < span.end
        if keeps and span.end - self._first <= _KNOWN_SLOTS_MAX:  # others may look further back
            span = Window(min(span.first, self._first), max(span.end, self._end))
        begin, end = (max(span.first, self._first), min(span.end, self._end)) if keeps else (span.first, span.first)
        if span.seconds > _KNOWN_SLOTS_MAX or span.seconds - (end - begin) > lookups:
            return
        kept = slice(begin - self._first, end - self._first) if keeps else slice(0)
        before, after = np.arange(span.first, begin), np.arange(end, span.end)
        self._counts = _joined(self._make_counts, before, self._counts[kept], after)
        self._offsets = _joined(self._make_offsets, before, self._offsets[kept], after)
        self._first, self._end = span.first, span.end

    def places(self, slots: Integers) -> Integers | None:
        """Where they are in it; None where one of them is not."""
        if not slots.size or self._first == self._end:
            return None
        if int(slots.min()) < self._first or int(slots.max()) >= self._end:
            return None
        return slots - self._first

    def counts(self, places: Integers) -> Integers:
        return entries(self._counts, places).astype(np.int64)

    def offsets(self, places: Integers) -> Integers:
        return entries(self._offsets, places).astype(np.int64)


def _joined(
    make: Callable[[Integers], Integers], before: Integers, kept: NDArray[np.int32], after: Integers
) -> NDArray[np.int32]:
    return np.concatenate([make(before).astype(np.int32), kept, make(after).astype(np.int32)])
