"""What the formats with a log or a catalogue have in common: a file counts only once a commit registers it.

    orders/year=2026/month=01/day=02/20260102T000000Z-20260102T010000Z-0of1-0-<digest>.parquet
    _emitter/locks/0-of-1.lock              held by the one live process that writes the slice, on a local disk

1.  Files are put where they will stay, under names that tell window, slice and content, if they are not there yet. No
    reader looks at them, as no log names them. Whoever loses a race never deletes: it may be the winner's file. What a
    crash leaves is removed by maintenance, after a safe age.
2.  A table that is absent is created, with the run's identity in the very act. Creating and appending are two commits.
3.  One attempt reads the table's progress and registers the files in a commit that fails unless the progress is still
    what was read: the compare-and-set, of each format's own kind (`_attempt`).
4.  Where others came first, or the reply was lost, the progress is read back: it says what was expected (then the next
    attempt follows, after a short wait that differs from shard to shard), or what was aimed at (then the rows are in,
    whoever put them there, as the same slots have the same rows), or something else (then this writer was overtaken).

Tables commit in waves, parents before children; those of one wave at the same time.
"""

from __future__ import annotations

import hashlib
import threading
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from emitter.errors import (
    CommitConflictError,
    CommitUnknownError,
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
from emitter.randomness import Stream
from emitter.writers.base import (
    TableWriter,
    failed_report,
    file_name,
    lock_path,
    moved_meanwhile,
    put_young,
    waves,
)

ATTEMPTS_MAX = 12
UNKNOWN_MAX = 3  # of these, attempts that nobody knows the end of: the library has tried each of them before it said so
_COMMIT_THREADS = 4
_FIRST_WAIT_SECONDS = 0.02
_WAIT_SECONDS_MAX = 1.0


@dataclass(frozen=True, slots=True)
class FoundTable:
    """A table as its format describes it: whose it is (None: nobody of ours made it), its columns as (name, type,
    nullable), and how it is partitioned, in the format's own words.
    """

    run_id: str | None
    columns: tuple[tuple[str, str, bool], ...]
    partition: str


@dataclass(slots=True)
class _Settled:
    """What became of one commit: a report of every attempt, and the error it ended with."""

    reports: list[CommitReport] = field(default_factory=list)
    error: EmitterError | None = None


class RegisteringWriter(TableWriter):
    """See the module. A format gives what is abstract here, and of `TableWriter` what docs/WRITER_GUIDE.md lists."""

    commits_together: ClassVar[bool] = False
    """Whether all tables of a batch are one commit."""
    own_folders: ClassVar[frozenset[str]] = frozenset()
    """What the format keeps in a table's folder, beside partitions, before the table is there."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._run_id: str | None = None
        self._tables: dict[str, Table] = {}
        self._ready: set[str] = set()  # tables that are known to be there, and ours
        self._never = threading.Event()

    @abstractmethod
    def _find(self, table: str) -> FoundTable | None:
        """The table as it stands; None only where it is absent."""

    @abstractmethod
    def _declared(self, table: Table) -> FoundTable:
        """The table as this run would create it."""

    @abstractmethod
    def _create(self, table: Table) -> None:
        """Create the table, empty, with the run's identity in the same act. Somebody else may just have done it: that
        is no error.
        """

    @abstractmethod
    def _adopt(self, table: Table) -> None:
        """Write the run's identity onto a table that has none."""

    @abstractmethod
    def _attempt(self, slice: Slice, commits: Sequence[TableCommit]) -> Mapping[str, TableProgress]:
        """Register the files and move the progress of each table from `expected_slot` to `slot`, once, in one commit;
        the progress by table after it.

        Raises OvertakenError where the progress is another (then nothing was changed), CommitConflictError where
        somebody else came first meanwhile, CommitUnknownError where nobody can say whether it landed, StorageError
        where it surely did not.
        """

    def hold(self, slice: Slice) -> AbstractContextManager[None]:
        return self.storage.lock(lock_path(slice))

    def open(self, run_id: str, table: Table) -> None:
        found = self._find(table.name)
        if found is None:
            self._check_absent(table)
        else:
            self._check_found(run_id, table, found)
        self._run_id = run_id
        self._tables[table.name] = table

    def recover(self, slice: Slice, table: str) -> TableProgress | None:
        self._ready.discard(table)
        return self.progress(table).get(slice)

    def stage(self, slice: Slice, window: Window, file: EncodedFile) -> StagedFile:
        digest = hashlib.sha256(file.data).hexdigest()[:16]
        path = f"{file.table}/{file.partition}/{file_name(slice, window, file.part, digest)}"
        put_young(self.storage, path, file.data)
        self._crash(f"{self.format_name}.staged")
        return StagedFile(file.table, path, path, file.rows, file.data.size, file.partition, file.metadata)

    def commit(self, slice: Slice, commits: Sequence[TableCommit]) -> Iterator[CommitReport]:
        for wave in self._waves(commits):
            if len(wave) == 1:
                settled = [self._settle(slice, wave[0])]
            else:
                with ThreadPoolExecutor(min(len(wave), _COMMIT_THREADS), thread_name_prefix="commit") as pool:
                    settled = list(pool.map(lambda group: self._settle(slice, group), wave))
            for each in settled:
                yield from each.reports
            for each in settled:
                if each.error:
                    raise each.error

    def _waves(self, commits: Sequence[TableCommit]) -> list[list[Sequence[TableCommit]]]:
        """Which tables commit together, and which at the same time: no table with or before its parents."""
        if self.commits_together:
            return [[commits]] if commits else []
        return [[[commit] for commit in wave] for wave in waves(commits, lambda name: self._opened(name).parents)]

    def _settle(self, slice: Slice, commits: Sequence[TableCommit]) -> _Settled:
        """Attempt a commit until it is decided, or has been tried often enough."""
        settled, began, unknown = _Settled(), self._clock.monotonic_seconds(), 0

        def tell(outcome: CommitOutcome, after: Mapping[str, TableProgress] | None = None) -> None:
            seconds = self._clock.monotonic_seconds() - began
            for commit in commits:
                report = failed_report(commit, outcome, seconds)
                if after is not None:
                    report = _landed_report(commit, outcome, seconds, after[commit.table])
                settled.reports.append(report)

        try:
            for commit in commits:
                self._make_ready(commit.table)
            for attempt in range(1, ATTEMPTS_MAX + 1):
                try:
                    self._check_stored(commits)
                    tell("ok", self._attempt(slice, commits))
                    settled.error = None
                    return settled
                except (CommitConflictError, CommitUnknownError) as error:
                    is_conflict = isinstance(error, CommitConflictError)
                    tell("conflict" if is_conflict else "unknown")
                    settled.error = error
                    unknown += not is_conflict
                if not (is_conflict and attempt == slice.count == 1):  # upkeep came first, and is done
                    self._clock.wait(self._never, _wait_seconds(slice, attempt))
                landed = self._read_back(slice, commits)
                if landed is not None:
                    tell("deduplicated", landed)
                    settled.error = None
                    return settled
                if unknown == UNKNOWN_MAX:
                    return settled
        except OvertakenError as error:
            tell("conflict")
            settled.error = error
        except EmitterError as error:
            tell("error")
            settled.error = error
        return settled

    def _read_back(self, slice: Slice, commits: Sequence[TableCommit]) -> dict[str, TableProgress] | None:
        """The progress of the tables if a commit has landed, None if it has not. Raises OvertakenError where another
        has.
        """
        stands = {commit.table: self.progress(commit.table).get(slice) for commit in commits}
        landed = {table: progress for table, progress in stands.items() if progress}
        if all(table in landed and landed[table].slot == slot for table, slot in _slots(commits)):
            return landed
        for commit in commits:
            check_expected(slice, commit, stands[commit.table])
        return None

    def _make_ready(self, name: str) -> None:
        """See that a table is there and ours, before it is written to."""
        if name in self._ready:
            return
        table = self._opened(name)
        found = self._find(name)
        if found is None:
            self._create(table)
            self._crash(f"{self.format_name}.created")
            found = self._find(name)
        if found is None:
            raise StorageError("create table", f"{self.storage.uri}/{name}", "it is not there after it was created")
        assert self._run_id is not None
        self._check_found(self._run_id, table, found)
        if found.run_id is None:
            self._adopt(table)
        self._ready.add(name)

    def _opened(self, name: str) -> Table:
        if name not in self._tables:
            raise UsageError(f"{name} is not open", hint="call open(run_id, table) for each table first")
        return self._tables[name]

    def _check_stored(self, commits: Sequence[TableCommit]) -> None:
        """No log notices a file that is not there: somebody may have removed it as nobody's."""
        for file in (file for commit in commits for file in commit.files):
            try:
                size = self.storage.size(file.final_path)
            except StorageNotFoundError:
                size = -1
            if size != file.size_bytes:
                raise StorageError("commit", file.final_path, "the staged file is gone or cut short")

    def _check_absent(self, table: Table) -> None:
        """Where a table is absent, its folder may hold what a crash of ours has left, and nothing else."""
        entries = [entry for entry in self.storage.list(table.name) if entry.name[0] != "."]
        foreign = [
            entry.name
            for entry in entries
            if entry.name not in self.own_folders and not (entry.is_folder and entry.name.startswith("year="))
        ]
        if foreign:
            raise ForeignTableError(
                f"{self.storage.uri}/{table.name} is no {self.format_name} table, but is not empty: it holds "
                + ", ".join(foreign[:3])
                + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""),
                hint="choose another output.uri, or move that folder away",
            )

    def _check_found(self, run_id: str, table: Table, found: FoundTable) -> None:
        where = f"the {self.format_name} table {table.name} under {self.storage.uri}"
        check_found(where, run_id, self._declared(table), found, adopt=self.options.adopt)


