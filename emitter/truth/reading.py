"""What the tables hold, read many files at a time.

Files of a partition are read in groups, so that what many small ones hold is digested at once; a large one is a group
of its own, and is read in bounded batches. A few groups are under way at a time, which bounds the memory: on a disk as
many as keep the cores at work, on S3 as many as it takes not to wait for each.

Parts are listed once. Where a file turns out to be gone, they are listed anew: somebody may have rewritten the table
meanwhile, and then the partition is read again as it is now. A file that is still registered, and not there, is broken.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa

from emitter import arrow
from emitter.errors import DamagedStateError, StorageError, StorageNotFoundError
from emitter.model import Table, Window
from emitter.truth.rows import ControlTotals, add_by_hour, new_hours
from emitter.writers.base import TableWriter
from emitter.writers.parts import SMALL_BYTES_MAX, DataFile, Part, missing
from emitter.writers.shapes import Shapes

_GROUP_FILES_MAX = 64
_LOOKS_MAX = 5  # at a partition that others rewrite meanwhile


@dataclass(slots=True)
class Found:
    """What some parts hold: their rows by hour, and what is wrong with them."""

    hours: defaultdict[int, ControlTotals] = field(default_factory=new_hours)
    misplaced_rows: int = 0  # of other times than their partition's
    unreadable: list[tuple[int, str]] = field(default_factory=list)  # rows of a file, and why they do not fit
    broken: list[DamagedStateError] = field(default_factory=list)
    shapes: list[tuple[str, str]] = field(default_factory=list)  # a file, and what is wrong with its shape
    gone: list[str] = field(default_factory=list)  # files that were not there

    def add(self, other: Found) -> None:
        for hour, totals in other.hours.items():
            self.hours[hour].add(totals.rows, totals.digest)
        self.misplaced_rows += other.misplaced_rows
        self.unreadable += other.unreadable
        self.broken += other.broken
        self.shapes += other.shapes
        self.gone += other.gone


class Contents:
    """A table's parts by partition. Use it as a context manager; `pool` reads for it."""

    def __init__(self, writer: TableWriter, table: Table, pool: ThreadPoolExecutor) -> None:
        self._writer, self._table, self._pool = writer, table, pool
        self._spec = writer.options.spec
        self._shapes = Shapes(table, self._spec.columns)
        self._stack = ExitStack()
        self._parts: dict[tuple[int, ...] | None, list[Part]] = {}

    def __enter__(self) -> Self:
        self._list()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def partitions(self) -> Iterable[tuple[int, ...]]:
        """The values of the partitions that have any parts."""
        return [partition for partition in self._parts if partition is not None]

    def names(self) -> Iterable[str]:
        """Those of all parts."""
        return (part.name for parts in self._parts.values() for part in parts)

    def totals(self, partition: tuple[int, ...] | None, window: Window, span: Window | None) -> Found:
        """What the parts of a partition, or those that hold rows of any time (None), hold in a window. Rows outside
        `span` are misplaced.
        """
        for _ in range(_LOOKS_MAX):
            found = Found()
            for group in self._read(partition, lambda parts: self._totals(parts, window, span)):
                found.add(group)
            if not found.gone:
                return found
            self._list()
            still = {part.name for part in self._parts.get(partition, ())}
            if still.issuperset(found.gone):
                found.broken += map(missing, found.gone)
                return found
        raise self._moved()

    def rows(self, partition: tuple[int, ...], window: Window) -> Iterator[pa.RecordBatch]:
        """The rows of a window within a partition, in their inside form; without what cannot be read."""
        for place in (partition, None):
            for batches in self._read(place, lambda parts: self._rows(parts, window)):
                yield from batches

    def count(self, partition: tuple[int, ...]) -> Found:
        """How many rows the parts of a partition hold, all in the hour 0, whatever they are."""
        found = Found()
        for part in self._parts.get(partition, ()):
            try:
                if part.read is not None:  # no file to be read whole: others have deleted some of its rows
                    found.hours[0].add(sum(batch.num_rows for batch in part.read()), 0)
                    continue
                with DataFile(self._writer.storage, part.name) as file:
                    found.hours[0].add(file.footer.num_rows, 0)
            except StorageNotFoundError:
                found.broken.append(missing(part.name))
            except DamagedStateError as error:
                found.broken.append(error)
        return found

    def _list(self) -> None:
        self._stack.close()
        had_rows_of_any_time = bool(self._parts.get(None))
        self._parts = {}
        for part in self._stack.enter_context(self._writer.contents(self._table)):
            self._parts.setdefault(part.partition, []).append(part)
        if had_rows_of_any_time:  # they were counted, and may stand elsewhere by now
            raise self._moved()

    def _moved(self) -> StorageError:
        return StorageError(
            "read",
            f"{self._writer.storage.uri}/{self._table.name}",
            "others have rewritten it meanwhile",
            hint="ask again when their maintenance is done",
        )

    def _read[T](self, partition: tuple[int, ...] | None, work: Callable[[Sequence[Part]], T]) -> Iterator[T]:
        """The work on each group of a partition's parts, in order."""
        under_way: deque[Future[T]] = deque()
        try:
            for group in _groups(self._parts.get(partition, ())):
                if group[0].read is not None:  # belongs to this thread
                    yield work(group)
                    continue
                under_way.append(self._pool.submit(work, group))
                if len(under_way) > self._writer.storage.reads_at_once:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()

    def _totals(self, parts: Sequence[Part], window: Window, span: Window | None) -> Found:
        found = Found()
        for rows in self._inside_form(parts, found):
            slots = arrow.slots(rows.column("event_time"))
            if span is not None:
                found.misplaced_rows += int(((slots < span.first) | (slots >= span.end)).sum())
            add_by_hour(self._table, _within(rows, slots, window), found.hours)
        return found

    def _rows(self, parts: Sequence[Part], window: Window) -> list[pa.RecordBatch]:
        found = self._inside_form(parts, Found())
        return [_within(rows, arrow.slots(rows.column("event_time")), window) for rows in found]

    def _inside_form(self, parts: Sequence[Part], found: Found) -> Iterator[pa.RecordBatch]:
        """The rows of some parts, those of small files put together; what is wrong with them is told to `found`."""
        if len(parts) == 1:
            for batch in self._batches(parts[0], found):
                yield from self._fitting([batch], found)
            return
        alike: list[list[pa.RecordBatch]] = []
        for part in parts:
            for batch in self._batches(part, found):
                if not alike or not alike[-1][0].schema.equals(batch.schema):
                    alike.append([])
                alike[-1].append(batch)
        for batches in alike:
            yield from self._fitting(batches, found)

    def _fitting(self, batches: Sequence[pa.RecordBatch], found: Found) -> Iterator[pa.RecordBatch]:
        """Batches of one schema, put together, in their inside form; those that do not fit are told."""
        try:
            together = pa.Table.from_batches(batches).combine_chunks().to_batches() if len(batches) > 1 else batches
            yield from [arrow.to_inside_form(self._table, batch) for batch in together]
        except (KeyError, pa.ArrowException) as error:
            if len(batches) > 1:
                for batch in batches:
                    yield from self._fitting([batch], found)
            else:
                found.unreadable.append((batches[0].num_rows, str(error)))

    def _batches(self, part: Part, found: Found) -> Iterator[pa.RecordBatch]:
        try:
            if part.read is not None:
                for batch in part.read():
                    placed = _where_they_belong(batch, self._spec.columns)
                    found.misplaced_rows += batch.num_rows - placed.num_rows
                    yield placed
                return
            with DataFile(self._writer.storage, part.name) as file:
                found.shapes += [(part.name, fault) for fault in self._shapes.faults(file, part)]
                yield from file.batches(self._table)
        except StorageNotFoundError:
            found.gone.append(part.name)
        except DamagedStateError as error:
            found.broken.append(error)


