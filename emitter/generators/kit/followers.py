"""What follows things later: the steps of their lanes' scripts that fall in a window, with no queue and no replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emitter.generators.kit.chains import Chains, Delay
from emitter.generators.kit.dealing import count_dealt, first_dealt, places_within
from emitter.generators.kit.keys import SEQUENCE_MASK, SLOT_SHIFT
from emitter.generators.kit.limits import CHILD_BITS
from emitter.generators.kit.things import Things
from emitter.model import Slice, Window
from emitter.randomness import Integers, Stream, entries

_FOLLOWING_COST = 2  # following a step forwards, in lookups of a lane and step


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps that fall in a window, by slot: the keys of their things, which of `Followers.chains.pairs` they are, and
    when they happen.
    """

    ids: Integers
    pairs: Integers
    slots: Integers


class Followers:
    """The steps of scripts, one script a lane: a thing follows that of the lane it is dealt to."""

    def __init__(self, things: Things, scripts: Sequence[Sequence[Delay]], stream: Stream) -> None:
        self._things = things
        self._lanes = len(scripts)
        self.chains = Chains(scripts, stream)
        self.mean_steps = len(self.chains.pairs) / self._lanes  # of a thing

    def due(self, window: Window, slice: Slice) -> Steps:
        """The steps in the window that belong to a slice.

        Backwards, every lane and step is looked up in every slot; forwards, every thing is followed. The rows are the
        same: where things are few for the length of the window, forwards is the shorter way.
        """
        reach = Window(window.first - self.chains.longest_seconds, window.end)
        lookups = window.seconds * len(self.chains.pairs) // slice.count
        if self._things.expected(reach) * self.mean_steps / slice.count * _FOLLOWING_COST < lookups:
            return self._due_forwards(window, reach, slice)
        return self._due_backwards(window, slice)

    def _due_forwards(self, window: Window, reach: Window, slice: Slice) -> Steps:
        dealt = self._things.dealt(reach.first, reach.end, slice)
        offsets = self._things.offsets(dealt.slots)
        lanes = (((dealt.ids >> CHILD_BITS) & SEQUENCE_MASK) + offsets) % self._lanes
        things, steps = places_within(self.chains.lane_steps[lanes])
        pairs = self.chains.lane_columns[lanes][things] + steps
        slots = self.chains.targets(dealt.slots[things], pairs)
        due = np.flatnonzero((slots >= window.first) & (slots < window.end))
        due = due[np.argsort(slots[due], kind="stable")]
        return Steps(dealt.ids[things[due]], pairs[due], slots[due])

    def _due_backwards(self, window: Window, slice: Slice) -> Steps:
        lanes = self._lanes
        columns = np.arange(len(self.chains.pairs))
        if lanes % slice.count == 0:  # a shard owns whole lanes: it need not look at the others
            columns = columns[self.chains.lanes % slice.count == slice.index]
        slots = np.arange(window.first, window.end, dtype=np.int64)
        sources = self.chains.sources(slots, columns)
        counts, offsets = self._things.counts(sources), self._things.offsets(sources)
        firsts = first_dealt(offsets, self.chains.lanes[columns], lanes)
        cells, seqs = places_within(count_dealt(counts, firsts, lanes).reshape(-1))
        seqs *= lanes
        seqs += entries(firsts.reshape(-1), cells)
        if lanes % slice.count:
            mine = np.flatnonzero((seqs + offsets.reshape(-1)[cells]) % slice.count == slice.index)
            cells, seqs = cells[mine], seqs[mine]
        ids = entries(sources.reshape(-1), cells)
        ids <<= SLOT_SHIFT - CHILD_BITS
        ids |= seqs
        ids <<= CHILD_BITS
        rows = cells // max(1, len(columns))
        return Steps(ids, entries(columns, cells - rows * len(columns)), entries(slots, rows))
