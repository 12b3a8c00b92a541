"""What the writers' tests write: heartbeats, a row a second, and rows of odd values."""

from __future__ import annotations

import unittest
from collections.abc import Iterable
from dataclasses import replace
from functools import cache

import pyarrow as pa

from emitter import arrow
from emitter.clock import EPOCH_UNIX_SECONDS, parse_time, slot_of
from emitter.encoder import Encoder
from emitter.errors import DamagedStateError
from emitter.model import CommitReport, EncodedFile, Frame, Slice, Table, TableCommit, TableProgress, Window
from emitter.partitioning import PartitionSpec
from emitter.testing import HeartbeatGenerator, HeartbeatOptions
from emitter.writers.base import TableWriter, WriterOptions
from tests.support.reading import rows_in

RUN = "0123456789abcdef"
ORIGIN = slot_of(parse_time("2026-01-01T23:59:00Z"))  # a minute before a partition's edge
GENERATOR = HeartbeatGenerator(seed=7, origin_slot=ORIGIN, options=HeartbeatOptions())
TABLE = GENERATOR.table("heartbeats")
OPTIONS = WriterOptions(file_rows_target=50, partition=PartitionSpec())
WHOLE = Slice()
PARENTS = replace(TABLE, name="ancestors")
TABLE = replace(TABLE, parents=(PARENTS.name,))
CHILDREN = replace(TABLE, name="offspring", parents=(TABLE.name,))

_TEXTS = [
    "",
    " ",
    "a\0b",
    "naïve",
    "e\u0301 é",
    "שלום\u200f",
    "日本語",
    "👩\u200d🔬🏽",
    "'\"\\;--",
    "%2F=+&?#",
    "\r\n\t",
    "\uffff",
    "\U0010ffff",
]
_TEXTS += ["x" * 31 + "👩", "\U0010ffff" * 40, "é" * 5_000]
_CENTS = [0, 1, -1, 10**12 - 1, -(10**12 - 1), None]
_LOADS = [0.0, -0.0, 1.5, float("inf"), float("-inf"), float("nan"), 5e-324, 1.7976931348623157e308]
ODD_ROWS = pa.RecordBatch.from_pylist(
    [
        {
            "beat_id": (number - 8) * (2**53 // 8),
            "event_time": (ORIGIN + EPOCH_UNIX_SECONDS + number) * 1_000_000 + 999_999 * (number % 2),
            "host": text,
            "pulse": (-(2**31), 2**31 - 1, 0)[number % 3],
            "load": _LOADS[number % len(_LOADS)],
            "healthy": number % 2 == 0,
            "cost": _CENTS[number % 5],
            "credit": _CENTS[number % 6],
            "note": None if number % 2 else text,
        }
        for number, text in enumerate(_TEXTS)
    ],
    arrow.inside_schema(TABLE),
)
"""Values at the edges of what the types hold, and text that has broken something somewhere."""


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


def encoded(batch: pa.RecordBatch) -> tuple[EncodedFile, ...]:
    encoder = Encoder([TABLE], OPTIONS)
    return tuple(encoder.encode(chunk) for chunk in (*encoder.add(Frame(TABLE.name, batch)), *encoder.finish()))


def renamed(file: EncodedFile, table: Table) -> EncodedFile:
    """The same file for another table."""
    return replace(file, table=table.name)


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
    *_, report = writer.commit(slice, [TableCommit(TABLE.name, expected_slot, asked.end, staged)])
    return report


def in_order(batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """Rows in their inside form, sorted by key: two of these are equal if they hold the same rows as often."""
    schema = arrow.inside_schema(TABLE)
    shaped = [batch.cast(schema) if batch.schema != schema else batch for batch in batches]
    return pa.Table.from_batches(shaped, schema).sort_by("beat_id")


def found(writer: TableWriter, asked: Window) -> pa.Table:
    """What `verify` reads of the partitions that overlap a window, in the same form."""
    return in_order(rows_in(writer, TABLE, asked))


def assert_progress_is_missed(case: unittest.TestCase, writer: TableWriter, known: TableProgress | None) -> None:
    """Where somebody has set the progress back to this, whoever opens the table does not go on from there."""
    case.assertEqual(writer.recover(WHOLE, TABLE.name), known)
    with case.assertRaises(DamagedStateError):
        writer.check_not_set_back(WHOLE, TABLE.name, known, known.slot if known else ORIGIN)
