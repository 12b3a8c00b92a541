"""What `verify` reads of a table: for tests of one table and a small period."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pyarrow as pa

from emitter.clock import SLOT_END
from emitter.errors import DamagedStateError
from emitter.model import Table, Window
from emitter.truth.reading import Contents, Found
from emitter.writers.base import TableWriter

_EVER = Window(0, SLOT_END)


def rows_in(
    writer: TableWriter, table: Table, asked: Window, broken: list[DamagedStateError] | None = None
) -> list[pa.RecordBatch]:
    """The rows of the partitions that overlap a window, in their inside form. What of them cannot be read is told to
    `broken`, or raised if that is None.
    """
    rows: list[pa.RecordBatch] = []
    looked = Found()
    with _contents(writer, table) as contents:
        for span in _spans(writer, asked):
            partition = writer.options.spec.values(span.first)
            looked.add(contents.totals(partition, span, span))
            rows += contents.rows(partition, span)
        if asked.seconds:
            looked.add(contents.totals(None, _whole(writer, asked), None))
    _check(looked, broken)
    assert sum(batch.num_rows for batch in rows) == _count(looked)
    return rows


def count_beside(writer: TableWriter, table: Table, asked: Window) -> int:
    """How many rows a reader of the whole table finds beside those of the partitions that overlap a window."""
    looked = Found()
    with _contents(writer, table) as contents:
        inside = set(writer.options.spec.partitions(asked))
        for partition in contents.partitions():
            if partition not in inside:
                looked.add(contents.count(partition))
        looked.add(contents.totals(None, _EVER, None))
        there = _count(contents.totals(None, _whole(writer, asked), None)) if asked.seconds else 0
    _check(looked, None)
    return _count(looked) - there


@contextmanager
def _contents(writer: TableWriter, table: Table) -> Iterator[Contents]:
    with ThreadPoolExecutor(1) as pool, Contents(writer, table, pool) as contents:
        yield contents


def _spans(writer: TableWriter, asked: Window) -> Iterator[Window]:
    """The whole of each partition that overlaps a window."""
    spec, slot = writer.options.spec, asked.first
    while slot < asked.end:
        yield Window(spec.start(slot), spec.end(slot))
        slot = spec.end(slot)


def _whole(writer: TableWriter, asked: Window) -> Window:
    spec = writer.options.spec
    return Window(spec.start(asked.first), spec.end(asked.end - 1))


def _count(found: Found) -> int:
    return sum(tally.rows for tally in found.hours.values())


def _check(found: Found, broken: list[DamagedStateError] | None) -> None:
    if broken is not None:
        broken += found.broken
    elif found.broken:
        raise found.broken[0]
    assert not found.unreadable, found.unreadable
    assert not found.misplaced_rows
