"""Things numbered within their group through a turn of many slots: which of how many each is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from emitter.generators.kit.dealing import places_within
from emitter.generators.kit.things import Things
from emitter.randomness import Integers

_TURNS_KEPT = 4
_GROUPS_MAX = 1 << 15


@dataclass(frozen=True, slots=True)
class Numbered:
    """By thing: its turn, its group, the how manieth of the group in the turn it is (from 0), and of how many."""

    turns: Integers
    groups: Integers
    ordinals: Integers
    counts: Integers


@dataclass(frozen=True, slots=True)
class _Turn:
    starts: Integers  # by slot: where its things begin
    groups: Integers  # by thing
    ordinals: Integers  # by thing
    sizes: Integers  # by group


class Turns:
    """Turns of so many seconds since 2020, and the things in them. `group_of` gives each thing's group by slot and seq.

    A turn's things are numbered at once and kept for the windows after. That is all the past there is: a window
    anywhere costs what starts in the turns that it touches, so a turn should not hold more than some ten thousand.
    """

    def __init__(
        self,
        things: Things,
        turn_seconds: int,
        group_of: Callable[[Integers, Integers], Integers],
        group_count: int,
    ) -> None:
        if turn_seconds < 1 or not 1 <= group_count <= _GROUPS_MAX:
            raise ValueError(f"no turns of {turn_seconds} seconds hold {group_count} groups")
        self._things, self._seconds = things, turn_seconds
        self._group_of, self._group_count = group_of, group_count
        self._turn = lru_cache(maxsize=_TURNS_KEPT)(self._make_turn)

    def of(self, slots: Integers, seqs: Integers) -> Numbered:
        """The numbers of these things."""
        turns = slots // self._seconds
        groups, ordinals, counts = (np.empty_like(turns) for _ in range(3))
        for number in np.unique(turns).tolist():
            turn, inside = self._turn(number), turns == number
            places = turn.starts[slots[inside] - number * self._seconds] + seqs[inside]
            groups[inside], ordinals[inside] = turn.groups[places], turn.ordinals[places]
            counts[inside] = turn.sizes[turn.groups[places]]
        return Numbered(turns, groups, ordinals, counts)

    def _make_turn(self, number: int) -> _Turn:
        slots = np.arange(number * self._seconds, (number + 1) * self._seconds, dtype=np.int64)
        counts = self._things.counts(slots)
        places, seqs = places_within(counts)
        groups = self._group_of(slots[places], seqs)
        # By group, and within it by slot and seq. Short numbers are sorted several times as fast.
        order = np.argsort(groups.astype(np.int16), kind="stable")
        sizes = np.bincount(groups, minlength=self._group_count)
        ordinals = np.empty_like(groups)
        ordinals[order] = places_within(sizes)[1]
        return _Turn(np.cumsum(counts) - counts, groups, ordinals, sizes)
