"""The frozen dataclasses that cross stages. No stage knows another; they know these.

Simulated time is cut into slots of one second since 2020-01-01T00:00:00Z (`clock.EPOCH`); a slot is an `int`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pyarrow as pa

ColumnType = Literal["int32", "int64", "float64", "bool", "string", "timestamp", "money"]


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open range of slots: `first` is in it, `end` is not."""

    first: int
    end: int

    def __post_init__(self) -> None:
        if self.end < self.first:
            raise ValueError(f"a window cannot end before it begins: {self.first}..{self.end}")

    @property
    def seconds(self) -> int:
        return self.end - self.first


@dataclass(frozen=True, slots=True)
class Slice:
    """The part of the rows that shard `index` of `count` makes. `Slice()` is all of them."""

    index: int = 0
    count: int = 1

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"


@dataclass(frozen=True, slots=True)
class Column:
    """`money` is int64 cents inside and decimal(12,2) in the tables; `timestamp` is UTC microseconds."""

    name: str
    type: ColumnType
    description: str
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table as its domain declares it. Every table has a column `event_time`, which places its rows."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    parents: tuple[str, ...]
    description: str


@dataclass(frozen=True, slots=True)
class Frame:
    """Some rows of one table in their inside form (`arrow.inside_schema`)."""

    table: str
    rows: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class Inputs:
    """What shapes content and may change on the way: the domain's changeable options, shards and tables."""

    options: Mapping[str, Any]
    shard_count: int
    tables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Epoch:
    """The inputs in force from a slot on, until the next epoch begins. `withdrawn` are tables that were to join here,
    and were left out again before anything from here on was made: what lies before may have been.
    """

    from_slot: int
    inputs: Inputs
    withdrawn: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """A finished Parquet file in memory: all its rows belong to one table and one partition."""

    table: str
    partition: str  # e.g. "year=2026/month=01/day=02"
    part: int  # the how-manyth file of its table and partition in this batch
    rows: int
    data: pa.Buffer
    metadata: Any = None  # pyarrow.parquet.FileMetaData: formats with a log register its statistics


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A file that is stored but does not count yet. Paths are relative to the output."""

    table: str
    staged_path: str
    final_path: str
    rows: int
    size_bytes: int
    partition: str = ""  # e.g. "year=2026/month=01/day=02"
    metadata: Any = None  # as in EncodedFile


@dataclass(frozen=True, slots=True)
class TableProgress:
    """What a table itself says of one slice: complete up to `slot`, with so much in it."""

    slot: int
    rows: int = 0
    files: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class TableCommit:
    """One table's compare-and-set: from `expected_slot` (None: no progress yet) to `slot`, with these files."""

    table: str
    expected_slot: int | None
    slot: int
    files: tuple[StagedFile, ...] = ()

    def __post_init__(self) -> None:
        if self.expected_slot is not None and self.slot <= self.expected_slot:
            raise ValueError(f"progress only moves forward: {self.expected_slot} to {self.slot} in {self.table}")

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True, slots=True)
class TableSize:
    """What a reader of a table's newest version goes through."""

    files: int
    bytes: int


CommitOutcome = Literal["ok", "conflict", "unknown", "deduplicated", "error"]
LANDED: frozenset[CommitOutcome] = frozenset({"ok", "deduplicated"})
"""After these the rows are in the table: put there by this attempt, or by an earlier one whose reply was lost."""


@dataclass(frozen=True, slots=True)
class CommitReport:
    """How one attempt to commit one table ended. `seconds` is what the commit took."""

    table: str
    outcome: CommitOutcome
    slot: int
    rows: int
    files: int
    bytes: int
    seconds: float
    table_files: int = 0  # data files of this slice after the commit


@dataclass(frozen=True, slots=True)
class StepReport:
    """One finished step of the daemon."""

    slice: Slice
    window: Window
    tables: tuple[str, ...]
    rows: Mapping[str, int]
    commits: tuple[CommitReport, ...]
    stage_seconds: Mapping[str, float] = field(default_factory=dict)  # stage -> wall seconds
    attempts: int = 1
    ends_batch: bool = True  # False where a batch was cut by the row limit, or a table only caught up
    lag_seconds: float = 0.0  # simulated seconds between what is due and what is done
    debt_rows: float = 0.0  # rows expected in that time


Task = Literal["compact", "checkpoint", "expire", "vacuum"]
"""`compact` puts many small files into a few, `checkpoint` sums up a log, `expire` forgets old versions, `vacuum`
removes the files that no version names any more.
"""

TASKS: tuple[Task, ...] = ("compact", "checkpoint", "expire", "vacuum")


@dataclass(frozen=True, slots=True)
class ChoreReport:
    """How one piece of upkeep ended: files that readers find no more, or that are gone, and those made instead; how
    often others came first; and what went wrong, if anything did. `task` is a `Task`, or `finish_partitions`, which the
    daemon does itself.
    """

    task: str
    table: str
    partition: str = ""  # folder of the one that was looked after; "": the whole table
    seconds: float = 0.0
    files_removed: int = 0
    files_written: int = 0
    bytes_removed: int = 0
    bytes_written: int = 0
    conflicts: int = 0
    problem: str = ""


RoundOutcome = Literal["ok", "failed", "killed", "skipped"]
"""`failed`: a chore did, or the round could not begin; `killed`: it took too long or too much memory, or its process
ended by itself; `skipped`: another process looks after these tables.
"""


@dataclass(frozen=True, slots=True)
class RoundReport:
    """How a round of upkeep ended as a whole: how many chores it did, what is in each table now (where that is known),
    what each task took of its time, and what went wrong with the round itself, if anything did.
    """

    outcome: RoundOutcome
    seconds: float = 0.0
    chores: int = 0
    sizes: Mapping[str, TableSize] = field(default_factory=dict)
    problem: str = ""
    task_seconds: Mapping[Task, float] = field(default_factory=dict)


VerificationOutcome = Literal["ok", "different", "failed", "killed", "skipped"]
"""`different`: what the tables say they have is not the truth; `failed`: they could not be compared; `killed`: it took
too long or too much memory, or its process ended by itself; `skipped`: another process verifies these tables.
"""


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """How a scheduled verification ended: the simulated time and the rows that were compared; by table what was found
    of each kind of row (lost, duplicated, altered, unexpected) and file (broken, misshapen); some examples; and what
    kept it from coming to a verdict, if anything did.
    """

    outcome: VerificationOutcome
    seconds: float = 0.0
    window: Window | None = None
    rows: int = 0
    wrong_rows: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    wrong_files: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    problem: str = ""
