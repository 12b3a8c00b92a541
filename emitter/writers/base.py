"""What a table format is: staged files, registered in one compare-and-set together with the progress."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from emitter.clock import Clock, SystemClock, text_of, time_of
from emitter.errors import DamagedStateError, OvertakenError, UsageError
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
from emitter.partitioning import PartitionSpec
from emitter.settings.connections import CatalogConfig
from emitter.storage.base import Storage

if TYPE_CHECKING:
    import pyarrow as pa

CrashHook = Callable[[str], None]
OnBroken = Callable[[DamagedStateError], None]
"""Told of a data file that cannot be read; without it, that is raised."""


def no_crash(point: str) -> None:
    """The hook at a named crash point, outside tests."""


@dataclass(frozen=True, slots=True)
class WriterOptions:
    """How files are made: compression (zstd, snappy, lz4, gzip, none), rows per file, partition columns (nothing said:
    those of the generator); and whether to go on with tables of the right schema that another tool has made.

    >>> from emitter import WriterOptions
    >>> WriterOptions(compression="snappy", file_rows_target=1_000_000).compression
    'snappy'
    """

    compression: str = "zstd"
    file_rows_target: int = 250_000
    partition: PartitionSpec = PartitionSpec()
    adopt: bool = False


def file_name(slice: Slice, window: Window, part: int, digest: str) -> str:
    """A data file's name: it tells the window, the slice, the how-manyth file it is, and its content."""
    return f"{_compact(window.first)}-{_compact(window.end)}-{slice.index}of{slice.count}-{part}-{digest}.parquet"


def _compact(slot: int) -> str:
    return time_of(slot).strftime("%Y%m%dT%H%M%SZ")


def advanced(before: TableProgress | None, commit: TableCommit) -> TableProgress:
    """The progress after a commit."""
    known = before or TableProgress(commit.slot)
    return TableProgress(
        commit.slot, known.rows + commit.rows, known.files + len(commit.files), known.bytes + commit.size_bytes
    )


def waves(commits: Sequence[TableCommit], parents: Callable[[str], Sequence[str]]) -> list[list[TableCommit]]:
    """Which tables commit at the same time, one wave after the other: no table with or before its parents."""
    wave_of: dict[str, int] = {}
    found: list[list[TableCommit]] = []
    for commit in commits:
        wave = max((wave_of[name] + 1 for name in parents(commit.table) if name in wave_of), default=0)
        wave_of[commit.table] = wave
        found.extend([] for _ in range(wave + 1 - len(found)))
        found[wave].append(commit)
    return found


def failed_report(commit: TableCommit, outcome: CommitOutcome, seconds: float) -> CommitReport:
    """The report of an attempt that put nothing into the table, as far as anybody knows."""
    return CommitReport(commit.table, outcome, commit.slot, 0, 0, 0, seconds)


