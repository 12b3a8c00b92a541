"""What keeps tables as quick and as small after weeks as on the first day: chores that a format plans, then does.

A row is never changed by any of it, and nobody who reads meets less than a moment before. A chore may be done beside
appends, beside the upkeep of others and beside itself: whoever comes second finds it done, or is refused. A process
that is killed in the middle leaves the table as it was or as it is to be, and files that no version names.

Chores are planned from what the table says, and plain values: who does one looks at the table again, as it stands then.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from emitter.model import TASKS, Task

__all__ = ["TASKS", "Chore", "Done", "NoUpkeep", "Task", "Upkeep", "UpkeepPolicy"]


@dataclass(frozen=True, slots=True)
class UpkeepPolicy:
    """What upkeep goes by.

    `small_files_min`: so many small files of one partition are worth a compaction; `file_rows_target`: what it makes
    files of. `keep_seconds`: for how long a version that was replaced, and every file that it names, can still be read.
    `versions_max`: of formats whose commits take the longer the more versions are listed, so many are kept, at least
    one; their files stay for `keep_seconds` all the same. `orphan_seconds`: how old a file is to be that no version
    ever named, as a commit that names it may be under way.
    """

    small_files_min: int = 50
    file_rows_target: int = 250_000
    keep_seconds: int = 3_600
    versions_max: int = 100
    orphan_seconds: int = 86_400


@dataclass(frozen=True, slots=True)
class Chore:
    """A piece of upkeep that a table asks for: of `files` with `size_bytes` in all it makes `files_after`, or removes
    them. `partition` is the folder of a partition, "" for the whole table.
    """

    task: Task
    table: str
    partition: str = ""
    files: int = 0
    size_bytes: int = 0
    files_after: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """What doing a chore has come to: files that readers find no more, or that are gone, and those made instead."""

    files_removed: int = 0
    files_written: int = 0
    bytes_removed: int = 0
    bytes_written: int = 0


class Upkeep(ABC):
    """The upkeep of the tables of one output, which a writer gives (`TableWriter.upkeep`) and must have open. Not safe
    in threads.
    """

    tasks: ClassVar[tuple[Task, ...]]
    """What the format has, in the order in which it is best done."""

    crash_points: ClassVar[tuple[str, ...]]
    """Where a kill is tried: passed to the crash hook of the writer."""

    def __init__(self, policy: UpkeepPolicy) -> None:
        self.policy = policy

    @abstractmethod
    def plan(self, task: Task, table: str) -> Sequence[Chore]:
        """What there is to do of a task; nothing where the table is absent. Only reads.

        Raises StateError, StorageError, and CommitConflictError where others moved what it was reading.
        """

    @abstractmethod
    def apply(self, chore: Chore) -> Done:
        """Do it, as far as it is still to be done, and see it durable.

        Raises CommitConflictError where others have come first: then nothing has changed, and it may be planned anew.
        StorageError and CommitUnknownError where nobody can say whether it is done: the next plan tells.
        """


class NoUpkeep(Upkeep):
    """Of tables that do not age, or whose upkeep is somebody else's."""

    tasks = ()
    crash_points = ()

    def plan(self, task: Task, table: str) -> Sequence[Chore]:  # noqa: ARG002
        return ()

    def apply(self, chore: Chore) -> Done:  # noqa: ARG002
        return Done()
