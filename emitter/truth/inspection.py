"""Looks at a run from outside: where its tables stand, some of its rows, and whether it could start."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from emitter.clock import Clock, SimulatedTime, SystemClock, text_of
from emitter.config import EmitterConfig
from emitter.errors import MissingJournalError
from emitter.model import Slice, Window
from emitter.run.anchor import load_anchor
from emitter.run.assembly import configured_writer, run_of, start_warning, written_run_of
from emitter.run.factory import identity_of
from emitter.run.journal import Journal
from emitter.run.lacking import first_lacking
from emitter.run.plan import stands, table_ends
from emitter.writers.base import TableWriter

if TYPE_CHECKING:
    import polars as pl

_PREVIEW_SECONDS_MAX = 86_400


@dataclass(frozen=True, slots=True)
class TableStatus:
    """Where a table stands: complete up to `slot` in all slices, to which so many rows were committed; `files` and
    `bytes` are what a reader goes through now. `slices` is what its commits say of each. A table without rows is as far
    as the others.

    `lag_seconds` is simulated time between what is due and what the table has: 0 at speed max, None where downtime does
    not count, as it depends on whether a daemon runs. `behind_seconds` is how far it is behind the furthest table.
    `sealed_until` is the run's: up to there no change of inputs can make other rows.
    """

    table: str
    slot: int
    rows: int
    files: int
    bytes: int
    lag_seconds: float | None
    behind_seconds: int
    slices: Mapping[str, int]
    sealed_until: str

    def document(self) -> dict[str, Any]:
        """As JSON has it: times beside the slots."""
        by_slice = {name: text_of(slot) for name, slot in self.slices.items()}
        return asdict(self) | {"complete_until": text_of(self.slot), "slices_complete_until": by_slice}


def status(config: EmitterConfig, *, clock: Clock | None = None) -> list[TableStatus]:
    """Where each table of a run stands. Only reads."""
    with closing(configured_writer(config)) as writer:
        return _status(config, writer, clock or SystemClock())


def _status(config: EmitterConfig, writer: TableWriter, clock: Clock) -> list[TableStatus]:
    generator, journal = written_run_of(config, writer, clock)
    progress = {table: writer.progress(table) for table in journal.tables()}
    slots = {table: {slice: each.slot for slice, each in own.items()} for table, own in progress.items()}
    complete = stands({table: generator.table(table).parents for table in progress}, slots)
    furthest = max([generator.origin_slot, *(slot for own in slots.values() for slot in own.values())])
    if journal.refresh():  # whoever got further since has sealed it before
        generator = generator.rebuilt(journal.origin_slot, journal.epochs)
    furthest = min(furthest, journal.sealed_slot)  # no table that is right is beyond
    lacking = first_lacking(generator, slots, furthest)
    due_slot = _due_slot(config, writer, clock, furthest)
    ends, found = table_ends(generator.epochs), []
    for table, own in progress.items():
        end, size = ends[table], writer.size(table)  # it may have been left out
        slot = min([furthest, end, *lacking[table].values()])
        found.append(
            TableStatus(
                table,
                slot,
                sum(each.rows for each in own.values()),
                size.files,
                size.bytes,
                None if due_slot is None else float(max(0, min(due_slot, end) - slot)),
                min(furthest, end) - slot,
                {str(slice): slot for slice, slot in sorted(complete[table].items(), key=lambda item: str(item[0]))},
                text_of(journal.sealed_slot),
            )
        )
    return found


def _due_slot(config: EmitterConfig, writer: TableWriter, clock: Clock, furthest_slot: int) -> int | None:
    """Up to where rows are due; None where only the daemon knows whether time passes at all."""
    speed, anchor = config.clock.speed, load_anchor(writer.storage)
    if speed == "max" or anchor is None:
        return 0
    if config.clock.on_restart_resolved == "continue":
        return None
    return max(furthest_slot, int(SimulatedTime(clock, anchor, speed, catch_up=True).now()))


def preview(config: EmitterConfig, rows: int, *, clock: Clock | None = None) -> dict[str, pl.DataFrame]:
    """Some rows of each table, from the origin on. Nothing is written."""
    import polars as pl

    from emitter import arrow

    generator, _ = run_of(config, configured_writer(config), clock or SystemClock())
    found: dict[str, pl.DataFrame] = {}
    for name in config.table_names:
        table, frames, seen = generator.table(name), [arrow.file_schema(generator.table(name)).empty_table()], 0
        first, seconds = generator.origin_slot, 1
        while seen < rows and first < generator.origin_slot + _PREVIEW_SECONDS_MAX:
            for frame in generator.rows(Window(first, first + seconds), Slice(), (name,)):
                frames.append(arrow.to_table(table, frame.rows.slice(0, rows - seen)))
                seen += frames[-1].num_rows
                if seen >= rows:
                    break
            first, seconds = first + seconds, seconds * 4
        data = [pl.from_arrow(frame) for frame in frames]
        found[name] = pl.concat([frame for frame in data if isinstance(frame, pl.DataFrame)])
    return found


def check(config: EmitterConfig, *, clock: Clock | None = None) -> list[str]:
    """See that a run of this configuration could start: what was looked at, a line each, and what may surprise as
    `warning: ...`. Raises the first fault that only storage can tell. Nothing of what it tries storage with is left.
    """
    with closing(configured_writer(config)) as writer:
        return _check(config, writer, clock or SystemClock())


def _check(config: EmitterConfig, writer: TableWriter, clock: Clock) -> list[str]:
    done = ["configuration: every key and value is allowed"]
    warnings = [start_warning(config, clock), *config.options.warnings()]
    done += [f"warning: {warning}" for warning in warnings if warning]
    writer.check()
    done.append(f"storage: {writer.storage.uri} can be read and written, as an object of its own has shown")
    generator, journal = run_of(config, writer, clock)
    if journal is None:
        run_id = Journal(identity_of(generator)).run_id
        done.append("journal: none yet, a new run begins here")
    else:
        run_id = journal.run_id
        done.append(f"journal: run {run_id} since {text_of(journal.origin_slot)} agrees with the configuration")
    for name in journal.tables() if journal else config.table_names:
        writer.open(run_id, generator.table(name))
        stands = writer.progress(name)
        if journal is None and stands:
            raise MissingJournalError(
                f"table {name} under {writer.storage.uri} has progress, but there is no journal",
                hint="restore _emitter/journal from a backup, or choose another output.uri",
            )
        done.append(f"table {name}: {'ours' if stands else 'not there yet'}")
    return done
