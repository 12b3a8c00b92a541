"""What a run lacks before a certain time, by rows: a table without any commits nothing, and lags in its own record."""

from __future__ import annotations

from collections.abc import Mapping

from emitter import arrow
from emitter.generators.base import GeneratorBase
from emitter.model import Slice, Window
from emitter.run.plan import remaining, stands

_FIRST_SECONDS = 60
_SECONDS_MAX = 86_400  # looked through at a time


def first_lacking(
    generator: GeneratorBase, progress: Mapping[str, Mapping[Slice, int]], bound_slot: int
) -> dict[str, dict[Slice, int]]:
    """By table and slice, the slot of the first row before a bound that a table does not speak of, by its own record
    and those of its children; nothing for a slice that lacks none. `progress` is table -> slice -> slot, parents first.
    """
    complete = stands({table: generator.table(table).parents for table in progress}, progress)
    found: dict[str, dict[Slice, int]] = {table: {} for table in progress}
    for table in progress:
        for slice, window in remaining(generator.epochs, table, complete[table], bound_slot):
            slot = _first_row(generator, table, slice, window)
            if slot is not None:
                found[table][slice] = min(slot, found[table].get(slice, slot))
    return found


def _first_row(generator: GeneratorBase, table: str, slice: Slice, window: Window) -> int | None:
    """The slot of the first row of a slice in a window."""
    first, seconds = window.first, _FIRST_SECONDS
    while first < window.end:
        end = min(first + seconds, window.end)
        frames = generator.rows(Window(first, end), slice, (table,))
        slots = [int(arrow.slots(frame.rows.column("event_time")).min(initial=end)) for frame in frames]
        if min(slots, default=end) < end:
            return min(slots)
        first, seconds = end, min(2 * seconds, _SECONDS_MAX)
    return None
