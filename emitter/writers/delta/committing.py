"""A commit to a Delta table as one conditional write of its log entry, by what is known since a version before.

The library's commit lists the log three times, reads all that came since the checkpoint twice, and goes through all
live files twice: it takes the longer, the longer a table lives. What has to be known for an append is little: that the
table is there, ours and plain, up to where the slice is, and that nothing has changed that but by files. A writer that
has just committed knows all of it as of one version. So it reads the entries that came since, mostly none, and puts its
own as the next one, if there is none of that name yet. That is the same compare-and-set as the library's, on the log.

Where an entry that came since does anything but add and remove files (metadata, protocol, RESTORE), or moves the slice,
what was known counts for nothing: the library looks at the table anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from emitter.errors import CommitConflictError, CommitUnknownError, StorageError, StorageNotFoundError
from emitter.model import StagedFile
from emitter.storage.base import Storage
from emitter.writers.delta import history
from emitter.writers.delta import tables as delta_tables
from emitter.writers.delta.log import DeltaLog
from emitter.writers.delta.progress import names_of
from emitter.writers.delta.statistics import statistics_text

_TURNS_MAX = 16  # others may come first so often in one attempt


@dataclass(frozen=True, slots=True)
class Stand:
    """What a writer knows of a table that was plain and ours: as of which version, the log entry that made it (a table
    that somebody has made anew has another one there), and the newest checkpoint that it knows of.
    """

    version: int
    entry: bytes
    checkpoint_version: int


@dataclass(frozen=True, slots=True)
class Change:
    """Files and progress of one commit. `names`: how the names of the run's transactions begin. `slots`: transactions
    that must still stand there; `moves`: those that it moves. `removed`: files that must still be there, and are not
    afterwards. Where there are any, the rows are the same as before.
    """

    table: str
    partition_columns: Sequence[str]
    names: str
    added: Sequence[StagedFile]
    moves: Mapping[str, int] = field(default_factory=dict)
    slots: Mapping[str, int] = field(default_factory=dict)
    removed: Sequence[RemovedFile] = ()


class RemovedFile(Protocol):
    """What has to be known of one."""

    @property
    def path(self) -> str: ...
    @property
    def partition(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...


class DirectLog:
    """The logs of an output's tables, without the library."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._checkpoints = DeltaLog(storage)

    def entry(self, table: str, version: int) -> bytes | None:
        """The log entry that made a version; None where there is none, or none any more."""
        path = delta_tables.entry_path(table, version)
        try:
            return self._storage.read(path)
        except StorageNotFoundError:
            return None
        except StorageError as error:
            if not isinstance(error.cause, FileNotFoundError):
                raise
            return self._storage.read(path)  # somebody put it there just after it was not

    def commits(self, run_id: str, table: str) -> history.ReadCommit:
        """The entries of a run's table, as what they say. Raises DamagedStateError, StorageError."""

        def read(version: int) -> history.LoggedCommit | None:
            data, path = self.entry(table, version), delta_tables.entry_path(table, version)
            return None if data is None else history.decode(data, path, names_of(run_id, table))

        return read

    def caught_up(self, stand: Stand, change: Change) -> Stand | None:
        """What is known as of the newest version; None where the table has to be looked at anew."""
        while (entry := self.entry(change.table, stand.version + 1)) is not None:
            path = delta_tables.entry_path(change.table, stand.version + 1)
            commit = history.decode(entry, path, change.names)
            if not commit.is_plain or any(commit.moved.get(name, slot) != slot for name, slot in change.slots.items()):
                return None
            if change.removed and history.removed_paths(entry) & {_inner(change, file) for file in change.removed}:
                return None
            stand = replace(stand, version=stand.version + 1, entry=entry)
        return stand

    def put(self, stand: Stand, change: Change, now_milliseconds: int) -> Stand:
        """Commit as the version after that which is known, or after those that others put there meanwhile.

        Raises CommitConflictError where what is known no longer holds, or others come first again and again; nothing
        was changed then. CommitUnknownError, StorageError as a writer does.
        """
        where = f"the Delta table {self._storage.uri}/{change.table}"
        actions = _encoded_actions(change, now_milliseconds)  # once: with thousands of files that is most of the work
        for _ in range(_TURNS_MAX):
            if self.entry(change.table, stand.version) != stand.entry:
                raise CommitConflictError(f"the log of {where} is no longer as it was", hint="read it again")
            entry = _encoded_info(change, stand.version, now_milliseconds) + actions
            path = delta_tables.entry_path(change.table, stand.version + 1)
            if self._put(where, path, entry):
                # A clean-up under way may have removed the next version already, and this one not yet: then the entry
                # went behind a checkpoint, where nobody looks. Whoever cleans up has told of the checkpoint before. Or
                # it came in time, and others were quick to go on from it: so it stays, and the progress tells.
                if self._checkpoints.checkpoint_version(change.table) > stand.version + 1:
                    raise CommitUnknownError(
                        f"the log of {where} was summed up just as a commit was put there",
                        hint="read the progress: it says whether the commit has landed",
                    )
                return replace(stand, version=stand.version + 1, entry=entry)
            caught_up = self.caught_up(stand, change)
            if caught_up is None:
                break
            stand = caught_up
        raise CommitConflictError(
            f"another commit came before ours to {where}", hint="read the progress, and try again"
        )

    def _put(self, where: str, path: str, entry: bytes) -> bool:
        try:
            return self._storage.put_if_absent(path, entry)
        except StorageError as error:
            if delta_tables.cannot_write(error):
                raise
            raise CommitUnknownError(
                f"nobody knows whether a commit to {where} landed: {error.problem}",
                hint="read the progress: start again, and it goes on from there",
            ) from error


