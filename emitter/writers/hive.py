"""What readers find in a hive-partitioned table: the visible files, and the marks of complete partitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from emitter.errors import DamagedStateError, StorageError, StorageNotFoundError
from emitter.model import Table, Window
from emitter.partitioning import PartitionSpec
from emitter.storage.base import Storage
from emitter.writers.base import OnBroken

if TYPE_CHECKING:
    import pyarrow as pa

SUCCESS = "_SUCCESS"
_BATCH_ROWS_MAX = 65_536  # read at a time


def partitions(window: Window, spec: PartitionSpec) -> Iterator[tuple[int, str]]:
    """(first slot after it, folder) of every partition that overlaps a window, in order."""
    slot = window.first
    while slot < window.end:
        end = spec.end(slot)
        yield end, spec.path(slot)
        slot = end


def visible_files(storage: Storage, table: str, spec: PartitionSpec, window: Window) -> Iterator[str]:
    """The Parquet files that a reader of these partitions would read, whoever wrote them."""
    for _, partition in partitions(window, spec):
        yield from files_below(storage, f"{table}/{partition}")


def files_outside(storage: Storage, table: str, spec: PartitionSpec, window: Window) -> Iterator[str]:
    """The Parquet files that a reader of the whole table would read beside those of these partitions."""
    inside = {f"{table}/{partition}" for _, partition in partitions(window, spec)}
    return (path for path in files_below(storage, table) if path.rpartition("/")[0] not in inside)


def files_below(storage: Storage, folder: str) -> Iterator[str]:
    """The Parquet files that a reader of a folder would read."""
    for entry in storage.list(folder):
        if entry.name[0] in "._":
            continue
        if entry.is_folder:
            yield from files_below(storage, f"{folder}/{entry.name}")
        elif entry.name.endswith(".parquet"):
            yield f"{folder}/{entry.name}"


def read_file(storage: Storage, path: str, table: Table, on_broken: OnBroken | None = None) -> Iterator[pa.RecordBatch]:
    """A file's rows in bounded batches, with those columns of the table that it has. A file that cannot be read is told
    to `on_broken`, or raises.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with storage.open_file(path) as file:
        try:
            source = pq.ParquetFile(file)
            names = set(source.schema_arrow.names)
            columns = [column.name for column in table.columns if column.name in names]
            yield from source.iter_batches(_BATCH_ROWS_MAX, columns=columns)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno:
                raise StorageError("read", path, error) from error
            broken = DamagedStateError(
                f"{path} cannot be read as Parquet: {error}",
                hint="every reader of the table fails on it: restore it, or remove it if it is not ours",
            )
            if on_broken is None:
                raise broken from error
            on_broken(broken)


class PartitionMarks:
    """Marks complete partitions with `_SUCCESS`, in order of time, each once."""

    def __init__(self, storage: Storage, spec: PartitionSpec, on_mark: Callable[[], None]) -> None:
        self._storage = storage
        self._spec = spec
        self._on_mark = on_mark
        self._marked_slots: dict[str, int] = {}  # up to where each table is known to be marked

    def advance(self, tables: Sequence[str], origin_slot: int, complete_slot: int) -> None:
        """Mark what ends at or before `complete_slot` and is not yet marked."""
        closed_slot = self._spec.start(complete_slot)
        for table in tables:
            if self._marked_slots.get(table, origin_slot) < closed_slot:
                self._mark(table, origin_slot, closed_slot)
                self._marked_slots[table] = closed_slot

    def _mark(self, table: str, origin_slot: int, closed_slot: int) -> None:
        # Marks are set in order, so the newest one tells that all before it are there.
        unmarked: list[str] = []
        slot, known_slot = closed_slot, self._marked_slots.get(table, origin_slot)
        while slot > known_slot:
            slot = self._spec.start(slot - 1)
            folder = f"{table}/{self._spec.path(slot)}"
            if self._is_marked(folder):
                break
            unmarked.append(folder)
        for folder in reversed(unmarked):
            self._storage.write(f"{folder}/{SUCCESS}", b"")
            self._storage.sync_folders({folder})
            self._on_mark()

    def take_back(self, table: str, complete_slot: Callable[[], int]) -> None:
        """Remove the marks of what is not complete, the newest first, so that none is left that has none before it."""
        marked, slot = [], self._spec.start(complete_slot())
        while self._is_marked(f"{table}/{self._spec.path(slot)}"):
            marked.append(slot)
            slot = self._spec.end(slot)
        if not marked:
            return
        closed_slot = self._spec.start(complete_slot())  # what others marked meanwhile is complete by now
        for slot in reversed([slot for slot in marked if slot >= closed_slot]):
            folder = f"{table}/{self._spec.path(slot)}"
            self._storage.remove(f"{folder}/{SUCCESS}")
            self._storage.sync_folders({folder})

    def _is_marked(self, folder: str) -> bool:
        try:
            self._storage.read(f"{folder}/{SUCCESS}")
        except StorageNotFoundError:
            return False
        return True
