"""What Prometheus may scrape of upkeep, and of what it keeps small: the files of the tables."""

from __future__ import annotations

from typing import get_args, override

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from emitter.clock import Clock
from emitter.model import LANDED, TASKS, ChoreReport, CommitReport, RoundOutcome, RoundReport
from emitter.watch.gauges import Known
from emitter.watch.observer import DaemonStatus, Observer

_TASKS = ("finish_partitions", *TASKS)
_SECONDS = (0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0)


class UpkeepMetrics(Observer):
    """Counts upkeep, by task, and the data files of the tables."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        def counter(name: str, what: str, label: str = "task") -> Counter:
            return Counter(f"emitter_maintenance_{name}", what, [label], registry=registry)

        self._clock = clock
        self._seconds = Histogram(
            "emitter_maintenance_duration_seconds",
            "Time that a piece of maintenance took.",
            ["task"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._failures = counter("failures", "Pieces of maintenance that failed.")
        self._conflicts = counter(
            "conflicts", "How often others had changed a table first, so that it was tried again."
        )
        self._files_removed = counter("files_removed", "Files that readers find no more, or that were deleted.")
        self._files_written = counter("files_written", "Files that were made instead.")
        self._bytes_removed = counter("bytes_removed", "Bytes of the files that were removed.")
        self._bytes_written = counter("bytes_written", "Bytes of the files that were made instead.")
        self._rounds = counter("rounds", "Rounds of upkeep, by how they ended.", "outcome")
        self._last_success = Known(
            "emitter_maintenance_last_success_timestamp_seconds",
            "Unix time of the last round of upkeep that went well. Absent before the first.",
        )
        self._interval = Known("emitter_maintenance_interval_seconds", "How often a round of upkeep is due.")
        registry.register(self._last_success)
        registry.register(self._interval)
        self._files = _TableFiles(registry)

    def due_every(self, seconds: int | None) -> None:
        """How often upkeep is due; None where it is off."""
        self._interval.value = seconds

    @override
    def started(self, status: DaemonStatus) -> None:
        self._files.tables = status.tables
        for task in _TASKS:  # from 0 on, so that rate() sees the first event
            for metric in (self._seconds, self._failures, self._conflicts, self._files_removed, self._files_written):
                metric.labels(task)
            self._bytes_removed.labels(task)
            self._bytes_written.labels(task)
        for outcome in get_args(RoundOutcome):
            self._rounds.labels(outcome)

    @override
    def committed(self, report: CommitReport) -> None:
        if report.outcome in LANDED:
            self._files.committed(report)

    @override
    def maintained(self, report: ChoreReport) -> None:
        task = report.task if report.task in _TASKS else "other"
        self._seconds.labels(task).observe(report.seconds)
        self._failures.labels(task).inc(bool(report.problem))
        self._conflicts.labels(task).inc(report.conflicts)
        self._files_removed.labels(task).inc(report.files_removed)
        self._files_written.labels(task).inc(report.files_written)
        self._bytes_removed.labels(task).inc(report.bytes_removed)
        self._bytes_written.labels(task).inc(report.bytes_written)

    @override
    def round_ended(self, report: RoundReport) -> None:
        self._rounds.labels(report.outcome).inc()
        if report.outcome == "ok":
            self._last_success.value = self._clock.wall_seconds()
        self._files.round_ended(report)


class _TableFiles:
    """The gauge of a table's data files.

    Without upkeep each shard counts what it has put there. Once a round has told what is in the table, the shard that
    looks after it goes on from there, and tells of all of it; the others say nothing, so that the sum is right.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.tables: tuple[str, ...] = ()
        self._gauge = Gauge(
            "emitter_table_data_files",
            "Data files that are in the table: as the last round of upkeep found it, and committed by this process"
            " since; before the first round those that this shard has put there; absent where another shard tells.",
            ["table"],
            registry=registry,
        )
        self._told: set[str] = set()
        self._is_silent = False

    def committed(self, report: CommitReport) -> None:
        if report.table in self._told:
            self._gauge.labels(report.table).inc(report.files)
        elif not self._is_silent:
            self._gauge.labels(report.table).set(report.table_files)

    def round_ended(self, report: RoundReport) -> None:
        if report.outcome == "skipped":
            self._is_silent = True
            self._told.clear()
            self._gauge.clear()
        for table, size in report.sizes.items():
            if table in self.tables:
                self._told.add(table)
                self._gauge.labels(table).set(size.files)
