"""The truth as a program or a notebook reads it: an answer, a relation of DuckDB's, a lazy frame of polars'.

The rows of the last two are made while they are read, anew each time: only the columns and hours that are needed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from emitter.clock import SystemClock
from emitter.config import EmitterConfig
from emitter.errors import MissingExtraError, UsageError
from emitter.generators.base import GeneratorBase
from emitter.truth.asking import checked_writer, configuration, slot_at
from emitter.watch.progressbar import progress_bar
from emitter.writers.base import TableWriter

if TYPE_CHECKING:
    import polars as pl
    import pyarrow.compute as pc

    from emitter.duck import Connection
    from emitter.truth.made import MadeTable, Source

type Asked = GeneratorBase | EmitterConfig | str | os.PathLike[str]
type Moment = str | date | datetime | None


def query(
    source: Asked,
    sql: str,
    /,
    *,
    writer: TableWriter | None = None,
    start: Moment = None,
    end: Moment = None,
    progress: bool | None = None,
) -> pl.DataFrame:
    """The right answer of a query, as `emitter query` gives it: DuckDB's SQL over the tables from `start` (default: the
    origin) to `end` (exclusive; default: the end of the generator's period, or, of a configuration, where the tables of
    its output are). No table is read. `progress`: whether a line on stderr tells how far it is; None is where somebody
    watches.

    The source is a generator, or a configuration: an `EmitterConfig` or its path. With the writer of an output, and
    with a configuration, the rates of that output's journal hold. Raises UsageError for what is no query, or has no
    one answer.

    >>> import emitter
    >>> shop = emitter.create_generator(
    ...     "ecommerce", start="2026-01-01", end="2026-01-02", customers=50, products=20, orders_per_second=0.01
    ... )
    >>> emitter.query(shop, "SELECT count(*) AS customers FROM customers").item()
    50
    """
    import polars as pl
    import pyarrow as pa

    try:
        from emitter.truth.questions import Truth
    except ModuleNotFoundError as error:
        raise MissingExtraError("sql", needed_for="query") from error
    if not isinstance(sql, str):
        raise UsageError(f"the query is {type(sql).__name__}, no text", hint='such as "SELECT count(*) FROM orders"')
    with (
        progress_bar("query", progress, SystemClock()) as on_progress,
        Truth(_source(source, writer, start, end), on_progress=on_progress) as truth,
    ):
        answer = truth.ask(sql)
        try:
            found = pl.from_arrow(pa.Table.from_batches(answer.batches, answer.schema))
        except (pl.exceptions.PolarsError, pa.ArrowException) as error:
            raise UsageError(
                f"something in the result has no form in polars: {error}",
                hint="cast the column that it is in, such as to VARCHAR: column::VARCHAR",
            ) from None
    assert isinstance(found, pl.DataFrame)
    return found


def relation(
    source: Asked,
    table: str,
    connection: Connection,
    /,
    *,
    writer: TableWriter | None = None,
    start: Moment = None,
    end: Moment = None,
) -> Any:
    """A table as a lazy relation (`duckdb.DuckDBPyRelation`) of one's own DuckDB connection. Source and period are as
    in `query`.

    >>> import duckdb
    >>> import emitter
    >>> shop = emitter.create_generator(
    ...     "ecommerce", start="2026-01-01", end="2026-01-02", customers=50, products=20, orders_per_second=0.01
    ... )
    >>> customers = emitter.relation(shop, "customers", duckdb.connect())
    >>> customers.aggregate("count(*)").fetchall()
    [(50,)]
    """
    return connection.from_arrow(_made(_source(source, writer, start, end), table))


def scan(
    source: Asked,
    table: str,
    /,
    *,
    writer: TableWriter | None = None,
    start: Moment = None,
    end: Moment = None,
) -> pl.LazyFrame:
    """A table as a lazy polars frame. Source and period are those of `query`.

    >>> import emitter
    >>> shop = emitter.create_generator(
    ...     "ecommerce", start="2026-01-01", end="2026-01-02", customers=50, products=20, orders_per_second=0.01
    ... )
    >>> emitter.scan(shop, "customers").select("customer_id").collect().height
    50
    """
    import polars as pl
    import pyarrow as pa
    from polars.io.plugins import register_io_source

    made = _made(_source(source, writer, start, end), table)
    empty = pl.from_arrow(made.schema.empty_table())
    assert isinstance(empty, pl.DataFrame)

    def frames(
        names: list[str] | None, predicate: pl.Expr | None, rows_max: int | None, _batch_rows: int | None
    ) -> Iterator[pl.DataFrame]:
        wanted = names or list(empty.columns)
        needed = {*wanted, *(predicate.meta.root_names() if predicate is not None else ())}
        reading = made.scan([name for name in empty.columns if name in needed], _arrow_filter(predicate))
        left = rows_max
        for rows in made.batches(reading, None):
            frame = pl.from_arrow(pa.Table.from_batches([rows]))
            assert isinstance(frame, pl.DataFrame)
            if predicate is not None:
                frame = frame.filter(predicate)
            frame = frame.select(wanted)
            yield frame if left is None else frame.head(left)
            if left is not None:
                left -= min(left, frame.height)
                if not left:
                    return

    return register_io_source(frames, schema=empty.schema, is_pure=True)


def _source(source: Asked, writer: TableWriter | None, start: Moment, end: Moment) -> Source:
    from emitter.truth.sources import configured_source, generated_source

    first, end_slot = slot_at("start", start), slot_at("end", end)
    if isinstance(source, GeneratorBase):
        own = None if writer is None else checked_writer(writer)
        return generated_source(source, own, first, end_slot).source
    return configured_source(configuration(source, writer), first, end_slot).source


def _made(source: Source, table: str) -> MadeTable:
    from emitter.truth.made import MadeTable

    return MadeTable(source, source.generator.table(table))


_OPERATORS = {"Lt": "<", "LtEq": "<=", "Gt": ">", "GtEq": ">=", "Eq": "=="}
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "=="}
_PARTITION = frozenset({"year", "month", "day", "hour"})


def _arrow_filter(predicate: pl.Expr | None) -> pc.Expression | None:
    """What a predicate says of times, for Arrow; None where it says nothing, or nothing that is understood. It lets
    through all that the predicate lets through, and more: polars' own tree of it is not a fixed format.
    """
    if predicate is None:
        return None
    try:
        return _translated(json.loads(predicate.meta.serialize(format="json")))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None


def _translated(node: Mapping[str, Any]) -> pc.Expression | None:
    binary = node.get("BinaryExpr")
    if binary is None:
        return None
    left, operator, right = binary["left"], binary["op"], binary["right"]
    if operator in ("And", "Or"):
        known, other = _translated(left), _translated(right)
        if known is None or other is None:
            return (known if other is None else other) if operator == "And" else None
        return known & other if operator == "And" else known | other
    if operator not in _OPERATORS:
        return None
    sign = _OPERATORS[operator]
    return _compared(left, sign, right) if "Column" in left else _compared(right, _TURNED[sign], left)


def _compared(column: Mapping[str, Any], sign: str, literal: Mapping[str, Any]) -> pc.Expression | None:
    import operator

    import pyarrow as pa
    import pyarrow.dataset as ds

    from emitter.arrow import TIME_TYPE

    name, values = column.get("Column"), literal["Literal"]["Scalar"] if "Literal" in literal else {}
    if name == "event_time" and "Datetime" in values and values["Datetime"][1] == "Microseconds":
        scalar: Any = pa.scalar(values["Datetime"][0], TIME_TYPE)
    elif name in _PARTITION and (number := values.get("Int32", values.get("Int64"))) is not None:
        scalar = pa.scalar(number, pa.int32())
    else:
        return None
    by_sign = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq}
    found: pc.Expression = by_sign[sign](ds.field(name), scalar)
    return found
