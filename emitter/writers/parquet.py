"""Parquet files in hive partitions, exactly once, on a local disk.

    orders/year=2026/month=01/day=02/20260102T000000Z-20260102T010000Z-0of1-0-<digest>.parquet
    orders/_progress/0-of-1.json            what the table says of slice 0 of 1, and the commit under way
    orders/_staging/0-of-1/<name>.parquet.staged
    _emitter/locks/0-of-1.lock              held by the one live process that writes the slice

A commit moves a table's slice from slot a to slot b:

1.  Its files are staged under names that no reader looks for, each synced; then their folder is synced.
2.  The progress object is read again. It must say a, or nothing is changed: the compare-and-set. (The lock keeps others
    of this slice away in between.)
3.  The *intent* is written into the progress object: b, and every staged and final name. From here on the commit will
    happen, whoever finishes it.
4.  All files are renamed, and every folder they went to is synced, with the parents of new ones.
5.  The progress object is written: b, and no intent.

Each object is replaced whole, so a crash leaves one of two states. With an intent, recovery finishes the
renames (a file is at its staged name or at its final one) and goes on with 5. Without, nothing of the batch
is visible: the slice's staged files are deleted, and the rows are made again, perhaps cut into other files.
So no row is ever lost or doubled, whatever changed between the crash and the restart. A commit without files
is step 5 alone.

Files of others beside ours are left alone, and a reader sees them; `scan` does too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from emitter.clock import Clock
from emitter.connections import CatalogConfig
from emitter.errors import (
    DamagedStateError,
    EmitterError,
    ForeignTableError,
    OvertakenError,
    StorageError,
    StorageNotFoundError,
    UsageError,
)
from emitter.model import (
    CommitOutcome,
    CommitReport,
    EncodedFile,
    Slice,
    StagedFile,
    Table,
    TableCommit,
    TableProgress,
    Window,
)
from emitter.storage import Storage
from emitter.writers import hive
from emitter.writers import progress as progress_objects
from emitter.writers.base import (
    CrashHook,
    OnBroken,
    TableWriter,
    WriterOptions,
    advanced,
    failed_report,
    file_name,
    no_crash,
)
from emitter.writers.progress import Intent, ProgressObject

if TYPE_CHECKING:
    import pyarrow as pa


class ParquetWriter(TableWriter):
    """See the module."""

    format_name = "parquet"
    marks_partitions = True
    crash_points = (
        "parquet.staged",
        "parquet.intent",
        "parquet.rename",
        "parquet.renamed",
        "parquet.synced",
        "parquet.progress",
        "parquet.recovered",
        "parquet.finished",
    )

    def __init__(
        self,
        storage: Storage,
        options: WriterOptions,
        crash_hook: CrashHook = no_crash,
        clock: Clock | None = None,
        catalog: CatalogConfig | None = None,
    ) -> None:
        super().__init__(storage, options, crash_hook, clock, catalog)
        self._run_id: str | None = None
        self._marks = hive.PartitionMarks(storage, options.partition, lambda: crash_hook("parquet.finished"))

    def hold(self, slice: Slice) -> AbstractContextManager[None]:
        return self.storage.lock(f"_emitter/locks/{slice}.lock")

    def open(self, run_id: str, table: Table) -> None:
        self._run_id = run_id
        entries = self.storage.list(table.name)
        if self._objects(table.name):  # raises for another run's
            return
        ours = {progress_objects.FOLDER, "_staging"}  # what a crash before the first commit leaves
        foreign = [entry.name for entry in entries if entry.name not in ours and entry.name[0] != "."]
        if foreign:
            raise ForeignTableError(
                f"{self.storage.uri}/{table.name} is not empty and holds no progress of ours, but "
                + ", ".join(foreign[:3])
                + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""),
                hint="choose another output.uri, or move that folder away",
            )

    def recover(self, slice: Slice, table: str) -> TableProgress | None:
        known = self._own_object(table, slice)
        if known.intent:
            missing = self._unmoved(known.intent)
            known = self._finish(table, known, missing)
        self._clean(table, slice)
        self._crash("parquet.recovered")
        return known.progress

    def progress(self, table: str) -> Mapping[Slice, TableProgress]:
        return {known.slice: known.progress for known in self._objects(table) if known.progress}

    def stage(self, slice: Slice, window: Window, file: EncodedFile) -> StagedFile:
        digest = hashlib.sha256(file.data).hexdigest()[:16]
        name = file_name(slice, window, file.part, digest)
        staged = StagedFile(
            file.table,
            f"{_staging(file.table, slice)}/{name}.staged",
            f"{file.table}/{file.partition}/{name}",
            file.rows,
            file.data.size,
        )
        self.storage.write(staged.staged_path, file.data)
        self._crash("parquet.staged")
        return staged

    def commit(self, slice: Slice, commits: Sequence[TableCommit]) -> Iterator[CommitReport]:
        for commit in commits:
            began = self._clock.monotonic_seconds()
            try:
                progress = self._commit(slice, commit)
            except EmitterError as error:
                outcome: CommitOutcome = "conflict" if isinstance(error, OvertakenError) else "error"
                yield failed_report(commit, outcome, self._clock.monotonic_seconds() - began)
                raise
            yield CommitReport(
                commit.table,
                "ok",
                commit.slot,
                commit.rows,
                len(commit.files),
                commit.size_bytes,
                self._clock.monotonic_seconds() - began,
                progress.files,
            )

    def _commit(self, slice: Slice, commit: TableCommit) -> TableProgress:
        known = self._expected(slice, commit)
        after = advanced(known.progress, commit)
        moves = tuple((file.staged_path, file.final_path) for file in commit.files)
        intended = ProgressObject(known.run_id, slice, known.progress, Intent(after, moves))
        if moves:
            self._check_staged(slice, commit)
            self.storage.sync_folders({_staging(commit.table, slice)})
            self.storage.replace(progress_objects.path_of(commit.table, slice), intended.encode())
            self._crash("parquet.intent")
        self._finish(commit.table, intended, moves)
        return after

    def _expected(self, slice: Slice, commit: TableCommit) -> ProgressObject:
        """The progress object as it stands, which must be as the commit expects."""
        known = self._own_object(commit.table, slice)
        slot = known.progress.slot if known.progress else None
        if known.intent or slot != commit.expected_slot:
            state = f"is committing to slot {known.intent.progress.slot}" if known.intent else f"is at slot {slot}"
            raise OvertakenError(
                f"slice {slice} of {commit.table} {state}, not at slot {commit.expected_slot} as when this "
                "commit was prepared",
                hint="another writer moved it: see that only one runs per slice, then start again",
            )
        return known

    def _check_staged(self, slice: Slice, commit: TableCommit) -> None:
        """After the intent there is no way back: look for the files before."""
        folder = _staging(commit.table, slice)
        there = {f"{folder}/{entry.name}": entry.size_bytes for entry in self.storage.list(folder)}
        for file in commit.files:
            if there.get(file.staged_path) != file.size_bytes:
                raise StorageError("commit", file.staged_path, "the staged file is gone or cut short")

    def _unmoved(self, intent: Intent) -> tuple[tuple[str, str], ...]:
        """The renames that an interrupted commit still lacks."""
        staged, unmoved = self._names(path for path, _ in intent.moves), []
        final = self._names(path for _, path in intent.moves)
        for move in intent.moves:
            if move[0] in staged:
                unmoved.append(move)
            elif move[1] not in final:
                raise DamagedStateError(
                    f"{move[1]} belongs to an interrupted commit, and is neither there nor at {move[0]}",
                    hint="restore the file from a backup, under either name; then start again",
                )
        return tuple(unmoved)

    def _finish(self, table: str, known: ProgressObject, moves: Sequence[tuple[str, str]]) -> ProgressObject:
        """Steps 4 and 5."""
        assert known.intent is not None
        for staged, final in moves:
            self.storage.rename(staged, final)
            self._crash("parquet.rename")
        if known.intent.moves:
            self._crash("parquet.renamed")
            self.storage.sync_folders({_parent(final) for _, final in known.intent.moves})
            self._crash("parquet.synced")
        done = ProgressObject(known.run_id, known.slice, known.intent.progress)
        self.storage.replace(progress_objects.path_of(table, known.slice), done.encode())
        self._crash("parquet.progress")
        return done

    def _clean(self, table: str, slice: Slice) -> None:
        """Remove what a crash left of this slice: staged files, and temporary ones of the progress object."""
        for entry in self.storage.list(_staging(table, slice)):
            self.storage.remove(f"{_staging(table, slice)}/{entry.name}")
        for entry in self.storage.list(f"{table}/{progress_objects.FOLDER}"):
            if entry.name.startswith(f".{slice}.json."):
                self.storage.remove(f"{table}/{progress_objects.FOLDER}/{entry.name}")

    def finish_partitions(self, tables: Sequence[str], origin_slot: int, complete_slot: int) -> None:
        self._marks.advance(tables, origin_slot, complete_slot)

    def scan(self, table: Table, window: Window, on_broken: OnBroken | None = None) -> Iterator[pa.RecordBatch]:
        for path in hive.visible_files(self.storage, table.name, self.options.partition, window):
            yield from hive.read_file(self.storage, path, table, on_broken)

    def scan_outside(self, table: Table, window: Window, on_broken: OnBroken | None = None) -> Iterator[pa.RecordBatch]:
        for path in hive.files_outside(self.storage, table.name, self.options.partition, window):
            yield from hive.read_file(self.storage, path, table, on_broken)

    def _names(self, paths: Iterable[str]) -> set[str]:
        """Those of the paths' folders' files that are there."""
        folders = {_parent(path) for path in paths}
        return {f"{folder}/{entry.name}" for folder in folders for entry in self.storage.list(folder)}

    def _objects(self, table: str) -> list[ProgressObject]:
        folder = f"{table}/{progress_objects.FOLDER}"
        slices = (progress_objects.slice_of(entry.name) for entry in self.storage.list(folder))
        found = (self._object(table, known) for known in slices if known)
        return [known for known in found if known]

    def _own_object(self, table: str, slice: Slice) -> ProgressObject:
        """What is to be written next, at least in its beginnings."""
        if self._run_id is None:
            raise UsageError(f"{table} is not open", hint="call open(run_id, table) for each table first")
        return self._object(table, slice) or ProgressObject(self._run_id, slice)

    def _object(self, table: str, slice: Slice) -> ProgressObject | None:
        path = progress_objects.path_of(table, slice)
        try:
            known = progress_objects.decode(self.storage.read(path), path, slice)
        except StorageNotFoundError:
            return None
        if self._run_id not in (None, known.run_id):
            raise ForeignTableError(
                f"{path} belongs to run {known.run_id}, this is run {self._run_id}",
                hint="choose another output.uri, or move what the other run has written away",
            )
        return known


WRITER = ParquetWriter


def _staging(table: str, slice: Slice) -> str:
    return f"{table}/_staging/{slice}"


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
