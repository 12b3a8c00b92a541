"""Log lines: JSON when nobody is watching, coloured when someone is; one line a batch.

The event of a line is its `action`, so that none can be without one. Lines of libraries come in at warning
and above, as action `library`.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO, override

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from emitter.clock import Clock, text_of
from emitter.errors import EmitterError, redacted
from emitter.model import (
    ChoreReport,
    CommitReport,
    RoundReport,
    Slice,
    StepReport,
    VerificationOutcome,
    VerificationReport,
    Window,
)
from emitter.watch.observer import DaemonStatus, Observer

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "console"]

_LEVELS: Mapping[Level, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_VERIFICATION_LEVELS: Mapping[VerificationOutcome, Level] = {
    "ok": "info",
    "different": "error",
    "failed": "warning",
    "killed": "warning",
    "skipped": "debug",
}
_log = structlog.get_logger()


def configure(level: Level, format: Format, clock: Clock, stream: TextIO | None = None) -> None:
    """Send all log lines of the process to `stream` from now on.

    None: to whatever sys.stderr is when a line comes, so that a live view can take it over.
    """

    def target() -> TextIO:
        return stream or sys.stderr

    people = format == "console" or (format == "auto" and target().isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _timestamps(clock),
            structlog.processors.format_exc_info,
            _redact,
            *(_console(target().isatty()) if people else _JSON),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: structlog.PrintLogger(target()),
        cache_logger_on_first_use=False,  # a reload may change all this
    )
    logging.basicConfig(handlers=[_Libraries()], level=max(_LEVELS[level], logging.WARNING), force=True)
    logging.captureWarnings(True)
    threading.excepthook = _tell_of_thread
    sys.unraisablehook = _tell_of_unraisable


def is_json() -> bool | None:
    """Whether lines are JSON; None where nobody has said yet."""
    if not structlog.is_configured():
        return None
    return isinstance(structlog.get_config()["processors"][-1], structlog.processors.JSONRenderer)


def log(level: Level, action: str, **fields: Any) -> None:
    """One line for what no observer sees."""
    _log.log(_LEVELS[level], action, **fields)


class LogLines(Observer):
    """Logs what a daemon does. Steps that only begin a batch wait for the one that ends it."""

    def __init__(self, *, is_watched: bool = False) -> None:
        """`is_watched`: a live view shows the batches, so that no line needs to."""
        self._is_watched = is_watched
        self._problems: dict[tuple[str, str, str], str] = {}  # of upkeep, told once for as long as they stay the same
        self._told_of: set[tuple[str, str, str]] = set()  # in this round
        self._reset()

    def _reset(self) -> None:
        self._first: int | None = None
        self._rows: Counter[str] = Counter()
        self._bytes = 0
        self._seconds = 0.0

    @override
    def outdated(self, revision: int | None, newest: int) -> None:
        _log.warning("outdated", revision=revision, newest=newest, hint="the inputs of the newest revision hold")

    @override
    def standing_by(self, slice: Slice) -> None:
        _log.info(
            "standby",
            slice=str(slice),
            hint="another process writes this slice: this one takes it when it has stood still for a minute",
        )

    @override
    def started(self, status: DaemonStatus) -> None:
        for inputs in status.ahead:
            seconds = status.seconds_until(inputs.from_slot)
            _log.info(
                "inputs_ahead",
                in_force_from=text_of(inputs.from_slot),
                in_seconds=None if seconds is None else round(seconds),
                changes=list(inputs.changes),
            )
        if self._is_watched:
            return
        _log.info(
            "start",
            run_id=status.run_id,
            domain=status.domain,
            format=status.format,
            output=status.output_uri,
            slice=str(status.slice),
            tables=list(status.tables),
            reached=text_of(status.reached_slot),
            speed=status.speed or "max",
            batch_seconds=status.batch_seconds,
            lag_seconds=round(status.lag_seconds, 3),
        )

    @override
    def committed(self, report: CommitReport) -> None:
        if report.outcome in ("conflict", "unknown", "deduplicated"):
            _log.warning(
                "commit",
                table=report.table,
                outcome=report.outcome,
                up_to=text_of(report.slot),
                rows=report.rows,
                seconds=round(report.seconds, 6),
            )

    @override
    def stepped(self, report: StepReport, status: DaemonStatus) -> None:
        # A table that had no rows for long first looks through that time again: that is no part of the batch.
        if self._first is None and (report.rows or report.ends_batch):
            self._first = report.window.first
        self._rows.update(report.rows)
        self._bytes += sum(commit.bytes for commit in report.commits)
        self._seconds += report.stage_seconds.get("total", 0.0)
        if report.ends_batch:
            if not self._is_watched and self._first is not None:
                self._batch(Window(self._first, report.window.end), report, status)
            self._reset()

    def _batch(self, window: Window, report: StepReport, status: DaemonStatus) -> None:
        _log.info(
            "batch",
            first=text_of(window.first),
            end=text_of(window.end),
            rows={table: self._rows[table] for table in status.tables},
            bytes=self._bytes,
            seconds=round(self._seconds, 6),
            lag_seconds=round(report.lag_seconds, 3),
        )

    @override
    def waiting_to_retry(self, error: EmitterError, attempt: int, attempts_max: int, wait_seconds: float) -> None:
        _log.warning(
            "retry",
            error=error.problem,
            hint=error.hint,
            attempt=attempt,
            attempts_max=attempts_max,
            wait_seconds=round(wait_seconds, 3),
        )

    @override
    def reloaded(self, applied: tuple[str, ...], refused: tuple[str, ...]) -> None:
        level = logging.WARNING if refused else logging.INFO
        _log.log(level, "reload", applied=list(applied), refused=list(refused))

    @override
    def maintained(self, report: ChoreReport) -> None:
        is_news = (report.files_removed or report.files_written) and not self._is_watched
        is_new = self._is_new((report.task, report.table, report.partition), report.problem)
        _log.log(
            logging.WARNING if is_new else logging.INFO if is_news else logging.DEBUG,
            "maintain",
            task=report.task,
            table=report.table or None,
            partition=report.partition or None,
            files_removed=report.files_removed,
            files_written=report.files_written,
            bytes_removed=report.bytes_removed,
            bytes_written=report.bytes_written,
            conflicts=report.conflicts,
            seconds=round(report.seconds, 6),
            error=report.problem or None,
        )

    @override
    def round_ended(self, report: RoundReport) -> None:
        tasks = report.task_seconds or ()
        for chore in [chore for chore in self._problems if chore[0] in tasks and chore not in self._told_of]:
            del self._problems[chore]  # nothing of it in this round
        self._told_of.clear()
        _log.log(
            logging.WARNING if self._is_new(("", "", ""), report.problem) else logging.DEBUG,
            "upkeep",
            outcome=report.outcome,
            chores=report.chores,
            seconds=round(report.seconds, 6),
            error=report.problem or None,
        )

    @override
    def verified(self, report: VerificationReport) -> None:
        window = report.window
        _log.log(
            _LEVELS[_VERIFICATION_LEVELS[report.outcome]],
            "verify",
            outcome=report.outcome,
            first=text_of(window.first) if window else None,
            end=text_of(window.end) if window else None,
            rows=report.rows if window else None,
            wrong=_wrong(report) or None,
            examples=list(report.examples) or None,
            seconds=round(report.seconds, 6),
            error=report.problem or None,
        )

    def _is_new(self, chore: tuple[str, str, str], problem: str) -> bool:
        """Whether it was not told the last time. What only a person can change comes again with every round."""
        is_new = bool(problem) and self._problems.get(chore) != problem
        self._problems.pop(chore, None)
        if problem:
            self._problems[chore] = problem
            self._told_of.add(chore)
        return is_new

    @override
    def stopped(self, reason: str) -> None:
        _log.log(logging.ERROR if reason.startswith("error") else logging.INFO, "stop", reason=reason)


def _wrong(report: VerificationReport) -> dict[str, int]:
    """What was found, such as `orders.lost`: only what there is."""
    found: dict[str, int] = {}
    for suffix, tables in (("", report.wrong_rows), ("_files", report.wrong_files)):
        for table, counts in tables.items():
            found |= {f"{table}.{kind}{suffix}": count for kind, count in counts.items() if count}
    return found


class _Libraries(logging.Handler):
    """What libraries log through `logging`, as lines of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        _log.log(
            record.levelno,
            "library",
            logger=record.name,
            message=_message(record),
            exc_info=record.exc_info,
        )


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):  # a mistake of the library's, which is not to end anything
        return f"{record.msg} {record.args}"


