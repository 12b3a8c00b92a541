"""What a table format is: staged files, registered in one compare-and-set together with the progress."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

from emitter.clock import Clock, SystemClock, slot_of, text_of, time_of
from emitter.errors import (
    ConfigurationError,
    DamagedStateError,
    Fault,
    OvertakenError,
    UsageError,
    redacted,
    wrong_type,
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
    TableSize,
    Window,
)
from emitter.partitioning import PartitionSpec
from emitter.settings.connections import CatalogConfig
from emitter.storage.base import Storage
from emitter.writers.parts import Part
from emitter.writers.upkeep import NoUpkeep, Upkeep, UpkeepPolicy

if TYPE_CHECKING:
    from emitter.duck import Connection

CrashHook = Callable[[str], None]

COMPRESSIONS = ("zstd", "snappy", "lz4", "gzip", "none")
"""How the pages of a Parquet file may be compressed."""

_TIME = "%Y%m%dT%H%M%SZ"
_FILE_NAME = re.compile(r"(\d{8}T\d{6}Z)-(\d{8}T\d{6}Z)-(\d+)of(\d+)-(m?)\d+-[0-9a-f]{16}\.parquet")


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
    partition: PartitionSpec | None = None
    adopt: bool = False

    def __post_init__(self) -> None:
        """Raises UsageError for a value that no file could be made with."""
        rows = self.file_rows_target
        for name, value, is_right, hint in (
            ("compression", self.compression, self.compression in COMPRESSIONS, f"one of: {', '.join(COMPRESSIONS)}"),
            ("file_rows_target", rows, type(rows) is int and rows > 0, "a whole number above 0"),
            (
                "partition",
                self.partition,
                self.partition is None or isinstance(self.partition, PartitionSpec),
                'a PartitionSpec, such as PartitionSpec.of("month"), or nothing: the generator says it',
            ),
        ):
            if not is_right:
                raise wrong_type(f"{name} of WriterOptions", value, hint=f"give {hint}")

    @property
    def spec(self) -> PartitionSpec:
        """How files are placed: as was said, else by day, as generators do of whom nothing was said."""
        return self.partition or PartitionSpec()


def file_name(slice: Slice, window: Window, part: int, digest: str, *, is_merged: bool = False) -> str:
    """A data file's name: it tells the window, the slice, the how-manyth file it is, and its content; and with an m
    that it was put together from others.
    """
    which = f"{slice.index}of{slice.count}-{'m' * is_merged}{part}"
    return f"{_compact(window.first)}-{_compact(window.end)}-{which}-{digest}.parquet"


def first_name(slot: int) -> str:
    """What no data file's name sorts before that was made for a window from a slot on."""
    return _compact(slot)


def _compact(slot: int) -> str:
    return time_of(slot).strftime(_TIME)


def is_file_name(path: str) -> bool:
    """Whether a data file has a name that `file_name` gives."""
    return _FILE_NAME.fullmatch(path.rpartition("/")[2]) is not None


def is_merged_name(path: str) -> bool:
    """Whether a data file has a name that `file_name` gives to what was put together from others."""
    name = _FILE_NAME.fullmatch(path.rpartition("/")[2])
    return name is not None and name[5] == "m"


def parse_file_name(path: str) -> tuple[Slice, Window] | None:
    """The slice and the window that a data file of ours was made for; None for what is not named by `file_name`."""
    name = _FILE_NAME.fullmatch(path.rpartition("/")[2])
    if name is None:
        return None
    try:
        return Slice(int(name[3]), int(name[4])), Window(_slot(name[1]), _slot(name[2]))
    except ValueError:
        return None


@lru_cache(maxsize=4096)  # the names of neighbours share a time
def _slot(text: str) -> int:
    return slot_of(datetime.fromisoformat(text))


def lock_path(slice: Slice) -> str:
    """The lock that is held with a slice, where storage has any."""
    return f"_emitter/locks/{slice}.lock"


def put_young(storage: Storage, path: str, data: Any) -> None:
    """Store a file whose name tells its content. Where an earlier attempt has left it, it is written once more: upkeep
    removes what is old and was never committed.
    """
    if not storage.put_if_absent(path, data):
        storage.replace(path, bytes(data))


def advanced(before: TableProgress | None, commit: TableCommit) -> TableProgress:
    """The progress after a commit."""
    known = before or TableProgress(commit.slot)
    return TableProgress(
        commit.slot, known.rows + commit.rows, known.files + len(commit.files), known.bytes + commit.size_bytes
    )


def waves(commits: Sequence[TableCommit], parents: Callable[[str], Sequence[str]]) -> list[list[TableCommit]]:
    """Which tables commit at the same time, one wave after the other: no table with or before its parents; and at the
    end all those without files, as nobody depends on rows that are not there.
    """
    wave_of: dict[str, int] = {}
    found: list[list[TableCommit]] = []
    for commit in (each for each in commits if each.files):
        wave = max((wave_of[name] + 1 for name in parents(commit.table) if name in wave_of), default=0)
        wave_of[commit.table] = wave
        found.extend([] for _ in range(wave + 1 - len(found)))
        found[wave].append(commit)
    without = [commit for commit in commits if not commit.files]
    return [*found, without] if without else found


def failed_report(commit: TableCommit, outcome: CommitOutcome, seconds: float) -> CommitReport:
    """The report of an attempt that put nothing into the table, as far as anybody knows."""
    return CommitReport(commit.table, outcome, commit.slot, 0, 0, 0, seconds)


