"""A table that is made while it is read: what DuckDB, or anyone who reads Arrow datasets, takes for one.

DuckDB asks a dataset for a scanner, once for each time that a statement reads it, and says which columns it wants and
which rows it needs. Arrow itself says which hours can have such rows, from what is known of every hour: its bounds, and
its partition. What Arrow cannot tell from a filter leaves all hours in, so that more is made, never less. An hour's
rows are filtered before they are handed on, as DuckDB leaves that to whom it has told.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs

from emitter import arrow
from emitter.clock import time_of
from emitter.generators.base import FRAME_ROWS_MAX, GeneratorBase
from emitter.model import Slice, Table, Window
from emitter.partitioning import PartitionSpec
from emitter.truth.rows import HOUR_SECONDS, Segment, cut, segments, true_rows
from emitter.watch.progressbar import OnProgress

DAY_SECONDS = 86_400
_HOURS_LOOKED_AT_MAX = 31 * 24
type Values = pa.Array[Any]


@dataclass(frozen=True, slots=True)
class Source:
    """What tables are made from: a generator that has its inputs, in a period. `spec`: the partition columns that
    readers see beside the declared ones; None where the format hides them.
    """

    generator: GeneratorBase
    window: Window
    spec: PartitionSpec | None


@dataclass(frozen=True, slots=True)
class Scan:
    """One reading of a table: these columns, from these pieces of time."""

    table: str
    columns: tuple[str, ...]
    pieces: tuple[Window, ...]
    filter_text: str

    @property
    def seconds(self) -> int:
        return sum(piece.seconds for piece in self.pieces)


class Scans:
    """Every reading of a source's tables that was begun, and how far all of them are."""

    def __init__(self, on_progress: OnProgress | None = None) -> None:
        self.is_rehearsal = False
        """While it is set no row is made: who reads finds tables that are empty, but has said what it wants."""
        self.stopped = threading.Event()
        self.failure: Exception | None = None
        """What went wrong in making, as it was: DuckDB hands on its text alone."""
        self._on_progress = on_progress
        self._lock = threading.Lock()  # readers come from any thread
        self.clear()

    def clear(self, seconds_expected: int = 0) -> None:
        """Forget all that was read. `seconds_expected`: how much will be, if that is known."""
        self.failure = None
        self._begun: list[Scan] = []
        self._seconds_expected, self._seconds_done, self._rows = seconds_expected, 0, 0

    def begin(self, scan: Scan) -> None:
        with self._lock:
            self._begun.append(scan)

    def add(self, seconds: int, rows: int) -> None:
        """So much more of simulated time is done, in which so many rows were made."""
        with self._lock:
            self._seconds_done += seconds
            self._rows += rows
            if self._on_progress:
                total = max(self._seconds_expected, self._seconds_done)
                self._on_progress(self._seconds_done, total, self._rows)

    @property
    def begun(self) -> Sequence[Scan]:
        return tuple(self._begun)


