"""How a run begins or goes on: its journal, and where simulated time stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from emitter.clock import EPOCH, EPOCH_UNIX_SECONDS, YEAR_LAST, Anchor, Clock, SimulatedTime, text_of, time_of
from emitter.errors import ForeignTableError, MissingJournalError, UsageError
from emitter.generators.base import GeneratorBase
from emitter.model import Inputs, Slice
from emitter.run.anchor import load_anchor
from emitter.run.factory import check_inputs, identity_of, input_options
from emitter.run.journal import Journal
from emitter.watch.observer import Observer
from emitter.writers.base import TableWriter


@dataclass(frozen=True, slots=True)
class Settings:
    """What a daemon goes by. `speed` is None for max; `starts_now` means that a new run's origin is the first start;
    `has_history`, that simulated time is level with the wall clock from the first start on, wherever the origin is.
    """

    slice: Slice
    tables: tuple[str, ...]
    starts_now: bool = False
    has_history: bool = False
    speed: float | None = None
    batch_seconds: int = 3600
    batch_rows_max: int = 1_000_000
    catch_up: bool = True
    retry_attempts_max: int = 8
    retry_wait_seconds_max: float = 30.0
    revision: int | None = None


def open_journal(
    generator: GeneratorBase,
    writer: TableWriter,
    settings: Settings,
    clock: Clock,
    until_slot: int,
    observer: Observer,
) -> tuple[Journal, GeneratorBase]:
    """The output's journal, begun if there is none, with the inputs of the settings in it; and the generator, with the
    run's origin. Raises StateError where the output contradicts the generator.
    """
    journal = Journal.load(writer.storage)
    if journal is None:
        try:
            journal = _begin(generator, writer, settings, clock, until_slot)
        except (MissingJournalError, ForeignTableError):
            journal = Journal.load(writer.storage)  # another shard may have been quicker: then all of it is its run's
            if journal is None:
                raise
    if settings.starts_now:
        generator = generator.rebuilt(journal.origin_slot)
    journal.check_identity(identity_of(generator))
    check_inputs(generator, journal)
    inputs = Inputs(input_options(generator.options), settings.slice.count, settings.tables)
    journal.change(inputs, settings.revision)
    if journal.latest_inputs != inputs and journal.revision is not None:
        observer.outdated(settings.revision, journal.revision)
    return journal, generator


def slot_now(clock: Clock) -> int:
    """The second that is passing. Raises UsageError where the wall clock is out of the years of emitter."""
    slot = int(clock.wall_seconds()) - EPOCH_UNIX_SECONDS
    if not EPOCH.year <= time_of(slot).year <= YEAR_LAST:
        raise UsageError(
            f"now is asked for, and this machine's clock says {text_of(slot)}, which is not in the years"
            f" {EPOCH.year} to {YEAR_LAST}",
            hint="set the clock of this machine, or give a time instead of now",
        )
    return slot


def _begin(generator: GeneratorBase, writer: TableWriter, settings: Settings, clock: Clock, until_slot: int) -> Journal:
    """The journal of an output that had none: ours, or that of a shard that has just begun it."""
    if settings.starts_now:
        generator = generator.rebuilt(slot_now(clock))
    for table in settings.tables:
        if writer.progress(table):
            raise MissingJournalError(
                f"table {table} under {writer.storage.uri} has progress, but there is no journal",
                hint="restore _emitter/journal from a backup, or choose another output.uri",
            )
    if until_slot <= generator.origin_slot:
        raise UsageError(
            f"the run would end at {text_of(until_slot)}, before it begins at {text_of(generator.origin_slot)}",
            hint="give a later end, or an earlier clock.start",
        )
    identity = identity_of(generator)
    open_tables(generator, writer, Journal(identity).run_id, settings.tables)
    return Journal.create(writer.storage, identity)


def open_tables(generator: GeneratorBase, writer: TableWriter, run_id: str, tables: Sequence[str]) -> None:
    """See that each table is absent, or this run's own."""
    for table in tables:
        writer.open(run_id, generator.table(table))


def start_time(
    writer: TableWriter, settings: Settings, clock: Clock, speed: float, furthest_slot: int
) -> SimulatedTime:
    """Simulated time, never before what is done.

    A run that starts now and catches up at speed 1 is level with the wall clock, and so is one with a history, of which
    all is behind at first. Any other goes on from its anchor, which is kept at every seal and every stop. If the speed
    is another since then, downtime counts at the lower of the two: a shop that stood still must not wake up weeks
    ahead.
    """
    catch_up, wall_seconds = settings.catch_up, clock.wall_seconds()
    anchor = load_anchor(writer.storage) if catch_up else None
    is_level = settings.has_history or (settings.starts_now and (anchor is None or speed == 1))
    if catch_up and is_level:
        anchor = Anchor(max(wall_seconds - EPOCH_UNIX_SECONDS, furthest_slot), wall_seconds, speed)
    elif anchor is None:
        anchor = Anchor(furthest_slot, wall_seconds, speed)
    anchor = replace(anchor, speed=min(anchor.speed, speed))
    time = SimulatedTime(clock, anchor, speed, catch_up=catch_up)
    time.raise_to(furthest_slot)
    return time
