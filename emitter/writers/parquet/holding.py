"""Who may replace the progress objects of a slice: on a disk whoever holds its lock, on S3 whoever took it last.

Where storage has no locks, a writer takes a slice by writing a holder of its own into the progress object. From then on
whoever had it before finds another version, and another holder: its writes are refused, and it is told so.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

from emitter.errors import CommitConflictError, ForeignTableError, OvertakenError, UsageError
from emitter.model import Slice
from emitter.randomness import unique_name
from emitter.storage.base import Storage
from emitter.writers.parquet.progress import ProgressObject, ProgressObjects, path_of

ONE_WRITER = "see that only one writer runs per slice, then start again"
_TAKE_ATTEMPTS_MAX = 20

type Version = str | None  # None: the progress object is absent


class HeldObjects:
    """The progress objects of an output, as one writer may read and replace them."""

    run_id: str | None = None  # once it is known

    def __init__(self, storage: Storage) -> None:
        self._objects = ProgressObjects(storage)
        self._name = "" if storage.has_locks else unique_name()  # of this writer among all that ever were
        self._numbers = itertools.count()
        self._taken: set[tuple[str, Slice]] = set()

    def slices(self, table: str) -> list[Slice]:
        """The slices that there is progress of."""
        return self._objects.slices(table)

    def are_there(self, table: str) -> bool:
        """Whether there is progress of this run. Raises ForeignTableError where it is another's."""
        return any(self.read(table, slice) for slice in self.slices(table))

    def read(self, table: str, slice: Slice) -> tuple[ProgressObject, Version]:
        """What stands there, or the beginnings of what will."""
        found = self._objects.read(table, slice)
        if found is None:
            return ProgressObject(self.run_id or "", slice), None
        known, version = found
        if self.run_id not in (None, known.run_id):
            raise ForeignTableError(
                f"{path_of(table, slice)} belongs to run {known.run_id}, this is run {self.run_id}",
                hint="choose another output.uri, or move what the other run has written away",
            )
        return known, version

    def read_held(self, table: str, slice: Slice) -> tuple[ProgressObject, Version]:
        """The same, to be replaced. Raises OvertakenError where it was ours and is not any more."""
        if self.run_id is None:
            raise UsageError(f"{table} is not open", hint="call open(run_id, table) for each table first")
        known, version = self.read(table, slice)
        if (table, slice) in self._taken and not (known.holder or "").startswith(f"{self._name}-"):
            raise _overtaken(table, slice)
        return known, version

    def take(self, table: str, slice: Slice) -> tuple[ProgressObject, Version]:
        """The same, and nobody but us may replace it from now on."""
        for _ in range(_TAKE_ATTEMPTS_MAX):
            known, version = self.read_held(table, slice)
            if not self._name:
                return known, version
            known = replace(known, holder=self.unused_name())
            try:
                version = self._objects.write(table, known, version)
            except CommitConflictError:
                continue
            self._taken.add((table, slice))
            return known, version
        raise OvertakenError(f"others take slice {slice} of {table} again and again", hint=ONE_WRITER)

    def let_go(self, slice: Slice) -> None:
        """Others may have it."""
        self._taken = {taken for taken in self._taken if taken[1] != slice}

    def write(self, table: str, known: ProgressObject, version: Version) -> str:
        """Replace that version; the new one. Raises OvertakenError where it is another."""
        try:
            written = self._objects.write(table, known, version)
        except CommitConflictError as error:
            raise _overtaken(table, known.slice) from error
        if self._name:
            self._taken.add((table, known.slice))
        return written

    def check_unmoved(self, table: str, known: ProgressObject, version: Version) -> None:
        """See that it still is that version. Raises OvertakenError."""
        if self.read(table, known.slice)[1] != version:
            raise _overtaken(table, known.slice)

    def unused_name(self) -> str | None:
        """A name that nothing was ever given, where storage has no locks: so that a request of ours that comes late
        meets nothing of the same name.
        """
        return f"{self._name}-{next(self._numbers)}" if self._name else None


def _overtaken(table: str, slice: Slice) -> OvertakenError:
    return OvertakenError(f"another writer has taken slice {slice} of {table}", hint=ONE_WRITER)
