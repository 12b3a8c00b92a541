"""Telling readers which partitions are complete."""

from __future__ import annotations

from emitter.clock import Clock
from emitter.errors import EmitterError
from emitter.run.journal import Journal
from emitter.run.plan import complete_slot
from emitter.watch.observer import Observer
from emitter.writers.base import TableWriter


class Completion:
    """Marks each partition once all slices and tables have passed its end, in formats whose readers look for that."""

    def __init__(self, writer: TableWriter, clock: Clock, observer: Observer) -> None:
        self._writer, self._clock, self._observer = writer, clock, observer
        self._finished_edge = 0

    def mark(self, journal: Journal, reached_slot: int) -> None:
        """See to what is complete, where this shard has passed the end of a partition."""
        spec = self._writer.options.partition
        if not self._writer.marks_partitions or spec.start(reached_slot) <= self._finished_edge:
            return
        begin = self._clock.monotonic_seconds()
        try:
            progress = {
                table: {slice: stands.slot for slice, stands in self._writer.progress(table).items()}
                for table in journal.tables()
            }
            complete = complete_slot(journal.epochs, progress)
            self._writer.finish_partitions(journal.tables(), journal.origin_slot, complete)
        except EmitterError:
            self._observer.maintenance_failed("finish_partitions")
            raise
        self._finished_edge = spec.start(complete)
        self._observer.maintained("finish_partitions", self._clock.monotonic_seconds() - begin)
