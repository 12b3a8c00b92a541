"""Skewed picks: a few of a population are drawn most, by a power law of their rank."""

from __future__ import annotations

from decimal import Decimal, localcontext
from functools import lru_cache

import numpy as np

from emitter.generators.kit.limits import POPULATION_MAX
from emitter.randomness import EXACT, Integers, Words, entries

QUANTILE_BITS = 12  # knots of a quantile table: 2**12 + 1
FRACTION_BITS = 34  # a quantile is a fraction of the population in so many bits
assert POPULATION_MAX == 1 << (64 - FRACTION_BITS)
_UNSURE = 0.01  # how near to a whole number an estimate says nothing: some fifty times what it may be off


@lru_cache(maxsize=16)  # a daemon builds its generator again at every start and change of inputs
def power_law_quantiles(size: int, exponent: Decimal) -> Words:
    """For 2**QUANTILE_BITS even steps of probability: the fraction of a population of `size` that is passed where the
    step begins, and how much it adds (two rows), where rank r (from 0) has a weight like (r + 1)**-exponent.

    The continuous law over x in [1, size + 1): F(x) = (x**(1-s) - 1) / ((size+1)**(1-s) - 1), or log(x) / log(size+1)
    for s = 1. Computed with `decimal`, whose results are the same everywhere. All knots would take it 0.2 s, a fifth of
    a start: it computes those that an estimate in floating point leaves open, where that is well-conditioned (s <= 1).
    """
    knots, top = 1 << QUANTILE_BITS, 1 << FRACTION_BITS
    edges, is_open = np.empty(knots + 1, dtype=np.uint64), np.ones(knots + 1, dtype=bool)
    with localcontext(EXACT):
        rest, log_top = 1 - exponent, Decimal(size + 1).ln()
        span = (rest * log_top).exp() - 1 if rest else log_top
        if rest >= 0:
            steps = float(span) * np.arange(knots + 1) / knots
            estimates = np.expm1(np.log1p(steps) / float(rest) if rest else steps) / size * top
            is_open = np.abs(estimates - np.rint(estimates)) < _UNSURE
            edges = estimates.astype(np.uint64)
        for knot in map(int, np.flatnonzero(is_open)):
            step = span * knot / knots
            place = (1 + step).ln() / rest if rest else step
            edges[knot] = min(int(((place.exp() - 1) / size) * top), top)
    found = np.stack([edges[:-1], np.diff(edges)])
    found.flags.writeable = False  # it is shared
    return found


def skewed_rank(words: Words, quantiles: Words, population: int | Integers) -> Integers:
    """A rank in [0, population) from the upper 32 bits of each word, by interpolation between the quantiles."""
    knot = (words >> np.uint64(64 - QUANTILE_BITS)).view(np.int64)
    rank = (words >> np.uint64(32)) & np.uint64((1 << (32 - QUANTILE_BITS)) - 1)
    rank *= entries(quantiles[1], knot)
    rank >>= np.uint64(32 - QUANTILE_BITS)
    rank += entries(quantiles[0], knot)
    rank *= np.asarray(population).astype(np.uint64)
    rank >>= np.uint64(FRACTION_BITS)
    return rank.view(np.int64)
