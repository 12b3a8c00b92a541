"""What the writers' tests write: heartbeats, a row a second, and a table that stays empty."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import pyarrow as pa

from emitter import arrow
from emitter.clock import parse_time, slot_of
from emitter.encoder import Encoder
from emitter.model import CommitReport, EncodedFile, Slice, TableCommit, Window
from emitter.partitioning import PartitionSpec
from emitter.testing import HeartbeatGenerator, HeartbeatOptions
from emitter.writers.base import TableWriter, WriterOptions

RUN = "0123456789abcdef"
ORIGIN = slot_of(parse_time("2026-01-01T23:59:00Z"))  # a minute before a partition's edge
GENERATOR = HeartbeatGenerator(seed=7, origin_slot=ORIGIN, options=HeartbeatOptions())
TABLE = GENERATOR.table("heartbeats")
OPTIONS = WriterOptions(file_rows_target=50, partition=PartitionSpec())
WHOLE = Slice()


def window(first: int, end: int) -> Window:
    """In seconds from the origin."""
    return Window(ORIGIN + first, ORIGIN + end)


@cache
def rows(asked: Window, slice: Slice = WHOLE) -> list[pa.RecordBatch]:
    return [frame.rows for frame in GENERATOR.rows(asked, slice, (TABLE.name,))]


@cache
def files(asked: Window, slice: Slice = WHOLE, options: WriterOptions = OPTIONS) -> tuple[EncodedFile, ...]:
    encoder = Encoder([TABLE], options)
    chunks = [chunk for frame in GENERATOR.rows(asked, slice, (TABLE.name,)) for chunk in encoder.add(frame)]
    return tuple(encoder.encode(chunk) for chunk in (*chunks, *encoder.finish()))


def write(
    writer: TableWriter,
    asked: Window,
    expected_slot: int | None,
    slice: Slice = WHOLE,
    encoded: Iterable[EncodedFile] | None = None,
) -> CommitReport:
    """Stage and commit one window."""
    made = files(asked, slice, writer.options) if encoded is None else encoded
    staged = tuple(writer.stage(slice, asked, file) for file in made)
    (report,) = writer.commit(slice, [TableCommit(TABLE.name, expected_slot, asked.end, staged)])
    return report


def in_order(batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """Rows in their inside form, sorted by key: two of these are equal if they hold the same rows as often."""
    schema = arrow.inside_schema(TABLE)
    shaped = [batch.cast(schema) if batch.schema != schema else batch for batch in batches]
    return pa.Table.from_batches(shaped, schema).sort_by("beat_id")


def found(writer: TableWriter, asked: Window) -> pa.Table:
    """What a scan gives, in the same form."""
    return in_order(arrow.to_inside_form(TABLE, batch) for batch in writer.scan(TABLE, asked))
