"""Who may replace the progress objects of a slice: on a disk whoever holds its lock, on S3 whoever took it last.

Where storage has no locks, a writer takes a slice by writing a holder of its own into the progress object. From then on
whoever had it before finds another version, and another holder: its writes are refused, and it is told so.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

from emitter.errors import CommitConflictError, DamagedStateError, ForeignTableError, OvertakenError, UsageError
from emitter.model import Slice
from emitter.randomness import unique_name
from emitter.storage.base import Storage
from emitter.writers.parquet import earlier
from emitter.writers.parquet.earlier import EarlierObjects, Left
from emitter.writers.parquet.progress import ProgressObject, ProgressObjects, path_of

ONE_WRITER = "see that only one writer runs per slice, then start again"
_TAKE_ATTEMPTS_MAX = 20

type Version = str | None  # None: the progress object is absent


class HeldObjects:
    """The progress objects of an output, as one writer may read and replace them."""

    run_id: str | None = None  # once it is known

    def __init__(self, storage: Storage, *, adopt: bool = False) -> None:
        """`adopt`: whether an earlier release would go on with a table that holds no progress it knows of."""
        self._objects = ProgressObjects(storage)
        self._earlier = EarlierObjects(storage)
        self._adopt = adopt
        self._name = "" if storage.has_locks else unique_name()  # of this writer among all that ever were
        self._numbers = itertools.count()
        self._taken: set[tuple[str, Slice]] = set()

    def all(self, table: str) -> Iterator[ProgressObject]:
        """What stands of every slice that there is progress of. Raises ForeignTableError where it is another run's."""
        earlier = self._earlier.slices(table)  # first: what is moved after this look is there at the second
        for slice in dict.fromkeys((*earlier, *self._objects.slices(table))):
            left = self._earlier.read(table, slice).progress if slice in earlier else None
            yield self._own(table, left) if left else self.read(table, slice)[0]

    def read(self, table: str, slice: Slice) -> tuple[ProgressObject, Version]:
        """What stands where progress is kept now, or the beginnings of what will."""
        found = self._objects.read(table, slice)
        if found is None:
            return ProgressObject(self.run_id or "", slice), None
        known, version = found
        return self._own(table, known), version

    def read_held(self, table: str, slice: Slice) -> tuple[ProgressObject, Version]:
        """The same, to be replaced. Raises OvertakenError where it was ours and is not any more."""
        if self.run_id is None:
            raise UsageError(f"{table} is not open", hint="call open(run_id, table) for each table first")
        known, version = self.read(table, slice)
        if (table, slice) in self._taken and not (known.holder or "").startswith(f"{self._name}-"):
            raise _overtaken(table, slice)
        return known, version

    def take(self, table: str, slice: Slice) -> tuple[ProgressObject, Version]:
        """The same, and nobody but us may replace it from now on. What an earlier release has left comes here first."""
        for _ in range(_TAKE_ATTEMPTS_MAX):
            known, version = self.read_held(table, slice)
            left = self._left(table, slice, known, version)
            if not (left or self._name):
                return known, version
            if left and left.progress:
                known = self._own(table, left.progress)
            known = replace(known, holder=self.unused_name())
            try:
                version = self._objects.write(table, known, version)
                if left:
                    self._earlier.empty(table, slice, left)
            except CommitConflictError:
                continue
            if self._name:
                self._taken.add((table, slice))
            return known, version
        raise OvertakenError(f"others take slice {slice} of {table} again and again", hint=ONE_WRITER)

    def _left(self, table: str, slice: Slice, known: ProgressObject, version: Version) -> Left | None:
        """What is to be emptied at the place of earlier releases, read after what stands here. Raises DamagedStateError
        where the two contradict each other.
        """
        if not (self._adopt or self._earlier.are_there(table)):
            return None  # no earlier release was here, and one that comes refuses a table without progress
        left = self._earlier.read(table, slice)
        if left.is_empty and version is None:
            raise DamagedStateError(
                f"{path_of(table, slice)} is gone: {earlier.path_of(table, slice)} tells that it was there",
                hint="restore it from a backup; to make the table anew, move its folder away",
            )
        if left.progress and known.furthest_slot > left.progress.furthest_slot:
            raise DamagedStateError(
                f"{earlier.path_of(table, slice)} is back, with an older state than {path_of(table, slice)}",
                hint="it must be empty, so that no earlier release goes on from there: empty it, then start again",
            )
        return None if left.is_empty else left

    def _own(self, table: str, known: ProgressObject) -> ProgressObject:
        if self.run_id not in (None, known.run_id):
            raise ForeignTableError(
                f"slice {known.slice} of {table} belongs to run {known.run_id}, this is run {self.run_id}",
                hint="choose another output.uri, or move what the other run has written away",
            )
        return known

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
