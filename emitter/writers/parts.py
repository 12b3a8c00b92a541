"""What a reader of a table finds, part by part: a Parquet file for each time that it is registered, and whatever else a
format gives rows from.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from emitter.errors import DamagedStateError, StorageError
from emitter.model import Table
from emitter.storage.base import Storage

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

BATCH_ROWS_MAX = 65_536  # read at a time
SMALL_BYTES_MAX = 1 << 20  # what is read whole: a file that Arrow reads in places costs a call of Python for each


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a table, as one registration brings them.

    `name` is its path in the storage, or what people know it by. `partition` are the values of the partition columns,
    None for rows of any time. `size_bytes` and `rows` are what is registered, None where nothing is. `field_ids` are
    those by which readers find the columns, None where they go by name. `read` gives the rows of what is no file to be
    read whole, and only in the thread that asked for the table's parts.
    """

    name: str
    partition: tuple[int, ...] | None
    size_bytes: int | None = None
    rows: int | None = None
    field_ids: Mapping[str, int] | None = None
    read: Callable[[], Iterator[pa.RecordBatch]] | None = None


class DataFile:
    """A Parquet file, open to be read. Raises StorageNotFoundError, and DamagedStateError for what is no such file."""

    def __init__(self, storage: Storage, path: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.path = path
        self._file: BinaryIO = storage.open_file(path)
        try:
            with _failures(path):
                self.size_bytes = self._file.seek(0, os.SEEK_END)
                self._file.seek(0)
                is_small = self.size_bytes <= SMALL_BYTES_MAX
                source: Any = pa.BufferReader(self._file.read()) if is_small else self._file
                self._parquet = pq.ParquetFile(source)
        except BaseException:
            self._file.close()
            raise

    @property
    def footer(self) -> pq.FileMetaData:
        return self._parquet.metadata

    @property
    def schema(self) -> pa.Schema:
        """As Arrow has it, with the field ids of the columns."""
        return self._parquet.schema_arrow

    def batches(self, table: Table) -> Iterator[pa.RecordBatch]:
        """The rows, in bounded batches, with those columns of the table that are there."""
        names = set(self._parquet.schema.names)
        columns = [column.name for column in table.columns if column.name in names]
        with _failures(self.path):
            yield from self._parquet.iter_batches(BATCH_ROWS_MAX, columns=columns, use_threads=False)

    def columns(self, names: Sequence[str]) -> pa.Table:
        """All rows at once, with those of these columns that are there."""
        there = set(self.schema.names)
        with _failures(self.path):
            return self._parquet.read([name for name in names if name in there], use_threads=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@contextmanager
def _failures(path: str) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise StorageError("read", path, error) from error
        raise DamagedStateError(
            f"{path} cannot be read as Parquet: {error}",
            hint="every reader of the table fails on it: restore it, or remove it if it is not ours",
        ) from error


def missing(path: str) -> DamagedStateError:
    """What a part is whose file is not there."""
    return DamagedStateError(
        f"{path} is not there, and the table is said to hold it",
        hint="every reader of the table fails on it: restore the file from a backup",
    )
