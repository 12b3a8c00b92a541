"""Paths over time that are never walked: the value at any moment, from keyed noise, by bisection of time."""

from __future__ import annotations

from math import isqrt

import numpy as np

from emitter.randomness import Integers, Stream

PATHS_MAX = 1 << 26
DEVIATION_MAX = 1 << 30
_POINT_BITS = 8  # of a value, behind its point, while it is computed
_NOISE_BITS = 23  # of even noise, beside its sign
_SLOT_BITS, _LEVEL_BITS = 32, 5  # a key: the path above, the level, the place below


class Walk:
    """Paths around zero with a deviation, one for each number below `PATHS_MAX`, all independent.

    At the knots, every 2**memory_bits slots, a path stands at random. Between them time is halved again and again, down
    to 2**grain_bits slots: the middle is the mean of both ends and a displacement, whose variance is half of what it
    was a level above (Fournier, Fussell and Carpenter, Computer Rendering of Stochastic Models, 1982). So up to the
    memory the path moves like a Brownian motion, its deviation is the same at every moment, and what lies further apart
    than two knots has nothing in common. All noise is even between two bounds: nothing goes further from zero than
    `reach`, and no slot further from the one before it than `step_max`.
    """

    def __init__(self, deviation: int, memory_bits: int, grain_bits: int, stream: Stream) -> None:
        levels = memory_bits - grain_bits
        if not (0 < deviation <= DEVIATION_MAX and 0 <= grain_bits < memory_bits < _SLOT_BITS):
            raise ValueError(
                f"no walk of deviation {deviation} has knots at 2**{memory_bits}, grains at 2**{grain_bits}"
            )
        self._stream = stream
        self._grain_bits, self._levels = grain_bits, levels
        # Even noise in [-a, a] has the variance a**2 / 3.
        variance = 3 * deviation**2 << 2 * _POINT_BITS
        bounds = [isqrt(variance >> level) for level in range(levels + 1)]
        self.reach = (sum(bounds) >> _POINT_BITS) + levels + 1
        grain = 2 * bounds[0]
        for bound in bounds[1:]:
            grain = (grain + 1) // 2 + bound
        self.step_max = (grain >> (_POINT_BITS + grain_bits)) + 2
        # Rows of noise: both knots, then the middle of each level; how a grain's place in it is found.
        self._row_levels = np.array([0, *range(levels + 1)])[:, np.newaxis]
        self._row_bounds = np.array([bounds[0], *bounds])[:, np.newaxis]
        self._row_shifts = np.array([levels, levels, *range(levels, 0, -1)])[:, np.newaxis]

    def at(self, slots: Integers, paths: int | Integers = 0) -> Integers:
        """The value of each slot, of one path or of these, in the unit of the deviation."""
        cells = slots >> self._grain_bits
        if isinstance(paths, int) and slots.size:
            # Slots lie close together, mostly: then there are few grains, and each is computed once.
            first, end = int(cells.min()), int(cells.max()) + 1
            if end - first < slots.size:
                left, right = self._ends(np.arange(first, end), paths)
                places = cells - first
                return self._between(left[places], right[places], slots)
        return self._between(*self._ends(cells, paths), slots)

    def _between(self, left: Integers, right: Integers, slots: Integers) -> Integers:
        """On the straight line from the one end of a grain to the other."""
        passed = slots & ((1 << self._grain_bits) - 1)
        values = right - left
        values *= passed
        values >>= self._grain_bits
        values += left
        values >>= _POINT_BITS
        return values

    def _ends(self, cells: Integers, paths: int | Integers) -> tuple[Integers, Integers]:
        """Where the path stands at the beginning and at the end of each grain."""
        noise = self._noise(cells, paths)
        left, right = noise[0], noise[1]
        for level in range(1, self._levels + 1):
            middle = left + right
            middle >>= 1
            middle += noise[1 + level]
            is_later = (cells >> (self._levels - level)) & 1 == 1
            left, right = np.where(is_later, middle, left), np.where(is_later, right, middle)
        return left, right

    def _noise(self, cells: Integers, paths: int | Integers) -> Integers:
        """By row and grain. All in one call: of a few grains each call costs more than what it makes."""
        places = cells >> self._row_shifts
        places[1] += 1
        keys = (places & ((1 << _SLOT_BITS) - 1)) | (self._row_levels << _SLOT_BITS)
        keys |= paths << (_SLOT_BITS + _LEVEL_BITS)
        noise = (self._stream.words(keys) >> np.uint64(63 - _NOISE_BITS)).view(np.int64)
        noise -= 1 << _NOISE_BITS
        noise *= self._row_bounds
        noise >>= _NOISE_BITS
        return noise
