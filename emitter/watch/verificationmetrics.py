"""What Prometheus may scrape of the scheduled verification."""

from __future__ import annotations

from typing import get_args, override

from prometheus_client import CollectorRegistry, Counter, Gauge

from emitter.clock import Clock
from emitter.model import VerificationOutcome, VerificationReport
from emitter.watch.gauges import Known
from emitter.watch.observer import DaemonStatus, Observer


class VerificationMetrics(Observer):
    """Counts verifications, and tells what the last one that came to a verdict found."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self._clock, self._is_off = clock, False
        self._ended = Counter(
            "emitter_verifications", "Scheduled verifications, by how they ended.", ["outcome"], registry=registry
        )
        self._rows = Gauge(
            "emitter_verification_rows",
            "Rows that differ from the truth, as the last verification found. Absent where another shard tells.",
            ["table", "kind"],
            registry=registry,
        )
        self._files = Gauge(
            "emitter_verification_files",
            "Files that cannot be read, or are of another shape than their table. Absent where another shard tells.",
            ["table", "kind"],
            registry=registry,
        )
        self._last_success = Known(
            "emitter_verification_last_success_timestamp_seconds",
            "Unix time of the last verification that found everything as it should be. Absent before the first.",
        )
        self._interval = Known("emitter_verification_interval_seconds", "How often a verification is due.")
        registry.register(self._last_success)
        registry.register(self._interval)

    def due_every(self, seconds: int | None) -> None:
        """How often one is due; None where it is off: then what was found is told no more."""
        self._interval.value, self._is_off = seconds, seconds is None
        if seconds is None:
            self._forget()

    @override
    def started(self, status: DaemonStatus) -> None:
        for outcome in get_args(VerificationOutcome):  # from 0 on, so that increase() sees the first one
            self._ended.labels(outcome)

    @override
    def verified(self, report: VerificationReport) -> None:
        self._ended.labels(report.outcome).inc()
        if self._is_off:  # turned off while it was under way: nobody would take back what it found
            return
        if report.outcome == "ok":
            self._last_success.value = self._clock.wall_seconds()
        if report.outcome in ("ok", "different", "skipped"):
            self._forget()
        for gauge, tables in ((self._rows, report.wrong_rows), (self._files, report.wrong_files)):
            for table, counts in tables.items():
                for kind, count in counts.items():
                    gauge.labels(table, kind).set(count)

    def _forget(self) -> None:
        self._rows.clear()
        self._files.clear()
