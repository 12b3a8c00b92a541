"""What a running daemon has done lately, counted in one place for all that show it: the live view and the page.

The daemon's thread counts, any other may look: a picture is taken under a lock, and nothing in it changes any more.
All that is kept has a limit.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args, override

from emitter.clock import Clock
from emitter.errors import EmitterError, publishable
from emitter.model import (
    LANDED,
    TASKS,
    ChoreReport,
    CommitReport,
    RoundReport,
    StepReport,
    TableProgress,
    VerificationReport,
    Window,
)
from emitter.watch.observer import DaemonStatus, Observer
from emitter.watch.upkeepboard import UpkeepBoard, UpkeepPicture

RATE_SECONDS_MIN = 10  # a rate is a mean over so long, or over three batches
RATE_BUCKETS_MAX = 600
STEPS_MAX = 12
TROUBLE_SECONDS = 3600
TROUBLES_MAX = 10
TROUBLE_LENGTH_MAX = 300
_MINUTE_SECONDS = 60

TroubleKind = Literal["conflict", "unknown", "deduplicated", "error", "retry", "upkeep", "verify", "stop"]
"""How a commit ended if not at once and well; `retry`: an attempt failed; `upkeep`: a piece or a round of it did;
`verify`: a scheduled verification found a difference, or came to no verdict; `stop`: the daemon gave up.
"""


@dataclass(frozen=True, slots=True)
class LastCommit:
    """A commit of this process that landed: what it took, and when it was done."""

    seconds: float
    monotonic_seconds: float
    wall_seconds: float


@dataclass(frozen=True, slots=True)
class TableLine:
    """How a table stands. None: nothing yet."""

    name: str
    written: TableProgress | None  # what this shard has in it
    last_commit: LastCommit | None
    lag_seconds: int  # simulated, behind the furthest table of the same slice
    rows_per_second: float  # real ones, as below
    target_rows_per_second: float | None  # None: at speed max nothing is asked for


@dataclass(frozen=True, slots=True)
class StepLine:
    """A step that finished."""

    window: Window
    rows: int
    bytes: int
    seconds: float
    lag_seconds: float


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that went wrong, once or several times; `wall_seconds` is when it last did."""

    kind: TroubleKind
    table: str  # empty where it was none in particular
    text: str
    count: int
    seconds: float
    wall_seconds: float


@dataclass(frozen=True, slots=True)
class VerificationLine:
    """The last scheduled verification."""

    report: VerificationReport
    wall_seconds: float
    last_success_wall_seconds: float | None


@dataclass(frozen=True, slots=True)
class Picture:
    """All of it at one moment."""

    status: DaemonStatus | None  # None: not yet at work
    wall_seconds: float
    started_wall_seconds: float
    monotonic_seconds: float
    running_seconds: float
    tables: tuple[TableLine, ...]
    steps: tuple[StepLine, ...]  # the newest first
    troubles: tuple[Trouble, ...]  # of the last hour, the newest first
    trouble_counts: dict[TroubleKind, int]  # of the last hour, to the minute
    upkeep: UpkeepPicture
    verification: VerificationLine | None  # None: there was none yet
    retrying: str  # empty while the last attempt went well
    ended: str  # as in `Observer.stopped`; empty while it runs


