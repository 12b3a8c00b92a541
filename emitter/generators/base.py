"""What a domain is: its tables, and their rows as a pure function of seed, options, inputs and window."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from emitter.clock import text_of
from emitter.errors import UsageError
from emitter.model import Epoch, Frame, Inputs, Slice, Table, Window
from emitter.partitioning import PartitionSpec

if TYPE_CHECKING:
    import polars as pl

FRAME_ROWS_MAX = 250_000


@dataclass(frozen=True, slots=True)
class Period:
    """A bounded run: which slots, cut into batches of so many seconds, and which shard's part of the rows."""

    window: Window
    batch_seconds: int = 86_400
    slice: Slice = Slice()


class GeneratorBase(ABC):
    """A domain. Subclasses declare the four class attributes and make rows.

    `epochs` are the inputs in force, in order; the first begins at the origin. What a slot starts is made with the
    inputs of *its* slot. Nothing may depend on how often, when or in which order `rows` is asked for; a bounded memo
    of pure results is allowed. An instance serves one thread at a time.

    >>> import emitter
    >>> shop = emitter.create_generator("ecommerce", start="2026-01-01", end="2026-01-02", orders_per_second=0.1)
    >>> shop.table("orders").parents
    ('customers',)
    >>> shop.schema_for("orders")["amount"]
    Decimal(precision=12, scale=2)
    """

    name: ClassVar[str]
    content_version: ClassVar[int]
    options_type: ClassVar[type[Any]]
    table_declarations: ClassVar[tuple[Table, ...]]

    def __init__(
        self,
        *,
        seed: int,
        origin_slot: int,
        options: Any,
        epochs: Sequence[Epoch] = (),
        period: Period | None = None,
        partition: PartitionSpec | None = None,
    ) -> None:
        self.seed = seed
        self.origin_slot = origin_slot
        self.options = options
        self.epochs = tuple(epochs)
        self.period = period
        self.partition = partition or PartitionSpec()

    def __repr__(self) -> str:
        begin = "" if self.period is None else f" to {text_of(self.period.window.end)}"
        return f"<generator {self.name}, seed {self.seed}, from {text_of(self.origin_slot)}{begin}>"

    @abstractmethod
    def rows(self, window: Window, slice: Slice, tables: Collection[str]) -> Iterator[Frame]:
        """The rows whose event_time lies in the window, for these tables and this slice, in the inside form.

        Frames have at most `FRAME_ROWS_MAX` rows, those of one table come in order of their slots, and no frame is
        empty. Nothing exists before the origin.
        """

    @abstractmethod
    def expected_rows(self, window: Window) -> Mapping[str, float]:
        """The mean number of rows per table in the window, all slices together."""

    def rebuilt(self, origin_slot: int, epochs: Sequence[Epoch] = ()) -> Self:
        """The same domain with another origin and other inputs in force."""
        return type(self)(
            seed=self.seed,
            origin_slot=origin_slot,
            options=self.options,
            epochs=epochs,
            period=self.period,
            partition=self.partition,
        )

    def tables(self) -> tuple[str, ...]:
        """The names of the domain's tables, parents first."""
        return tuple(table.name for table in self.table_declarations)

    def table(self, name: str) -> Table:
        """A table's declaration."""
        for table in self.table_declarations:
            if table.name == name:
                return table
        raise UsageError(f"{self.name} has no table {name!r}", hint=f"choose from: {', '.join(self.tables())}")

    def batches_for(self, table: str) -> Iterator[pl.DataFrame]:
        """A table's rows over the generator's period, as readers of the written table would see them: money as
        Decimal(12, 2), times as Datetime("us", "UTC").
        """
        import polars as pl

        from emitter import arrow

        declaration = self.table(table)
        if self.period is None:
            raise UsageError(
                "batches_for needs a bounded period", hint="give start and end to create_generator, or use rows()"
            )
        for window in batch_windows(self.period.window, self.period.batch_seconds):
            for frame in self.rows(window, self.period.slice, (table,)):
                data = pl.from_arrow(arrow.to_table(declaration, frame.rows))
                assert isinstance(data, pl.DataFrame)
                yield data

    def schema_for(self, table: str) -> Mapping[str, pl.DataType]:
        """The polars schema of the frames of `batches_for`."""
        import polars as pl

        from emitter import arrow

        empty = pl.from_arrow(arrow.file_schema(self.table(table)).empty_table())
        assert isinstance(empty, pl.DataFrame)
        return dict(empty.schema)

    def partition_spec_for(self, table: str) -> PartitionSpec:
        """How a table is partitioned."""
        self.table(table)
        return self.partition


def options_in_force[T](options: T, inputs: Inputs) -> T:
    """A domain's options with these inputs in force. An option that they leave out is at its default (see
    `factory.input_options`), whatever the configuration says now.
    """
    declared: Any = options  # a dataclass, but mypy can't be told so of any T
    left_out = {field.name: field.default for field in fields(declared) if field.metadata.get("omit_default")}
    in_force: T = replace(declared, **{**left_out, **inputs.options})
    return in_force


def batch_windows(window: Window, batch_seconds: int) -> Iterator[Window]:
    """A window cut at the multiples of batch_seconds since 2020."""
    first = window.first
    while first < window.end:
        end = min(window.end, (first // batch_seconds + 1) * batch_seconds)
        yield Window(first, end)
        first = end
