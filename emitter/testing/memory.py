"""A storage and a table format that keep everything in memory."""

from __future__ import annotations

import errno
import hashlib
import io
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from emitter.errors import (
    CommitConflictError,
    CommitUnknownError,
    SliceLockedError,
    StorageError,
    StorageNotFoundError,
)
from emitter.model import Slice, Table, TableCommit, TableProgress
from emitter.storage.base import Entry, Storage, moved
from emitter.writers import hive
from emitter.writers.base import advanced
from emitter.writers.parts import Part
from emitter.writers.registering import FoundTable, RegisteringWriter, check_expected


class MemoryStorage(Storage):
    """Objects in a dictionary. What outlives a writer lives here: give the next one the same storage."""

    def __init__(self, uri: str = "memory") -> None:
        self.uri = uri
        self.objects: dict[str, bytes] = {}
        self.tables: dict[str, MemoryTable] = {}
        self._locked: set[str] = set()
        self._guard = threading.RLock()

    def check(self) -> None:
        self.put_if_absent("_emitter/check", b"")
        self.remove("_emitter/check")

    def read(self, path: str) -> bytes:
        with self._guard:
            if path in self.objects:
                return self.objects[path]
            self._refuse_file_on_the_way("read", path)
            raise StorageNotFoundError("read", path, "it is not there")

    def size(self, path: str) -> int:
        return len(self.read(path))

    def written_wall_seconds(self, path: str) -> float:
        self.read(path)
        return math.inf

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

    def put_if_absent(self, path: str, data: Any) -> bool:
        with self._guard:
            if path in self.objects:
                return False
            self.write(path, data)
            return True

    def read_version(self, path: str) -> tuple[bytes, str]:
        data = self.read(path)
        return data, hashlib.sha256(data).hexdigest()

    def replace_version(self, path: str, data: bytes, version: str | None) -> str:
        with self._guard:
            known = self.read_version(path)[1] if path in self.objects else None
            if known != version:
                raise moved(path)
            self.write(path, data)
            return self.read_version(path)[1]

    def list(self, folder: str, after: str = "") -> list[Entry]:
        with self._guard:
            self._refuse_file_on_the_way("list", f"{folder}/x")
            entries = {}
            for path, data in self.objects.items():
                if path.startswith(f"{folder}/"):
                    name, below, _ = path.removeprefix(f"{folder}/").partition("/")
                    entries[name] = Entry(name, bool(below), 0 if below else len(data))
            return [entries[name] for name in sorted(entries) if name > after]

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
    """A registered table: `files` are the paths that count."""

    found: FoundTable
    files: list[str] = field(default_factory=list)
    progress: dict[Slice, TableProgress] = field(default_factory=dict)


class MemoryWriter(RegisteringWriter):
    """Tables in a MemoryStorage. What is appended to `script` happens to the next attempts to commit, one each:
    `conflict` (somebody else comes first), `lost` (it lands, and the reply is lost), `vanished` (it does not land,
    and nobody is told), `late` (it lands only when the next attempt is made, and the reply is lost).
    """

    format_name = "memory"
    progress_place = "progress of its table"
    marks_partitions = True
    crash_points = ("memory.staged", "memory.created", "memory.commit", "memory.committed")
    storage: MemoryStorage

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.script: list[str] = []
        self._late: list[Callable[[], object]] = []

    def progress(self, table: str) -> Mapping[Slice, TableProgress]:
        known = self.storage.tables.get(table)
        return dict(known.progress) if known else {}

    def paths_from(self, table: str, slot: int) -> Iterator[str]:
        known, first = self.storage.tables.get(table), f"{table}/{self.options.spec.path(slot)}"
        return iter([path for path in known.files if path >= first] if known else [])

    def finish_partitions(self, tables: Sequence[str], origin_slot: int, complete_slot: int) -> None:
        hive.PartitionMarks(self.storage, self.options.spec, lambda: None).advance(tables, origin_slot, complete_slot)

    @contextmanager
    def contents(self, table: Table) -> Iterator[Sequence[Part]]:
        known, spec = self.storage.tables.get(table.name), self.options.spec
        yield [
            Part(path, spec.parse(path.removeprefix(f"{table.name}/").rpartition("/")[0]), self.storage.size(path))
            for path in (known.files if known else ())
        ]

    def _find(self, table: str) -> FoundTable | None:
        known = self.storage.tables.get(table)
        return known.found if known else None

    def _declared(self, table: Table) -> FoundTable:
        columns = tuple((column.name, column.type, column.nullable) for column in table.columns)
        return FoundTable(self._run_id, columns, self.options.spec.granularity)

    def _create(self, table: Table) -> None:
        self.storage.tables.setdefault(table.name, MemoryTable(self._declared(table)))

    def _adopt(self, table: Table) -> None:
        known = self.storage.tables[table.name]
        known.found = replace(known.found, run_id=self._run_id)

    def _attempt(self, slice: Slice, commits: Sequence[TableCommit]) -> Mapping[str, TableProgress]:
        (commit,) = commits
        happens = self.script.pop(0) if self.script else ""
        while self._late:
            self._late.pop()()
        self._crash("memory.commit")
        if happens == "conflict":
            raise CommitConflictError(f"{commit.table} was moved by somebody else", hint="read it again")
        if happens in ("vanished", "late"):
            self._late.extend([lambda: self._register(slice, commit)] if happens == "late" else [])
            raise CommitUnknownError(f"no reply to the commit to {commit.table}", hint="read it back")
        after = self._register(slice, commit)
        self._crash("memory.committed")
        if happens == "lost":
            raise CommitUnknownError(f"the reply to the commit to {commit.table} was lost", hint="read it back")
        return {commit.table: after}

    def _register(self, slice: Slice, commit: TableCommit) -> TableProgress:
        table = self.storage.tables[commit.table]
        before = table.progress.get(slice)
        check_expected(slice, commit, before)
        table.files.extend(file.final_path for file in commit.files)
        table.progress[slice] = advanced(before, commit)
        return table.progress[slice]
