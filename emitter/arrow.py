"""The one translation between a `Table` declaration and Arrow.

The inside form is what generators make and what digests are taken of: money as int64 cents, times as
`timestamp[us, UTC]`, strings plain or dictionary-encoded. The file form is what the Parquet writer gets: money as
`decimal64(12, 2)`, which is those cents as they lie there. The schema of the tables, and what readers get, has
`decimal128(12, 2)`: in a Parquet file both are one type.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from emitter.clock import EPOCH_UNIX_SECONDS
from emitter.model import Column, Table

type Values = pa.Array[Any]

MONEY_TYPE = pa.decimal128(12, 2)
_WRITTEN_MONEY_TYPE = pa.decimal64(12, 2)
TIME_TYPE = pa.timestamp("us", "UTC")
_TYPES: dict[str, pa.DataType] = {
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "timestamp": TIME_TYPE,
}


def inside_schema(table: Table) -> pa.Schema:
    """The columns of the inside form."""
    return pa.schema([_field(column, pa.int64()) for column in table.columns])


def file_schema(table: Table) -> pa.Schema:
    """The columns that readers get."""
    return pa.schema([_field(column, MONEY_TYPE) for column in table.columns])


def _field(column: Column, money: pa.DataType) -> pa.Field[Any]:
    return pa.field(column.name, _TYPES.get(column.type, money), nullable=column.nullable)


def to_file_form(table: Table, rows: pa.RecordBatch) -> pa.RecordBatch:
    """Inside form to file form. Strings stay as they are encoded; nothing is copied."""
    columns, fields = [], []
    for column, values in zip(table.columns, rows.columns, strict=True):
        shaped = values.view(_WRITTEN_MONEY_TYPE) if column.type == "money" else values
        columns.append(shaped)
        fields.append(pa.field(column.name, shaped.type, nullable=column.nullable))
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def to_table(table: Table, rows: pa.RecordBatch) -> pa.Table:
    """Inside form to what a reader of the written table gets, with plain strings."""
    return pa.Table.from_batches([to_file_form(table, rows)]).cast(file_schema(table))


def to_inside_form(table: Table, rows: pa.RecordBatch) -> pa.RecordBatch:
    """File form (or anything a reader made of it) to inside form. Raises pa.ArrowException where it does not
    fit.
    """
    names = [column.name for column in table.columns]
    columns = [
        _cents(values) if column.type == "money" else _plain(values, column)
        for column, values in zip(table.columns, map(rows.column, names), strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=inside_schema(table))


def times(micros: np.ndarray) -> Values:
    """int64 microseconds since 1970 as times, without a copy."""
    return pa.array(micros, type=pa.int64()).view(TIME_TYPE)


def micros(values: Values) -> np.ndarray:
    """Times as int64 microseconds since 1970."""
    return values.view(pa.int64()).to_numpy(zero_copy_only=False)


def slots(values: Values) -> np.ndarray:
    """The slots of times."""
    return micros(values) // 1_000_000 - EPOCH_UNIX_SECONDS


def labels(codes: np.ndarray, names: Values, missing: np.ndarray | None = None) -> pa.DictionaryArray[Any, Any]:
    """A string column of int8 codes into a fixed list of names, without a copy; null where one is `missing`."""
    places: Values = pa.array(codes, mask=missing)
    return pa.DictionaryArray.from_arrays(places, names, safe=False)


def optional_labels(codes: np.ndarray, names: Values) -> Values:
    """A string column of int16 codes into a fixed list of names; null where a code is below zero."""
    places: Any = pa.array(codes, type=pa.int16(), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(places, names)


def named(names: Values, places: np.ndarray) -> Values:
    """The names at these places."""
    chosen: Values = names.take(pa.array(places, type=pa.int64()))
    return chosen


def joined(separator: str, *parts: Values) -> Values:
    """Strings put together row by row."""
    texts: Values = pc.binary_join_element_wise(*parts, separator)  # type: ignore[call-overload]
    return texts


def _cents(values: Values) -> Values:
    """decimal(12,2) as int64 cents: the low words, which a decimal of 12 digits never leaves."""
    exact = values.cast(MONEY_TYPE)
    data = exact.buffers()[1]
    if data is None or not len(exact):
        return pa.array([], pa.int64())
    begin, end = 2 * exact.offset, 2 * (exact.offset + len(exact))
    words = np.frombuffer(data, dtype=np.int64)[begin:end:2]
    return pa.array(words, mask=np.asarray(exact.is_null()) if exact.null_count else None)


def _plain(values: Values, column: Column) -> Values:
    return values.cast(_TYPES[column.type])
