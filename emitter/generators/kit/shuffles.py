"""A shuffle of numbers by one multiplication."""

from __future__ import annotations

import numpy as np

from emitter.randomness import Integers, Stream, entries, modulo

_TABLE_MAX = 1 << 18


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
        self._table = self._shuffled(np.arange(size)) if size <= _TABLE_MAX else None

    def __call__(self, ranks: Integers) -> Integers:
        """The number at each rank."""
        if int(ranks.max(initial=0)) < self._size:
            return self._shuffled(ranks) if self._table is None else entries(self._table, ranks)
        inside = ranks < self._size
        return np.where(inside, self(np.where(inside, ranks, 0)), ranks)

    def _shuffled(self, ranks: Integers) -> Integers:
        # Sizes up to 2**31 keep the product within 63 bits.
        return modulo(ranks * self._factor + self._offset, self._size)
