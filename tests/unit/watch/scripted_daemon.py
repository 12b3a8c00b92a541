"""A daemon that does what its script says, for tests of what surrounds the real one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from emitter.clock import Clock
from emitter.errors import EmitterError
from emitter.model import CommitOutcome, CommitReport, Slice, StepReport, TableProgress, Window
from emitter.watch.observer import DaemonStatus, DayCurve, Observer

TABLES = ("customers", "orders")
STATUS = DaemonStatus(
    run_id="0123456789abcdef",
    domain="ecommerce",
    slice=Slice(0, 2),
    tables=TABLES,
    reached_slot=1000,
    simulated_slot=1000.0,
    lag_seconds=0.0,
    debt_rows=0.0,
    rows_per_second={"customers": 0.5, "orders": 10.0},
    speed=2.0,
    batch_seconds=10,
    last_step_wall_seconds=None,
    output_uri="data/shop",
    format="parquet",
    curve=DayCurve(0, ((0, 5.0), (43_200, 20.0), (86_400, 5.0))),
    written={"orders": TableProgress(1000, rows=12_345, files=7, bytes=30_000)},
    table_lag_seconds={"customers": 0, "orders": 0},
    left_to_others=(),
)


def commit(table: str = "orders", rows: int = 100, outcome: CommitOutcome = "ok", **fields: float) -> CommitReport:
    values = {"slot": 1010, "files": 1, "bytes": rows * 25, "seconds": 0.004, "table_files": 7} | fields
    return CommitReport(table=table, outcome=outcome, rows=rows, **values)  # type: ignore[arg-type]


def step(first: int = 1000, end: int = 1010, *, ends_batch: bool = True, **rows: int) -> StepReport:
    counts = rows or {"customers": 5, "orders": 100}
    return StepReport(
        slice=STATUS.slice,
        window=Window(first, end),
        tables=TABLES,
        rows=counts,
        commits=tuple(commit(table, count) for table, count in counts.items()),
        stage_seconds={"generate": 0.001, "commit": 0.01, "total": 0.012},
        ends_batch=ends_batch,
        lag_seconds=1.5,
    )


class ScriptedDaemon:
    """Each entry of the script is what one `step` does: a report to give, None, or an error to raise."""

    def __init__(
        self,
        script: Iterable[StepReport | EmitterError | Callable[[], StepReport | None] | None],
        *,
        clock: Clock,
        observer: Observer | None = None,
        status: DaemonStatus = STATUS,
        finished_after: int | None = None,
        due_seconds: float = 5.0,
    ) -> None:
        self._script = iter(script)
        self._clock = clock
        self._observer = observer or Observer()
        self._status = status
        self._finished_after = finished_after
        self._due_seconds = due_seconds
        self.steps = 0
        self.stops_requested = 0

    def __enter__(self) -> ScriptedDaemon:
        self._observer.started(self._status)
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def finished(self) -> bool:
        return self._finished_after is not None and self.steps >= self._finished_after

    def step(self) -> StepReport | None:
        entry = next(self._script)
        self.steps += 1
        report = entry() if callable(entry) else entry
        if isinstance(report, EmitterError):
            raise report
        if report is not None:
            for table, rows in report.rows.items():
                self._observer.generated(table, rows)
            for done in report.commits:
                self._observer.committed(done)
            self._status = replace(
                self._status,
                reached_slot=report.window.end,
                simulated_slot=float(report.window.end),
                last_step_wall_seconds=self._clock.wall_seconds(),
            )
            self._observer.stepped(report, self._status)
        return report

    def seconds_until_due(self) -> float:
        return self._due_seconds

    def request_stop(self) -> None:
        self.stops_requested += 1

    def status(self) -> DaemonStatus:
        return self._status