class MadeTable(ds.Dataset):
    """A table of a source. Any number of readers at once."""

    def __init__(self, source: Source, table: Table, scans: Scans | None = None) -> None:
        self._source, self._table = source, table
        self._scans = scans or Scans()
        partition = [pa.field(name, pa.int32()) for name in source.spec.columns] if source.spec else []
        self._schema = pa.schema([*arrow.file_schema(table), *partition])
        epochs = source.generator.epochs
        self._segments = segments(epochs, table.name, source.window, None)
        self._piece_seconds = _piece_seconds(source, table.name)  # here, as readers share the source's generator

    @property
    def schema(self) -> pa.Schema:
        return self._schema

    def scanner(  # type: ignore[override] # of what it may be asked, DuckDB asks these
        self, columns: Sequence[str] | None = None, filter: pc.Expression | None = None, **_: Any
    ) -> Any:
        """What reads these columns of the rows that pass the filter, batch by batch, by its `to_reader()`."""
        return _Scanner(self, self.scan(columns, filter), filter)

    def scan(self, columns: Sequence[str] | None, filter: pc.Expression | None) -> Scan:
        """What is to be made for some columns (None: all) of the rows that pass a filter: perhaps more, never less."""
        names = tuple(self._schema.names if columns is None else columns)
        found = Scan(self._table.name, names, tuple(self._pieces(filter)), "" if filter is None else str(filter))
        self._scans.begin(found)
        return found

    def batches(self, scan: Scan, filter: pc.Expression | None) -> Iterator[pa.RecordBatch]:
        """The rows of a scan that pass a filter; None lets through all that is made for it."""
        generator, scans = self._source.generator, self._scans
        generator = generator.rebuilt(generator.origin_slot, generator.epochs)  # one serves one thread at a time
        # A name in the filter's text is perhaps only a part of a value: then a column is made that nobody needs.
        needed = {*scan.columns, *re.findall(r"\w+", scan.filter_text if filter is not None else "")}
        try:
            for piece in () if scans.is_rehearsal else scan.pieces:
                before = 0
                for _, rows in true_rows(generator, [Segment(Slice(), piece)], [self._table.name], seconds=DAY_SECONDS):
                    if scans.stopped.is_set():
                        return
                    made = self._as_read(rows, needed)
                    yield (made if filter is None else made.filter(filter)).select(list(scan.columns))
                    before += rows.num_rows
                scans.add(piece.seconds, before)
        except Exception as error:
            scans.failure = error
            raise

    def _as_read(self, rows: pa.RecordBatch, names: Collection[str]) -> pa.RecordBatch:
        """Rows in their inside form as a reader of the written table gets them, only these columns."""
        kinds = {column.name: column.type for column in self._table.columns}
        chosen = [field for field in self._schema if field.name in names]
        columns = []
        for field in chosen:
            if field.name not in kinds:
                columns.append(_partition_values(field.name, rows.column("event_time")))
                continue
            values = rows.column(field.name)
            if kinds[field.name] == "money":
                values = values.view(pa.decimal64(12, 2))
            columns.append(values if values.type == field.type else values.cast(field.type))
        return pa.RecordBatch.from_arrays(columns, schema=pa.schema(chosen))

    def _pieces(self, filter: pc.Expression | None) -> Iterator[Window]:
        """What is made in one go: pieces of time that may have rows for the filter, cut to some number of rows."""
        parts = self._segments
        if filter is not None:
            days = _possible(self._schema, self._source.spec, [part.window for part in parts], DAY_SECONDS, filter)
            if sum(day.seconds for day in days) <= _HOURS_LOOKED_AT_MAX * HOUR_SECONDS:
                days = _possible(self._schema, self._source.spec, days, HOUR_SECONDS, filter)
            parts = [piece for day in days for piece in cut(self._segments, day)]
        seconds = self._piece_seconds
        for part in _together([part.window for part in parts]):
            edges = [part.first, *range((part.first // seconds + 1) * seconds, part.end, seconds), part.end]
            yield from (Window(*edge) for edge in pairwise(edges))


class _Scanner:
    """What DuckDB takes from a dataset: it only ever asks for a stream of batches."""

    def __init__(self, table: MadeTable, scan: Scan, filter: pc.Expression | None) -> None:
        self._table, self._scan, self._filter = table, scan, filter

    @property
    def projected_schema(self) -> pa.Schema:
        return pa.schema([self._table.schema.field(name) for name in self._scan.columns])

    def to_reader(self) -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(self.projected_schema, self._table.batches(self._scan, self._filter))


def _piece_seconds(source: Source, table: str) -> int:
    """From an hour to a day: as long as is needed for a frame's rows, as many short pieces take longer."""
    rows = source.generator.expected_rows(source.window).get(table, 0.0)
    by_hour = rows * HOUR_SECONDS / max(source.window.seconds, 1)
    hours = next((count for count in (24, 12, 6, 3) if by_hour * count <= FRAME_ROWS_MAX), 1)
    return hours * HOUR_SECONDS


def _possible(
    schema: pa.Schema, spec: PartitionSpec | None, windows: Sequence[Window], seconds: int, filter: pc.Expression
) -> list[Window]:
    """The windows, cut at these seconds, less the parts in which, by Arrow's word, no row can pass the filter."""
    cuts = [
        Window(first, min(first // seconds * seconds + seconds, window.end))
        for window in windows
        for first in (window.first, *range((window.first // seconds + 1) * seconds, window.end, seconds))
        if first < window.end
    ]
    known = ds.FileSystemDataset.from_paths(
        [str(place) for place in range(len(cuts))],
        schema=schema,
        format=ds.ParquetFileFormat(),
        filesystem=pyarrow.fs.LocalFileSystem(),  # which is never asked
        partitions=[_known(spec, each) for each in cuts],
    )
    return [cuts[int(fragment.path)] for fragment in known.get_fragments(filter=filter)]


def _known(spec: PartitionSpec | None, window: Window) -> pc.Expression:
    """What holds for every row of a window that lies within a day."""
    first, end = (pa.scalar(time_of(slot), arrow.TIME_TYPE) for slot in (window.first, window.end))
    known = (ds.field("event_time") >= first) & (ds.field("event_time") < end)
    for name, value in zip(spec.columns, spec.values(window.first), strict=True) if spec else ():
        if name != "hour" or window.seconds <= HOUR_SECONDS:
            known &= ds.field(name) == pa.scalar(value, pa.int32())
    return known


def _together(windows: Sequence[Window]) -> list[Window]:
    """Windows in order, those put together that meet."""
    found: list[Window] = []
    for window in windows:
        if found and found[-1].end == window.first:
            found[-1] = Window(found[-1].first, window.end)
        else:
            found.append(window)
    return found


def _partition_values(name: str, times: Values) -> Values:
    """A partition column, from the times that place rows, all in UTC."""
    values: Values = getattr(pc, name)(times).cast(pa.int32())
    return values
