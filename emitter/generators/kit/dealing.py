"""How the things of a slot are dealt out to lanes and shards, and the keys of those that fall to one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emitter.generators.kit.keys import SLOT_SHIFT
from emitter.generators.kit.limits import CHILD_BITS
from emitter.model import Slice
from emitter.randomness import Integers, Stream, entries


class Dealer:
    """Deals the things of a slot to n hands by (seq + hash(slot)) % n, evenly even where few things start."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def offsets(self, slots: Integers) -> Integers:
        """hash(slot), a number of 24 bits."""
        return (self._stream.words(slots) >> np.uint64(40)).view(np.int64)


def first_dealt(offsets: Integers, hand: int | Integers, hands: int) -> Integers:
    """The first seq of each slot that falls to a hand; the others follow at every `hands`."""
    return (hand - offsets) % hands


def count_dealt(counts: Integers, firsts: Integers, hands: int) -> Integers:
    """How many of `counts` things fall to the hand whose first is given."""
    dealt: Integers = np.maximum(counts - firsts + hands - 1, 0) // hands
    return dealt


def places_within(counts: Integers) -> tuple[Integers, Integers]:
    """For groups of these sizes: (group of each member, place of each member in its group, from 0)."""
    groups = np.repeat(np.arange(len(counts)), counts)
    starts = np.cumsum(counts) - counts
    places = np.arange(len(groups))
    places -= entries(starts, groups)
    return groups, places


@dataclass(frozen=True, slots=True)
class Dealt:
    """The things of consecutive slots that fall to a slice: where each slot's begin, and their keys."""

    slice: Slice
    first_slot: int
    starts: Integers  # by slot, and one past the last
    firsts: Integers  # by slot: the first seq
    slots: Integers  # by thing
    ids: Integers  # by thing


def deal(first_slot: int, counts: Integers, offsets: Integers, slice: Slice) -> Dealt:
    """Deal the things of consecutive slots to a slice."""
    firsts = first_dealt(offsets, slice.index, slice.count)
    dealt = count_dealt(counts, firsts, slice.count)
    groups, places = places_within(dealt)
    slots = first_slot + groups
    ids = (slots << SLOT_SHIFT) | ((entries(firsts, groups) + slice.count * places) << CHILD_BITS)
    return Dealt(slice, first_slot, np.concatenate([[0], np.cumsum(dealt)]), firsts, slots, ids)
