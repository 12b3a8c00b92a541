"""The things of one kind that start in any slots: how many, and which keys they have."""

from __future__ import annotations

import numpy as np

from emitter.generators.kit.counts import Counts
from emitter.generators.kit.dealing import Dealer, Dealt, deal
from emitter.model import Slice, Window
from emitter.randomness import Integers


class Things:
    """Counts by slot, and the dealer that gives each thing to a lane and a shard."""

    def __init__(self, counts: Counts, dealer: Dealer) -> None:
        self._counts, self._dealer = counts, dealer

    def dealt(self, first_slot: int, end_slot: int, slice: Slice) -> Dealt:
        """The keys of a slice's things in consecutive slots."""
        slots = np.arange(first_slot, end_slot, dtype=np.int64)
        return deal(first_slot, self._counts(slots), self._dealer.offsets(slots), slice)

    def counts(self, slots: Integers) -> Integers:
        """How many things start in each slot."""
        return self._counts(slots)

    def offsets(self, slots: Integers) -> Integers:
        """From where the things of each slot are dealt."""
        return self._dealer.offsets(slots)

    def expected(self, window: Window) -> float:
        """The mean number of things that start in a window."""
        return self._counts.expected(window)
