"""From a configuration to what runs: its generator, its writer, its daemon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from emitter.clock import EPOCH_UNIX_SECONDS, Clock, duration_text, slot_of, text_of
from emitter.config import EmitterConfig, Reload, reload_differences
from emitter.errors import MissingJournalError
from emitter.generators import domain_class
from emitter.generators.base import GeneratorBase
from emitter.model import Epoch, Inputs, Slice
from emitter.partitioning import PartitionSpec
from emitter.run.daemon import Daemon
from emitter.run.factory import input_options, with_journal
from emitter.run.history import HistoryStager
from emitter.run.journal import Journal
from emitter.run.opening import Settings, slot_now
from emitter.run.pipeline import LocalStager, Stager
from emitter.run.workers import WorkerStager
from emitter.watch.observer import Observer
from emitter.writers import create_writer
from emitter.writers.base import CrashHook, TableWriter, WriterOptions
from emitter.writers.upkeep import UpkeepPolicy


def configured_generator(config: EmitterConfig, origin_slot: int | None = None) -> GeneratorBase:
    """The generator of a configuration; `origin_slot` where `clock.start` is now."""
    start = config.clock.start
    return domain_class(config.domain)(
        seed=config.seed,
        origin_slot=(origin_slot or 0) if start == "now" else slot_of(start),
        options=config.options,
        partition=PartitionSpec.of(config.partition),
    )


def configured_writer(config: EmitterConfig, crash_hook: CrashHook | None = None) -> TableWriter:
    """The writer of a configuration."""
    output = config.output
    options = WriterOptions(
        output.compression, output.file_rows_target, PartitionSpec.of(config.partition), output.adopt
    )
    return create_writer(output.format, output.uri, output.s3, output.catalog, options, crash_hook=crash_hook)


def configured_policy(config: EmitterConfig) -> UpkeepPolicy:
    """What upkeep goes by in a configuration."""
    kept = config.maintenance
    return UpkeepPolicy(
        small_files_min=kept.small_files_min,
        file_rows_target=config.output.file_rows_target,
        keep_seconds=kept.keep_seconds,
        versions_max=kept.versions_max,
        orphan_seconds=kept.orphan_seconds,
    )


def run_of(config: EmitterConfig, storage_writer: TableWriter, clock: Clock) -> tuple[GeneratorBase, Journal | None]:
    """The generator of a configuration with the inputs of its journal, if there is one; with its own, if not. Raises
    IdentityMismatchError where the two contradict.
    """
    journal = Journal.load(storage_writer.storage)
    if journal is not None and not journal.epochs:  # its first start ended before it was told the inputs
        journal = None
    origin_slot = journal.origin_slot if journal else slot_now(clock) if config.clock.start == "now" else None
    generator = configured_generator(config, origin_slot)
    if journal is not None:
        return with_journal(generator, journal), journal
    inputs = Inputs(input_options(generator.options), config.shard.count, config.table_names)
    return generator.rebuilt(generator.origin_slot, (Epoch(generator.origin_slot, inputs),)), None


def written_run_of(config: EmitterConfig, writer: TableWriter, clock: Clock) -> tuple[GeneratorBase, Journal]:
    """The generator and the journal of a run that was begun. Raises MissingJournalError where none was."""
    generator, journal = run_of(config, writer, clock)
    if journal is None:
        raise MissingJournalError(
            f"there is no journal under {writer.storage.uri}: nothing was written there by emitter",
            hint="check output.uri, or begin with `emitter run` or `emitter generate`",
        )
    return generator, journal


def start_warning(config: EmitterConfig, clock: Clock) -> str:
    """What is to be known of a start that lies ahead of the wall clock; empty for any other."""
    start = config.clock.start
    seconds = 0.0 if start == "now" else slot_of(start) + EPOCH_UNIX_SECONDS - clock.wall_seconds()
    if start == "now" or seconds <= 0:
        return ""
    return (
        f"clock.start, {text_of(slot_of(start))}, is {duration_text(seconds)} ahead of now: nothing waits for it,"
        " a run begins at once, and its rows carry times to come"
    )


def configured_settings(config: EmitterConfig) -> Settings:
    """What a daemon goes by in a configuration."""
    clock = config.clock
    return Settings(
        slice=Slice(config.shard.index, config.shard.count),
        tables=config.table_names,
        starts_now=clock.start == "now",
        has_history=clock.history is not None,
        speed=None if clock.speed == "max" else clock.speed,
        batch_seconds=clock.batch_seconds,
        batch_rows_max=clock.batch_rows_max,
        catch_up=clock.on_restart_resolved == "catch_up",
        retry_attempts_max=config.output.retry_attempts_max,
        retry_wait_seconds_max=config.output.retry_wait_seconds_max,
        revision=config.revision,
    )


def configured_daemon(
    config: EmitterConfig,
    *,
    clock: Clock,
    observer: Observer | None = None,
    until_slot: int | None = None,
    stager: Stager | None = None,
    history_stager: Stager | None = None,
    crash_hook: CrashHook | None = None,
) -> Daemon:
    """The daemon of a configuration, not yet entered. `stager` stages all, `history_stager` only what is far behind."""
    writer = configured_writer(config, crash_hook)
    if history_stager is not None:
        near = LocalStager(writer, clock)
        stager = HistoryStager(near, history_stager, lambda: daemon.status().batch_seconds)
    daemon = Daemon(
        configured_generator(config),
        writer,
        configured_settings(config),
        clock=clock,
        observer=observer,
        until_slot=until_slot,
        stager=stager,
    )
    return daemon


def worker_stager(
    config: EmitterConfig, clock: Clock, jobs: int, begin_worker: Callable[[], None] | None = None
) -> WorkerStager:
    """Processes that stage for a configuration. `begin_worker` (picklable) is the first thing that each calls."""
    return WorkerStager(
        partial(_rebuilt_generator, config), partial(configured_writer, config), clock, jobs, begin_worker
    )


def _rebuilt_generator(config: EmitterConfig, origin_slot: int, epochs: tuple[Epoch, ...]) -> GeneratorBase:
    return configured_generator(config, origin_slot).rebuilt(origin_slot, epochs)


def reload(daemon: Daemon, running: EmitterConfig, wanted: EmitterConfig) -> tuple[EmitterConfig, Reload]:
    """Let a daemon take over what is safe of another configuration: the configuration that then runs, and what was
    applied and what refused.
    """
    changes = reload_differences(running, wanted)
    clock, output = wanted.clock, wanted.output
    speed = clock.speed
    if (speed == "max") != (running.clock.speed == "max"):  # without a clock that runs there is no moment to go on from
        speed = running.clock.speed
        changes = Reload(tuple(key for key in changes.safe if key != "clock.speed"), (*changes.refused, "clock.speed"))
    merged = replace(
        running,
        clock=replace(
            running.clock, speed=speed, batch_seconds=clock.batch_seconds, batch_rows_max=clock.batch_rows_max
        ),
        output=replace(running.output, compression=output.compression, file_rows_target=output.file_rows_target),
        maintenance=wanted.maintenance,
        verification=wanted.verification,
        log=wanted.log,
    )
    daemon.change(
        speed=None if speed == "max" else speed,
        batch_seconds=clock.batch_seconds,
        batch_rows_max=clock.batch_rows_max,
        compression=output.compression,
        file_rows_target=output.file_rows_target,
    )
    return merged, changes
