"""Where earlier releases kept the state of a Parquet table: in its own folder, where readers of it stumble over that.

    orders/_progress/0-of-1.json
    orders/_staging/0-of-1/<name>.parquet.staged

Whoever takes a slice moves its progress to where it is now, in two steps that each leave one of two states:

1.  What stands here is written to the new place.
2.  The object here is emptied, if it still is the version that was written there.

Until 2 this place counts, from then on the other. So a crash in between changes nothing, and where an earlier release
has committed in between, all is done again. The empty object stays, and beside it one for each slice that begins later:
an earlier release takes it for damage and stops, where with no object it would take the slice for new and make every
row again. Readers pass over an empty file.
"""

from __future__ import annotations

from dataclasses import dataclass

from emitter.errors import StorageNotFoundError
from emitter.model import Slice
from emitter.storage.base import Storage
from emitter.writers.parquet.progress import EARLIER_FOLDER, ProgressObject, decode, slice_of

_EMPTY = b""


@dataclass(frozen=True, slots=True)
class Left:
    """What stands here of a slice: its progress if this place counts, and the version of the object (None: absent)."""

    progress: ProgressObject | None
    version: str | None

    @property
    def is_empty(self) -> bool:
        """Whether it was moved away."""
        return self.progress is None and self.version is not None


class EarlierObjects:
    """The progress objects of an output as earlier releases kept them."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def are_there(self, table: str) -> bool:
        """Whether there is any, also if it was moved away."""
        return bool(self._sizes(table))

    def slices(self, table: str) -> list[Slice]:
        """The slices whose progress still counts here."""
        return [slice for slice, size in self._sizes(table).items() if size]

    def read(self, table: str, slice: Slice) -> Left:
        """Raises DamagedStateError."""
        path = path_of(table, slice)
        try:
            data, version = self._storage.read_version(path)
        except StorageNotFoundError:
            return Left(None, None)
        return Left(decode(data, path, table, slice) if data != _EMPTY else None, version)

    def empty(self, table: str, slice: Slice, left: Left) -> None:
        """From now on the new place counts. Raises CommitConflictError where this is another version by now."""
        self._storage.replace_version(path_of(table, slice), _EMPTY, left.version)

    def _sizes(self, table: str) -> dict[Slice, int]:
        entries = [entry for entry in self._storage.list(f"{table}/{EARLIER_FOLDER}") if not entry.is_folder]
        return {slice: entry.size_bytes for entry in entries if (slice := slice_of(entry.name))}


def path_of(table: str, slice: Slice) -> str:
    """Where an earlier release has a slice's progress object."""
    return f"{table}/{EARLIER_FOLDER}/{slice}.json"
