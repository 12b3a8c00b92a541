"""Telling readers which partitions are complete.

A mark is for good: no row comes into a partition that bears one. So a table is marked only up to where it was left out,
though nobody waits for it from there on: it may come back, and is then made from there.
"""

from __future__ import annotations

import math

from emitter.clock import Clock
from emitter.errors import EmitterError
from emitter.model import ChoreReport
from emitter.run.journal import Journal
from emitter.run.plan import complete_slot, table_ends, tables_that_came_back
from emitter.watch.observer import Observer
from emitter.writers.base import TableWriter

LOOK_SECONDS = 30  # of real time: how seldom a shard that others hold up looks again how far they are


class Completion:
    """Marks each partition once all slices and tables have passed its end, in formats whose readers look for that.

    To see that is to read the progress of every slice of every table. So a shard that looked and found another behind
    waits before it looks again.
    """

    def __init__(self, writer: TableWriter, clock: Clock, observer: Observer) -> None:
        self._writer, self._clock, self._observer = writer, clock, observer
        self._finished_edge = 0
        self._checked: set[str] = set()
        self._look_from_seconds = -math.inf

    def mark(self, journal: Journal, reached_slot: int, *, at_last: bool = False) -> None:
        """See to what is complete, where this shard has passed the end of a partition. `at_last`: it won't come again,
        so it looks in any case.
        """
        edge, begin = self._writer.options.spec.start(reached_slot), self._clock.monotonic_seconds()
        if not self._writer.marks_partitions or edge <= self._finished_edge:
            return
        if begin < self._look_from_seconds and not at_last:
            return
        try:
            complete = self._complete_slot(journal)
            for table, end in table_ends(journal.epochs).items():
                self._writer.finish_partitions([table], journal.origin_slot, min(complete, end))
        except EmitterError as error:
            self._tell(begin, error.problem)
            raise
        self._finished_edge = self._writer.options.spec.start(complete)
        self._look_from_seconds = begin + LOOK_SECONDS if self._finished_edge < edge else -math.inf
        self._tell(begin)

    def _tell(self, begin_seconds: float, problem: str = "") -> None:
        seconds = self._clock.monotonic_seconds() - begin_seconds
        self._observer.maintained(ChoreReport("finish_partitions", table="", seconds=seconds, problem=problem))

    def take_back(self, journal: Journal) -> None:
        """Before anything is written: earlier releases marked partitions of a table also where it was left out, and
        where it has come back they are not complete.
        """
        if self._writer.marks_partitions:
            for table in sorted(tables_that_came_back(journal.epochs) - self._checked):
                self._writer.reopen_partitions(table, lambda: self._complete_slot(journal))
                self._checked.add(table)

    def _complete_slot(self, journal: Journal) -> int:
        return complete_slot(journal.epochs, self._writer.slots(journal.tables()))