def _encoded_info(change: Change, read_version: int, now_milliseconds: int) -> bytes:
    """The first line of the log entry: what was done, and from which version on."""
    parameters = {"mode": "Append", "partitionBy": json.dumps([*change.partition_columns])}
    info: dict[str, Any] = {
        "timestamp": now_milliseconds,
        "operation": "OPTIMIZE" if change.removed else "WRITE",
        "operationParameters": {} if change.removed else parameters,
        "readVersion": read_version,
        "isBlindAppend": not change.removed,
        "engineInfo": "emitter",
    }
    return _lines({"commitInfo": info})


def _encoded_actions(change: Change, now_milliseconds: int) -> bytes:
    """The others: a line for each action, in the form of the Delta protocol."""
    places = {file.partition: delta_tables.partition_values(file.partition) for file in change.removed}
    return _lines(
        *({"add": _added(change, file, now_milliseconds)} for file in change.added),
        *({"remove": _removed(change, file, places, now_milliseconds)} for file in change.removed),
        *({"txn": {"appId": name, "version": number}} for name, number in change.moves.items()),
    )


def _lines(*actions: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(action, separators=(",", ":")).encode() + b"\n" for action in actions)


def _added(change: Change, file: StagedFile, now_milliseconds: int) -> dict[str, Any]:
    return {
        "path": file.final_path.removeprefix(f"{change.table}/"),  # of characters that need no escape
        "partitionValues": delta_tables.partition_values(file.partition),
        "size": file.size_bytes,
        "modificationTime": now_milliseconds,
        "dataChange": not change.removed,
        "stats": statistics_text(file.rows, file.metadata),
    }


def _removed(
    change: Change, file: RemovedFile, places: Mapping[str, Mapping[str, str]], now_milliseconds: int
) -> dict[str, Any]:
    return {
        "path": _inner(change, file),
        "deletionTimestamp": now_milliseconds,
        "dataChange": False,
        "extendedFileMetadata": True,
        "partitionValues": places[file.partition],
        "size": file.size_bytes,
    }


def _inner(change: Change, file: RemovedFile) -> str:
    return file.path.removeprefix(f"{change.table}/")
