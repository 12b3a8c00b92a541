"""Which slices a shard has to bring how far, from the inputs in force. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from emitter.clock import SLOT_END
from emitter.model import Epoch, Slice, Window


@dataclass(frozen=True, slots=True)
class Layout:
    """A stretch of slots with one shard count."""

    first: int
    end: int
    shard_count: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """A slice to bring through its stretches, which are those of its shard count, in order (`SLOT_END`: the last one
    goes on). `is_own` is false for what an older shard count left behind: others may bring that too, whoever comes
    first.
    """

    slice: Slice
    stretches: tuple[Window, ...]
    is_own: bool

    @property
    def first(self) -> int:
        return self.stretches[0].first

    @property
    def end(self) -> int:
        return self.stretches[-1].end

    def next_slot(self, slot: int) -> int:
        """The first one from a slot on that is in a stretch; `SLOT_END` where there is none."""
        return next((max(slot, stretch.first) for stretch in self.stretches if slot < stretch.end), SLOT_END)

    def stretch_at(self, slot: int) -> Window:
        """The stretch that a slot is in."""
        return next(stretch for stretch in self.stretches if stretch.first <= slot < stretch.end)


def layouts(epochs: Sequence[Epoch]) -> list[Layout]:
    """The epochs, put together where the shard count stays."""
    found: list[Layout] = []
    edges = [epoch.from_slot for epoch in epochs] + [SLOT_END]
    for epoch, (first, end) in zip(epochs, pairwise(edges), strict=True):
        if found and found[-1].shard_count == epoch.inputs.shard_count:
            found[-1] = Layout(found[-1].first, end, found[-1].shard_count)
        else:
            found.append(Layout(first, end, epoch.inputs.shard_count))
    return found


def assignments(epochs: Sequence[Epoch], own: Slice) -> list[Assignment]:
    """What a shard has to do, by slice, in the order in which they begin: its own, and what falls to it of older
    layouts (old slice r to the new shard r % count). A shard whose count is no longer in force only finishes its own.
    """
    every = layouts(epochs)
    in_force = every[-1].shard_count == own.count
    stretches: dict[Slice, tuple[Window, ...]] = {}
    for layout in every:
        count = layout.shard_count
        indices = [own.index] if count == own.count else range(own.index, count, own.count) if in_force else []
        for slice in (Slice(index, count) for index in indices):
            stretches[slice] = (*stretches.get(slice, ()), Window(layout.first, layout.end))
    return [Assignment(slice, each, is_own=slice == own) for slice, each in stretches.items()]


def table_ends(epochs: Sequence[Epoch]) -> dict[str, int]:
    """By table that was ever in force, parents first, the slot from which on it has no rows (`SLOT_END`: it goes on).

    A table that joins is made from the origin on, or its children would have no parents; one that is left out ends
    there, and if it comes back it is made from there on.
    """
    ends: dict[str, int] = {}
    edges = [epoch.from_slot for epoch in epochs] + [SLOT_END]
    for epoch, (first, end) in zip(epochs, pairwise(edges), strict=True):
        ends.update(dict.fromkeys(epoch.inputs.tables, end))
        ends.update(dict.fromkeys(epoch.withdrawn, first))
    return ends


def tables_that_came_back(epochs: Sequence[Epoch]) -> set[str]:
    """Those that were left out for a while: what they lack from then on is made later than that of all others."""
    seen: set[str] = set()
    left: set[str] = set()
    back: set[str] = set()
    for epoch in epochs:
        back |= left & set(epoch.inputs.tables)
        left |= seen - set(epoch.inputs.tables)
        seen |= set(epoch.inputs.tables)
    return back


def tables_at(epochs: Sequence[Epoch], slot: int) -> tuple[str, ...]:
    """The tables that have rows at a slot, parents first: those in force, and those that come into force later."""
    if not epochs or slot < epochs[0].from_slot:
        return ()
    return tuple(table for table, end in table_ends(epochs).items() if slot < end)


def next_edge(epochs: Sequence[Epoch], slot: int) -> int:
    """The first slot after this one where other inputs come into force; `SLOT_END` where none do."""
    return next((epoch.from_slot for epoch in epochs if epoch.from_slot > slot), SLOT_END)


def remaining(
    epochs: Sequence[Epoch], table: str, progress: Mapping[Slice, int], bound_slot: int
) -> list[tuple[Slice, Window]]:
    """What the slices of a table have still to do before a bound."""
    found = []
    edges = pairwise([epoch.from_slot for epoch in epochs] + [SLOT_END])
    for epoch, (first, end) in zip(epochs, edges, strict=True):
        if table in tables_at(epochs, first):
            for slice in (Slice(index, epoch.inputs.shard_count) for index in range(epoch.inputs.shard_count)):
                begin = max(first, progress.get(slice, first))
                found.append((slice, Window(begin, max(begin, min(end, bound_slot)))))
    return [(slice, window) for slice, window in found if window.seconds]


def complete_slot(epochs: Sequence[Epoch], progress: Mapping[str, Mapping[Slice, int]]) -> int:
    """The slot before which every slice has done every table. `progress` is table -> slice -> slot."""
    reached = epochs[0].from_slot
    for epoch, (first, end) in zip(epochs, pairwise([epoch.from_slot for epoch in epochs] + [SLOT_END]), strict=True):
        slices = [Slice(index, epoch.inputs.shard_count) for index in range(epoch.inputs.shard_count)]
        slots = [progress[table].get(slice, first) for table in tables_at(epochs, first) for slice in slices]
        reached = max(first, min(end, *slots))
        if reached < end:
            break
    return reached


def stands(
    parents: Mapping[str, Sequence[str]], progress: Mapping[str, Mapping[Slice, int]]
) -> dict[str, dict[Slice, int]]:
    """How far each table is complete, by what all tables say (table -> slice -> slot; tables parents first).

    A table without rows commits nothing, or last, and lags in its own record. But rows of parents are committed before
    those of children, so a child that stands further tells that its parents have all their rows up to there.
    """
    found: dict[str, dict[Slice, int]] = {}
    for table in reversed(list(progress)):
        slots = dict(progress[table])
        for child in (name for name in found if table in parents[name]):
            for slice, slot in found[child].items():
                slots[slice] = max(slot, slots.get(slice, 0))
        found[table] = slots
    return {table: found[table] for table in progress}


def furthest_slots(slots: Iterable[Mapping[Slice, int]]) -> dict[Slice, int]:
    """By slice, the furthest of several slots."""
    furthest: dict[Slice, int] = {}
    for each in slots:
        for slice, slot in each.items():
            furthest[slice] = max(slot, furthest.get(slice, slot))
    return furthest