def _within(rows: pa.RecordBatch, slots: np.ndarray, window: Window) -> pa.RecordBatch:
    inside = (slots >= window.first) & (slots < window.end)
    return rows if inside.all() else rows.filter(pa.array(inside))


def _groups(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """Parts to be read one after the other: as many as are small together; alone what is large, or of unknown size."""
    group: list[Part] = []
    size = 0
    for part in parts:
        own = SMALL_BYTES_MAX if part.size_bytes is None else part.size_bytes
        is_apart = part.read is not None or (group and group[-1].read is not None)
        if group and (is_apart or size + own > SMALL_BYTES_MAX or len(group) == _GROUP_FILES_MAX):
            yield group
            group, size = [], 0
        group.append(part)
        size += own
    if group:
        yield group


def _where_they_belong(rows: pa.RecordBatch, columns: Sequence[str]) -> pa.RecordBatch:
    """Those rows whose values in the columns that the table is partitioned by are what their time says."""
    if not set(columns) <= set(rows.schema.names) or not rows.num_rows:
        return rows
    import pyarrow.compute as pc

    times = rows.column("event_time").cast(arrow.TIME_TYPE)
    is_right = np.ones(rows.num_rows, dtype=bool)
    for column in columns:
        equal = pc.equal(getattr(pc, column)(times), pc.cast(rows.column(column), pa.int64()))
        is_right &= np.asarray(equal.fill_null(False))
    return rows if is_right.all() else rows.filter(pa.array(is_right))
