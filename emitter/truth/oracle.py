"""What should be there, and how what is there differs from it.

The truth comes from configuration and journal alone. Hours are compared by count and order-free digest, in bounded
memory; only an hour that differs is looked at row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from emitter import arrow
from emitter.clock import SLOT_END, Clock, SystemClock, text_of
from emitter.config import EmitterConfig
from emitter.errors import DamagedStateError, MissingJournalError, UsageError
from emitter.generators.base import GeneratorBase
from emitter.model import Slice, Table, Window
from emitter.partitioning import PartitionSpec
from emitter.randomness import Words
from emitter.run.assembly import configured_writer, run_of
from emitter.run.factory import identity_of
from emitter.run.journal import Journal
from emitter.run.plan import slots_before_last, stands, table_ends
from emitter.showing import Grid, Shown
from emitter.truth.digest import row_words
from emitter.truth.rows import (
    HOUR_SECONDS,
    Segment,
    Tally,
    cut,
    new_hours,
    row_slots,
    segments,
    tally_by_hour,
    true_rows,
)
from emitter.writers.base import TableWriter

EXAMPLES_MAX = 10
_NO_ROW = np.uint64(0)
OnProgress = Callable[[int, int], None]
"""Told as it goes on: seconds of the period done, of how many."""


@dataclass(slots=True)
class TableVerification:
    """What was found of one table: rows the truth has and the table lacks, extra copies, rows with another content
    under a true key, and rows under no true key.
    """

    table: str
    from_slot: int
    to_slot: int
    rows_expected: int = 0
    rows_found: int = 0
    lost: int = 0
    duplicated: int = 0
    altered: int = 0
    unexpected: int = 0
    broken_files: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not (self.lost or self.duplicated or self.altered or self.unexpected or self.broken_files)

    def example(self, text: str) -> None:
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(text)


@dataclass(frozen=True, repr=False)
class Verification(Shown):
    """The verdict over all tables. It shows itself as a table."""

    tables: list[TableVerification]

    @property
    def ok(self) -> bool:
        return all(table.ok for table in self.tables)

    def grid(self) -> Grid:
        kinds = ("rows_expected", "rows_found", "lost", "duplicated", "altered", "unexpected", "broken_files")
        rows = [(table.table, *(getattr(table, kind) for kind in kinds)) for table in self.tables]
        examples = [f"{table.table}: {example}" for table in self.tables for example in table.examples]
        verdict = "ok: every row is there, once" if self.ok else "not ok"
        return Grid(("table", *(kind.replace("_", " ") for kind in kinds)), rows, (*examples, verdict))


def expect(config: EmitterConfig, from_slot: int | None, to_slot: int, *, clock: Clock | None = None) -> dict[str, Any]:
    """The truth of a period as JSON values: by table the rows, the sums of amounts and counts (money as text with two
    decimals), and the order-free digest, in all and by hour.
    """
    generator, journal = run_of(config, configured_writer(config), clock or SystemClock())
    return expect_rows(generator, from_slot, to_slot, journal.run_id if journal else None)


def expect_rows(
    generator: GeneratorBase, from_slot: int | None, to_slot: int, run_id: str | None = None
) -> dict[str, Any]:
    """`expect` for a generator that has its inputs (`run_of`, `rebuilt`); `run_id` is that of its journal, if any."""
    first = generator.origin_slot if from_slot is None else max(from_slot, generator.origin_slot)
    window = _window(first, to_slot)
    run_id = run_id or Journal(identity_of(generator)).run_id
    tables = {}
    for name in table_ends(generator.epochs):
        table, hours = generator.table(name), new_hours()
        for _, rows in true_rows(generator, segments(generator.epochs, name, window, None), [name]):
            tally_by_hour(table, rows, hours, with_sums=True)
        tables[name] = _truth_json(table, hours)
    return {"run_id": run_id, "from": text_of(window.first), "to": text_of(window.end), "tables": tables}


def verify(
    config: EmitterConfig,
    from_slot: int | None = None,
    to_slot: int | None = None,
    table: str | None = None,
    *,
    clock: Clock | None = None,
    on_progress: OnProgress | None = None,
) -> Verification:
    """Compare the tables with the truth: up to `to_slot`, or, if it is None, as far as each table is complete by its
    own word and that of its children; one that says nothing of a slice, by the word of the others.

    True rows beyond that are no fault: a commit may be under way. Without bounds, files outside the run's partitions
    count too. Only reads, also beside a running daemon. Raises MissingJournalError where nothing was ever written, and
    UsageError for a table that the run has not, or a period that ends before it begins.
    """
    with closing(configured_writer(config)) as writer:
        generator, journal = run_of(config, writer, clock or SystemClock())
        if journal is None:
            raise MissingJournalError(
                f"there is no journal under {writer.storage.uri}: nothing was written there by emitter",
                hint="check output.uri, or begin with `emitter run` or `emitter generate`",
            )
        return verify_tables(generator, writer, journal, from_slot, to_slot, table, on_progress=on_progress)


def verify_tables(
    generator: GeneratorBase,
    writer: TableWriter,
    journal: Journal,
    from_slot: int | None = None,
    to_slot: int | None = None,
    table: str | None = None,
    *,
    on_progress: OnProgress | None = None,
) -> Verification:
    """`verify` for a generator that has the inputs of the journal (`run_of`, `rebuilt`), and the writer of its
    output.
    """
    if from_slot is not None and to_slot is not None:
        _window(from_slot, to_slot)
    names = journal.tables()
    for name in names:  # what a run would refuse, nobody can vouch for
        writer.open(journal.run_id, generator.table(name))
    if table is not None and table not in names:
        raise UsageError(f"the run has no table {table!r}", hint=f"choose from: {', '.join(names)}")
    first = generator.origin_slot if from_slot is None else max(from_slot, generator.origin_slot)
    chosen = [name for name in names if table in (None, name)]
    progress: dict[str, dict[Slice, int] | None] = dict.fromkeys(chosen)
    if to_slot is None:
        found = {name: {slice: own.slot for slice, own in writer.progress(name).items()} for name in names}
        complete = stands({name: generator.table(name).parents for name in names}, found)
        silent = slots_before_last(found.values())
        progress.update({name: silent | complete[name] for name in chosen})
        if journal.refresh():  # whoever got further since has sealed it before
            generator = generator.rebuilt(journal.origin_slot, journal.epochs)
        journal.check_progress(found)
    whole = Window(first, max(first, SLOT_END if to_slot is None else to_slot))
    parts = {name: segments(journal.epochs, name, whole, progress[name]) for name in chosen}
    ends = [part.window.end for each in parts.values() for part in each]
    window = Window(first, max([first, *ends]) if to_slot is None else max(first, to_slot))
    results = {name: TableVerification(name, window.first, window.end) for name in chosen}
    spec = generator.partition
    for part in _partitions(spec, window):
        if on_progress:
            on_progress(part.first - window.first, window.seconds)
        _verify_window(generator, writer, parts, part, results, Window(spec.start(part.first), spec.end(part.first)))
    if from_slot is None and to_slot is None:
        journal.refresh()  # what a daemon has begun meanwhile is sealed
        last = max(window.first, window.end - 1, journal.sealed_slot - 1)
        _look_outside(generator, writer, Window(spec.start(window.first), spec.end(last)), results)
    if on_progress:
        on_progress(window.seconds, window.seconds)
    return Verification([results[name] for name in chosen])


def _look_outside(
    generator: GeneratorBase, writer: TableWriter, window: Window, results: Mapping[str, TableVerification]
) -> None:
    """Rows where no partition of the run is: readers find them, and none belongs there."""
    for name, result in results.items():
        for batch in writer.scan_outside(generator.table(name), window, _not_again):
            result.unexpected += batch.num_rows
            result.rows_found += batch.num_rows
            result.example(f"unexpected: {batch.num_rows} rows of a file outside the partitions of the run")


def _verify_window(
    generator: GeneratorBase,
    writer: TableWriter,
    parts: Mapping[str, list[Segment]],
    window: Window,
    results: Mapping[str, TableVerification],
    partition: Window | None,
) -> None:
    """`partition`: what the window's partition spans, at the first window in it that is looked at."""
    expected = {name: new_hours() for name in parts}
    for together in _same_segments({name: cut(each, window) for name, each in parts.items()}):
        for name, rows in true_rows(generator, together[1], together[0]):
            tally_by_hour(generator.table(name), rows, expected[name])
    for name, result in results.items():
        table, found = generator.table(name), new_hours()
        misfits = _Misfits(partition, result) if partition else None
        for rows in _found_rows(writer, table, window, misfits):
            tally_by_hour(table, rows, found)
        result.rows_expected += sum(tally.rows for tally in expected[name].values())
        result.rows_found += sum(tally.rows for tally in found.values())
        for hour in sorted(expected[name].keys() | found.keys()):
            if not expected[name][hour].same_rows(found[hour]):
                span = Window(max(hour, window.first), min(hour + HOUR_SECONDS, window.end))
                _compare(generator, writer, cut(parts[name], span), table, span, result)


