"""A choice by weights, also by weights that depend on another choice: a lookup in a table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from emitter.randomness import Integers, Words, entries


def choice_table(weights: tuple[int, ...], bits: int = 12) -> NDArray[np.int8]:
    """A lookup of 2**bits entries in which index i stands in proportion to weights[i], to one entry. Draw from it with
    `choose`.
    """
    return _shares(weights, bits).astype(np.int8)


def choose[T: np.generic](table: NDArray[T], words: Words, shift: int = 0) -> NDArray[T]:
    """An entry of a table of 2**n for each word, by the n bits from `shift` on."""
    places = words >> np.uint64(shift) if shift else words
    # As int64: numpy looks up unsigned places three times as slowly.
    return entries(table, (places & np.uint64(len(table) - 1)).view(np.int64))


def choice_rows(weights: Sequence[tuple[int, ...]], bits: int = 12) -> NDArray[np.int16]:
    """A row of 2**bits entries for each condition, in which index i stands in proportion to the condition's weights[i],
    to one entry. Draw from it with `choose_by`.
    """
    return np.stack([_shares(row, bits) for row in weights]).astype(np.int16)


def member_rows(groups: Integers, weights: Integers, bits: int = 12) -> NDArray[np.int16]:
    """A row of 2**bits entries for each group from 0 on, in which the members of the group (their places in `groups`)
    stand in proportion to their weights, to one entry. No group may be without members. Draw from it with `choose_by`.
    """
    rows = []
    for group in range(int(groups.max()) + 1):
        members = np.flatnonzero(groups == group)
        edges = np.cumsum(weights[members])
        rows.append(np.repeat(members.astype(np.int16), np.diff((edges << bits) // edges[-1], prepend=0)))
    return np.stack(rows)


def choose_by[T: np.generic](table: NDArray[T], conditions: Integers, words: Words, shift: int = 0) -> NDArray[T]:
    """An entry of each condition's row of 2**n for each word, by the n bits from `shift` on."""
    width = table.shape[1]
    places = ((words >> np.uint64(shift)) & np.uint64(width - 1)).view(np.int64)
    places += conditions * width
    return entries(table.reshape(-1), places)


def _shares(weights: tuple[int, ...], bits: int) -> Integers:
    total = sum(weights)
    edges = [(so_far << bits) // total for so_far in accumulate(weights)]
    return np.searchsorted(np.array(edges), np.arange(1 << bits), side="right")