def check_found(where: str, run_id: str, declared: FoundTable, found: FoundTable, *, adopt: bool) -> None:
    """See that a table that is there may be written to. Raises ForeignTableError with what is in the way."""
    if found.run_id not in (None, run_id):
        raise ForeignTableError(
            f"{where} belongs to run {found.run_id}, this is run {run_id}",
            hint="choose another output.uri, or move what the other run has written away",
        )
    differences = _differences(declared, found)
    if differences:
        raise ForeignTableError(
            f"{where} is not as this run needs it:" + "".join(f"\n  {line}" for line in differences),
            hint="choose another output.uri, or move that table away",
        )
    if found.run_id is None and not adopt:
        raise ForeignTableError(
            f"{where} is there already, and was not made by emitter",
            hint="choose another output.uri, or set output.adopt to true to add this run's rows to it",
        )


def check_expected(slice: Slice, commit: TableCommit, progress: TableProgress | None) -> None:
    """The comparison of the compare-and-set. Raises OvertakenError."""
    slot = progress.slot if progress else None
    if slot != commit.expected_slot:
        raise moved_meanwhile(slice, commit, slot)


def _slots(commits: Sequence[TableCommit]) -> list[tuple[str, int]]:
    return [(commit.table, commit.slot) for commit in commits]


