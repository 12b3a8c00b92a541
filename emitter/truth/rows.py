"""What should be there: rows, sums and digests by hour, from the generator and the journal, never from a table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pyarrow as pa

from emitter import arrow
from emitter.clock import SLOT_END
from emitter.generators.base import GeneratorBase
from emitter.model import Epoch, Slice, Table, Window
from emitter.run.plan import tables_at
from emitter.truth.digest import row_words

HOUR_SECONDS = 3600
_WORD = 1 << 64


@dataclass(slots=True)
class ControlTotals:
    """How many rows, the sum of their words modulo 2**64, and the sums of their amounts."""

    rows: int = 0
    digest: int = 0
    sums: dict[str, int | float] = field(default_factory=dict)

    def add(self, rows: int, digest: int, sums: Mapping[str, int | float] | None = None) -> None:
        self.rows += rows
        self.digest = (self.digest + digest) % _WORD
        for name, value in (sums or {}).items():
            self.sums[name] = self.sums.get(name, 0) + value

    def same_rows(self, other: ControlTotals) -> bool:
        return (self.rows, self.digest) == (other.rows, other.digest)


@dataclass(frozen=True, slots=True)
class Segment:
    """A slice's rows in a window."""

    slice: Slice
    window: Window


def segments(
    epochs: Sequence[Epoch], table: str, window: Window, progress: Mapping[Slice, int] | None
) -> list[Segment]:
    """Which rows of a table should be there: in the window, and if `progress` (slice -> slot) is given only those that
    the slices have done. Slices are taken together as far as all have come.
    """
    found = []
    edges = pairwise([epoch.from_slot for epoch in epochs] + [SLOT_END])
    for epoch, (epoch_first, epoch_end) in zip(epochs, edges, strict=True):
        first, end = max(epoch_first, window.first), min(epoch_end, window.end)
        if table not in tables_at(epochs, epoch_first) or first >= end:
            continue
        if progress is None:
            found.append(Segment(Slice(), Window(first, end)))
            continue
        slices = [Slice(index, epoch.inputs.shard_count) for index in range(epoch.inputs.shard_count)]
        ends = [min(end, max(first, progress.get(slice, 0))) for slice in slices]
        together = min(ends)
        found.append(Segment(Slice(), Window(first, together)))
        found += [Segment(slice, Window(together, own)) for slice, own in zip(slices, ends, strict=True)]
    return [segment for segment in found if segment.window.seconds]


def cut(parts: Iterable[Segment], window: Window) -> list[Segment]:
    """The segments within a window."""
    clipped = [
        Segment(part.slice, Window(max(part.window.first, window.first), min(part.window.end, window.end)))
        for part in parts
        if part.window.first < window.end and part.window.end > window.first
    ]
    return [part for part in clipped if part.window.seconds]


def true_rows(
    generator: GeneratorBase, parts: Iterable[Segment], tables: Sequence[str], seconds: int = HOUR_SECONDS
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """(table, rows) of some segments, an hour at a time, or so many seconds."""
    for part in parts:
        for first in range(part.window.first, part.window.end, seconds):
            piece = Window(first, min(first + seconds, part.window.end))
            # Tables that are not in force here have no rows; asking for the others alone changes nothing in them.
            wanted = (
                [table for table in tables if table in tables_at(generator.epochs, first)]
                if generator.epochs
                else tables
            )
            for frame in generator.rows(piece, part.slice, wanted):
                yield frame.table, frame.rows


def add_by_hour(
    table: Table, rows: pa.RecordBatch, hours: dict[int, ControlTotals], *, with_sums: bool = False
) -> None:
    """Add rows to the totals of their hours, which are keyed by the hour's first slot."""
    words, slots = row_words(table, rows), arrow.slots(rows.column("event_time"))
    starts = slots // HOUR_SECONDS * HOUR_SECONDS
    for start in np.unique(starts):
        inside = starts == start
        sums = _sums(table, rows.filter(pa.array(inside))) if with_sums else None
        hours[int(start)].add(int(inside.sum()), int(words[inside].sum(dtype=np.uint64)), sums)


def new_hours() -> defaultdict[int, ControlTotals]:
    """Totals by hour, empty."""
    return defaultdict(ControlTotals)


def _sums(table: Table, rows: pa.RecordBatch) -> dict[str, int | float]:
    """The sums of the columns that count or measure something (money in cents), keys left out."""
    return {
        column.name: np.sum(rows.column(column.name).fill_null(0).to_numpy(zero_copy_only=False)).item()
        for column in table.columns
        if column.type in ("money", "int32", "float64") and column.name not in table.key
    }
