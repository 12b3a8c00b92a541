"""A round of upkeep: every task of every table, one chore after the other, whatever becomes of the one before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

from emitter.clock import Clock
from emitter.errors import CommitConflictError, EmitterError
from emitter.model import ChoreReport
from emitter.writers.upkeep import Chore, Done, Task, Upkeep

ATTEMPTS_MAX = 4
_WAIT_SECONDS = 0.1

OnWork = Callable[[Task, str, str], object]
"""Told of what is looked at or done next: the task, the table, and the partition where it is one."""


class Round:
    """One round over some tables of an output, which must be open in the upkeep's writer. `stop`, if it is set, ends it
    after the chore under way. `task_seconds` is what each task has taken so far.
    """

    def __init__(self, upkeep: Upkeep, tables: Sequence[str], clock: Clock, stop: threading.Event) -> None:
        self._upkeep, self._tables, self._clock, self._stop = upkeep, tables, clock, stop
        self.task_seconds: dict[Task, float] = {}

    def plan(self, tasks: Sequence[Task]) -> list[Chore]:
        """What there is to do of these tasks, as things stand. Only reads. What one chore makes, a later one may have
        to look after in its turn: that is not in it.
        """
        chosen = [task for task in self._upkeep.tasks if task in tasks]
        return [chore for task in chosen for table in self._tables for chore in self._upkeep.plan(task, table)]

    def run(self, tasks: Sequence[Task], on_work: OnWork = lambda *_: None) -> Iterator[ChoreReport]:
        """Do it, and tell how each chore ended. One that fails is told of, and left to the next round."""
        for task in (task for task in self._upkeep.tasks if task in tasks):
            begin = self._clock.monotonic_seconds()
            for table in self._tables:
                yield from self._run(task, table, on_work)
                self.task_seconds[task] = self._clock.monotonic_seconds() - begin

    def _run(self, task: Task, table: str, on_work: OnWork) -> Iterator[ChoreReport]:
        on_work(task, table, "")
        begin = self._clock.monotonic_seconds()
        try:
            chores = self._upkeep.plan(task, table)
        except EmitterError as error:
            yield ChoreReport(task, table, seconds=self._clock.monotonic_seconds() - begin, problem=error.problem)
            return
        for chore in chores:
            if self._stop.is_set():
                return
            on_work(task, table, chore.partition)
            yield self.do(chore)

    def do(self, chore: Chore) -> ChoreReport:
        """One of them, and how it ended."""
        done, conflicts, problem, begin = Done(), 0, "", self._clock.monotonic_seconds()
        while True:
            try:
                done = self._upkeep.apply(chore)
            except CommitConflictError as error:
                conflicts += 1
                if conflicts < ATTEMPTS_MAX and not self._clock.wait(self._stop, _WAIT_SECONDS * conflicts):
                    continue
                problem = error.problem
            except EmitterError as error:
                problem = error.problem
            break
        seconds = self._clock.monotonic_seconds() - begin
        return ChoreReport(
            chore.task, chore.table, chore.partition, seconds, **asdict(done), conflicts=conflicts, problem=problem
        )