def check_readable(folder: str, pattern: str, readers: str) -> None:
    """Raises ConfigurationError where a folder's name has what the pattern finds."""
    found = sorted(set(re.findall(pattern, folder)))
    if found:
        named = ", ".join("a space" if character == " " else character for character in found)
        allowed = f"a path without {named}"
        raise ConfigurationError([Fault("output.uri", repr(folder), allowed, f"{readers} cannot open tables in it")])


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

    def __repr__(self) -> str:
        return f"<{self.format_name} writer of {redacted(self.storage.uri)}>"

    def placing(self, partition: PartitionSpec) -> Self:
        """The writer for rows that a generator partitions so: this one, or, where nothing was said of partitions, one
        of its kind in its place. Raises UsageError where something else was said.
        """
        own = self.options.spec
        if own == partition:
            return self
        if self.options.partition is not None:
            raise UsageError(
                f"the generator partitions by {partition.granularity}, its writer by {own.granularity}",
                hint=f'say it once: create_generator(..., partition="{own.granularity}"), and nothing in WriterOptions',
            )
        options = replace(self.options, partition=partition)
        return type(self)(self.storage, options, self._crash, self._clock, self._catalog_config)

    def check(self) -> None:
        """See that the output can be read and written, holds to what the commits rely on, and is called such that
        readers can open it. Leaves nothing behind. Raises StorageError, ConfigurationError.
        """
        self.storage.check()
        if self.unreadable and not self.storage.list("_emitter/journal"):  # one that was begun goes on
            check_readable(self.storage.folder or "", *self.unreadable)

    def close(self) -> None:  # noqa: B027 (not every format has any)
        """Let go of connections. They are made again when they are needed."""

    @abstractmethod
    def hold(self, slice: Slice) -> AbstractContextManager[None]:
        """The right to write a slice. Raises SliceLockedError."""

    def is_held(self, slice: Slice) -> bool:
        """Whether a live process is known to hold a slice. False where nobody can know."""
        return self.storage.is_locked(lock_path(slice))

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

    def slots(self, tables: Iterable[str]) -> dict[str, dict[Slice, int]]:
        """By table and slice, up to where each table is complete by its own word."""
        return {table: {slice: own.slot for slice, own in self.progress(table).items()} for table in tables}

    @abstractmethod
    def paths_from(self, table: str, slot: int) -> Iterator[str]:
        """The data files that readers find in the partitions from the one of a slot on; those made for windows before
        it may be left out. Only reads.
        """

    def check_not_set_back(self, slice: Slice, table: str, progress: TableProgress | None, slot: int) -> None:
        """See that nothing of a slice is in the table beyond the progress that `recover` has just given: what its
        progress does not tell of would be made again. `slot` is where the slice goes on. Raises DamagedStateError.
        """
        named = ((path, parse_file_name(path)) for path in self.paths_from(table, slot))
        beyond = (path for path, made in named if made and made[0] == slice and made[1].end > slot)
        path = next(beyond, None)
        if path is not None and self.stands_at(slice, table, progress):
            says = f"is complete up to {text_of(progress.slot)}" if progress else "has no progress"
            name = path.rpartition("/")[2]
            raise DamagedStateError(
                f"slice {slice} of {self.storage.uri}/{table} {says}, but the table holds {name}, which came later: its"
                " progress was lost or set back, and its rows would be made a second time",
                hint=f"restore the newest {self.progress_place}; without it make the table, or the whole output, anew"
                " from the journal",
            )

    def stands_at(self, slice: Slice, table: str, progress: TableProgress | None) -> bool:
        """Whether this still is the progress of a slice, and nobody is about to move it."""
        return self.progress(table).get(slice) == progress

    progress_place: ClassVar[str]
    """Where a slice's progress is kept, for people."""

    @abstractmethod
    def stage(self, slice: Slice, window: Window, file: EncodedFile) -> StagedFile:
        """Store a file durably where no reader looks. Safe from several threads and processes."""

    @abstractmethod
    def commit(self, slice: Slice, commits: Sequence[TableCommit]) -> Iterator[CommitReport]:
        """Register each table's files and move its progress, in the order given: parents before children, and tables
        without files after all others. A report of every attempt as it ended, also of those that failed.

        Raises OvertakenError where a table's progress is not the expected one (then nothing of that table was
        changed); CommitConflictError, CommitUnknownError or StorageError where it could not be done: then only
        `recover` knows what has happened.
        """

    unreadable: ClassVar[tuple[str, str] | None] = None
    """Characters (as a pattern) of a folder's name with which usual readers cannot open tables below it; and which."""

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
    def contents(self, table: Table) -> AbstractContextManager[Sequence[Part]]:
        """All that a reader of the table finds, as of one moment; nothing where it is absent. What is registered twice
        is there twice. While the context lasts a part may still be read, unless others have rewritten it since.
        """

    def relation(self, connection: Connection, table: Table) -> str | None:
        """What DuckDB selects from, in SQL, to read a table as it stands now; None where it is absent. What that needs
        is loaded into the connection, which knows the storage. Raises UsageError for a format that DuckDB cannot read.
        """
        del connection
        raise UsageError(
            f"DuckDB cannot read {table.name}: it is in the format {self.format_name}", hint="read it by Python"
        )

    def upkeep(self, policy: UpkeepPolicy) -> Upkeep:
        """What keeps the tables that are open from ageing. It uses this writer, and is used in no other thread."""
        return NoUpkeep(policy)

    def size(self, table: str) -> TableSize:
        """What a reader of the table goes through as it stands; zeros where it is absent. Only reads."""
        known = self.progress(table).values()
        return TableSize(sum(each.files for each in known), sum(each.bytes for each in known))


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