def _same_segments(parts: Mapping[str, list[Segment]]) -> list[tuple[list[str], list[Segment]]]:
    """The tables whose segments are the same, together: those that share their making are then made once."""
    groups: list[tuple[list[str], list[Segment]]] = []
    for name, each in parts.items():
        for names, same in groups:
            if same == each:
                names.append(name)
                break
        else:
            groups.append(([name], each))
    return groups


def _compare(
    generator: GeneratorBase,
    writer: TableWriter,
    parts: Sequence[Segment],
    table: Table,
    span: Window,
    result: TableVerification,
) -> None:
    """Row by row, in at most an hour: which keys are lost, doubled, altered or unexpected."""
    required, truth, found = _Rows(table), _Rows(table), _Rows(table)
    for _, rows in true_rows(generator, parts, [table.name]):
        required.add(rows)
    for _, rows in true_rows(generator, segments(generator.epochs, table.name, span, None), [table.name]):
        truth.add(rows)
    for rows in _found_rows(writer, table, span):
        found.add(rows)
    true_keys, true_words = truth.by_key()
    keys, words = found.keys(), found.words()
    at = np.searchsorted(true_keys[:-1], keys)
    known = true_keys[at] == keys
    right = known & (true_words[at] == words)
    order = np.lexsort((~right, keys))  # of the rows under one key a right one comes first, and the others are too many
    keys, known, right = keys[order], known[order], right[order]
    again = np.concatenate([[False], keys[1:] == keys[:-1]])[: len(keys)]
    lost = np.flatnonzero(~np.isin(required.keys(), keys))
    for what, source, places in (
        ("lost", required, lost),
        ("duplicated", found, order[known & again]),
        ("altered", found, order[known & ~again & ~right]),
        ("unexpected", found, order[~known]),
    ):
        setattr(result, what, getattr(result, what) + len(places))
        for place in places[:EXAMPLES_MAX]:
            result.example(f"{what}: {source.key_text(int(place))}")


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


