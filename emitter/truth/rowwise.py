"""Which rows differ, one by one: for an hour whose count or digest is not what it should be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from emitter import arrow
from emitter.generators.base import GeneratorBase
from emitter.model import Slice, Table, Window
from emitter.randomness import Words
from emitter.truth.digest import row_words
from emitter.truth.rows import Segment, segments, true_rows
from emitter.truth.verdict import TableVerification

_NO_ROW = np.uint64(0)


def compare(
    generator: GeneratorBase,
    table: Table,
    span: Window,
    required: Iterable[Segment],
    later: Sequence[Segment],
    read: Callable[[], Iterable[pa.RecordBatch]],
    result: TableVerification,
) -> None:
    """Note which keys are lost, doubled, altered or unexpected among the rows of a span, which `read` gives:
    `required` must be there, and what `later` holds may be.
    """
    wanted, truth, found = _Rows(table), _Rows(table), _Rows(table)
    for _, batch in true_rows(generator, required, [table.name]):
        wanted.add(batch)
    for _, batch in true_rows(generator, segments(generator.epochs, table.name, span, None), [table.name]):
        truth.add(batch)
    for batch in read():
        found.add(batch)
    true_keys, true_words = truth.by_key()
    keys, words = found.keys(), found.words()
    at = np.searchsorted(true_keys[:-1], keys)
    known = true_keys[at] == keys
    right = known & (true_words[at] == words)
    order = np.lexsort((~right, keys))  # of the rows under one key a right one comes first, and the others are too many
    keys, known, right = keys[order], known[order], right[order]
    again = np.concatenate([[False], keys[1:] == keys[:-1]])[: len(keys)]
    lost = np.flatnonzero(~np.isin(wanted.keys(), keys))
    for what, source, places in (
        ("lost", wanted, lost),
        ("duplicated", found, order[known & again]),
        ("altered", found, order[known & ~again & ~right]),
        ("unexpected", found, order[~known]),
    ):
        setattr(result, what, getattr(result, what) + len(places))
        shown = places[: result.examples_left]
        changes = {}
        if what == "altered" and len(shown):
            changes = _changes(generator, table, span, source.keys()[shown], source.words()[shown], read)
        for place in shown:
            result.example(f"{what}: {source.key_text(int(place))}{changes.get(source.keys()[place], '')}")
    for slice, missing in _missing(generator, table, later, keys):
        result.to_come(slice, len(missing), int(missing.min()))


def _changes(
    generator: GeneratorBase,
    table: Table,
    span: Window,
    keys: Words,
    words: Words,
    read: Callable[[], Iterable[pa.RecordBatch]],
) -> dict[np.uint64, str]:
    """By key what is other than it should be in the rows of these keys and words. They are few, and looked for once
    more: a whole hour of rows is not kept for them.
    """
    truth, found = {}, {}
    parts = segments(generator.epochs, table.name, span, None)
    for batch in (batch for _, batch in true_rows(generator, parts, [table.name])):
        truth.update(_values(table, batch, np.isin(row_words(table, batch, table.key), keys)))
    for batch in read():
        found.update(_values(table, batch, np.isin(row_words(table, batch), words)))
    return {
        key: "".join(
            f"; {name} is {_text(found[key][name])}, not {_text(value)}"
            for name, value in truth[key].items()
            if found[key][name] != value
        )
        for key in keys
        if key in truth and key in found
    }


def _values(table: Table, rows: pa.RecordBatch, wanted: np.ndarray) -> dict[np.uint64, dict[str, Any]]:
    """By key the values of the wanted rows, as their readers have them."""
    if not wanted.any():
        return {}
    chosen = rows.filter(pa.array(wanted))
    values = chosen.to_pylist()
    for column in (column.name for column in table.columns if column.type == "money"):
        for row in values:
            row[column] = None if row[column] is None else Decimal(row[column]).scaleb(-2)
    return dict(zip(row_words(table, chosen, table.key), values, strict=True))


def _text(value: Any) -> str:
    return "null" if value is None else str(value)


def _missing(
    generator: GeneratorBase, table: Table, later: Sequence[Segment], found_keys: Words
) -> Iterable[tuple[Slice, np.ndarray]]:
    """By slice, the slots of the rows that are not there yet."""
    for part in later:
        for _, batch in true_rows(generator, [part], [table.name]):
            is_missing = ~np.isin(row_words(table, batch, table.key), found_keys)
            if is_missing.any():
                yield part.slice, arrow.slots(batch.column("event_time"))[is_missing]


class _Rows:
    """The keys and words of some rows: 16 bytes a row beside the key columns."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._keys = [np.empty(0, dtype=np.uint64)]
        self._words = [np.empty(0, dtype=np.uint64)]
        self._columns: list[pa.RecordBatch] = []

    def add(self, rows: pa.RecordBatch) -> None:
        self._keys.append(row_words(self._table, rows, self._table.key))
        self._words.append(row_words(self._table, rows))
        self._columns.append(rows.select([*self._table.key, "event_time"]))

    def keys(self) -> Words:
        return np.concatenate(self._keys)

    def words(self) -> Words:
        return np.concatenate(self._words)

    def by_key(self) -> tuple[Words, Words]:
        """(keys, words), by key, and one more of each that is no row's: so that every search finds a place."""
        keys, words = self.keys(), self.words()
        order = np.argsort(keys)
        return np.append(keys[order], _NO_ROW), np.append(words[order], _NO_ROW)

    def key_text(self, place: int) -> str:
        for rows in self._columns:
            if place < rows.num_rows:
                row = rows.slice(place, 1).to_pylist()[0]
                return ", ".join(f"{name}={value}" for name, value in row.items())
            place -= rows.num_rows
        raise IndexError(place)
