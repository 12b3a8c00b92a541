"""A run that was begun, for programs and notebooks: its generator with the inputs that its journal has in force."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from emitter.clock import SystemClock, parse_time, slot_of, text_of, time_of
from emitter.config import EmitterConfig, load_config
from emitter.errors import UsageError, wrong_type
from emitter.generators.base import GeneratorBase, Period
from emitter.model import Inputs, Window
from emitter.run.assembly import configured_writer, written_run_of
from emitter.run.plan import table_ends
from emitter.showing import Grid, Shown

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, repr=False)
class Run(Shown):
    """A run as its journal has it when it is opened. `generator` makes its rows, all shards together, from the origin
    to `sealed_until`, beyond which a change of inputs may still make others of them. `inputs` are those in force from
    each time on. It shows itself as a table of these.
    """

    run_id: str
    generator: GeneratorBase
    sealed_until: datetime
    inputs: Mapping[datetime, Inputs]

    def batches_for(
        self, table: str, *, start: str | date | datetime | None = None, end: str | date | datetime | None = None
    ) -> Iterator[pl.DataFrame]:
        """A table's rows from `start` (default: the origin) to `end` (exclusive; default: `sealed_until`), as readers
        of the written table see them: none beyond where the table was left out. No table is read. Raises UsageError.
        """
        declared, origin = self.generator.table(table), self.generator.origin_slot
        first = origin if start is None else max(origin, _slot("start", start))
        until = slot_of(self.sealed_until) if end is None else _slot("end", end)
        until = min(until, table_ends(self.generator.epochs).get(declared.name, origin))
        if first >= until:
            return iter(())
        bounded = self.generator.rebuilt(origin, self.generator.epochs)
        bounded.period = Period(Window(first, until))
        return bounded.batches_for(table)

    def grid(self) -> Grid:
        rows = [
            (text_of(slot_of(time)), inputs.shard_count, ", ".join(inputs.tables), _options_text(inputs))
            for time, inputs in self.inputs.items()
        ]
        sealed = text_of(slot_of(self.sealed_until))
        return Grid(
            ("in force from", "shards", "tables", "options"), rows, (f"Run {self.run_id}, sealed until {sealed}.",)
        )


def open_run(config: EmitterConfig | str | os.PathLike[str]) -> Run:
    """The run of a configuration, an `EmitterConfig` or its path (variables beat the file), as its output's journal
    has it. Only reads. Raises MissingJournalError where none was begun, and IdentityMismatchError where it is another.

    >>> import emitter
    >>> shop = emitter.create_generator(
    ...     "ecommerce", start="2026-01-01", end="2026-01-02", customers=50, products=20, orders_per_second=0.01
    ... )
    >>> report = emitter.write_dataset(shop, emitter.create_writer("parquet", "data/opened"))
    >>> from emitter.config import validate
    >>> options = {"customers": 50, "products": 20, "orders_per_second": 7}  # the rate is what the journal says
    >>> config = validate(
    ...     {"clock": {"start": "2026-01-01"}, "output": {"uri": "data/opened"}, "ecommerce": options}
    ... )
    >>> run = emitter.open_run(config)
    >>> sum(frame.height for frame in run.batches_for("orders", end="2026-01-02")) == report.rows["orders"]
    True
    """
    if isinstance(config, str | os.PathLike):
        config = load_config(Path(config), (), os.environ)
    elif not isinstance(config, EmitterConfig):
        raise wrong_type("the configuration of open_run", config, hint="give an EmitterConfig, or the path of one")
    with closing(configured_writer(config)) as writer:
        generator, journal = written_run_of(config, writer, SystemClock())
    generator.period = Period(Window(generator.origin_slot, max(generator.origin_slot, journal.sealed_slot)))
    inputs = {time_of(epoch.from_slot): epoch.inputs for epoch in journal.epochs}
    return Run(journal.run_id, generator, time_of(journal.sealed_slot), inputs)


def _slot(name: str, value: str | date | datetime) -> int:
    try:
        return slot_of(parse_time(value))
    except ValueError as error:
        raise UsageError(
            f"{name} {value!r} is not a time that can be used: {error}", hint="give it in ISO 8601"
        ) from error


def _options_text(inputs: Inputs) -> str:
    return ", ".join(f"{name} {value}" for name, value in inputs.options.items())
