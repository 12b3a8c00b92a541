"""What kills have left in an output, and nobody will ever look for: the same in every format.

    orders/year=2026/month=01/day=02/.NAME.parquet.4711-4712-9.tmp   a write that was cut short, on a disk
    _emitter/journal/.0000000017.json.4711-4711-3.tmp                likewise
    _emitter/check-NAME                                              something that storage was tried with, on S3

They count for nothing, and go once they are old. A write that still is under way then (a process that was suspended for
longer) fails, and is tried again.

Locks and leases stay: a lock whose file is removed may be held twice, a lease that is gone lets a second process in.
There is one small file for each slice that ever was, however long the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from emitter.clock import Clock
from emitter.errors import StorageNotFoundError
from emitter.storage.base import Storage, StoredFile
from emitter.writers.upkeep import Done

_STATE = "_emitter"


class Leftovers:
    """Those of one output, for a format's `vacuum`. `seconds`: how old they must be."""

    def __init__(self, storage: Storage, seconds: float, clock: Clock) -> None:
        self._storage, self._seconds, self._clock = storage, seconds, clock
        self._first: str | None = None

    def find(self, table: str) -> list[StoredFile]:
        """Those of a table's folder. Those beside the tables fall to the table that is asked for first, ever. Only
        reads. Raises StorageError.
        """
        self._first = self._first or table
        found = list(self._storage.leftovers(table))
        if table == self._first:
            found += self._storage.leftovers("", below=False)
            found += self._storage.leftovers(_STATE)
        return self.old(found)

    def old(self, files: Iterable[StoredFile]) -> list[StoredFile]:
        """Those of some files that are old enough."""
        now = self._clock.wall_seconds()
        return [file for file in files if now - file.written_wall_seconds >= self._seconds]

    def remove(self, files: Iterable[StoredFile], on_each: Callable[[], None] = lambda: None) -> Done:
        """Remove files, of whichever kind, but for those that were written again since they were found: somebody has
        staged them once more, and is about to commit them. Where the power fails then, some may be back, and are found
        again.
        """
        count = size_bytes = 0
        for file in files:
            if self._is_written_again(file):
                continue
            self._storage.remove(file.path)
            on_each()
            count, size_bytes = count + 1, size_bytes + file.size_bytes
        return Done(files_removed=count, bytes_removed=size_bytes)

    def _is_written_again(self, file: StoredFile) -> bool:
        try:
            return self._storage.written_wall_seconds(file.path) > file.written_wall_seconds
        except StorageNotFoundError:
            return False
