"""Whether a data file has the shape that readers of its table rely on: columns, types, nulls, field ids, size and rows.

Readers go by what a file's schema says, not by what its values would mean: an id that is text joins with nothing, a
time without a zone is another time, and an Iceberg reader takes whatever column has the field id that it looks for. So
a file's Parquet schema is compared, which is what all readers see; how Arrow laid out the columns for whoever wrote it
plays no part.

A file by the name of ours must be as the encoder makes it. One of another name is what a compactor or an engine made of
ours: it may differ in what no reader notices (docs/decisions/0017).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from emitter.model import ColumnType, Table
from emitter.writers.base import is_file_name
from emitter.writers.parts import DataFile, Part

if TYPE_CHECKING:
    from pyarrow.parquet import ColumnSchema, ParquetSchema

_TYPES: dict[ColumnType, str] = {
    "int32": "int32",
    "int64": "int64",
    "float64": "double",
    "bool": "boolean",
    "string": "string",
    "timestamp": "timestamp[us, UTC]",
    "money": "decimal(12, 2)",
}
_OLD_TIMESTAMP = "int96"  # what Spark writes into Parquet and Delta by default: readers know it for a time in UTC
_UNITS = {"milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}


class Shapes:
    """The shapes of a table's files. Safe in threads."""

    def __init__(self, table: Table, partition_columns: tuple[str, ...]) -> None:
        self._table = table
        self._partition_columns = partition_columns
        self._right: dict[tuple[bool, bool], ParquetSchema] = {}  # the last one that was right: most are equal to it

    def faults(self, file: DataFile, part: Part) -> list[str]:
        """What is wrong with a file, a text each; nothing if all is right."""
        footer = file.footer
        found = []
        if part.size_bytes not in (None, file.size_bytes):
            found.append(f"it has {file.size_bytes} bytes, registered are {part.size_bytes}")
        if part.rows not in (None, footer.num_rows):
            found.append(f"it has {footer.num_rows} rows, registered are {part.rows}")
        is_ours = is_file_name(file.path)
        key, schema = (is_ours, part.field_ids is not None), footer.schema
        known = self._right.get(key)
        if known is None or not schema.equals(known):
            wrong = [*self._columns(schema, is_ours=is_ours), *self._ids(file, part, is_ours=is_ours)]
            if not wrong:
                self._right[key] = schema
            found += wrong
        return found

    def _columns(self, schema: ParquetSchema, *, is_ours: bool) -> Iterator[str]:
        there = {column.path: column for column in map(schema.column, range(len(schema)))}
        declared = [column.name for column in self._table.columns]
        for column in self._table.columns:
            found = there.get(column.name)
            if found is None:
                yield f"column {column.name} is not there"
                continue
            kind = _kind(found)
            is_old_time = column.type == "timestamp" and kind == _OLD_TIMESTAMP and not is_ours
            if kind != _TYPES[column.type] and not is_old_time:
                yield f"column {column.name} is {kind}, not {_TYPES[column.type]}"
            may_be_null = found.max_definition_level > 0
            if column.nullable and not may_be_null:
                yield f"column {column.name} allows no nulls, and must"
            if may_be_null and not column.nullable and is_ours:
                yield f"column {column.name} allows nulls, and must not"
        for name, column_schema in there.items():
            if name not in declared and (is_ours or not self._may_be_more(name, column_schema)):
                yield f"column {name} is none of the table's"
        if is_ours and not set(declared) ^ there.keys() and list(there) != declared:
            yield f"the columns are in the order {', '.join(there)}"

    def _may_be_more(self, name: str, column: ColumnSchema) -> bool:
        """Whether readers live with a column beside ours: what it is partitioned by, and what may be null."""
        return name in self._partition_columns or column.max_definition_level > 0

    def _ids(self, file: DataFile, part: Part, *, is_ours: bool) -> Iterator[str]:
        there = {field.name: _field_id(field.metadata) for field in file.schema}
        ours = {column.name: place for place, column in enumerate(self._table.columns, 1)}
        wanted = part.field_ids or ours
        if not is_ours and (part.field_ids is None or not any(there.values())):
            return  # readers go by the names
        for name in ours:
            if name in there and name in wanted and there[name] != wanted[name]:
                yield f"column {name} has the field id {there[name]}, not {wanted[name]}"


def _field_id(metadata: dict[bytes, bytes] | None) -> int | None:
    text = (metadata or {}).get(b"PARQUET:field_id")
    return None if text is None else int(text)


def _kind(column: ColumnSchema) -> str:
    """A column's type as readers take it. Amounts may be stored as integers or as bytes: that is all the same."""
    logical: dict[str, Any] = _logical(column)
    match logical["Type"]:
        case "String":
            return "string"
        case "Decimal":
            return f"decimal({logical['precision']}, {logical['scale']})"
        case "Timestamp":
            unit = _UNITS.get(logical["timeUnit"], logical["timeUnit"])
            return f"timestamp[{unit}, UTC]" if logical["isAdjustedToUTC"] else f"timestamp[{unit}] without a zone"
        case "Int" if logical["isSigned"] and column.physical_type == f"INT{logical['bitWidth']}":
            return column.physical_type.lower()
        case "None":
            return column.physical_type.lower()
        case _:
            return f"{column.physical_type.lower()} {column.logical_type}"


def _logical(column: ColumnSchema) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(column.logical_type.to_json())
    return found
