"""Makes one data file of many: the same rows, in the order in which they came, as DuckLake's own compaction would.

Beside the table's columns, all with DuckLake's field ids, such a file says of each row with which snapshot it came, so
that time travel and `table_changes` find it where it was; and its row id, unless they run on from file to file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from emitter import arrow
from emitter.errors import DamagedStateError
from emitter.model import Table
from emitter.storage.base import Storage
from emitter.writers.ducklake.catalog import LakeTable
from emitter.writers.ducklake.files import LakeFile
from emitter.writers.parts import DataFile

SNAPSHOT, ROW_ID = "_ducklake_internal_snapshot_id", "_ducklake_internal_row_id"
_FIELD_IDS = {ROW_ID: 2_147_483_540, SNAPSHOT: 2_147_483_539}  # by DuckLake's and DuckDB's convention
_ZSTD_LEVEL = 1
_ROW_GROUP_ROWS_MAX = 1 << 20
_FOOTER_LENGTH_PLACE = slice(-8, -4)


@dataclass(frozen=True, slots=True)
class MergedFile:
    """The bytes of a file, with what a catalogue is to know of it: `column_bytes` by name."""

    data: Any
    rows: int
    footer_bytes: int
    column_bytes: dict[str, int]
    row_id_start: int | None


class Merger:
    """Makes such files of one table. `root` is the output, as its files are registered."""

    def __init__(self, storage: Storage, root: str, table: Table, known: LakeTable, compression: str) -> None:
        self._storage, self._root, self._table, self._compression = storage, root, table, compression
        ids = {name: number for (name, _, _), number in zip(known.columns, known.field_ids, strict=True)}
        self._ids = ids | _FIELD_IDS

    def merge(self, files: Sequence[LakeFile], partition: dict[str, int]) -> MergedFile:
        """`files` are of one partition, whose columns have these values. Raises StorageError, and DamagedStateError
        where a file is not as it is registered.
        """
        pieces = [self._read(file) for file in files]
        start = _common_start(files, pieces)
        rows = pa.concat_tables(pieces)
        for name, value in partition.items():
            rows = rows.append_column(name, pa.repeat(pa.scalar(value, pa.int32()), rows.num_rows))
        names = [name for name in self._ids if name in rows.column_names and (name != ROW_ID or start is None)]
        return self._written(rows.select(names), start)

    def _read(self, file: LakeFile) -> pa.Table:
        """The rows of a file, and what they are known by."""
        with DataFile(self._storage, file.path.removeprefix(f"{self._root}/")) as source:
            schema = arrow.file_schema(self._table)
            found = source.columns([*schema.names, ROW_ID, SNAPSHOT])
        has_ids = file.row_id_start is not None or ROW_ID in found.column_names
        if found.num_rows != file.rows or not has_ids or not set(schema.names) <= set(found.column_names):
            raise DamagedStateError(
                f"{file.path} is not as it is registered: {found.num_rows} rows of {file.rows}, with the columns"
                f" {', '.join(found.column_names)}",
                hint="emitter verify says what is missing; restore the file from a backup",
            )
        rows = found.select(schema.names).cast(schema)
        first = file.row_id_start or 0
        for name, values in (
            (ROW_ID, pa.array(np.arange(first, first + file.rows, dtype=np.int64))),
            (SNAPSHOT, pa.repeat(pa.scalar(file.first_snapshot, pa.int64()), file.rows)),
        ):
            rows = rows.append_column(name, found[name] if name in found.column_names else values)
        return rows

    def _written(self, rows: pa.Table, row_id_start: int | None) -> MergedFile:
        fields = [field.with_metadata({"PARQUET:field_id": str(self._ids[field.name])}) for field in rows.schema]
        rows = rows.cast(pa.schema(fields))
        texts = [field.name for field in fields if pa.types.is_string(field.type)]
        packed = [field.name for field in fields if _is_packed(field.type)]
        sink = pa.BufferOutputStream()
        collected: list[pq.FileMetaData] = []
        with pq.ParquetWriter(
            sink,
            rows.schema,
            version="2.6",
            compression=self._compression,  # type: ignore[arg-type]
            compression_level=_ZSTD_LEVEL if self._compression == "zstd" else None,
            use_dictionary=texts,  # type: ignore[arg-type]
            column_encoding={
                name: "DELTA_BINARY_PACKED" if name in packed else "PLAIN"
                for name in rows.column_names
                if name not in texts
            },
            store_decimal_as_integer=True,
            store_schema=False,
            write_statistics=[name for name in rows.column_names if not _has_nan(rows.column(name))],
            metadata_collector=collected,
        ) as writer:
            writer.write_table(rows, row_group_size=_ROW_GROUP_ROWS_MAX)
        data = sink.getvalue()
        footer_bytes = int.from_bytes(bytes(data[_FOOTER_LENGTH_PLACE]), "little")
        return MergedFile(data, rows.num_rows, footer_bytes, _column_bytes(collected[0]), row_id_start)


def _common_start(files: Sequence[LakeFile], pieces: Sequence[pa.Table]) -> int | None:
    """Where the row ids begin, if they run on from each file to the next."""
    first = following = files[0].row_id_start
    for file, piece in zip(files, pieces, strict=True):
        ids = piece[ROW_ID]
        if following is None or file.row_id_start != following:
            return None
        if ids[0].as_py() != following or ids[len(ids) - 1].as_py() != following + len(ids) - 1:
            return None
        following += len(ids)
    return first


def _column_bytes(footer: pq.FileMetaData) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        for place in range(group.num_columns):
            column = group.column(place)
            sizes[column.path_in_schema] = sizes.get(column.path_in_schema, 0) + column.total_compressed_size
    return sizes


def _is_packed(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_timestamp(kind) or pa.types.is_decimal(kind)


def _has_nan(values: pa.ChunkedArray[Any]) -> bool:
    return pa.types.is_floating(values.type) and bool(pc.any(pc.is_nan(values)).as_py())
