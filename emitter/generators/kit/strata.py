"""A dense numbering dealt to groups in exact proportion: a member of a given group is found without a search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emitter.generators.kit.permutations import block_orders
from emitter.randomness import Integers, Stream, below, entries, modulo

BLOCK_BITS = 12
BLOCK_NUMBERS = 1 << BLOCK_BITS
_PLACE_MASK = BLOCK_NUMBERS - 1
_ORDERS = 16  # different dealings of a block, each with its tables


class Strata:
    """Numbers 0, 1, ... in blocks of `BLOCK_NUMBERS`. Within each block the groups have their quotas exactly, in one of
    some orders that the block's hash chooses.

    A group's members are numbered too, by an index from 0 in the order of their numbers: a population has at its first
    indices whoever was there first. Weights are whole; a group whose weight comes to less than half a number in a block
    is refused with ValueError, one of weight 0 has no members.
    """

    def __init__(self, weights: Sequence[int], stream: Stream) -> None:
        quotas = _quotas(weights)
        groups = np.repeat(np.arange(len(weights)), quotas)
        places = block_orders(_ORDERS, BLOCK_NUMBERS, stream)
        self._stream = stream
        self._quotas, self._starts = quotas, np.cumsum(quotas) - quotas
        # By order and place: whose it is. By order, and then group and place in it: which place of the block.
        dealt = np.empty(places.shape, dtype=np.int16)  # short ones are sorted several times as fast
        np.put_along_axis(dealt, places, np.broadcast_to(groups, places.shape), axis=1)
        members = np.argsort(dealt, axis=1, kind="stable")
        self._within = np.empty_like(places)  # by order and place: the how manieth of its group in the block it is
        np.put_along_axis(self._within, members, np.broadcast_to(_within(quotas), places.shape), axis=1)
        self._groups, self._members = dealt.reshape(-1).astype(np.int64), members.reshape(-1)
        self._within = self._within.reshape(-1)
        # The same members with order and group in front, sorted: to count those before a place.
        self._keys = self._key(np.repeat(np.arange(_ORDERS), BLOCK_NUMBERS), np.tile(groups, _ORDERS), self._members)

    def group_of(self, numbers: Integers) -> Integers:
        """The group of each number."""
        return entries(self._groups, self._cells(numbers))

    def index_of(self, numbers: Integers) -> Integers:
        """The index of each number among the members of its group."""
        cells = self._cells(numbers)
        index = numbers >> BLOCK_BITS
        index *= entries(self._quotas, entries(self._groups, cells))
        index += entries(self._within, cells)
        return index

    def number_of(self, groups: int | Integers, indices: Integers) -> Integers:
        """The number of each index of a group that has members, or of these groups."""
        if isinstance(groups, int):
            quota, start = int(self._quotas[groups]), int(self._starts[groups])
            blocks = indices // quota
            places = modulo(indices, quota) + start
        else:
            quotas = entries(self._quotas, groups)
            blocks = indices // quotas
            places = indices - blocks * quotas + entries(self._starts, groups)
        places += self._orders(blocks) << BLOCK_BITS
        numbers: Integers = (blocks << BLOCK_BITS) + entries(self._members, places)
        return numbers

    def count(self, groups: int | Integers, population: Integers) -> Integers:
        """How many of the first `population` numbers are of a group, or of these groups."""
        blocks, orders = population >> BLOCK_BITS, self._orders(population >> BLOCK_BITS)
        before = np.searchsorted(self._keys, self._key(orders, groups, population & _PLACE_MASK), side="left")
        before -= (orders << BLOCK_BITS) + self._starts[groups]
        counted: Integers = blocks * self._quotas[groups] + before
        return counted

    def _cells(self, numbers: Integers) -> Integers:
        cells = self._orders(numbers >> BLOCK_BITS)
        cells <<= BLOCK_BITS
        cells |= numbers & _PLACE_MASK
        return cells

    def _orders(self, blocks: Integers) -> Integers:
        return below(self._stream.words(~blocks), _ORDERS)

    def _key(self, orders: Integers, groups: int | Integers, places: Integers) -> Integers:
        keys: Integers = ((orders * len(self._quotas) + groups) << BLOCK_BITS) + places
        return keys


def _quotas(weights: Sequence[int]) -> Integers:
    """How many of a block each group has, those left over to the groups whose fractions are largest."""
    total = sum(weights)
    quotas, fractions = zip(*(divmod(weight * BLOCK_NUMBERS, total) for weight in weights), strict=True)
    largest = sorted(range(len(weights)), key=lambda group: (-fractions[group], group))
    more = set(largest[: BLOCK_NUMBERS - sum(quotas)])
    dealt = [quota + (group in more) for group, quota in enumerate(quotas)]
    for group, (quota, weight) in enumerate(zip(dealt, weights, strict=True)):
        if weight and not quota:
            raise ValueError(f"group {group} of weight {weight} among {total} has no number of {BLOCK_NUMBERS}")
    return np.array(dealt, dtype=np.int64)


def _within(quotas: Integers) -> Integers:
    return np.arange(int(quotas.sum())) - np.repeat(np.cumsum(quotas) - quotas, quotas)
