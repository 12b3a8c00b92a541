"""Samples without chance."""

from __future__ import annotations

import numpy as np

WORD_MAX = 2**64 - 1


def even_words(count: int) -> np.ndarray:
    """Words at even steps over all there are: a sample without chance."""
    step = 2**64 // count
    return np.arange(count, dtype=np.uint64) * np.uint64(step) + np.uint64(step // 2)