@dataclass(frozen=True, slots=True)
class _Misfits:
    """Counts as unexpected what is in a partition's files and not among the rows of any of its hours."""

    partition: Window
    result: TableVerification

    def broken(self, error: DamagedStateError) -> None:
        """A file that no reader can read: its rows are lost, and it is told by name."""
        self.result.broken_files += 1
        self.result.example(f"broken: {error.problem}")

    def unreadable(self, rows: int, error: Exception) -> None:
        self._count(rows, f"rows of a file without the table's columns ({error})")

    def look_at(self, slots: np.ndarray) -> None:
        """Rows where no reader would look for them."""
        placed = (slots >= self.partition.first) & (slots < self.partition.end)
        self._count(int((~placed).sum()), f"rows of other times in the partition from {text_of(self.partition.first)}")

    def _count(self, rows: int, what: str) -> None:
        if rows:
            self.result.unexpected += rows
            self.result.rows_found += rows
            self.result.example(f"unexpected: {rows} {what}")


def _not_again(error: DamagedStateError) -> None:
    """A file that cannot be read was noted when its partition was first looked at."""


def _found_rows(
    writer: TableWriter, table: Table, window: Window, misfits: _Misfits | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a window that a reader finds, in their inside form."""
    for batch in writer.scan(table, window, misfits.broken if misfits else _not_again):
        try:
            rows = arrow.to_inside_form(table, batch)
        except (KeyError, pa.ArrowException) as error:
            if misfits:
                misfits.unreadable(batch.num_rows, error)
            continue
        slots = row_slots(rows)
        if misfits:
            misfits.look_at(slots)
        inside = (slots >= window.first) & (slots < window.end)
        yield rows if inside.all() else rows.filter(pa.array(inside))


def _partitions(spec: PartitionSpec, window: Window) -> list[Window]:
    """A window cut at the partitions' edges."""
    found, first = [], window.first
    while first < window.end:
        end = min(spec.end(first), window.end)
        found.append(Window(first, end))
        first = end
    return found


def _window(first: int, to_slot: int) -> Window:
    if to_slot < first:
        raise UsageError(
            f"the period ends at {text_of(to_slot)}, before it begins at {text_of(first)}", hint="give a later --to"
        )
    return Window(first, to_slot)


def _truth_json(table: Table, hours: Mapping[int, Tally]) -> dict[str, Any]:
    whole = Tally()
    for tally in hours.values():
        whole.add(tally.rows, tally.digest, tally.sums)
    return {
        **_tally_json(table, whole),
        "hours": {text_of(start): _tally_json(table, hours[start]) for start in sorted(hours)},
    }


def _tally_json(table: Table, tally: Tally) -> dict[str, Any]:
    money = {column.name for column in table.columns if column.type == "money"}
    sums = {
        name: f"{'-' if value < 0 else ''}{abs(int(value)) // 100}.{abs(int(value)) % 100:02d}"
        if name in money
        else value
        for name, value in sorted(tally.sums.items())
    }
    return {"rows": tally.rows, "digest": f"{tally.digest:016x}", "sums": sums}
