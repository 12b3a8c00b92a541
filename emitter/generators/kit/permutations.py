"""Keyed permutations that show no pattern: neighbours in rank are anywhere, and either way is as quick."""

from __future__ import annotations

from functools import cached_property
from math import isqrt

import numpy as np

from emitter.randomness import Integers, Stream, below, entries

SIZE_MAX = 1 << 32
_ROUNDS = 6
# up to here every answer is kept, once asked for: looking up is ten times as fast as going through.
_TABLE_MAX = 1 << 18


class Permutation:
    """A permutation of [0, size): `of` gives the number at each rank, `rank_of` the rank of each number.

    A Feistel network over two digits of base ceil(sqrt(size)), each round adding to one of them a keyed function of the
    other (Black and Rogaway, Ciphers with Arbitrary Finite Domains, 2002). What it makes of a number goes through it
    again until it is below the size. With digits instead of halves of bits there are at most 2 * sqrt(size) numbers
    beyond the size, so hardly any goes twice; and the functions are so short that each is a table.
    """

    def __init__(self, size: int, stream: Stream) -> None:
        if not 1 <= size <= SIZE_MAX:
            raise ValueError(f"a permutation is of 1 to {SIZE_MAX} numbers, not of {size}")
        self._size, self._base = size, isqrt(size - 1) + 1
        digits = np.arange(self._base, dtype=np.int64)
        self._adds = [below(stream.words((turn << 32) | digits), self._base) for turn in range(_ROUNDS)]

    def of(self, ranks: Integers) -> Integers:
        """The number at each rank, all of them in [0, size)."""
        return self._walked(ranks, forwards=True) if self._size > _TABLE_MAX else entries(self._numbers, ranks)

    def rank_of(self, numbers: Integers) -> Integers:
        """The rank of each number, all of them in [0, size)."""
        return self._walked(numbers, forwards=False) if self._size > _TABLE_MAX else entries(self._ranks, numbers)

    @cached_property
    def _numbers(self) -> Integers:
        return self._walked(np.arange(self._size, dtype=np.int64), forwards=True)

    @cached_property
    def _ranks(self) -> Integers:
        return self._walked(np.arange(self._size, dtype=np.int64), forwards=False)

    def _walked(self, values: Integers, *, forwards: bool) -> Integers:
        walked = self._passed(values, forwards=forwards)
        while (outside := np.flatnonzero(walked >= self._size)).size:
            walked[outside] = self._passed(walked[outside], forwards=forwards)
        return walked

    def _passed(self, values: Integers, *, forwards: bool) -> Integers:
        """Values in [0, base**2) through all rounds."""
        base = self._base
        high = values // base
        digits = [high, values - high * base]
        for turn in range(_ROUNDS) if forwards else reversed(range(_ROUNDS)):
            changed, other = digits[turn % 2], digits[1 - turn % 2]
            added = entries(self._adds[turn], other)
            if forwards:
                changed += added
                changed -= base * (changed >= base)
            else:
                changed -= added
                changed += base * (changed < 0)
        return digits[0] * base + digits[1]


def block_orders(count: int, size: int, stream: Stream) -> Integers:
    """So many permutations of [0, size), one a row: orders for blocks to choose from."""
    places = np.arange(count * size, dtype=np.int64).reshape(count, size)
    return np.argsort(stream.words(places), axis=1, kind="stable")
