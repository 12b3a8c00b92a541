"""What upkeep has done lately, for all that show it: the last round, and what was done last in each table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import override

from emitter.clock import Clock
from emitter.model import TASKS, ChoreReport, RoundOutcome, RoundReport, TableSize, Task
from emitter.watch.observer import Observer

TABLES_MAX = 64


@dataclass(frozen=True, slots=True)
class TaskLine:
    """What a task came to in one table and round; as of a `ChoreReport`. `failures` of so many `chores`."""

    chores: int = 0
    files_removed: int = 0
    files_written: int = 0
    bytes_removed: int = 0
    bytes_written: int = 0
    conflicts: int = 0
    failures: int = 0

    def plus(self, report: ChoreReport) -> TaskLine:
        return TaskLine(
            self.chores + 1,
            self.files_removed + report.files_removed,
            self.files_written + report.files_written,
            self.bytes_removed + report.bytes_removed,
            self.bytes_written + report.bytes_written,
            self.conflicts + report.conflicts,
            self.failures + bool(report.problem),
        )


def _freed_bytes(tasks: Mapping[Task, TaskLine]) -> int:
    return sum(line.bytes_removed for task, line in tasks.items() if task != "compact")


@dataclass(frozen=True, slots=True)
class TendedTable:
    """A table as the last round left it, and what the last round did there that found anything to do, task by task."""

    name: str
    size: TableSize | None  # None: the round could not tell
    tasks: Mapping[Task, TaskLine]
    done_wall_seconds: float | None  # when the last of these rounds ended; None: there was none yet

    @property
    def freed_bytes(self) -> int:
        """What is gone. Files that compaction replaced stay readable for a while."""
        return _freed_bytes(self.tasks)


@dataclass(frozen=True, slots=True)
class RoundLine:
    """The last round."""

    outcome: RoundOutcome
    wall_seconds: float
    monotonic_seconds: float
    seconds: float
    chores: int
    freed_bytes: int
    conflicts: int
    failures: int
    problem: str


@dataclass(frozen=True, slots=True)
class UpkeepPicture:
    """All of it at one moment."""

    last_round: RoundLine | None = None
    last_success_wall_seconds: float | None = None
    tables: tuple[TendedTable, ...] = ()


class UpkeepBoard(Observer):
    """Keeps it. Not safe in threads by itself."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._under_way: dict[str, dict[Task, TaskLine]] = {}
        self._picture = UpkeepPicture()

    @override
    def maintained(self, report: ChoreReport) -> None:
        task = next((task for task in TASKS if task == report.task), None)
        if task is None or (report.table not in self._under_way and len(self._under_way) == TABLES_MAX):
            return  # the daemon's own, or more than anybody looks at
        lines = self._under_way.setdefault(report.table, {})
        lines[task] = lines.get(task, TaskLine()).plus(report)

    @override
    def round_ended(self, report: RoundReport) -> None:
        now, done = self._clock.wall_seconds(), self._under_way
        self._under_way = {}
        known = {table.name: table for table in self._picture.tables}
        for name in list(dict.fromkeys((*report.sizes, *done)))[:TABLES_MAX]:
            table = known.get(name, TendedTable(name, None, {}, None))
            size = report.sizes.get(name, table.size)
            known[name] = replace(table, size=size)
            if name in done:
                latest = {**table.tasks, **done[name]}
                tasks = {task: latest[task] for task in TASKS if task in latest}
                known[name] = replace(known[name], tasks=tasks, done_wall_seconds=now)
        lines = [line for tasks in done.values() for line in tasks.values()]
        last = RoundLine(
            report.outcome,
            now,
            self._clock.monotonic_seconds(),
            report.seconds,
            report.chores,
            sum(map(_freed_bytes, done.values())),
            sum(line.conflicts for line in lines),
            sum(line.failures for line in lines),
            report.problem,
        )
        succeeded = now if report.outcome == "ok" else self._picture.last_success_wall_seconds
        tables = tuple(known.values())[:TABLES_MAX]
        self._picture = UpkeepPicture(last, succeeded, () if report.outcome == "skipped" else tables)

    def picture(self) -> UpkeepPicture:
        """How it stands now. Nothing in it changes any more."""
        return self._picture
