"""What Prometheus may scrape: an observer that counts, and the page that shows the counts.

Everything hangs on a registry of its own, so that two daemons in one process never mix. What moves between
steps (simulated time, lag) is asked for at the scrape. Labels are tables, outcomes, stages and tasks: all of
them few.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from typing import get_args, override

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from emitter.clock import EPOCH_UNIX_SECONDS, Clock
from emitter.errors import EmitterError
from emitter.model import (
    LANDED,
    ChoreReport,
    CommitOutcome,
    CommitReport,
    RoundReport,
    StepReport,
    VerificationReport,
)
from emitter.watch.observer import DaemonStatus, Observer
from emitter.watch.upkeepmetrics import UpkeepMetrics
from emitter.watch.verificationmetrics import VerificationMetrics

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_STAGES = ("generate", "encode", "store", "commit", "total")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics(Observer):
    """Counts what a daemon does. `page` may be called from any thread."""

    def __init__(self, *, version: str, clock: Clock, memory_limit_bytes: int | None = None) -> None:
        """`memory_limit_bytes`: what the process may use; None where nothing limits it."""
        self._version = version
        self._clock = clock
        self._registry = registry = CollectorRegistry()
        self._generated = Counter(
            "emitter_events_generated",
            "Rows made, those of a batch that is made again after a failure included.",
            ["table"],
            registry=registry,
        )
        self._rows = Counter(
            "emitter_rows_committed", "Rows that this process committed.", ["table"], registry=registry
        )
        self._bytes = Counter(
            "emitter_committed_bytes", "Bytes of the files that hold them.", ["table"], registry=registry
        )
        self._commits = Counter(
            "emitter_commits",
            "Attempts to commit, by how they ended.",
            ["table", "outcome"],
            registry=registry,
        )
        self._commit_seconds = Histogram(
            "emitter_commit_duration_seconds",
            "Time that a commit took.",
            ["table"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._batch_seconds = Histogram(
            "emitter_batch_duration_seconds",
            "Time that each stage of a step took, summed over its threads; total is what passed.",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._last_commit = Gauge(
            "emitter_last_commit_timestamp_seconds",
            "Unix time of the last commit.",
            ["table"],
            registry=registry,
        )
        self._upkeep = UpkeepMetrics(registry, clock)
        self._verification = VerificationMetrics(registry, clock)
        self._retries = Counter("emitter_retries", "Steps that failed and were tried again.", registry=registry)
        self._build = Gauge("emitter_build_info", "Always 1.", ["version", "python", "format"], registry=registry)
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        if memory_limit_bytes is not None:
            limit = Gauge("emitter_memory_limit_bytes", "Memory that the control group allows.", registry=registry)
            limit.set(memory_limit_bytes)

    def watch(self, status: Callable[[], DaemonStatus]) -> None:
        """From now on each scrape asks for the daemon's status. Once per Metrics."""
        self._registry.register(_StatusCollector(status))

    def watch_health(self, why_not_ready: Callable[[], str]) -> None:
        """From now on each scrape asks whether the daemon is ready (empty: it is). Once per Metrics."""
        ready = Gauge("emitter_ready", "1 while steps finish in time or none is due, else 0.", registry=self._registry)
        ready.set_function(lambda: 0.0 if why_not_ready() else 1.0)

    def page(self) -> bytes:
        """The metrics in Prometheus's text format, of the type `CONTENT_TYPE`."""
        return generate_latest(_WithoutCreated(self._registry))

    def upkeep_is_due_every(self, seconds: int | None) -> None:
        """From now on; None where it is off."""
        self._upkeep.due_every(seconds)

    def verification_is_due_every(self, seconds: int | None) -> None:
        """From now on; None where it is off."""
        self._verification.due_every(seconds)

    @override
    def started(self, status: DaemonStatus) -> None:
        self._build.labels(self._version, platform.python_version(), status.format).set(1)
        self._upkeep.started(status)
        self._verification.started(status)
        for stage in _STAGES:
            self._batch_seconds.labels(stage)
        for table in status.tables:  # from 0 on, so that rate() sees the first event
            for metric in (self._generated, self._rows, self._bytes, self._commit_seconds):
                metric.labels(table)
            for outcome in get_args(CommitOutcome):
                self._commits.labels(table, outcome)

    @override
    def generated(self, table: str, rows: int) -> None:
        self._generated.labels(table).inc(rows)

    @override
    def committed(self, report: CommitReport) -> None:
        self._upkeep.committed(report)
        self._commits.labels(report.table, report.outcome).inc()
        if report.outcome in LANDED:
            self._commit_seconds.labels(report.table).observe(report.seconds)
            self._rows.labels(report.table).inc(report.rows)
            self._bytes.labels(report.table).inc(report.bytes)
            self._last_commit.labels(report.table).set(self._clock.wall_seconds())

    @override
    def stepped(self, report: StepReport, status: DaemonStatus) -> None:
        for stage, seconds in report.stage_seconds.items():
            self._batch_seconds.labels(stage).observe(seconds)

    @override
    def maintained(self, report: ChoreReport) -> None:
        self._upkeep.maintained(report)

    @override
    def round_ended(self, report: RoundReport) -> None:
        self._upkeep.round_ended(report)

    @override
    def verified(self, report: VerificationReport) -> None:
        self._verification.verified(report)

    @override
    def waiting_to_retry(self, error: EmitterError, attempt: int, attempts_max: int, wait_seconds: float) -> None:
        self._retries.inc()


