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
_CELLS_MAX = 1 << 17  # lanes and steps looked up in slots at a time: arrays that stay in the cache


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps that fall in a window, by slot: the keys of their things, which of `Followers.chains.pairs` they are, and
    when they happen.
    """

    ids: Integers
    pairs: Integers
    slots: Integers


class Choice:
    """Some of the pairs of lane and step, as a table wants them: in the order of `Followers.chains.pairs`."""

    def __init__(self, chains: Chains, lanes: int, pairs: Integers) -> None:
        self.pairs = pairs
        self.lanes = chains.lanes[pairs]
        self.lane_sizes = np.bincount(self.lanes, minlength=lanes)
        self.lane_begins = np.cumsum(self.lane_sizes) - self.lane_sizes
        self.mean_steps = len(pairs) / lanes  # of a thing
        known = [chains.pairs[pair] for pair in pairs]
        self.longest_seconds = max((pair.longest_seconds for pair in known), default=0)
        self.shortest_seconds = min((pair.shortest_seconds for pair in known), default=0)

    def reach(self, window: Window) -> Window:
        """Where the things start whose steps can fall in a window."""
        return Window(window.first - self.longest_seconds, window.end - self.shortest_seconds)


class Followers:
    """The steps of scripts, one script a lane: a thing follows that of the lane it is dealt to."""

    def __init__(self, things: Things, scripts: Sequence[Sequence[Delay]], stream: Stream) -> None:
        self._things = things
        self._lanes = len(scripts)
        self.chains = Chains(scripts, stream)
        self.all = self.choose(np.arange(len(self.chains.pairs)))

    def choose(self, pairs: Integers) -> Choice:
        """Only these pairs, for `due` to be asked for again and again."""
        return Choice(self.chains, self._lanes, np.sort(pairs))

    def due(self, window: Window, slice: Slice, choice: Choice | None = None) -> Steps:
        """The steps in the window that belong to a slice: all, or those of a choice.

        Backwards, every lane and step is looked up in every slot; forwards, every thing is followed. The rows are the
        same: where things are few for the length of the window, forwards is the shorter way.
        """
        choice = choice or self.all
        reach, lookups = choice.reach(window), window.seconds * len(choice.pairs) // slice.count
        steps = self._things.expected(reach) * choice.mean_steps / slice.count
        if reach.seconds + steps * _FOLLOWING_COST < lookups:
            return self._due_forwards(window, slice, choice)
        return self._due_backwards(window, slice, choice)

    def _due_forwards(self, window: Window, slice: Slice, choice: Choice) -> Steps:
        reach = choice.reach(window)
        self._things.expect(reach, reach.seconds)
        dealt = self._things.dealt(reach.first, reach.end, slice)
        offsets = self._things.offsets(dealt.slots)
        lanes = (((dealt.ids >> CHILD_BITS) & SEQUENCE_MASK) + offsets) % self._lanes
        things, steps = places_within(choice.lane_sizes[lanes])
        pairs = choice.pairs[choice.lane_begins[lanes][things] + steps]
        slots = self.chains.targets(dealt.slots[things], pairs)
        due = np.flatnonzero((slots >= window.first) & (slots < window.end))
        due = due[np.argsort(slots[due], kind="stable")]
        return Steps(dealt.ids[things[due]], pairs[due], slots[due])

    def _due_backwards(self, window: Window, slice: Slice, choice: Choice) -> Steps:
        columns = choice.pairs
        if self._lanes % slice.count == 0:  # a shard owns whole lanes: it need not look at the others
            columns = columns[choice.lanes % slice.count == slice.index]
        if not len(columns):
            return _NONE
        self._things.expect(choice.reach(window), window.seconds * len(columns))
        seconds = max(1, _CELLS_MAX // len(columns))
        parts = [
            self._look_back(np.arange(first, min(first + seconds, window.end), dtype=np.int64), columns, slice)
            for first in range(window.first, window.end, seconds)
        ]
        if len(parts) == 1:
            return parts[0]
        return Steps(
            np.concatenate([part.ids for part in parts]),
            np.concatenate([part.pairs for part in parts]),
            np.concatenate([part.slots for part in parts]),
        )

    def _look_back(self, slots: Integers, columns: Integers, slice: Slice) -> Steps:
        lanes = self._lanes
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
        rows = cells // len(columns)
        return Steps(ids, entries(columns, cells - rows * len(columns)), entries(slots, rows))


_NONE = Steps(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64))
