"""The only source of randomness: 64-bit words that are a pure function of (seed, stream, key).

Everything is integer arithmetic of our own on uint64, so that the same configuration gives the same rows on every
numpy, every polars and every processor. The mixer is the finalizer of splitmix64 (Steele, Lea, Flood 2014, in the
constants of Stafford's variant 13). A key is first multiplied and shifted by constants of its stream, so that no two
streams run over the same words.
"""

from __future__ import annotations

import hashlib
import secrets
from decimal import ROUND_HALF_EVEN, Context, DivisionByZero, InvalidOperation

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


def entries[T: np.generic](table: NDArray[T], places: Integers) -> NDArray[T]:
    """The entries of a table at places that are all in it. That is not checked, which takes half of the time: places
    beyond give entries, too, but wrong ones.
    """
    return table.take(places, mode="wrap")


EXACT = Context(
    prec=30, rounding=ROUND_HALF_EVEN, Emin=-999_999, Emax=999_999, traps=[DivisionByZero, InvalidOperation]
)
"""How tables are computed with `decimal`: in `localcontext(EXACT)`, whatever context the caller's program has set."""


def modulo(values: Integers, modulus: int) -> Integers:
    """`values % modulus` for values that are not negative, several times as fast: numpy divides by a fixed number with
    a multiplication, but has no such way for the remainder.
    """
    quotient = values // modulus
    quotient *= modulus
    return np.subtract(values, quotient, out=quotient)
