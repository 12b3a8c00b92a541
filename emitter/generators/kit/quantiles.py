"""Integers drawn by named distributions: tables of quantiles, looked up and interpolated.

The tables are made by additions, multiplications, divisions and square roots of doubles alone, one array at a time.
IEEE 754 rounds each of them in one way, so every processor makes the same table; `exp`, `log` and `pow` of a platform
it does not fix, and none is called.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from emitter.randomness import Integers, Words, entries

type _Reals = NDArray[np.float64]

_BITS = 12  # of probability: 4096 steps, and the first and the last of them again in 4096 steps
_STEPS = 1 << _BITS
_FRACTION_BITS = 32 - _BITS
VALUE_MAX = 1 << (62 - _FRACTION_BITS)


@dataclass(frozen=True, slots=True, eq=False)
class Quantiles:
    """Where each step of probability begins, and how much it adds: `_STEPS` steps, then the parts of the first and of
    the last. Within a step all values are as likely; what is rarer than one in 2**25 at either end does not come.
    """

    begins: Integers
    widths: Integers

    def draw(self, words: Words) -> Integers:
        """An integer for each word, from its upper 32 bits."""
        steps = (words >> np.uint64(64 - _BITS)).view(np.int64)
        rest = (words >> np.uint64(32)) & np.uint64((1 << _FRACTION_BITS) - 1)
        ends = np.flatnonzero((steps == 0) | (steps == _STEPS - 1))
        if ends.size:
            parts = rest[ends] >> np.uint64(_FRACTION_BITS - _BITS)
            steps[ends] = np.where(steps[ends] == 0, _STEPS, 2 * _STEPS) + parts.view(np.int64)
            rest[ends] = (rest[ends] << np.uint64(_BITS)) & np.uint64((1 << _FRACTION_BITS) - 1)
        values = rest.view(np.int64)
        values *= entries(self.widths, steps)
        values += 1 << (_FRACTION_BITS - 1)
        values >>= _FRACTION_BITS
        values += entries(self.begins, steps)
        return values


@lru_cache(maxsize=64)
def normal(mean: float, deviation: float) -> Quantiles:
    """The normal distribution."""
    return _table(mean + deviation * _normal_scores())


@lru_cache(maxsize=64)
def lognormal(median: float, sigma: float) -> Quantiles:
    """The lognormal distribution: sigma is the deviation of the natural logarithm."""
    return _table(median * _exp(sigma * _normal_scores()))


@lru_cache(maxsize=64)
def exponential(mean: float) -> Quantiles:
    """The exponential distribution."""
    return _table(-mean * _log(_ABOVE))


@lru_cache(maxsize=64)
def power_law(low: float, high: float, exponent: float) -> Quantiles:
    """The Pareto distribution between two bounds above zero: the density falls like x**-exponent, which is above 1."""
    if not (0 < low < high and exponent > 1):
        raise ValueError(f"a power law needs 0 < low < high and an exponent above 1, not {low}, {high}, {exponent}")
    rest = exponent - 1.0
    least = _exp(-rest * _log(np.array([high / low])))
    return _table(low * _exp(_log(_ABOVE + _BELOW * least) / -rest))


def _probabilities() -> tuple[_Reals, _Reals]:
    """At the edges of all steps and parts, how much lies below and how much above: exact, as both are whole in 2**25.
    The ends, where nothing lies below or above, are taken half a part further in.
    """
    unit = 1 << (2 * _BITS + 1)
    steps = np.arange(_STEPS + 1, dtype=np.int64) * (unit // _STEPS)
    parts = np.arange(_STEPS + 1, dtype=np.int64) * 2
    below = np.concatenate([steps, parts, unit - parts[::-1]])
    np.clip(below, 1, unit - 1, out=below)
    return below / unit, (unit - below) / unit


_BELOW, _ABOVE = _probabilities()


def _table(values: _Reals) -> Quantiles:
    """The steps between the values at the edges of `_probabilities`."""
    if float(np.abs(values).max()) >= VALUE_MAX:
        raise ValueError(f"a table of quantiles holds values below {VALUE_MAX}: choose a larger unit")
    edges = np.rint(values).astype(np.int64).reshape(3, _STEPS + 1)
    found = Quantiles(edges[:, :-1].reshape(-1), np.diff(edges, axis=1).reshape(-1))
    found.begins.flags.writeable = found.widths.flags.writeable = False  # they are shared
    return found


@lru_cache(maxsize=1)
def _normal_scores() -> _Reals:
    """The quantiles of the standard normal distribution (Wichura, Algorithm AS 241, PPND16)."""
    away = _BELOW - 0.5
    middle = 0.180625 - away * away
    center = away * _ratio(middle, _CENTER)
    root = np.sqrt(-_log(np.minimum(_BELOW, _ABOVE))) - 1.6
    tail = _ratio(root, _TAIL)
    return np.where(np.abs(away) <= 0.425, center, np.where(away < 0, -tail, tail))


def _exp(x: _Reals) -> _Reals:
    """e**x: a power of two times the Taylor series of what is left, which is within 0.35."""
    twos = np.rint(x / _LN_2)
    rest = (x - twos * _LN_2_HIGH) - twos * _LN_2_LOW
    total = np.ones_like(rest)
    for divisor in range(16, 0, -1):
        total = 1.0 + total * rest / divisor
    return np.ldexp(total, twos.astype(np.int32))


def _log(x: _Reals) -> _Reals:
    """The natural logarithm: that of a power of two, and the series of artanh for what is left."""
    mantissa, twos = np.frexp(x)
    low = mantissa < 0.7071067811865476
    mantissa = np.where(low, mantissa * 2.0, mantissa)
    slope = (mantissa - 1.0) / (mantissa + 1.0)
    square = slope * slope
    total = np.zeros_like(square)
    for odd in range(25, 0, -2):
        total = total * square + 1.0 / odd
    return (twos - low) * _LN_2 + 2.0 * slope * total


def _ratio(x: _Reals, coefficients: tuple[tuple[float, ...], tuple[float, ...]]) -> _Reals:
    above, below = (np.full_like(x, row[-1]) for row in coefficients)
    for top, bottom in zip(coefficients[0][-2::-1], coefficients[1][-2::-1], strict=True):
        above, below = above * x + top, below * x + bottom
    ratio: _Reals = above / below
    return ratio


_LN_2 = 0.6931471805599453
_LN_2_HIGH, _LN_2_LOW = 0.6931471803691238, 1.9082149292705877e-10  # their sum is ln 2 to 20 digits
_CENTER = (
    (
        *(3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4),
        *(4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3),
    ),
    (
        *(1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3),
        *(2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3),
    ),
)
_TAIL = (
    (
        *(1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0),
        *(1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4),
    ),
    (
        *(1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1),
        *(1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
    ),
)
