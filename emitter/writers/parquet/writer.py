"""Parquet files in hive partitions, exactly once, on a local disk and on S3.

    orders/year=2026/month=01/day=02/20260102T000000Z-20260102T010000Z-0of1-0-<digest>.parquet
    _emitter/progress/orders/0-of-1.json    what the table says of slice 0 of 1, and the commit under way
    _emitter/staging/orders/0-of-1/<name>.parquet.staged
    _emitter/locks/0-of-1.lock              held by the one live process that writes the slice; on a disk

In the table's folder lies nothing but what readers of the folder pass over or read as the table. Earlier releases kept
progress and staged files there (see `earlier`).

A commit moves a table's slice from slot a to slot b:

1.  Its files are staged under names that no reader looks for, each synced; then their folder is synced.
2.  The progress object is read again. It must say a, or nothing is changed: the compare-and-set.
3.  The *intent* is written into the progress object: b, and every staged and final name. From here on the commit will
    happen, whoever finishes it.
4.  All files are renamed, and every folder they went to is synced, with the parents of new ones.
5.  The progress object is written: b, and no intent.

Each object is replaced whole, so a crash leaves one of two states. With an intent, recovery finishes the
renames (a file is at its staged name or at its final one) and goes on with 5. Without, nothing of the batch
is visible: the slice's staged files are deleted, and the rows are made again, perhaps cut into other files.
So no row is ever lost or doubled, whatever changed between the crash and the restart. A commit without files
is step 5 alone.

The progress object is only replaced if it still is the version that was read. On a disk the slice's lock keeps others
away besides. S3 has no locks: a writer that starts takes the slice from whoever has it, who may be asleep and wake at
any step (docs/decisions/0009). So

-   recovery begins by writing a new `holder` into the progress object: from then on 3 and 5 of any other are refused;
-   it deletes only staged files that were there before that, and no staged name is ever used twice: what a late writer
    or a late request still removes is nobody's;
-   where a staged file is gone in 4, whoever took over has renamed it: the same bytes to the same name.

Files of others beside ours are left alone, and a reader sees them; `verify` does too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from emitter.clock import Clock
from emitter.errors import (
    DamagedStateError,
    EmitterError,
    ForeignTableError,
    OvertakenError,
    StorageError,
    StorageNotFoundError,
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
from emitter.settings.connections import CatalogConfig
from emitter.storage.base import Storage
from emitter.writers import hive
from emitter.writers.base import (
    CrashHook,
    TableWriter,
    WriterOptions,
    advanced,
    failed_report,
    file_name,
    first_name,
    lock_path,
    moved_meanwhile,
    no_crash,
    waves,
)
from emitter.writers.parquet import folder as parquet_folder
from emitter.writers.parquet.holding import HeldObjects, Version
from emitter.writers.parquet.progress import (
    EARLIER_FOLDER,
    FOLDER,
    Intent,
    ProgressObject,
    earlier_staging_of,
    staging_of,
)
from emitter.writers.parquet.upkeep import ParquetUpkeep
from emitter.writers.parts import Part
from emitter.writers.upkeep import UpkeepPolicy

if TYPE_CHECKING:
    from emitter.duck import Connection

_AT_ONCE_MAX = 8


class ParquetWriter(TableWriter):
    """See the module."""

    format_name = "parquet"
    unreadable = (r"[*?\[\\]", "DuckDB, which takes these for a pattern,")
    progress_place = "object of that slice under _emitter/progress"
    _staging_of = staticmethod(staging_of)
    marks_partitions = True
    crash_points = (
        "parquet.taken",
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
        self._parents: dict[str, tuple[str, ...]] = {}
        self._gone: set[str] = set()  # tables whose progress tells of rows, without a folder
        self._objects = HeldObjects(storage, adopt=options.adopt)
        self._marks = hive.PartitionMarks(storage, options.spec, lambda: crash_hook("parquet.finished"))

    def check(self) -> None:
        super().check()
        self.storage.check_versions()

    @contextmanager
    def hold(self, slice: Slice) -> Iterator[None]:
        with self.storage.lock(lock_path(slice)):
            try:
                yield
            finally:  # others may take it now
                self._objects.let_go(slice)

    def open(self, run_id: str, table: Table) -> None:
        self._objects.run_id, self._parents[table.name] = run_id, table.parents
        self._gone.discard(table.name)
        known = list(self._objects.all(table.name))
        if not known:
            try:
                parquet_folder.check_folder(self.storage, table, run_id, self.options)
            except ForeignTableError:
                if not any(self._objects.all(table.name)):  # another shard may have begun it meanwhile
                    raise
        elif any(each.progress and each.progress.files for each in known) and not self.storage.list(table.name):
            self._gone.add(table.name)  # no fault in one that was left out and is done

    def recover(self, slice: Slice, table: str) -> TableProgress | None:
        leftovers = self._leftovers(table, slice)  # before the slice is taken: so none is of whoever takes it after us
        known, version = self._objects.take(table, slice)
        self._crash("parquet.taken")
        if known.intent:
            leftovers -= {staged for staged, _ in known.intent.moves}
            known = self._finish(table, known, version, self._unmoved(table, known, version))
        for path in sorted(leftovers):
            self.storage.remove(path)
        self._crash("parquet.recovered")
        return known.progress

    def progress(self, table: str) -> Mapping[Slice, TableProgress]:
        return {known.slice: known.progress for known in self._objects.all(table) if known.progress}

    def paths_from(self, table: str, slot: int) -> Iterator[str]:
        first = f"{self.options.spec.path(slot)}/{first_name(slot)}"  # a month holds many that came before
        return (path for path, _ in hive.files_below(self.storage, table, first))

    def check_not_set_back(self, slice: Slice, table: str, progress: TableProgress | None, slot: int) -> None:
        self._check_there(table)
        super().check_not_set_back(slice, table, progress, slot)

    def _check_there(self, table: str) -> None:
        """See that a table that rows are to be added to has those that its progress tells of."""
        if table in self._gone:
            raise parquet_folder.gone(self.storage, table)

    def stands_at(self, slice: Slice, table: str, progress: TableProgress | None) -> bool:
        known, _ = self._objects.read(table, slice)
        return known.progress == progress and known.intent is None

    def stage(self, slice: Slice, window: Window, file: EncodedFile) -> StagedFile:
        digest = hashlib.sha256(file.data).hexdigest()[:16]
        name = file_name(slice, window, file.part, digest)
        mark = f".{unused}" if (unused := self._objects.unused_name()) else ""
        staged = StagedFile(
            file.table,
            f"{self._staging_of(file.table, slice)}/{name}{mark}.staged",
            f"{file.table}/{file.partition}/{name}",
            file.rows,
            file.data.size,
        )
        self.storage.write(staged.staged_path, file.data)
        self._crash("parquet.staged")
        return staged

    def commit(self, slice: Slice, commits: Sequence[TableCommit]) -> Iterator[CommitReport]:
        one_by_one = [[commit] for commit in commits]
        together = waves(commits, lambda table: self._parents.get(table, ()))
        for wave in one_by_one if self.storage.has_locks else together:
            settled = list(self._at_once(lambda commit: self._settle(slice, commit), wave))
            yield from (report for report, _ in settled)
            for _, error in settled:
                if error:
                    raise error

    def _settle(self, slice: Slice, commit: TableCommit) -> tuple[CommitReport, EmitterError | None]:
        """How one commit ended, and the error if it failed."""
        began = self._clock.monotonic_seconds()
        try:
            after = self._commit(slice, commit)
        except EmitterError as error:
            outcome: CommitOutcome = "conflict" if isinstance(error, OvertakenError) else "error"
            return failed_report(commit, outcome, self._clock.monotonic_seconds() - began), error
        seconds, size = self._clock.monotonic_seconds() - began, commit.size_bytes
        files = len(commit.files)
        report = CommitReport(commit.table, "ok", commit.slot, commit.rows, files, size, seconds, after.files)
        return report, None

    def _at_once[T, R](self, work: Callable[[T], R], items: Sequence[T]) -> Iterable[R]:
        """In turn on a disk, which does not wait; at the same time on S3, where each request takes its time."""
        if self.storage.has_locks or len(items) <= 1:
            return map(work, items)
        with ThreadPoolExecutor(min(len(items), _AT_ONCE_MAX), thread_name_prefix="commit") as pool:
            return list(pool.map(work, items))

    def _commit(self, slice: Slice, commit: TableCommit) -> TableProgress:
        known, version = self._expected(slice, commit)
        after = advanced(known.progress, commit)
        moves = tuple((file.staged_path, file.final_path) for file in commit.files)
        intended = replace(known, intent=Intent(after, moves), holder=self._objects.unused_name())
        if moves:
            self._check_staged(commit, known, version)
            self.storage.sync_folders({self._staging_of(commit.table, slice)})
            version = self._objects.write(commit.table, intended, version)
            self._crash("parquet.intent")
        self._finish(commit.table, intended, version, moves)
        return after

    def _expected(self, slice: Slice, commit: TableCommit) -> tuple[ProgressObject, Version]:
        """The progress object as it stands, which must be as the commit expects."""
        self._check_there(commit.table)
        known, version = self._objects.read_held(commit.table, slice)
        slot = known.progress.slot if known.progress else None
        if known.intent:
            raise moved_meanwhile(slice, commit, known.intent.progress.slot, is_committing=True)
        if slot != commit.expected_slot:
            raise moved_meanwhile(slice, commit, slot)
        return known, version

    def _check_staged(self, commit: TableCommit, known: ProgressObject, version: Version) -> None:
        """After the intent there is no way back: look for the files before."""
        folder = self._staging_of(commit.table, known.slice)
        there = {f"{folder}/{entry.name}": entry.size_bytes for entry in self.storage.list(folder)}
        for file in commit.files:
            if there.get(file.staged_path) != file.size_bytes:
                self._objects.check_unmoved(commit.table, known, version)
                raise StorageError("commit", file.staged_path, "the staged file is gone or cut short")

    def _finish(
        self, table: str, known: ProgressObject, version: Version, moves: Sequence[tuple[str, str]]
    ) -> ProgressObject:
        """Steps 4 and 5."""
        assert known.intent is not None
        if not all(list(self._at_once(self._move, moves))):
            self._unmoved(table, known, version)
        if known.intent.moves:
            self._crash("parquet.renamed")
            self.storage.sync_folders({_parent(final) for _, final in known.intent.moves})
            self._crash("parquet.synced")
        done = replace(known, progress=known.intent.progress, intent=None)
        self._objects.write(table, done, version)
        self._crash("parquet.progress")
        return done

    def _move(self, move: tuple[str, str]) -> bool:
        """Whether the staged file was there to be moved."""
        try:
            self.storage.rename(*move)
        except StorageNotFoundError:
            return False
        self._crash("parquet.rename")
        return True

    def _unmoved(self, table: str, known: ProgressObject, version: Version) -> tuple[tuple[str, str], ...]:
        """The renames that an interrupted commit still lacks. Raises DamagedStateError where a file is nowhere."""
        assert known.intent is not None
        moves = known.intent.moves
        staged = self._names(path for path, _ in moves)
        for old, new in moves:
            if old not in staged and not self._is_there(new):
                self._objects.check_unmoved(table, known, version)
                raise DamagedStateError(
                    f"{new} belongs to an interrupted commit, and is neither there nor at {old}",
                    hint="restore the file from a backup, under either name; then start again",
                )
        return tuple(move for move in moves if move[0] in staged)

    def _leftovers(self, table: str, slice: Slice) -> set[str]:
        """What a crash left of this slice: staged files, and temporary ones of the progress object."""
        found: set[str] = set()
        for folder in (f"{FOLDER}/{table}", f"{table}/{EARLIER_FOLDER}"):
            names = (entry.name for entry in self.storage.list(folder))
            found |= {f"{folder}/{name}" for name in names if name.startswith(f".{slice}.json.")}
        for folder in (staging_of(table, slice), earlier_staging_of(table, slice)):
            found |= {f"{folder}/{entry.name}" for entry in self.storage.list(folder)}
        return found

    def finish_partitions(self, tables: Sequence[str], origin_slot: int, complete_slot: int) -> None:
        self._marks.advance([table for table in tables if table not in self._gone], origin_slot, complete_slot)

    def reopen_partitions(self, table: str, complete_slot: Callable[[], int]) -> None:
        self._marks.take_back(table, complete_slot)

    @contextmanager
    def contents(self, table: Table) -> Iterator[Sequence[Part]]:
        yield list(hive.parts(self.storage, table.name, self.options.spec))

    def relation(self, connection: Connection, table: Table) -> str | None:  # noqa: ARG002 (DuckDB has Parquet built in)
        from emitter.duck import identifier, quoted

        # The files as they are now, by name: a table that a statement names twice is the same both times.
        root, partition = self.storage.folder or self.storage.uri, self.options.spec.columns
        files = ", ".join(
            quoted(f"{root}/{part.name}") for part in hive.parts(self.storage, table.name, self.options.spec)
        )
        names = ", ".join(map(identifier, (*(column.name for column in table.columns), *partition)))
        types = ", ".join(f"{quoted(name)}: INTEGER" for name in partition)
        return f"(SELECT {names} FROM read_parquet([{files}], hive_types = {{{types}}}))" if files else None

    def upkeep(self, policy: UpkeepPolicy) -> ParquetUpkeep:
        return ParquetUpkeep(policy, self.storage, self._objects, self._clock, self._crash)

    def _is_there(self, path: str) -> bool:
        """Asks for the one: a partition may hold many thousands."""
        try:
            self.storage.size(path)
        except StorageNotFoundError:
            return False
        return True

    def _names(self, paths: Iterable[str]) -> set[str]:
        """Those of the paths' folders' files that are there."""
        folders = {_parent(path) for path in paths}
        return {f"{folder}/{entry.name}" for folder in folders for entry in self.storage.list(folder)}


WRITER = ParquetWriter


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
