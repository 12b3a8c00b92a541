"""Later events without state: chains of bijections of slots.

Things are dealt to lanes; a lane has a script, and each step of it moves every slot to a later one by a bijection,
applied to the slot of the step before. So the steps that fall in a slot are found by going backwards, with no queue
and no replay, and cause comes before effect over every edge, whatever the delay.

A bijection takes block b, place x to block b + D, place (a*x + c) mod B, where D >= 1, gcd(a, B) = 1 and c is a hash
of lane, step and b. With B = 1 it is the plain shift by D slots.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emitter.randomness import Integers, Stream, below

_KEY_BLOCK_BITS = 32  # a key of the hash of c: the pair above, the block number below


@dataclass(frozen=True, slots=True)
class Delay:
    """A bijection's shape: a delay of about `blocks * block_seconds`, spread by up to `block_seconds` either way.

    In a script it counts from the step before, or from the one at the place `after`, or, with START, from where the
    thing itself starts: what surely comes later anyway need not wait for it, and is found by fewer levels.
    """

    block_seconds: int
    blocks: int = 1
    after: int | None = None

    def __post_init__(self) -> None:
        if self.block_seconds < 1 or self.blocks < 1:
            raise ValueError("a delay moves at least one block of at least one second")

    @property
    def longest_seconds(self) -> int:
        return (self.blocks + 1) * self.block_seconds - 1

    @property
    def shortest_seconds(self) -> int:
        return (self.blocks - 1) * self.block_seconds + 1


START = -1
"""Where a thing starts, as a place in its script."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A lane's step, `step` from 0, and the way to it: the steps that it comes after, itself included, and delays."""

    lane: int
    step: int
    way: tuple[int, ...]
    delays: tuple[Delay, ...]

    @property
    def longest_seconds(self) -> int:
        return sum(delay.longest_seconds for delay in self.delays)

    @property
    def shortest_seconds(self) -> int:
        return sum(delay.shortest_seconds for delay in self.delays)


class Chains:
    """All the (lane, step) pairs of some scripts, probed as one array.

    `pairs` keeps the order of the columns that `sources` gives; a lane's steps are the `lane_steps[lane]` columns from
    `lane_columns[lane]` on.
    """

    def __init__(self, scripts: Sequence[Sequence[Delay]], stream: Stream) -> None:
        self.pairs = tuple(pair for lane, script in enumerate(scripts) for pair in _pairs(lane, script))
        self.longest_seconds = max(pair.longest_seconds for pair in self.pairs)
        self.lanes = np.array([pair.lane for pair in self.pairs], dtype=np.int64)
        self.steps = np.array([pair.step for pair in self.pairs], dtype=np.int64)
        lane_steps = np.array([len(script) for script in scripts], dtype=np.int64)
        self.lane_steps, self.lane_columns = lane_steps, np.cumsum(lane_steps) - lane_steps
        self._stream = stream
        depth = max(len(pair.delays) for pair in self.pairs)
        shape = (depth, len(self.pairs))
        self._depths = np.array([len(pair.delays) for pair in self.pairs])
        # By level and pair; what lies beyond a pair's own depth is never looked at.
        self._seconds, self._blocks = np.ones(shape, np.int64), np.zeros(shape, np.int64)
        self._factor, self._inverse = np.ones(shape, np.int64), np.ones(shape, np.int64)
        self._key = np.zeros(shape, np.int64)
        identities = [[(pair.lane << 8) | step for step in pair.way] for pair in self.pairs]
        words = iter(stream.words(-1 - np.concatenate(identities)).tolist())  # one by one they take ten times as long
        for column, pair in enumerate(self.pairs):
            for level, (delay, identity) in enumerate(zip(pair.delays, identities[column], strict=True)):
                factor = _unit(delay.block_seconds, next(words))
                self._seconds[level, column] = delay.block_seconds
                self._blocks[level, column] = delay.blocks
                self._factor[level, column] = factor
                self._inverse[level, column] = pow(factor, -1, delay.block_seconds) if delay.block_seconds > 1 else 0
                self._key[level, column] = identity << _KEY_BLOCK_BITS

    def sources(self, slots: Integers, columns: Integers) -> Integers:
        """For each slot (rows) and each of these pairs (columns): the slot whose things do that step in that slot."""
        moving = np.repeat(slots[:, np.newaxis], len(columns), axis=1)
        for level in reversed(range(len(self._seconds))):
            inside, pairs = self._at_level(level, columns)
            seconds, inverse = self._seconds[level, pairs], self._inverse[level, pairs]
            block, place = np.divmod(moving[:, inside], seconds)
            block -= self._blocks[level, pairs]
            moving[:, inside] = (
                block * seconds + (place - self._turn(level, pairs, block)) % seconds * inverse % seconds
            )
        return moving

    def targets(self, slots: Integers, columns: Integers) -> Integers:
        """The other way: for slots of origin and pairs, in shapes that fit together, where the step falls."""
        columns, begins = np.broadcast_arrays(columns, slots)
        moving = begins.copy()
        for level in range(len(self._seconds)):
            inside = self._depths[columns] > level
            pairs = columns[inside]
            seconds = self._seconds[level, pairs]
            block, place = np.divmod(moving[inside], seconds)
            turned = (place * self._factor[level, pairs] + self._turn(level, pairs, block)) % seconds
            moving[inside] = (block + self._blocks[level, pairs]) * seconds + turned
        return moving

    def _at_level(self, level: int, columns: Integers) -> tuple[Integers | slice, Integers]:
        """The places among these pairs of those that go as deep, and those pairs."""
        deep = self._depths[columns] > level
        return (slice(None), columns) if deep.all() else (np.flatnonzero(deep), columns[deep])

    def _turn(self, level: int, columns: Integers, block: Integers) -> Integers:
        keys = self._key[level, columns] + (block & ((1 << _KEY_BLOCK_BITS) - 1))
        return below(self._stream.words(keys), self._seconds[level, columns])


def _pairs(lane: int, script: Sequence[Delay]) -> list[Pair]:
    """The steps of a lane. Raises ValueError for one that does not come after an earlier one."""
    ways: list[tuple[int, ...]] = []
    for step, delay in enumerate(script):
        after = step - 1 if delay.after is None else delay.after
        if not START <= after < step:
            raise ValueError(f"step {step} of lane {lane} comes after step {after}, which is not an earlier one")
        ways.append((*(() if after == START else ways[after]), step))
    return [Pair(lane, step, way, tuple(script[each] for each in way)) for step, way in enumerate(ways)]


def _unit(modulus: int, word: int) -> int:
    """A number coprime to the modulus, somewhere in it."""
    factor = word % modulus
    while math.gcd(factor, modulus) != 1:
        factor = (factor + 1) % modulus
    return factor