def _landed_report(commit: TableCommit, outcome: CommitOutcome, seconds: float, after: TableProgress) -> CommitReport:
    return CommitReport(
        commit.table, outcome, commit.slot, commit.rows, len(commit.files), commit.size_bytes, seconds, after.files
    )


def _wait_seconds(slice: Slice, attempt: int) -> float:
    """Twice as long each time, up to a limit, less a part of it that differs from shard to shard."""
    longest = min(_WAIT_SECONDS_MAX, _FIRST_WAIT_SECONDS * 2.0**attempt)
    word = Stream(slice.count, "commit").word(slice.index << 32 | attempt)
    return longest * (word >> 11) / 2**53


def _differences(declared: FoundTable, found: FoundTable) -> list[str]:
    """What a table has otherwise than it should, a line each. A column that may be null may also hold none."""
    lines = []
    wanted = {name: (kind, nullable) for name, kind, nullable in declared.columns}
    there = {name: (kind, nullable) for name, kind, nullable in found.columns}
    for name, (kind, nullable) in wanted.items():
        if name not in there:
            lines.append(f"column {name}: not there, needed as {kind}")
        elif there[name][0] != kind:
            lines.append(f"column {name}: {there[name][0]}, needed as {kind}")
        elif nullable and not there[name][1]:
            lines.append(f"column {name}: allows no nulls, and must")
    lines.extend(
        f"column {name}: {kind}, not known to this run, and allows no nulls"
        for name, (kind, nullable) in there.items()
        if name not in wanted and not nullable
    )
    if found.partition != declared.partition:
        lines.append(f"partitioned by {found.partition or 'nothing'}, needed by {declared.partition}")
    return lines
