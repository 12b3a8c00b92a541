"""The only source of randomness: 64-bit words that are a pure function of (seed, stream, key).

Everything is integer arithmetic of our own on uint64, so that the same configuration gives the same rows on every
numpy, every polars and every processor. The mixer is the finalizer of splitmix64 (Steele, Lea, Flood 2014, in the
constants of Stafford's variant 13). A key is first multiplied and shifted by constants of its stream, so that no two
streams run over the same words.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, localcontext
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

type Words = NDArray[np.uint64]
type Integers = NDArray[np.int64]

_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S32 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(32)
_LOW_32 = np.uint64(0xFFFFFFFF)
_BLOCK = 1 << 14  # keys mixed at a time: three arrays of this size stay in the second-level cache


class Stream:
    """A named stream of words of a seed. Word `key` comes without any other."""

    def __init__(self, seed: int, name: str) -> None:
        digest = hashlib.blake2b(name.encode(), digest_size=16, key=seed.to_bytes(8, "little")).digest()
        self._factor = np.uint64(int.from_bytes(digest[:8], "little") | 1)
        self._offset = np.uint64(int.from_bytes(digest[8:], "little"))

    def words(self, keys: Integers | Words) -> Words:
        """A word per key, in the shape of `keys` (any integers of 64 bits)."""
        flat = np.ascontiguousarray(keys).reshape(-1).view(np.uint64)
        out = np.empty(flat.shape, dtype=np.uint64)
        shifted = np.empty(min(_BLOCK, flat.size), dtype=np.uint64)
        for begin in range(0, flat.size, _BLOCK):
            word = out[begin : begin + _BLOCK]
            high = shifted[: word.size]
            np.multiply(flat[begin : begin + _BLOCK], self._factor, out=word)
            np.add(word, self._offset, out=word)
            for shift, factor in ((_S30, _MIX_1), (_S27, _MIX_2)):
                np.right_shift(word, shift, out=high)
                np.bitwise_xor(word, high, out=word)
                np.multiply(word, factor, out=word)
            np.right_shift(word, _S31, out=high)
            np.bitwise_xor(word, high, out=word)
        return out.reshape(np.shape(keys))

    def word(self, key: int) -> int:
        """The word of one key."""
        return int(self.words(np.array([key], dtype=np.int64))[0])


def unique_name() -> str:
    """A name of 16 letters and digits that nobody else has. Never for content: it is another one at each call."""
    return secrets.token_hex(8)


def below(words: Words, bound: int | Integers | Words) -> Integers:
    """An integer in [0, bound) from the upper 32 bits of each word; bounds up to 2**32."""
    return _scaled(words >> _S32, bound)


def below_low(words: Words, bound: int | Integers | Words) -> Integers:
    """The same from the lower 32 bits: a second, independent draw from one word."""
    return _scaled(words & _LOW_32, bound)


def _scaled(fractions: Words, bound: int | Integers | Words) -> Integers:
    """Fractions of 32 bits times the bound, in place: what a batch costs is memory more than arithmetic."""
    fractions *= np.asarray(bound).astype(np.uint64)
    fractions >>= _S32
    return fractions.view(np.int64)


def choice_table(weights: tuple[int, ...], bits: int = 12) -> NDArray[np.int8]:
    """A lookup of 2**bits entries in which index i stands in proportion to weights[i], to one entry. Draw from it with
    `choose`.
    """
    edges = [(sum(weights[: i + 1]) << bits) // sum(weights) for i in range(len(weights))]
    return np.searchsorted(np.array(edges), np.arange(1 << bits), side="right").astype(np.int8)


def entries[T: np.generic](table: NDArray[T], places: Integers) -> NDArray[T]:
    """The entries of a table at places that are all in it. That is not checked, which takes half of the time: places
    beyond give entries, too, but wrong ones.
    """
    return table.take(places, mode="wrap")


def choose[T: np.generic](table: NDArray[T], words: Words, shift: int = 0) -> NDArray[T]:
    """An entry of a table of 2**n for each word, by the n bits from `shift` on."""
    places = words >> np.uint64(shift) if shift else words
    # As int64: numpy looks up unsigned places three times as slowly.
    return entries(table, (places & np.uint64(len(table) - 1)).view(np.int64))


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


QUANTILE_BITS = 12  # knots of a quantile table: 2**12 + 1
FRACTION_BITS = 34  # a quantile is a fraction of the population in so many bits
POPULATION_MAX = 1 << (64 - FRACTION_BITS)


EXACT = Context(
    prec=30, rounding=ROUND_HALF_EVEN, Emin=-999_999, Emax=999_999, traps=[DivisionByZero, InvalidOperation]
)
"""How tables are computed with `decimal`: in `localcontext(EXACT)`, whatever context the caller's program has set."""


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
    rank = (words >> _S32) & np.uint64((1 << (32 - QUANTILE_BITS)) - 1)
    rank *= entries(quantiles[1], knot)
    rank >>= np.uint64(32 - QUANTILE_BITS)
    rank += entries(quantiles[0], knot)
    rank *= np.asarray(population).astype(np.uint64)
    rank >>= np.uint64(FRACTION_BITS)
    return rank.view(np.int64)


def modulo(values: Integers, modulus: int) -> Integers:
    """`values % modulus` for values that are not negative, several times as fast: numpy divides by a fixed number with
    a multiplication, but has no such way for the remainder.
    """
    quotient = values // modulus
    quotient *= modulus
    return np.subtract(values, quotient, out=quotient)