class TableWriter(ABC):
    """The tables of one output in one format. The order of a run is:

    `hold` a slice; `open` each table; `recover` each table of the slice; then for each batch `stage` its
    files and `commit` them. Only the holder of a slice may recover, stage or commit for it; everything else
    only reads.

    >>> import emitter
    >>> writer = emitter.create_writer("parquet", "data/empty")
    >>> writer.progress("orders")  # by slice, up to where the table is complete: nothing is there yet
    {}
    """

    format_name: ClassVar[str]
    crash_points: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        storage: Storage,
        options: WriterOptions,
        crash_hook: CrashHook = no_crash,
        clock: Clock | None = None,
        catalog: CatalogConfig | None = None,
    ) -> None:
        self.storage = storage
        self.options = options
        self._crash = crash_hook
        self._clock = clock or SystemClock()
        self._catalog_config = catalog or CatalogConfig()

    def placing(self, partition: PartitionSpec) -> Self:
        """The writer for rows that a generator partitions so: this one, or, where nothing was said of partitions, one
        of its kind in its place. Raises UsageError where something else was said.
        """
        own = self.options.partition
        if own == partition:
            return self
        if own != WriterOptions().partition:
            raise UsageError(
                f"the generator partitions by {partition.granularity}, its writer by {own.granularity}",
                hint=f'say it once: create_generator(..., partition="{own.granularity}"), and nothing in WriterOptions',
            )
        options = replace(self.options, partition=partition)
        return type(self)(self.storage, options, self._crash, self._clock, self._catalog_config)

    def check(self) -> None:
        """See that the output can be read and written, and holds to what the commits rely on. Leaves nothing behind.
        Raises StorageError.
        """
        self.storage.check()

    def close(self) -> None:  # noqa: B027 (not every format has any)
        """Let go of connections. They are made again when they are needed."""

    @abstractmethod
    def hold(self, slice: Slice) -> AbstractContextManager[None]:
        """The right to write a slice. Raises SliceLockedError."""

    @abstractmethod
    def open(self, run_id: str, table: Table) -> None:
        """See that a table is absent, or this run's own (whose identity fixes its schema). Creates nothing. Raises
        StateError for anything else.
        """

    @abstractmethod
    def recover(self, slice: Slice, table: str) -> TableProgress | None:
        """Finish or undo what a crash interrupted, drop the slice's staged files, and give the progress
        (None: none yet, the table stands at the beginning of the slice). Idempotent.
        """

    @abstractmethod
    def progress(self, table: str) -> Mapping[Slice, TableProgress]:
        """What the table says of every slice that ever committed. Only reads."""

    @abstractmethod
    def stage(self, slice: Slice, window: Window, file: EncodedFile) -> StagedFile:
        """Store a file durably where no reader looks. Safe from several threads and processes."""

    @abstractmethod
    def commit(self, slice: Slice, commits: Sequence[TableCommit]) -> Iterator[CommitReport]:
        """Register each table's files and move its progress, parents before children (the order given has parents
        first). A report of every attempt as it ended, also of those that failed.

        Raises OvertakenError where a table's progress is not the expected one (then nothing of that table was
        changed); CommitConflictError, CommitUnknownError or StorageError where it could not be done: then only
        `recover` knows what has happened.
        """

    marks_partitions: ClassVar[bool] = False
    """Whether readers are told which partitions are complete. Then a table's progress also moves where it has
    no rows, once in a while, and `finish_partitions` is called.
    """

    def finish_partitions(  # noqa: B027 (there is nothing to do where marks_partitions is False)
        self, tables: Sequence[str], origin_slot: int, complete_slot: int
    ) -> None:
        """Tell readers that every partition of these tables that ends at or before `complete_slot` is
        complete (all slices, all tables). Called again and again with growing slots; idempotent.
        """

    def reopen_partitions(  # noqa: B027 (as above)
        self, table: str, complete_slot: Callable[[], int]
    ) -> None:
        """Take back what readers were told of partitions that are not complete: those that end beyond `complete_slot`,
        which is asked for again after a look at what they were told, as others go on telling them. Idempotent.
        """

    @abstractmethod
    def scan(self, table: Table, window: Window, on_broken: OnBroken | None = None) -> Iterator[pa.RecordBatch]:
        """The rows that a reader finds in the partitions that overlap the window, as they are, in bounded
        batches.
        """

    @abstractmethod
    def scan_outside(self, table: Table, window: Window, on_broken: OnBroken | None = None) -> Iterator[pa.RecordBatch]:
        """The rows that a reader of the whole table finds beside those of the partitions that overlap the window."""


def moved_meanwhile(
    slice: Slice, commit: TableCommit, slot: int | None, *, is_committing: bool = False
) -> OvertakenError:
    """The progress does not stand where a commit expects it. `slot`: where it stands, or is about to."""
    was = "had none" if commit.expected_slot is None else f"was at {text_of(commit.expected_slot)}"
    if slot is None:
        return OvertakenError(
            f"the progress of slice {slice} of {commit.table} is gone; it {was} when this commit was prepared",
            hint="somebody removed the table or set it back: restore it, or use another output.uri; then start again",
        )
    now = f"another commit moves it to {text_of(slot)}" if is_committing else f"it is at {text_of(slot)}"
    return OvertakenError(
        f"the progress of slice {slice} of {commit.table} {was} when this commit was prepared, and now {now}",
        hint="another writer moved it: see that only one runs per slice, then start again",
    )
