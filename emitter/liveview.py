"""What a person sees who watches a daemon at a terminal: where time stands, what flows, what went last.

It is drawn on stderr a few times a second by a thread of its own; log lines appear above it.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, override

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from emitter.clock import Clock, text_of
from emitter.errors import EmitterError
from emitter.model import LANDED, CommitReport, StepReport
from emitter.observer import DaemonStatus, Observer

FRAMES_PER_SECOND = 4
RATE_SECONDS_MIN = 10  # a rate is a mean over so long, or over three batches
RATE_SECONDS_MAX = 600
STEPS_MAX = 12
NOTICE_LENGTH_MAX = 156  # two lines of 80
_LINES_AROUND = 14  # all but a line per table and per step; the last few are room for log lines above
_ENDS = {
    "signal": "Stopped as asked.",
    "batches": "Done: all batches are written.",
    "until": "Done: the end is reached.",
}


def terminal() -> Console | None:
    """The terminal behind stderr, if there is one that can be drawn on."""
    console = Console(stderr=True)
    drawable = sys.stderr.isatty() and console.is_terminal and not console.is_dumb_terminal
    return console if drawable else None


@dataclass
class _TableTally:
    rows: int = 0
    bytes: int = 0
    files: int = 0
    committed_seconds: float | None = None


@dataclass(frozen=True)
class _StepLine:
    window: str
    rows: int
    bytes: int
    seconds: float
    lag_seconds: float


class LiveView(Observer):
    """Draws inside `with`. `render` makes one picture of the moment."""

    def __init__(self, clock: Clock, console: Console, *, url: str = "") -> None:
        """`url`: where the metrics are."""
        self._clock = clock
        self._console = console
        self._url = url
        self._lock = threading.Lock()
        self._status: Callable[[], DaemonStatus] | None = None
        self._started_seconds = clock.monotonic_seconds()
        self._tallies: dict[str, _TableTally] = {}
        self._seconds: deque[tuple[int, Counter[str]]] = deque(maxlen=RATE_SECONDS_MAX)
        self._steps: deque[_StepLine] = deque(maxlen=STEPS_MAX)
        self._notice = Text()
        self._live = Live(
            console=console,
            get_renderable=self.render,
            refresh_per_second=FRAMES_PER_SECOND,
            vertical_overflow="crop",
        )

    def watch(self, status: Callable[[], DaemonStatus]) -> None:
        """From now on ask the daemon itself how it stands."""
        self._status = status

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    @override
    def started(self, status: DaemonStatus) -> None:
        with self._lock:
            self._tallies = {table: _TableTally() for table in status.tables}
            self._started_seconds = self._clock.monotonic_seconds()

    @override
    def committed(self, report: CommitReport) -> None:
        if report.outcome not in LANDED:
            return
        now = self._clock.monotonic_seconds()
        with self._lock:
            tally = self._tallies.setdefault(report.table, _TableTally())
            tally.rows += report.rows
            tally.bytes += report.bytes
            tally.files = report.table_files
            tally.committed_seconds = now
            if not self._seconds or self._seconds[-1][0] != int(now):
                self._seconds.append((int(now), Counter()))
            self._seconds[-1][1][report.table] += report.rows

    @override
    def stepped(self, report: StepReport, status: DaemonStatus) -> None:
        line = _StepLine(
            f"{text_of(report.window.first)}  +{_duration(report.window.seconds)}",
            sum(report.rows.values()),
            sum(commit.bytes for commit in report.commits),
            report.stage_seconds.get("total", 0.0),
            report.lag_seconds,
        )
        with self._lock:
            self._steps.appendleft(line)
            self._notice = Text()

    @override
    def waiting_to_retry(self, error: EmitterError, attempt: int, attempts_max: int, wait_seconds: float) -> None:
        when = f"Attempt {attempt} of {attempts_max} failed, the next follows in {wait_seconds:.1f} s: "
        with self._lock:
            self._notice = Text(_shortened(when + error.problem), style="yellow")

    @override
    def stopped(self, reason: str) -> None:
        with self._lock:
            self._notice = Text(_ENDS.get(reason, "Stopped by an error."), style="" if reason in _ENDS else "red")

    def render(self) -> RenderableType:
        """The picture of the moment, no higher and no wider than the console."""
        if self._status is None:
            return self._notice or Text("Starting: taking the lock, reading the journal, recovering ...")
        status = self._status()
        now = self._clock.monotonic_seconds()
        with self._lock:
            room = self._console.size.height - _LINES_AROUND - len(self._tallies)
            return Group(
                *self._head(status, now),
                Text(),
                self._table_of_tables(status, now),
                Text(),
                self._table_of_steps(min(max(room, 1), STEPS_MAX)),
                Text(),
                self._notice or Text("Ctrl-C finishes the batch under way and stops.", style="dim"),
            )

    def _head(self, status: DaemonStatus, now: float) -> list[Text]:
        lag_style = "yellow" if status.lag_seconds > 3 * status.batch_seconds else "bold"
        what = Text.assemble(
            ("emitter", "bold cyan"),
            f"  {status.domain} as {status.format} into ",
            (status.output_uri, "bold"),
        )
        if status.slice.count > 1:
            what.append(f", slice {status.slice}")
        time = Text.assemble(
            "Simulated ",
            (text_of(int(status.simulated_slot)), "bold"),
            "   speed ",
            (_speed(status.speed), "bold"),
            "   lag ",
            (_duration(status.lag_seconds), lag_style),
            "   running for ",
            (_duration(now - self._started_seconds), "bold"),
        )
        lines = [what, time, Text(self._url, style="dim")]
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        return lines

    def _table_of_tables(self, status: DaemonStatus, now: float) -> Table:
        rates = self._rates(status, now)
        table = _table({"table": 0, "rows/s": 9, "target/s": 9, "rows": 12, "bytes": 8, "files": 6, "last commit": 14})
        for name, tally in self._tallies.items():
            target = status.rows_per_second.get(name, 0.0)
            age = tally.committed_seconds
            table.add_row(
                name,
                _rate(rates[name]),
                _rate(target * status.speed) if status.speed else "max",
                f"{tally.rows:,}",
                _bytes(tally.bytes),
                f"{tally.files:,}",
                "" if age is None else f"{_duration(now - age)} ago",
            )
        return table

    def _rates(self, status: DaemonStatus, now: float) -> dict[str, float]:
        batch_seconds = status.batch_seconds / status.speed if status.speed else 0.0
        span_seconds = min(max(RATE_SECONDS_MIN, 3 * batch_seconds), RATE_SECONDS_MAX)
        rows: Counter[str] = Counter()
        for second, counts in self._seconds:
            if second > now - span_seconds:
                rows += counts
        elapsed = max(1.0, min(span_seconds, now - self._started_seconds))
        return {table: rows[table] / elapsed for table in self._tallies}

    def _table_of_steps(self, count: int) -> Table:
        table = _table({"last steps from": 30, "rows": 10, "bytes": 8, "took": 9, "lag": 10})
        for line in list(self._steps)[:count]:
            table.add_row(
                line.window,
                f"{line.rows:,}",
                _bytes(line.bytes),
                f"{line.seconds * 1000:,.0f} ms",
                _duration(line.lag_seconds),
            )
        return table


def _table(widths_min: dict[str, int]) -> Table:
    """Columns of such widths at least, so that they stand still while numbers grow. The first is text."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    for place, (title, width_min) in enumerate(widths_min.items()):
        table.add_column(title, min_width=width_min, justify="right" if place else "left", no_wrap=True)
    return table


def _shortened(text: str) -> str:
    """Two lines of it at most: paths are long, and the reason stands at the end."""
    if len(text) <= NOTICE_LENGTH_MAX:
        return text
    half = (NOTICE_LENGTH_MAX - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"


def _speed(speed: float | None) -> str:
    return "max" if speed is None else f"{speed:,g}x"


def _rate(per_second: float) -> str:
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.2f}"


def _duration(seconds: float) -> str:
    """At most two units: 850 ms are 0 s, 75 s are 1 min 15 s."""
    whole = int(seconds)
    for unit, size, smaller, smaller_size in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size} {unit} {rest} {smaller}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def _bytes(size: int) -> str:
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"
