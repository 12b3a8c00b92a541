"""Poisson counts: a word against thresholds."""

from __future__ import annotations

import math

import numpy as np

from emitter.randomness import Words


def poisson_thresholds(rate_micro: int) -> tuple[int, Words]:
    """(first, thresholds): a word w stands for the count first + number of thresholds <= w.

    Only IEEE additions, multiplications and divisions in a fixed order, each rounded in one way on every processor.
    What is left out in either tail is less than 2**-53.
    """
    rate = rate_micro / 1_000_000
    reach = 24 + 12 * math.isqrt(int(rate))
    mode = int(rate)
    first, last = max(0, mode - reach), mode + reach
    upward = np.cumprod(rate / np.arange(mode + 1, last + 1, dtype=np.float64))
    downward = np.cumprod(np.arange(mode, first, -1, dtype=np.float64) / rate) if rate else np.empty(0)
    mass = np.concatenate([downward[::-1], [1.0], upward])
    cumulative = np.cumsum(mass)
    share = cumulative / cumulative[-1]
    kept = share[share < 1.0 - 2.0**-53]
    return first, (kept * 2.0**64).astype(np.uint64)
