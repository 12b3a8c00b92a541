"""What a question is asked of: a configuration, with the journal of its output if there is one, and a period."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from emitter.clock import Clock, SystemClock, text_of
from emitter.config import EmitterConfig
from emitter.errors import UsageError
from emitter.generators.base import GeneratorBase
from emitter.model import Epoch, Inputs, Window
from emitter.run.assembly import configured_writer, run_of
from emitter.run.factory import input_options, with_journal
from emitter.run.journal import Journal
from emitter.truth import inspection
from emitter.truth.made import Source
from emitter.writers.base import TableWriter

_HIDDEN = "iceberg"  # whose tables show no partition columns


@dataclass(frozen=True, slots=True)
class Asked:
    """A source, and how far its content is fixed: `sealed_slot` is None where no output says so."""

    source: Source
    sealed_slot: int | None

    @property
    def sealed_until(self) -> str | None:
        """The seal, where the period goes beyond it."""
        if self.sealed_slot is None or self.source.window.end <= self.sealed_slot:
            return None
        return text_of(self.sealed_slot)


def configured_source(
    config: EmitterConfig, from_slot: int | None = None, to_slot: int | None = None, *, clock: Clock | None = None
) -> Asked:
    """The source of a configuration, with the inputs of its output's journal, or, if there is none, its own. Without
    `to_slot`: up to where all tables of the output are. Raises UsageError where there are none then.
    """
    clock = clock or SystemClock()
    with closing(configured_writer(config)) as writer:
        generator, journal = run_of(config, writer, clock)
    if to_slot is None:
        to_slot = _written_slot(config, journal, clock)
    return _asked(generator, journal, from_slot, to_slot, shows_partition=config.output.format != _HIDDEN)


def generated_source(
    generator: GeneratorBase, writer: TableWriter | None, from_slot: int | None, to_slot: int | None
) -> Asked:
    """The source of a generator, with the inputs of the journal of a writer's output, or, without one, its own. Without
    `to_slot`: up to the end of the generator's period.
    """
    if to_slot is None and generator.period is None:
        raise UsageError("the generator has no end", hint="give end here, or to create_generator")
    if to_slot is None:
        assert generator.period
        to_slot = generator.period.window.end
    journal = Journal.load(writer.storage) if writer else None
    shows_partition = writer is None or writer.format_name != _HIDDEN
    if journal is not None and journal.epochs:
        return _asked(with_journal(generator, journal), journal, from_slot, to_slot, shows_partition=shows_partition)
    inputs = Inputs(input_options(generator.options), 1, generator.tables())
    own = generator.rebuilt(generator.origin_slot, (Epoch(generator.origin_slot, inputs),))
    return _asked(own, None, from_slot, to_slot, shows_partition=shows_partition)


def _asked(
    generator: GeneratorBase, journal: Journal | None, from_slot: int | None, to_slot: int, *, shows_partition: bool
) -> Asked:
    first = generator.origin_slot if from_slot is None else max(from_slot, generator.origin_slot)
    if to_slot < first:
        raise UsageError(
            f"the period ends at {text_of(to_slot)}, before it begins at {text_of(first)}", hint="give a later end"
        )
    spec = generator.partition if shows_partition else None
    return Asked(Source(generator, Window(first, to_slot), spec), journal.sealed_slot if journal else None)


def _written_slot(config: EmitterConfig, journal: Journal | None, clock: Clock) -> int:
    """Up to where all tables that are still written are complete."""
    if journal is None:
        raise UsageError(
            f"nothing says where to end: nothing was written under {config.output.uri} yet",
            hint="give --to (end in Python), such as 2026-02-01; no output is needed then",
        )
    in_force = journal.epochs[-1].inputs.tables
    return min(status.slot for status in inspection.status(config, clock=clock) if status.table in in_force)
