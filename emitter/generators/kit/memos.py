"""A bounded memo of what things came to, for what follows them to look up. It never changes a result."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from emitter.generators.kit.dealing import Dealt
from emitter.generators.kit.keys import SEQUENCE_MASK, SLOT_SHIFT
from emitter.generators.kit.limits import CHILD_BITS
from emitter.model import Slice
from emitter.randomness import Integers, entries

_VALUES_MAX = 4_000_000  # 32 MB


class RecentValues:
    """An integer of each thing, of which those of the last slots are kept. `make` gives the integers of any keys."""

    def __init__(self, make: Callable[[Integers], Integers]) -> None:
        self._make = make
        self._begin(0, Slice())

    def _begin(self, first_slot: int, slice: Slice) -> None:
        self._slice, self._first, self._end = slice, first_slot, first_slot
        self._starts, self._firsts = np.zeros(1, np.int64), np.empty(0, np.int64)  # by slot
        self._values = np.empty(0, np.int64)  # by thing, with room to grow

    def add(self, dealt: Dealt, values: Integers, keep_seconds: int) -> None:
        """Take in the values of the things of some slots, and keep those of so many seconds before them if they are the
        ones that were taken in last.
        """
        if dealt.first_slot != self._end or dealt.slice != self._slice:
            self._begin(dealt.first_slot, dealt.slice)
        self._forget(dealt.first_slot - keep_seconds)
        size = int(self._starts[-1])
        if size > _VALUES_MAX:
            self._begin(dealt.first_slot, dealt.slice)
            size = 0
        if size + len(values) > len(self._values):
            grown = np.empty(2 * (size + len(values)), np.int64)
            grown[:size] = self._values[:size]
            self._values = grown
        self._values[size : size + len(values)] = values
        self._starts = np.concatenate([self._starts, dealt.starts[1:] + size])
        self._firsts = np.concatenate([self._firsts, dealt.firsts])
        self._end += len(dealt.firsts)

    def _forget(self, before_slot: int) -> None:
        drop = before_slot - self._first
        if drop > 0:
            gone = int(self._starts[drop])
            self._starts, self._firsts = self._starts[drop:] - gone, self._firsts[drop:]
            self._values, self._first = self._values[gone:], before_slot

    def of(self, ids: Integers, slice: Slice) -> Integers:
        """The value of each of these things of a slice."""
        slots = ids >> SLOT_SHIFT
        known = (slots >= self._first) & (slots < self._end) if slice == self._slice else np.zeros(len(ids), dtype=bool)
        if known.all():
            return self._look_up(ids, slots)
        values = np.empty(len(ids), np.int64)
        values[known] = self._look_up(ids[known], slots[known])
        things, places = np.unique(ids[~known], return_inverse=True)
        values[~known] = self._make(things)[places]
        return values

    def _look_up(self, ids: Integers, slots: Integers) -> Integers:
        slots = slots - self._first
        place = (ids >> CHILD_BITS) & SEQUENCE_MASK
        place -= entries(self._firsts, slots)
        if self._slice.count > 1:
            place //= self._slice.count
        place += entries(self._starts, slots)
        values: Integers = entries(self._values, place)
        return values
