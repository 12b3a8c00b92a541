"""What readers find in a hive-partitioned table: the visible files, and the marks of complete partitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from emitter.errors import StorageNotFoundError
from emitter.partitioning import PartitionSpec
from emitter.storage.base import Storage
from emitter.writers.parts import Part

SUCCESS = "_SUCCESS"
NOWHERE = (-1,)
"""The partition of a file that lies in none of a table's folders."""


def parts(storage: Storage, table: str, spec: PartitionSpec) -> Iterator[Part]:
    """The Parquet files that a reader of the whole table would read, whoever wrote them."""
    for path, size in files_below(storage, table):
        folder = path.removeprefix(f"{table}/").rpartition("/")[0]
        inner = "/".join(folder.split("/")[: len(spec.columns)])
        yield Part(path, spec.parse(inner) or NOWHERE, size)


def files_below(storage: Storage, folder: str, first: str = "") -> Iterator[tuple[str, int]]:
    """The Parquet files that a reader of a folder would read, each with its size in bytes; `first` as for `walk`."""
    for path, size, _ in storage.walk(folder, first):
        names = path.removeprefix(f"{folder}/").split("/")
        if path.endswith(".parquet") and not any(name[0] in "._" for name in names):
            yield path, size


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
