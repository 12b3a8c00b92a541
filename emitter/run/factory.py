"""From a name and options to a domain's generator, and from a generator to what identifies its run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal, Unpack

from emitter.clock import parse_time, slot_of, text_of
from emitter.errors import ConfigurationError, DamagedStateError, Fault, UsageError, wrong_type
from emitter.generators import DOMAINS, domain_class, domain_options
from emitter.generators.base import GeneratorBase, Period
from emitter.model import Slice, Window
from emitter.partitioning import GRANULARITIES, PartitionSpec
from emitter.run.journal import Journal, make_identity
from emitter.settings.declaring import nearest, validate_options

if TYPE_CHECKING:
    from emitter.generators.ecommerce.options import EcommerceArguments


def create_generator(
    name: str,
    *,
    seed: int = 42,
    start: str | date | datetime = "2026-01-01",
    end: str | date | datetime | None = None,
    batch_seconds: int = 86_400,
    shard_index: int = 0,
    shard_count: int = 1,
    partition: Literal["month", "day", "hour"] | PartitionSpec = "day",
    **options: Unpack[EcommerceArguments],
) -> GeneratorBase:
    """A domain's generator: `ecommerce`, a shop.

    `start` is the origin, before which nothing exists; with `end` (exclusive) the period of a bounded run. Both are ISO
    text, dates or datetimes; without zone they are UTC. `batch_seconds` and the shard say how the period is cut, which
    the rows don't show: a day's rows of a table are a file, or several of `WriterOptions.file_rows_target` rows.

    The shop's `options`, those of its section of the configuration (what each means: `emitter info ecommerce`):
    customers, products, orders_per_second, promotions, curve, arrivals, hour_weights, weekday_weights, month_weights,
    order_growth_per_year, customer_growth_per_year, product_growth_per_year, customer_skew, product_skew, time_zones,
    price_period_days. Raises ConfigurationError with every fault at once.

    >>> import emitter
    >>> shop = emitter.create_generator(
    ...     "ecommerce", start="2026-01-01", end="2026-01-02", customers=50, products=20, orders_per_second=0.01
    ... )
    >>> shop.tables()
    ('customers', 'products', 'orders', 'order_items', 'payments')
    >>> sum(frame.height for frame in shop.batches_for("customers"))  # polars DataFrames
    50
    """
    faults: list[Fault] = []

    def time(path: str, value: object) -> int:
        try:
            return slot_of(parse_time(value))
        except ValueError:
            faults.append(Fault(path, repr(value), "a time in whole seconds from 2020-01-01 to 2087-12-31"))
            return 0

    def whole(path: str, value: object, low: int, high: int) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            faults.append(Fault(path, repr(value), f"a whole number from {low} to {high}"))

    origin, until = time("start", start), None if end is None else time("end", end)
    if until is not None and not faults and until <= origin:
        faults.append(Fault("end", repr(end), f"a time after start, {start!r}"))
    whole("seed", seed, 0, 2**63 - 1)
    whole("batch_seconds", batch_seconds, 1, 2_678_400)
    whole("shard_count", shard_count, 1, 1024)
    if not faults:
        whole("shard_index", shard_index, 0, shard_count - 1)
    if not isinstance(partition, PartitionSpec) and partition not in GRANULARITIES:
        faults.append(Fault("partition", repr(partition), f"a PartitionSpec, or one of: {', '.join(GRANULARITIES)}"))
    try:
        settings = validate_options(domain_options(name), options, name)
    except ConfigurationError as error:
        faults.extend(error.faults)
    if faults:
        raise ConfigurationError(faults, hint="correct what is listed; `emitter info` shows every option of a domain")
    return domain_class(name)(
        seed=seed,
        origin_slot=origin,
        options=settings,
        period=None if until is None else Period(Window(origin, until), batch_seconds, Slice(shard_index, shard_count)),
        partition=partition if isinstance(partition, PartitionSpec) else PartitionSpec.of(partition),
    )


def input_options(options: Any) -> dict[str, Any]:
    """A domain's options that may change on the way, as JSON values."""
    return _options(options, inputs=True)


