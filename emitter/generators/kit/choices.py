"""A choice by weights: a lookup in a table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emitter.randomness import Words, entries


def choice_table(weights: tuple[int, ...], bits: int = 12) -> NDArray[np.int8]:
    """A lookup of 2**bits entries in which index i stands in proportion to weights[i], to one entry. Draw from it with
    `choose`.
    """
    edges = [(sum(weights[: i + 1]) << bits) // sum(weights) for i in range(len(weights))]
    return np.searchsorted(np.array(edges), np.arange(1 << bits), side="right").astype(np.int8)


def choose[T: np.generic](table: NDArray[T], words: Words, shift: int = 0) -> NDArray[T]:
    """An entry of a table of 2**n for each word, by the n bits from `shift` on."""
    places = words >> np.uint64(shift) if shift else words
    # As int64: numpy looks up unsigned places three times as slowly.
    return entries(table, (places & np.uint64(len(table) - 1)).view(np.int64))