def _tell_of_thread(thrown: threading.ExceptHookArgs) -> None:
    """What ends a thread, as a line of ours."""
    name = thrown.thread.name if thrown.thread else "unknown"
    if thrown.exc_value is not None and not issubclass(thrown.exc_type, SystemExit):
        _log.error("library", logger="threading", message=f"thread {name} ended", exc_info=thrown.exc_value)


def _tell_of_unraisable(thrown: sys.UnraisableHookArgs) -> None:
    """What was raised where nobody could catch it, as a line of ours."""
    message = f"{thrown.err_msg or 'exception ignored in'} {type(thrown.object).__name__}"
    _log.error("library", logger="python", message=message, exc_info=thrown.exc_value)


def _timestamps(clock: Clock) -> Processor:
    def stamp(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        moment = datetime.fromtimestamp(clock.wall_seconds(), UTC)
        event["timestamp"] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return event

    return stamp


def _redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {key: _clean(value) for key, value in event.items()}


def _clean(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else redacted(str(value))


def _in_order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """What a reader looks for comes first."""
    head = {key: event.pop(key) for key in ("timestamp", "level", "action")}
    return head | {key: value for key, value in event.items() if value is not None}


_JSON: list[Processor] = [
    structlog.processors.EventRenamer("action"),
    _in_order,
    structlog.processors.JSONRenderer(),
]


def _console(is_terminal: bool) -> list[Processor]:
    colors = is_terminal and not os.environ.get("NO_COLOR")
    return [_flat, structlog.dev.ConsoleRenderer(colors=colors, sort_keys=False, pad_event_to=8)]


def _flat(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Collections as a person would write them."""
    return {key: _as_text(value) for key, value in event.items() if value is not None}


def _as_text(value: Any) -> Any:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "nothing"
    return value