def fixed_options(options: Any) -> dict[str, Any]:
    """A domain's options that are for good, as JSON values."""
    return _options(options, inputs=False)


def _options(options: Any, *, inputs: bool) -> dict[str, Any]:
    """Those marked `omit_default` stand there only where they are not at their default: so a journal from before there
    was such an option is as if it had been written now, and an older release stops only where one is used.
    """
    chosen = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(options)
        if bool(field.metadata.get("input")) is inputs
        and not (field.metadata.get("omit_default") and getattr(options, field.name) == field.default)
    }
    values: dict[str, Any] = json.loads(json.dumps(chosen))
    return values


def identity_of(generator: GeneratorBase) -> dict[str, Any]:
    """What a journal's first entry holds of a generator."""
    return make_identity(
        seed=generator.seed,
        domain=generator.name,
        content_version=generator.content_version,
        origin_slot=generator.origin_slot,
        partition=generator.partition.granularity,
        options=fixed_options(generator.options),
    )


def with_journal(generator: GeneratorBase, journal: Journal) -> GeneratorBase:
    """The generator with the inputs of an output's journal in force. Raises IdentityMismatchError where they contradict
    each other.
    """
    journal.check_identity(identity_of(generator))
    check_inputs(generator, journal)
    return generator.rebuilt(journal.origin_slot, journal.epochs)


def check_inputs(generator: GeneratorBase, journal: Journal) -> None:
    """See that what a journal says of inputs can be used by its domain. Raises DamagedStateError."""
    for epoch in journal.epochs:
        problem, options = "", epoch.inputs.options
        hint = "restore the journal from a backup; without it nobody can say what the tables should hold"
        inputs = {field.name: field for field in dataclasses.fields(generator.options) if field.metadata.get("input")}
        needed = {name for name, field in inputs.items() if not field.metadata.get("omit_default")}
        if unknown_options := options.keys() - inputs.keys():
            problem = f"there are no options {', '.join(sorted(unknown_options))}"
            hint = "a newer release has probably written them: go on with that one"
        elif missing := needed - options.keys():
            problem = f"the options {', '.join(sorted(missing))} are missing"
        elif generator.name in DOMAINS:  # others declare no rules for their options
            try:
                fixed = fixed_options(generator.options)
                validate_options(generator.options_type, {**fixed, **options}, generator.name)
            except ConfigurationError as error:
                problem = "; ".join(map(str, error.faults))
        if unknown := {*epoch.inputs.tables, *epoch.withdrawn} - set(generator.tables()):
            problem = f"there are no tables {', '.join(sorted(map(str, unknown)))}"
        if not 1 <= epoch.inputs.shard_count <= 1024 or not epoch.inputs.tables:
            problem = f"{epoch.inputs.shard_count} shards, tables {epoch.inputs.tables}"
        if problem:
            raise DamagedStateError(
                f"the journal holds inputs, in force from {text_of(epoch.from_slot)} on, that cannot be: {problem}",
                hint=hint,
            )


def whole_tables(generator: GeneratorBase, tables: Sequence[str]) -> tuple[str, ...]:
    """The chosen tables, parents first. Raises UsageError for unknown names and missing parents."""
    if isinstance(tables, str) or not all(isinstance(name, str) for name in tables):
        raise wrong_type("tables", tables, hint=f'give a list of names, such as ["{generator.tables()[0]}"]')
    known = {name: generator.table(name).parents for name in generator.tables()}
    chosen = tuple(name for name in known if name in tables)
    unknown = sorted(set(tables) - known.keys())
    missing = sorted({parent for name in chosen for parent in known[name]} - set(chosen))
    if unknown or missing or not chosen:
        said = f"unknown: {', '.join(unknown)}" if unknown else f"missing parents: {', '.join(missing) or 'no table'}"
        near = nearest(unknown[0], known) if unknown else ""
        raise UsageError(
            f"cannot use the tables {', '.join(tables)!r}: {said}",
            hint=f"{near} choose from: {', '.join(known)}".strip(),
        )
    return chosen
