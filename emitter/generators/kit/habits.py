"""Who acts when, of members who each act about once in a typical gap, at a phase of their own.

Time is cut into turns of any length, such as days. What happens in a turn has shares of it, in 2**32nds, and who acts
there follows from turn and share, with no past. Where shares are dealt evenly (`EvenShares`), members take turns like
people with a habit. Where they are drawn by chance each acts as often, but as a Poisson process would have it, now and
then twice in a gap and now and then not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

import numpy as np

from emitter.generators.kit.permutations import block_orders, keyed_places
from emitter.randomness import Integers, Stream, below, entries

GAP_TURNS_MAX = 1 << 31
_SHARE_BITS = 32
_CELL_BITS_MAX = 12
_MEMBERS_PER_CELL = 16  # at least, at the opening: a cell has one more or less, so nobody acts more than that too often
_ORDERS = 16
# Keys: below 2**16 those of the orders, negative ones those of a group's blocks, and these.
_FACTOR_KEY, _JITTER_KEY = 1 << 61, 1 << 62
_BLOCK_BITS, _TURN_BITS = 32, 40
_TURN_MASK = (1 << _TURN_BITS) - 1


class HabitCycles:
    """Groups of members with a habit each. The members of a group are numbered 0, 1, ... in order of arrival, and each
    acts once in the group's `gap_turns`, if as many acts of the group fall into them as it has members.

    The gap is cut into cells, and a member's cell is its phase, which stays as others arrive: a block of members has
    one in each cell, in an order of its own. Each gap is cut into pieces of `jitter_turns` too (the last may be
    shorter), within which turns change places anew each time: so a member's gap is the typical one, give or take less
    than a piece, with a deviation of 0.4 of it. `openings` are the sizes that groups begin with, from 0.
    """

    def __init__(
        self, gap_turns: Sequence[int], jitter_turns: Sequence[int], openings: Sequence[int], stream: Stream
    ) -> None:
        for gap, jitter in zip(gap_turns, jitter_turns, strict=True):
            if not 1 <= jitter <= gap <= GAP_TURNS_MAX:
                raise ValueError(f"a jitter of {jitter} turns does not lie between 1 and the gap, {gap} turns")
        self._gaps, self._jitters = np.array(gap_turns, dtype=np.int64), np.array(jitter_turns, dtype=np.int64)
        cells = [max(1, opening // _MEMBERS_PER_CELL) for opening in openings]
        self._cell_bits = np.array([min(_CELL_BITS_MAX, cell.bit_length() - 1) for cell in cells], dtype=np.int64)
        self._stream = stream
        # The orders of blocks of each size that there is, one after the other, and where those of each group begin.
        used, which = np.unique(self._cell_bits, return_inverse=True)
        orders = [block_orders(_ORDERS, 1 << bits, stream).reshape(-1) for bits in used.tolist()]
        self._orders = np.concatenate(orders)
        self._begins = np.cumsum([0, *map(len, orders)])[which]
        words = stream.words(_FACTOR_KEY + np.arange(len(self._gaps)))
        pieces = zip(gap_turns, jitter_turns, words.tolist(), strict=True)
        self._factors = np.array([_factor(gap, jitter, word) for gap, jitter, word in pieces], dtype=np.int64)

    def pick(self, groups: Integers, turns: Integers, shares: Integers, sizes: Integers) -> Integers:
        """Who of its group acts at each turn and share of it: a member out of the first so many, at least one."""
        if sizes.size and sizes.min() < 1:
            raise ValueError("there is nobody to act")
        gaps, cell_bits = entries(self._gaps, groups), entries(self._cell_bits, groups)
        moments = (self._moved(groups, turns, gaps) << _SHARE_BITS) + shares
        moments //= gaps  # in 2**32nds of the gap
        rest_bits = _SHARE_BITS - cell_bits
        cells = moments >> rest_bits
        begins = entries(self._begins, groups) + cells

        def member(blocks: Integers) -> Integers:
            orders = below(self._stream.words(~((groups << _BLOCK_BITS) + blocks)), _ORDERS)
            member: Integers = (blocks << cell_bits) + entries(self._orders, (orders << cell_bits) + begins)
            return member

        # Of the last block some have not arrived: this cell has a member in it only if its own is there.
        blocks = sizes >> cell_bits
        members = blocks + (member(blocks) < sizes)
        picked = member((moments - (cells << rest_bits)) * members >> rest_bits)
        if (empty := np.flatnonzero(members == 0)).size:  # fewer are there than cells
            picked[empty] = moments[empty] * sizes[empty] >> _SHARE_BITS
        return picked

    def _moved(self, groups: Integers, turns: Integers, gaps: Integers) -> Integers:
        """Each turn's place in its gap, moved within its piece: a bijection of each piece, another one in each gap."""
        jitters = entries(self._jitters, groups)
        places = turns % gaps
        begins = places // jitters * jitters
        sizes = np.minimum(gaps - begins, jitters)
        keys = ((groups << _TURN_BITS) + (turns - places + begins & _TURN_MASK)) | _JITTER_KEY
        moved: Integers = (places - begins) * entries(self._factors, groups) + below(self._stream.words(keys), sizes)
        moved %= sizes
        moved += begins
        return moved


def _factor(gap_turns: int, jitter_turns: int, word: int) -> int:
    """A number that has no divisor in common with a piece, nor with the last one."""
    factor = 1 + word % jitter_turns
    while gcd(factor, jitter_turns * (gap_turns % jitter_turns or 1)) != 1:
        factor += 1
    return factor


class EvenShares:
    """Shares of turns, evenly spread over what happens in each: whoever is next in time is anywhere in the turn."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def of(self, keys: Integers, ordinals: Integers, counts: Integers) -> Integers:
        """The share, in 2**32nds, of what happens as the `ordinals`-th (from 0) of `counts` in the turn, or in the
        turn and group, that has this key.
        """
        words = self._stream.words(keys)
        shares = keyed_places(ordinals, counts, words, self._stream)
        shares <<= _SHARE_BITS
        shares += (words & np.uint64((1 << _SHARE_BITS) - 1)).view(np.int64)  # one shift for all: they stay even
        shares //= counts
        return shares