class Recent:
    """Counts of the last while by key, in so many buckets of so many seconds in which anything came."""

    def __init__(self, bucket_seconds: int, buckets_max: int) -> None:
        self._bucket_seconds = bucket_seconds
        self._buckets: deque[tuple[int, Counter[str]]] = deque(maxlen=buckets_max)

    def add(self, now: float, key: str, count: int = 1) -> None:
        bucket = int(now // self._bucket_seconds)
        if not self._buckets or self._buckets[-1][0] != bucket:
            self._buckets.append((bucket, Counter()))
        self._buckets[-1][1][key] += count

    @property
    def begin(self) -> float:
        """What came since then is all in it."""
        is_full = len(self._buckets) == self._buckets.maxlen
        return self._buckets[0][0] * self._bucket_seconds if is_full else -math.inf

    def since(self, moment: float) -> Counter[str]:
        """What came in the buckets that begin after a moment."""
        counts: Counter[str] = Counter()
        for bucket, found in self._buckets:
            if bucket * self._bucket_seconds > moment:
                counts.update(found)
        return counts


class Board(Observer):
    """Keeps it. `picture` may be called from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._status: Callable[[], DaemonStatus] | None = None
        self._started_seconds = clock.monotonic_seconds()
        self._started_wall_seconds = clock.wall_seconds()
        self._last_commits: dict[str, LastCommit] = {}
        self._rows = Recent(1, RATE_BUCKETS_MAX)
        self._steps: deque[StepLine] = deque(maxlen=STEPS_MAX)
        self._troubles: deque[Trouble] = deque(maxlen=TROUBLES_MAX)
        self._trouble_counts = Recent(_MINUTE_SECONDS, TROUBLE_SECONDS // _MINUTE_SECONDS)
        self._upkeep = UpkeepBoard(clock)
        self._verification: VerificationLine | None = None
        self._retrying = ""
        self._ended = ""

    def watch(self, status: Callable[[], DaemonStatus]) -> None:
        """From now on ask the daemon itself how it stands."""
        self._status = status

    @override
    def started(self, status: DaemonStatus) -> None:
        with self._lock:
            self._started_seconds = self._clock.monotonic_seconds()
            self._started_wall_seconds = self._clock.wall_seconds()

    @override
    def committed(self, report: CommitReport) -> None:
        now = self._clock.monotonic_seconds()
        with self._lock:
            if report.outcome != "ok":
                self._note(report.outcome, report.table, "")
            if report.outcome not in LANDED:
                return
            self._last_commits[report.table] = LastCommit(report.seconds, now, self._clock.wall_seconds())
            self._rows.add(now, report.table, report.rows)

    @override
    def stepped(self, report: StepReport, status: DaemonStatus) -> None:
        rows, size = sum(report.rows.values()), sum(commit.bytes for commit in report.commits)
        line = StepLine(report.window, rows, size, report.stage_seconds.get("total", 0.0), report.lag_seconds)
        with self._lock:
            self._steps.appendleft(line)
            self._retrying = ""

    @override
    def waiting_to_retry(self, error: EmitterError, attempt: int, attempts_max: int, wait_seconds: float) -> None:
        with self._lock:
            self._note("retry", "", f"{error.problem}. Try: {error.hint}")
            self._retrying = (
                f"Attempt {attempt} of {attempts_max} failed, the next follows in {wait_seconds:.1f} s: {error.problem}"
            )

    @override
    def maintained(self, report: ChoreReport) -> None:
        with self._lock:
            self._upkeep.maintained(report)
            if report.problem and report.task in TASKS:  # else it is told as a step that failed
                self._note("upkeep", report.table, f"{report.task}: {report.problem}")

    @override
    def round_ended(self, report: RoundReport) -> None:
        with self._lock:
            self._upkeep.round_ended(report)
            if report.problem:
                self._note("upkeep", "", report.problem)

    @override
    def verified(self, report: VerificationReport) -> None:
        with self._lock:
            now, before = self._clock.wall_seconds(), self._verification
            succeeded = now if report.outcome == "ok" else before.last_success_wall_seconds if before else None
            self._verification = VerificationLine(report, now, succeeded)
            if report.outcome == "different":
                self._note("verify", "", "; ".join(report.examples) or "the tables are not as they should be")
            elif report.problem:
                self._note("verify", "", report.problem)

    @override
    def stopped(self, reason: str) -> None:
        with self._lock:
            self._ended = reason
            if reason.startswith("error"):
                self._note("stop", "", reason.removeprefix("error: "))

    def _note(self, kind: TroubleKind, table: str, text: str) -> None:
        """What comes again is counted, so that a storm of one kind leaves room for others."""
        now, text = self._clock.monotonic_seconds(), shortened(publishable(text), TROUBLE_LENGTH_MAX)
        count = 1
        for old in self._troubles:
            if (old.kind, old.table, old.text) == (kind, table, text) and old.seconds > now - TROUBLE_SECONDS:
                count += old.count
                self._troubles.remove(old)
                break
        self._troubles.appendleft(Trouble(kind, table, text, count, now, self._clock.wall_seconds()))
        self._trouble_counts.add(now, kind)

    def picture(self) -> Picture:
        """How it stands now."""
        status = self._status() if self._status else None
        now = self._clock.monotonic_seconds()
        with self._lock:
            counts = self._trouble_counts.since(now - TROUBLE_SECONDS)
            return Picture(
                status=status,
                wall_seconds=self._clock.wall_seconds(),
                started_wall_seconds=self._started_wall_seconds,
                monotonic_seconds=now,
                running_seconds=now - self._started_seconds,
                tables=self._table_lines(status, now) if status else (),
                steps=tuple(self._steps),
                troubles=tuple(one for one in self._troubles if one.seconds > now - TROUBLE_SECONDS),
                trouble_counts={kind: counts[kind] for kind in get_args(TroubleKind)},
                upkeep=self._upkeep.picture(),
                verification=self._verification,
                retrying=self._retrying,
                ended=self._ended,
            )

    def _table_lines(self, status: DaemonStatus, now: float) -> tuple[TableLine, ...]:
        batch_seconds = status.batch_seconds / status.speed if status.speed else 0.0
        span_seconds = max(RATE_SECONDS_MIN, 3 * batch_seconds)
        rows = self._rows.since(now - span_seconds)
        elapsed_seconds = max(1.0, min(span_seconds, now - self._started_seconds, now - self._rows.begin))
        return tuple(
            TableLine(
                table,
                written=status.written.get(table),
                last_commit=self._last_commits.get(table),
                rows_per_second=rows[table] / elapsed_seconds,
                lag_seconds=status.table_lag_seconds.get(table, 0),
                target_rows_per_second=status.rows_per_second.get(table, 0.0) * status.speed if status.speed else None,
            )
            for table in status.tables
        )


def shortened(text: str, length_max: int) -> str:
    """Both ends of a text that is too long: paths are long, and the reason stands at the end."""
    if len(text) <= length_max:
        return text
    half = (length_max - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"
