"""What should be there, and how what is there differs from it.

The truth comes from configuration and journal alone. Hours are compared by count and order-free digest, in bounded
memory; only an hour that differs is looked at row by row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any, Literal, get_args

from emitter.clock import SLOT_END, Clock, SystemClock, text_of
from emitter.config import EmitterConfig
from emitter.errors import MissingJournalError, UsageError
from emitter.generators.base import GeneratorBase
from emitter.model import Slice, Table, Window
from emitter.partitioning import PartitionSpec
from emitter.run.assembly import configured_writer, run_of
from emitter.run.factory import identity_of
from emitter.run.journal import Journal
from emitter.run.plan import furthest_slots, remaining, stands, table_ends
from emitter.truth.comparing import Comparison
from emitter.truth.reading import Contents
from emitter.truth.rows import (
    HOUR_SECONDS,
    ControlTotals,
    Segment,
    add_by_hour,
    new_hours,
    segments,
    true_rows,
)
from emitter.truth.verdict import EXAMPLES_MAX, TableVerification, Unwritten, Verification, Watermarks
from emitter.watch.observer import ready_seconds
from emitter.watch.progressbar import OnProgress
from emitter.writers.base import TableWriter, parse_file_name

By = Literal["hour", "partition"]
"""What totals are told by."""


def expect(
    config: EmitterConfig,
    from_slot: int | None,
    to_slot: int,
    table: str | None = None,
    by: By = "hour",
    *,
    clock: Clock | None = None,
) -> dict[str, Any]:
    """The truth of a period as JSON values: by table the rows, the sums of numeric columns over all of these rows
    (money as text with two decimals), and the order-free digest, in all and by hour or partition. What ends beyond the
    journal's last seal says so as `sealed_until`: a change of inputs may still make other rows of it.
    """
    generator, journal = run_of(config, configured_writer(config), clock or SystemClock())
    return expect_rows(generator, from_slot, to_slot, journal, table, by)


def expect_rows(
    generator: GeneratorBase,
    from_slot: int | None,
    to_slot: int,
    journal: Journal | None = None,
    table: str | None = None,
    by: By = "hour",
) -> dict[str, Any]:
    """`expect` for a generator that has its inputs (`run_of`, `rebuilt`), those of the journal, if there is one."""
    if by not in get_args(By):
        raise UsageError(f"there are no totals by {by!r}", hint=f"choose from: {', '.join(get_args(By))}")
    first = generator.origin_slot if from_slot is None else max(from_slot, generator.origin_slot)
    window, names = _window(first, to_slot), tuple(table_ends(generator.epochs))
    _check_table(table, names)
    tables = {}
    for name in (name for name in names if table in (None, name)):
        declared, hours = generator.table(name), new_hours()
        for _, rows in true_rows(generator, segments(generator.epochs, name, window, None), [name]):
            add_by_hour(declared, rows, hours, with_sums=True)
        sealed_slot = journal.sealed_slot if journal else SLOT_END
        tables[name] = _truth_json(declared, hours, window.end, by, generator.partition, sealed_slot)
    return {
        "run_id": journal.run_id if journal else Journal(identity_of(generator)).run_id,
        "from": text_of(window.first),
        "to": text_of(window.end),
        "sealed_until": text_of(journal.sealed_slot) if journal else None,
        "tables": tables,
    }


def seal_text(sealed_until: str) -> str:
    """What a seal means to who reads a truth that goes beyond it."""
    return f"Sealed until {sealed_until}: beyond, a change of rates, tables or shards may still make other rows."


def verify(
    config: EmitterConfig,
    from_slot: int | None = None,
    to_slot: int | None = None,
    table: str | None = None,
    *,
    clock: Clock | None = None,
    on_progress: OnProgress | None = None,
    examples_max: int = EXAMPLES_MAX,
    last_seconds: int = SLOT_END,
) -> Verification:
    """Compare the tables with the truth: up to `to_slot`, or, if it is None or beyond, up to where the furthest of them
    is. Then each must have what it says it has, by its own word and that of its children, and must not be behind the
    others by more than a batch under way explains. What should come between there and `to_slot` is `unwritten`.

    With `last_seconds` it begins so much before the furthest of them, and the origin at the earliest.

    True rows beyond what a table says are no fault. Without bounds, files outside the run's partitions count too. Only
    reads, also beside a running daemon. Raises MissingJournalError where nothing was ever written, and UsageError for a
    table that the run has not, or a period that ends before it begins.
    """
    with closing(configured_writer(config)) as writer:
        generator, journal = run_of(config, writer, clock or SystemClock())
        if journal is None:
            raise MissingJournalError(
                f"there is no journal under {writer.storage.uri}: nothing was written there by emitter",
                hint="check output.uri, or begin with `emitter run` or `emitter generate`",
            )
        speed = None if config.clock.speed == "max" else config.clock.speed
        apart_seconds = math.ceil(ready_seconds(config.clock.batch_seconds, speed))
        return verify_tables(
            generator,
            writer,
            journal,
            from_slot,
            to_slot,
            table,
            apart_seconds=apart_seconds,
            on_progress=on_progress,
            examples_max=examples_max,
            last_seconds=last_seconds,
        )


def verify_tables(
    generator: GeneratorBase,
    writer: TableWriter,
    journal: Journal,
    from_slot: int | None = None,
    to_slot: int | None = None,
    table: str | None = None,
    *,
    apart_seconds: int = 0,
    on_progress: OnProgress | None = None,
    examples_max: int = EXAMPLES_MAX,
    last_seconds: int = SLOT_END,
) -> Verification:
    """`verify` for a generator that has the inputs of the journal (`run_of`, `rebuilt`), and the writer of its output.
    `apart_seconds` is how much simulated time may lie between shards at work.
    """
    if from_slot is not None and to_slot is not None:
        _window(from_slot, to_slot)
    names = journal.tables()
    for name in names:  # what a run would refuse, nobody can vouch for
        writer.open(journal.run_id, generator.table(name))
    _check_table(table, names)
    first = generator.origin_slot if from_slot is None else max(from_slot, generator.origin_slot)
    chosen = [name for name in names if table in (None, name)]
    held = _held(writer, journal)  # before the progress is read: whoever ends meanwhile has brought what it had begun
    found = writer.slots(names)
    if journal.refresh():  # whoever got further since has sealed it before
        generator = generator.rebuilt(journal.origin_slot, journal.epochs)
    journal.check_progress(found)
    slots = furthest_slots(found.values())
    furthest = max([generator.origin_slot, *slots.values()])
    first = max(first, furthest - last_seconds)
    is_bounded = first > generator.origin_slot or from_slot is not None or to_slot is not None
    unwritten = None
    if to_slot is not None and to_slot > furthest:
        unwritten = _unwritten(generator, chosen, furthest, Window(max(first, furthest), max(first, to_slot)))
        to_slot = None if unwritten else to_slot  # a table without rows to come says nothing of it
    window = Window(first, max(first, furthest if to_slot is None else to_slot))
    required, later = {}, {}
    if to_slot is None:
        complete = stands({name: generator.table(name).parents for name in names}, found)
        for name in chosen:
            required[name] = segments(journal.epochs, name, window, complete[name])
            later[name] = [Segment(*each) for each in remaining(journal.epochs, name, complete[name], furthest)]
    else:
        required = {name: segments(journal.epochs, name, window, None) for name in chosen}
    results = {name: TableVerification(name, window.first, window.end, examples_max=examples_max) for name in chosen}
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(writer.storage.reads_at_once, thread_name_prefix="read"))
        contents = {name: stack.enter_context(Contents(writer, generator.table(name), pool)) for name in names}
        batches = _batch_slots(slots, contents.values())  # of all tables: one does not tell how far others are
        chosen_contents = {name: contents[name] for name in chosen}
        comparison = Comparison(generator, chosen_contents, required, later, results)
        comparison.look_at_rows_of_any_time(
            window, None if is_bounded else _whole(generator.partition, journal, window)
        )
        for part in _partitions(generator.partition, window):
            if on_progress:
                on_progress(part.first - window.first, window.seconds, _rows_compared(results.values()))
            comparison.look_at(part)
        if not is_bounded:
            journal.refresh()  # what a daemon has begun meanwhile is sealed
            comparison.look_outside(_whole(generator.partition, journal, window))
    watermarks = Watermarks(furthest, slots, batches, held, apart_seconds)
    for result in results.values():
        result.settle(watermarks)
    if on_progress:
        on_progress(window.seconds, window.seconds, _rows_compared(results.values()))
    return Verification([results[name] for name in chosen], unwritten)


def _unwritten(generator: GeneratorBase, names: Sequence[str], ends_slot: int, beyond: Window) -> Unwritten | None:
    """What comes beyond the end of the tables; None where that is nothing."""
    for name in names:
        parts = segments(generator.epochs, name, beyond, None)
        if any(rows.num_rows for _, rows in true_rows(generator, parts, [name])):
            expected = generator.expected_rows(beyond)
            return Unwritten(ends_slot, beyond.end, sum(expected[name] for name in names))
    return None


def _rows_compared(results: Iterable[TableVerification]) -> int:
    return sum(result.rows_expected for result in results)


def _held(writer: TableWriter, journal: Journal) -> frozenset[Slice]:
    """The slices that a live process is seen to hold."""
    counts = {epoch.inputs.shard_count for epoch in journal.epochs}
    slices = (Slice(index, count) for count in counts for index in range(count))
    return frozenset(slice for slice in slices if writer.is_held(slice))


def _batch_slots(slots: Mapping[Slice, int], contents: Iterable[Contents]) -> dict[Slice, int]:
    """By slice, where the batch begins whose end is the furthest that the slice has come, as the names of its files
    tell.
    """
    found: dict[Slice, int] = {}
    for path in (path for each in contents for path in each.names()):
        made = parse_file_name(path)
        if made and slots.get(made[0]) == made[1].end:
            found[made[0]] = min(made[1].first, found.get(made[0], made[1].first))
    return found


def _whole(spec: PartitionSpec, journal: Journal, window: Window) -> Window:
    """The partitions that the run may have rows in."""
    last = max(window.first, window.end - 1, journal.sealed_slot - 1)
    return Window(spec.start(window.first), spec.end(last))


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


def _check_table(table: str | None, names: Sequence[str]) -> None:
    if table is not None and table not in names:
        raise UsageError(f"the run has no table {table!r}", hint=f"choose from: {', '.join(names)}")


def _truth_json(
    table: Table, hours: Mapping[int, ControlTotals], end: int, by: By, spec: PartitionSpec, sealed_slot: int
) -> dict[str, Any]:
    """The totals of a table up to `end`, in all and by part."""
    whole, parts = ControlTotals(), new_hours()
    for start, totals in sorted(hours.items()):
        for each in (whole, parts[start if by == "hour" else spec.start(start)]):
            each.add(totals.rows, totals.digest, totals.sums)

    def json_of(totals: ControlTotals, end: int) -> dict[str, Any]:
        mark = {} if end <= sealed_slot else {"sealed_until": text_of(sealed_slot)}
        return {**_totals_json(table, totals), **mark}

    if by == "hour":
        told = {text_of(start): json_of(each, min(end, start + HOUR_SECONDS)) for start, each in parts.items()}
    else:
        told = {spec.path(start): json_of(each, min(end, spec.end(start))) for start, each in parts.items()}
    return {**json_of(whole, end), f"{by}s": told}


def _totals_json(table: Table, totals: ControlTotals) -> dict[str, Any]:
    money = {column.name for column in table.columns if column.type == "money"}
    sums = {
        name: f"{'-' if value < 0 else ''}{abs(int(value)) // 100}.{abs(int(value)) % 100:02d}"
        if name in money
        else value
        for name, value in sorted(totals.sums.items())
    }
    return {"rows": totals.rows, "digest": f"{totals.digest:016x}", "sums": sums}
