"""Looks at a run from outside: where its tables stand, some of its rows, and whether it could start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emitter.anchor import load_anchor
from emitter.assembly import configured_writer
from emitter.clock import Clock, SimulatedTime, SystemClock, text_of
from emitter.config import EmitterConfig
from emitter.errors import MissingJournalError
from emitter.factory import identity_of
from emitter.journal import Journal
from emitter.model import Slice, Window
from emitter.oracle import run_of

if TYPE_CHECKING:
    import polars as pl

_PREVIEW_SECONDS_MAX = 86_400


@dataclass(frozen=True, slots=True)
class TableStatus:
    """Where a table stands: complete up to `slot` in all slices, which hold so much together. `lag_seconds` is
    simulated time between what is due and what the slices have done; 0 at speed max.
    """

    table: str
    slot: int
    rows: int
    files: int
    bytes: int
    lag_seconds: float
    slices: Mapping[str, int]


def status(config: EmitterConfig, *, clock: Clock | None = None) -> list[TableStatus]:
    """Where each table of a run stands. Only reads."""
    clock = clock or SystemClock()
    writer = configured_writer(config)
    generator, journal = run_of(config, writer, clock)
    if journal is None:
        raise MissingJournalError(
            f"there is no journal under {writer.storage.uri}: nothing was written there by emitter",
            hint="check output.uri, or begin with `emitter run` or `emitter generate`",
        )
    progress = {table: writer.progress(table) for table in journal.tables()}
    furthest: dict[Slice, int] = {}
    # A table without rows commits nothing and lags in its own record. But parents commit before children, so a child
    # that stands further tells that its parents had no rows up to there.
    complete: dict[str, dict[Slice, int]] = {}
    for table, stands in reversed(progress.items()):
        slots = {slice: each.slot for slice, each in stands.items()}
        for child in (name for name in complete if table in generator.table(name).parents):
            for slice, slot in complete[child].items():
                slots[slice] = max(slot, slots.get(slice, 0))
        complete[table] = slots
        for slice, slot in slots.items():
            furthest[slice] = max(slot, furthest.get(slice, 0))
    count = journal.inputs_at(journal.sealed_slot).shard_count
    reached = min(furthest.get(Slice(index, count), generator.origin_slot) for index in range(count))
    lag_seconds = 0.0
    anchor = load_anchor(writer.storage)
    speed = config.clock.speed
    if anchor is not None and speed != "max":
        catch_up = config.clock.on_restart_resolved == "catch_up"
        lag_seconds = max(0.0, int(SimulatedTime(clock, anchor, speed, catch_up=catch_up).now()) - reached)
    return [
        TableStatus(
            table,
            min(complete[table].get(Slice(index, count), generator.origin_slot) for index in range(count)),
            sum(each.rows for each in stands.values()),
            sum(each.files for each in stands.values()),
            sum(each.bytes for each in stands.values()),
            lag_seconds,
            {str(slice): slot for slice, slot in sorted(complete[table].items(), key=lambda item: str(item[0]))},
        )
        for table, stands in progress.items()
    ]


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
    """See that a run of this configuration could start: what was looked at, a line each. Raises the first fault that
    only storage can tell; nothing is written.
    """
    writer = configured_writer(config)
    done = ["configuration: every key and value is allowed"]
    writer.storage.check()
    done.append(f"storage: {writer.storage.uri} can be read and written")
    generator, journal = run_of(config, writer, clock or SystemClock())
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
