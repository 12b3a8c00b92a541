"""A storage and a table format that keep everything in memory."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from emitter.errors import (
    ForeignTableError,
    OvertakenError,
    SliceLockedError,
    StorageError,
    StorageNotFoundError,
    UsageError,
)
from emitter.model import (
    CommitReport,
    EncodedFile,
    Slice,
    StagedFile,
    Table,
    TableCommit,
    TableProgress,
    Window,
)
from emitter.storage import Entry, Storage, moved
from emitter.writers import hive
from emitter.writers.base import OnBroken, TableWriter

if TYPE_CHECKING:
    import pyarrow as pa


class MemoryStorage(Storage):
    """Objects in a dictionary. What outlives a writer lives here: give the next one the same storage."""

    def __init__(self, uri: str = "memory") -> None:
        self.uri = uri
        self.objects: dict[str, bytes] = {}
        self.tables: dict[str, MemoryTable] = {}
        self.staged: dict[str, bytes] = {}
        self._locked: set[str] = set()
        self._guard = threading.RLock()

    def check(self) -> None:
        pass

    def read(self, path: str) -> bytes:
        with self._guard:
            if path in self.objects:
                return self.objects[path]
            self._refuse_file_on_the_way("read", path)
            raise StorageNotFoundError("read", path, "it is not there")

    def size(self, path: str) -> int:
        return len(self.read(path))

    def open_file(self, path: str) -> BinaryIO:
        return io.BytesIO(self.read(path))

    def write(self, path: str, data: Any) -> None:
        with self._guard:
            self._refuse_file_on_the_way("write", path)
            if any(name.startswith(f"{path}/") for name in self.objects):
                raise StorageError("write", path, _os_error(errno.EISDIR))
            self.objects[path] = bytes(data)

    def replace(self, path: str, data: bytes) -> None:
        self.write(path, data)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        with self._guard:
            if path in self.objects:
                return False
            self.write(path, data)
            return True

    def read_version(self, path: str) -> tuple[bytes, str]:
        data = self.read(path)
        return data, hashlib.sha256(data).hexdigest()

    def replace_version(self, path: str, data: bytes, version: str | None) -> None:
        with self._guard:
            known = self.read_version(path)[1] if path in self.objects else None
            if known != version:
                raise moved(path)
            self.write(path, data)

    def list(self, folder: str) -> list[Entry]:
        with self._guard:
            self._refuse_file_on_the_way("list", f"{folder}/x")
            entries = {}
            for path, data in self.objects.items():
                if path.startswith(f"{folder}/"):
                    name, below, _ = path.removeprefix(f"{folder}/").partition("/")
                    entries[name] = Entry(name, bool(below), 0 if below else len(data))
            return [entries[name] for name in sorted(entries)]

    def remove(self, path: str) -> None:
        with self._guard:
            self.objects.pop(path, None)

    def rename(self, source: str, target: str) -> None:
        with self._guard:
            self.write(target, self.read(source))
            del self.objects[source]

    def sync_folders(self, folders: set[str]) -> None:
        pass

    @contextmanager
    def lock(self, path: str) -> Iterator[None]:
        with self._guard:
            if path in self._locked:
                raise SliceLockedError(f"{path} is held by process {os.getpid()}", hint="let go of it first")
            self._locked.add(path)
        try:
            yield
        finally:
            with self._guard:
                self._locked.remove(path)

    def _refuse_file_on_the_way(self, operation: str, path: str) -> None:
        folder = path.rpartition("/")[0]
        while folder:
            if folder in self.objects:
                raise StorageError(operation, path, _os_error(errno.ENOTDIR))
            folder = folder.rpartition("/")[0]


def _os_error(code: int) -> OSError:
    return OSError(code, os.strerror(code))


@dataclass(slots=True)
class MemoryTable:
    """A committed table."""

    run_id: str
    progress: dict[Slice, TableProgress] = field(default_factory=dict)


class MemoryWriter(TableWriter):
    """Tables in a MemoryStorage. No crash point is in the middle of a commit: there is nothing to finish
    later.
    """

    format_name = "memory"
    marks_partitions = True
    crash_points = ("memory.staged", "memory.commit", "memory.committed")
    storage: MemoryStorage

    _run_id: str | None = None

    def hold(self, slice: Slice) -> AbstractContextManager[None]:
        return self.storage.lock(f"_emitter/locks/{slice}.lock")

    def open(self, run_id: str, table: Table) -> None:
        known = self.storage.tables.get(table.name)
        if known and known.run_id != run_id:
            raise ForeignTableError(f"{table.name} belongs to run {known.run_id}", hint="use another storage")
        if not known and self.storage.list(table.name):
            raise ForeignTableError(f"{table.name} holds what is not ours", hint="use another storage")
        self._run_id = run_id

    def recover(self, slice: Slice, table: str) -> TableProgress | None:
        for path in [path for path in self.storage.staged if path.startswith(f"{table}/{slice}/")]:
            del self.storage.staged[path]
        return self.progress(table).get(slice)

    def progress(self, table: str) -> Mapping[Slice, TableProgress]:
        known = self.storage.tables.get(table)
        return dict(known.progress) if known else {}

    def stage(self, slice: Slice, window: Window, file: EncodedFile) -> StagedFile:
        name = f"{window.first}-{window.end}-{slice}-{file.part}.parquet"
        path = f"{file.table}/{slice}/{file.partition}/{name}"
        self.storage.staged[path] = bytes(file.data)
        self._crash("memory.staged")
        return StagedFile(file.table, path, f"{file.table}/{file.partition}/{name}", file.rows, file.data.size)

    def commit(self, slice: Slice, commits: Sequence[TableCommit]) -> Iterator[CommitReport]:
        for commit in commits:
            self._crash("memory.commit")
            done = self._commit(slice, commit)
            self._crash("memory.committed")
            size, files = commit.size_bytes, len(commit.files)
            yield CommitReport(
                commit.table, "ok", commit.slot, commit.rows, files, size, seconds=0.0, table_files=done.files
            )

    def _commit(self, slice: Slice, commit: TableCommit) -> TableProgress:
        if self._run_id is None:
            raise UsageError(f"{commit.table} is not open", hint="call open(run_id, table) first")
        table = self.storage.tables.get(commit.table) or MemoryTable(self._run_id)
        known = table.progress.get(slice)
        if (known.slot if known else None) != commit.expected_slot:
            raise OvertakenError(f"{commit.table} is at {known}, not {commit.expected_slot}", hint="recover first")
        before = known or TableProgress(0)
        after = TableProgress(
            commit.slot,
            before.rows + commit.rows,
            before.files + len(commit.files),
            before.bytes + commit.size_bytes,
        )
        for file in commit.files:
            self.storage.write(file.final_path, self.storage.staged.pop(file.staged_path))
        table.progress[slice] = after
        self.storage.tables[commit.table] = table
        return after

    def finish_partitions(self, tables: Sequence[str], origin_slot: int, complete_slot: int) -> None:
        hive.PartitionMarks(self.storage, self.options.partition, lambda: None).advance(
            tables, origin_slot, complete_slot
        )

    def scan(self, table: Table, window: Window, on_broken: OnBroken | None = None) -> Iterator[pa.RecordBatch]:
        for path in hive.visible_files(self.storage, table.name, self.options.partition, window):
            yield from hive.read_file(self.storage, path, table, on_broken)

    def scan_outside(self, table: Table, window: Window, on_broken: OnBroken | None = None) -> Iterator[pa.RecordBatch]:
        for path in hive.files_outside(self.storage, table.name, self.options.partition, window):
            yield from hive.read_file(self.storage, path, table, on_broken)