class _StatusCollector(Collector):
    """The gauges that are true only at the moment of the scrape."""

    def __init__(self, status: Callable[[], DaemonStatus]) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        status = self._status()
        yield GaugeMetricFamily(
            "emitter_simulated_timestamp_seconds",
            "Unix time at which simulated time stands.",
            value=EPOCH_UNIX_SECONDS + status.simulated_slot,
        )
        yield GaugeMetricFamily(
            "emitter_clock_lag_seconds",
            "Simulated time that is due and not yet committed.",
            value=status.lag_seconds,
        )
        yield GaugeMetricFamily(
            "emitter_rate_debt_events",
            "Rows expected in the simulated time that is due and not yet committed.",
            value=status.debt_rows,
        )
        level = GaugeMetricFamily(
            "emitter_level_in_seconds",
            "Real time until nothing is behind, at the pace of the last steps. Absent where that is not known.",
            labels=[],
        )
        if status.level_in_seconds is not None:
            level.add_metric([], status.level_in_seconds)
        yield level
        target = GaugeMetricFamily(
            "emitter_target_events_per_second",
            "Rows that the rate curve asks for now, per second of real time. Absent at speed max.",
            labels=["table"],
        )
        for table, per_simulated_second in status.rows_per_second.items():
            if status.speed is not None:
                target.add_metric([table], per_simulated_second * status.speed)
        yield target
        speed = GaugeMetricFamily(
            "emitter_clock_speed", "Simulated seconds per real second. Absent at speed max.", labels=[]
        )
        if status.speed is not None:
            speed.add_metric([], status.speed)
        yield speed
        yield GaugeMetricFamily(
            "emitter_batch_simulated_seconds", "Simulated seconds that a batch covers.", value=status.batch_seconds
        )
        lag = GaugeMetricFamily(
            "emitter_table_lag_seconds",
            "Simulated time by which a table is behind the furthest one of the same slice.",
            labels=["table"],
        )
        for table, seconds in status.table_lag_seconds.items():
            lag.add_metric([table], seconds)
        yield lag
        shards = GaugeMetricFamily(
            "emitter_shards", "Into how many shards the run is dealt; this process is one.", labels=["run", "shard"]
        )
        shards.add_metric([status.run_id, str(status.slice.index)], status.slice.count)
        yield shards


class _WithoutCreated(Collector):
    """A registry without the client's `_created` series: each would double the series of a counter, and the
    client's own switch for them is global to the process.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if sample.name != f"{metric.name}_created"]
            yield metric
