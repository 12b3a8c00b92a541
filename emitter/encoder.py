"""Rows to Parquet bytes: one encoder for all formats, split at partition edges and at `file_rows_target`.

`add` only cuts frames and keeps the pieces; `encode` does the work, is pure, and lets other threads run
meanwhile.

The settings, measured on this project's tables: integers, times and money as DELTA_BINARY_PACKED, and
dictionaries on strings alone, are twice as fast as the defaults and smaller (money as INT64, which every
reader of decimals knows). Pages end at a mebibyte alone: the writer's own limit of 20,000 rows makes small ones, each
with a call of the compressor, and its steps of 1,024 rows cost more than what they do (a sixth of the time together).
Times and money stay as they are packed: their low digits have no pattern, so that compressing them takes 5 to 15 % of a
file's time for none of its bytes, or, where rows share a time, for a fourteenth.
The Arrow schema is not stored, so that strings come back plain. Field ids cost 16 bytes and let a file be registered
in Iceberg as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from emitter import arrow
from emitter.errors import UsageError
from emitter.model import Column, EncodedFile, Frame, Table
from emitter.writers.base import WriterOptions

# Arrow's own allocator keeps pages for every thread that ever encoded: some megabytes more with each busy hour. The
# system's gives them back, and is as fast for buffers of this size.
pa.set_memory_pool(pa.system_memory_pool())

_ROW_GROUP_ROWS_MAX = 1 << 20
_STEP_ROWS = 4096
_PENDING_FILES_MAX = 8  # so many full files' rows may wait in all; then the largest rest goes early
_CENTS_MAX = 10**12 - 1  # what decimal(12,2) holds
_ZSTD_LEVEL = 1
_DELTA_TYPES = ("int32", "int64", "timestamp", "money")
_UNCOMPRESSED_TYPES = ("timestamp", "money")


@dataclass(frozen=True, slots=True)
class Chunk:
    """The rows of a file to be, in their inside form: all of one table and one partition."""

    table: str
    partition: str
    part: int
    batches: tuple[pa.RecordBatch, ...]

    @property
    def rows(self) -> int:
        return sum(batch.num_rows for batch in self.batches)


@dataclass(slots=True)
class _Pending:
    """What a partition of a table has got and no file has taken yet."""

    batches: list[pa.RecordBatch] = field(default_factory=list)
    rows: int = 0
    parts: int = 0  # files made before


class Encoder:
    """Makes the files of one batch. `add` and `finish` belong to one thread, `encode` to any."""

    def __init__(self, tables: Sequence[Table], options: WriterOptions) -> None:
        self._tables = {table.name: table for table in tables}
        self._options = options
        self._pending: dict[tuple[str, str], _Pending] = {}
        self._pending_rows = 0

    def add(self, frame: Frame) -> list[Chunk]:
        """Take a frame's rows, in any order; gives the chunks that became full. Raises UsageError for rows
        that are not as their table declares.
        """
        table = self._tables.get(frame.table)
        if table is None:
            raise UsageError(f"a frame of {frame.table}, which is no table of this batch", hint=_DOMAIN_HINT)
        _check(table, frame.rows)
        chunks: list[Chunk] = []
        for partition, rows in self._split(frame.rows):
            pending = self._pending.setdefault((table.name, partition), _Pending())
            pending.batches.append(rows)
            pending.rows += rows.num_rows
            self._pending_rows += rows.num_rows
            while pending.rows >= self._options.file_rows_target:
                chunks.append(self._take(table.name, partition, self._options.file_rows_target))
        while self._pending_rows > _PENDING_FILES_MAX * self._options.file_rows_target:
            key = max(self._pending, key=lambda name: self._pending[name].rows)
            chunks.append(self._take(*key, self._pending[key].rows))
        return chunks

    def finish(self) -> list[Chunk]:
        """The rests. The encoder is empty then, and its work done."""
        return [self._take(*key, pending.rows) for key, pending in self._pending.items() if pending.rows]

    def encode(self, chunk: Chunk) -> EncodedFile:
        """A chunk as a Parquet file. A pure function: the same rows give the same bytes."""
        table = self._tables[chunk.table]
        rows = _in_file_form(table, chunk)
        compressed = [column.name for column in table.columns if column.type not in _UNCOMPRESSED_TYPES]
        codecs: dict[str, Any] = dict.fromkeys(rows.column_names, "none")
        codecs.update(dict.fromkeys(compressed, self._options.compression))
        sink = pa.BufferOutputStream()
        collected: list[pq.FileMetaData] = []
        with pq.ParquetWriter(
            sink,
            rows.schema,
            version="2.6",
            compression=codecs,
            compression_level=dict.fromkeys(compressed, _ZSTD_LEVEL) if self._options.compression == "zstd" else None,
            use_dictionary=[  # type: ignore[arg-type]
                column.name for column in table.columns if column.type == "string"
            ],
            column_encoding={
                column.name: "DELTA_BINARY_PACKED" if column.type in _DELTA_TYPES else "PLAIN"
                for column in table.columns
                if column.type != "string"
            },
            store_decimal_as_integer=True,
            store_schema=False,
            write_batch_size=_STEP_ROWS,
            max_rows_per_page=_ROW_GROUP_ROWS_MAX,  # none: a page is full by its bytes
            # They pass over NaN, so readers would skip files that hold it.
            write_statistics=[name for name in rows.column_names if not _has_nan(rows.column(name))],
            metadata_collector=collected,
        ) as writer:
            writer.write_table(rows, row_group_size=_ROW_GROUP_ROWS_MAX)
        (metadata,) = collected
        return EncodedFile(chunk.table, chunk.partition, chunk.part, rows.num_rows, sink.getvalue(), metadata)

    def _split(self, rows: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
        """The rows of each partition."""
        spec = self._options.spec
        if not rows.num_rows:
            return
        slots = arrow.slots(rows.column("event_time"))
        first, last = int(slots.min()), int(slots.max())
        if last < spec.end(first):
            yield spec.path(first), rows
            return
        if (np.diff(slots) < 0).any():
            order = np.argsort(slots, kind="stable")
            rows, slots = rows.take(order), slots[order]
        begin = 0
        while begin < len(slots):
            slot = int(slots[begin])
            end = int(np.searchsorted(slots, spec.end(slot)))
            yield spec.path(slot), rows.slice(begin, end - begin)
            begin = end

    def _take(self, table: str, partition: str, count: int) -> Chunk:
        """The first rows that are pending, as a chunk."""
        pending = self._pending[table, partition]
        taken: list[pa.RecordBatch] = []
        missing = count
        while missing:
            batch = pending.batches[0]
            if batch.num_rows <= missing:
                taken.append(pending.batches.pop(0))
            else:
                taken.append(batch.slice(0, missing))
                pending.batches[0] = batch.slice(missing)
            missing -= taken[-1].num_rows
        chunk = Chunk(table, partition, pending.parts, tuple(taken))
        pending.rows -= count
        pending.parts += 1
        self._pending_rows -= count
        return chunk


_DOMAIN_HINT = "this is a fault in the domain's generator: its rows must be as its tables declare them"


def _check(table: Table, rows: pa.RecordBatch) -> None:
    """Refuse rows that would make another file than the table declares."""
    names = [column.name for column in table.columns]
    if rows.schema.names != names:
        raise UsageError(f"rows of {table.name} have columns {rows.schema.names}, not {names}", hint=_DOMAIN_HINT)
    for column, declared, values in zip(table.columns, arrow.inside_schema(table), rows.columns, strict=True):
        plain = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
        if plain != declared.type or (plain != values.type and column.type != "string"):
            raise UsageError(
                f"{table.name}.{column.name} is {values.type}, declared as {declared.type}", hint=_DOMAIN_HINT
            )
        if not column.nullable and _has_nulls(values):
            raise UsageError(f"{table.name}.{column.name} has nulls and must not", hint=_DOMAIN_HINT)
        if column.type == "money" and len(values):
            bounds = pc.min_max(values)
            if any(abs(bounds[end].as_py() or 0) > _CENTS_MAX for end in ("min", "max")):
                raise UsageError(f"{table.name}.{column.name} has amounts of over 12 digits", hint=_DOMAIN_HINT)


def _has_nan(values: pa.ChunkedArray[Any]) -> bool:
    return pa.types.is_floating(values.type) and bool(pc.any(pc.is_nan(values)).as_py())


def _has_nulls(values: arrow.Values) -> bool:
    return bool(values.null_count or (isinstance(values, pa.DictionaryArray) and values.dictionary.null_count))


def _in_file_form(table: Table, chunk: Chunk) -> pa.Table:
    shaped = [arrow.to_file_form(table, batch) for batch in chunk.batches]
    columns = [
        _one_encoding([batch.column(place) for batch in shaped])
        if column.type == "string"
        else pa.chunked_array([batch.column(place) for batch in shaped])
        for place, column in enumerate(table.columns)
    ]
    fields = [
        _field(column, values.type, place + 1)
        for place, (column, values) in enumerate(zip(table.columns, columns, strict=True))
    ]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _field(column: Column, type: pa.DataType, field_id: int) -> pa.Field[Any]:
    return pa.field(column.name, type, column.nullable, {"PARQUET:field_id": str(field_id)})


def _one_encoding(pieces: list[Any]) -> pa.ChunkedArray[Any]:
    """Strings of a file as one dictionary if that is small, else plain: the Parquet writer stores a given
    dictionary whole, used or not, and gives up dictionaries where a second one follows.
    """
    first = pieces[0]
    rows = sum(map(len, pieces))
    if (
        isinstance(first, pa.DictionaryArray)
        and len(first.dictionary) <= rows
        and all(piece.type == first.type and piece.dictionary.equals(first.dictionary) for piece in pieces[1:])
    ):
        return pa.chunked_array(pieces)
    return pa.chunked_array([piece.cast(pa.string()) for piece in pieces])
