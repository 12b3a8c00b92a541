"""The truth, and the comparison with it, as a program or a notebook asks for them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from typing import Any, overload

from emitter.clock import SystemClock, parse_time, slot_of
from emitter.config import EmitterConfig, load_config
from emitter.errors import MissingJournalError, UsageError, wrong_type
from emitter.generators.base import GeneratorBase
from emitter.model import Epoch, Inputs
from emitter.run.factory import input_options, with_journal
from emitter.run.journal import Journal
from emitter.showing import Grid, Shown
from emitter.truth import oracle
from emitter.truth.verdict import Verification
from emitter.watch.progressbar import progress_bar
from emitter.writers.base import TableWriter

_SOURCES = "give a generator and its writer, an EmitterConfig, or the path of a configuration"


class Expectation(Shown, dict[str, Any]):
    """The truth of a period, as `emitter expect` prints it, and as a table where it is shown."""

    def grid(self) -> Grid:
        tables: Mapping[str, Mapping[str, Any]] = self["tables"]
        rows = [(name, truth["rows"], truth["digest"], _sums_text(truth["sums"])) for name, truth in tables.items()]
        lines = [f"From {self['from']} to {self['to']}."]
        lines += (
            [oracle.seal_text(self["sealed_until"])] if any("sealed_until" in each for each in tables.values()) else []
        )
        return Grid(("table", "rows", "digest", "sums"), rows, tuple(lines))


def _sums_text(sums: Mapping[str, Any]) -> str:
    return ", ".join(f"{column} {value}" for column, value in sums.items())


@overload
def expect(
    generator: GeneratorBase,
    writer: TableWriter | None = None,
    /,
    *,
    start: str | date | datetime | None = None,
    end: str | date | datetime | None = None,
    table: str | None = None,
    by: oracle.By = "hour",
) -> Expectation: ...
@overload
def expect(
    config: EmitterConfig | str | os.PathLike[str],
    /,
    *,
    start: str | date | datetime | None = None,
    end: str | date | datetime,
    table: str | None = None,
    by: oracle.By = "hour",
) -> Expectation: ...
def expect(
    source: GeneratorBase | EmitterConfig | str | os.PathLike[str],
    writer: TableWriter | None = None,
    /,
    *,
    start: str | date | datetime | None = None,
    end: str | date | datetime | None = None,
    table: str | None = None,
    by: oracle.By = "hour",
) -> Expectation:
    """What the tables must hold from `start` (default: the origin) to `end` (exclusive; default: the end of the
    generator's period), all shards together: by table the rows, the sum of each numeric column over all of them, and
    the order-free digest, in all and `by` hour or partition. `table`: only this one. No table is read.

    The source is a generator, or a configuration: an `EmitterConfig` or its path. With the writer of an output, and
    with a configuration, the rates of that output's journal hold.

    >>> import emitter
    >>> shop = emitter.create_generator(
    ...     "ecommerce", start="2026-01-01", end="2026-01-02", customers=50, products=20, orders_per_second=0.01
    ... )
    >>> truth = emitter.expect(shop)
    >>> truth["tables"]["customers"]["rows"]
    50
    """
    first, end_slot = slot_at("start", start), slot_at("end", end)
    if not isinstance(source, GeneratorBase):
        config = configuration(source, writer)
        if end_slot is None:
            raise UsageError("a configuration has no end", hint='give one: expect(..., end="2026-02-01")')
        return Expectation(oracle.expect(config, first, end_slot, table, by))
    if end_slot is None and source.period is None:
        raise UsageError("the generator has no end", hint="give end to expect, or to create_generator")
    if end_slot is None:
        assert source.period
        end_slot = source.period.window.end
    journal = _journal(checked_writer(writer)) if writer is not None else None
    if journal is not None:
        return Expectation(oracle.expect_rows(with_journal(source, journal), first, end_slot, journal, table, by))
    inputs = Inputs(input_options(source.options), 1, source.tables())
    generator = source.rebuilt(source.origin_slot, (Epoch(source.origin_slot, inputs),))
    return Expectation(oracle.expect_rows(generator, first, end_slot, None, table, by))


@overload
def verify(
    generator: GeneratorBase,
    writer: TableWriter,
    /,
    *,
    start: str | date | datetime | None = None,
    end: str | date | datetime | None = None,
    table: str | None = None,
    progress: bool | None = None,
) -> Verification: ...
@overload
def verify(
    config: EmitterConfig | str | os.PathLike[str],
    /,
    *,
    start: str | date | datetime | None = None,
    end: str | date | datetime | None = None,
    table: str | None = None,
    progress: bool | None = None,
) -> Verification: ...
def verify(
    source: GeneratorBase | EmitterConfig | str | os.PathLike[str],
    writer: TableWriter | None = None,
    /,
    *,
    start: str | date | datetime | None = None,
    end: str | date | datetime | None = None,
    table: str | None = None,
    progress: bool | None = None,
) -> Verification:
    """Compare tables with the truth, as `emitter verify` does: of a generator and its writer, or of a configuration (an
    `EmitterConfig` or its path). Without `end`: up to where the furthest table is. `table`: only this one.
    `progress`: whether a line on stderr tells how far it is; None is where somebody watches.

    The result shows itself as a table; its `ok` is whether all is there, once.

    >>> import emitter
    >>> shop = emitter.create_generator(
    ...     "ecommerce", start="2026-01-01", end="2026-01-02", customers=50, products=20, orders_per_second=0.01
    ... )
    >>> writer = emitter.create_writer("parquet", "data/verified")
    >>> report = emitter.write_dataset(shop, writer)
    >>> emitter.verify(shop, writer).ok
    True
    """
    first, end_slot = slot_at("start", start), slot_at("end", end)
    with progress_bar("verify", progress, SystemClock()) as on_progress:
        if not isinstance(source, GeneratorBase):
            return oracle.verify(configuration(source, writer), first, end_slot, table, on_progress=on_progress)
        with closing(checked_writer(writer).placing(source.partition)) as own:
            journal = _journal(own)
            if journal is None:
                raise MissingJournalError(
                    f"there is no journal under {own.storage.uri}: nothing was written there by emitter",
                    hint="check the folder of the writer, or write first: write_dataset(generator, writer)",
                )
            generator = with_journal(source, journal)
            return oracle.verify_tables(generator, own, journal, first, end_slot, table, on_progress=on_progress)


def configuration(source: object, writer: object) -> EmitterConfig:
    """The configuration that a source is, or that lies at its path. Raises UsageError for anything else."""
    if isinstance(source, EmitterConfig | str | os.PathLike) and writer is not None:
        raise wrong_type(
            "a writer beside a configuration", writer, hint="leave it out: the configuration names its output"
        )
    if isinstance(source, EmitterConfig):
        return source
    if isinstance(source, str | os.PathLike):
        return load_config(Path(source), (), os.environ)
    raise wrong_type("what is asked about", source, hint=_SOURCES)


def checked_writer(writer: object) -> TableWriter:
    """A writer, if it is one. Raises UsageError."""
    if not isinstance(writer, TableWriter):
        raise wrong_type("the writer", writer, hint=_SOURCES)
    return writer


def _journal(writer: TableWriter) -> Journal | None:
    journal = Journal.load(writer.storage)
    return (
        journal if journal and journal.epochs else None
    )  # without: its first start ended before it was told the inputs


def slot_at(name: str, value: str | date | datetime | None) -> int | None:
    """The slot of an argument. Raises UsageError for what is no time."""
    if value is None:
        return None
    try:
        return slot_of(parse_time(value))
    except ValueError as error:
        raise UsageError(
            f"{name}={value!r} is not a time that can be used: {error}",
            hint="give a datetime, or text such as 2026-01-31 or 2026-01-31T12:00:00Z; UTC unless it says otherwise",
        ) from error
