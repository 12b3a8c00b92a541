"""The page at / and the JSON behind it. The page is a few fixed files, and asks for the JSON again and again."""

from __future__ import annotations

from importlib import resources
from typing import Any

from emitter.clock import EPOCH_UNIX_SECONDS, text_of
from emitter.errors import publishable
from emitter.model import TableProgress
from emitter.watch.board import TROUBLE_LENGTH_MAX, Picture, StepLine, TableLine, Trouble, VerificationLine, shortened
from emitter.watch.health import Health
from emitter.watch.observer import DaemonStatus
from emitter.watch.upkeepboard import RoundLine, TaskLine, TendedTable, UpkeepPicture

_TEXT_LENGTH_MAX = TROUBLE_LENGTH_MAX
_AHEAD_MAX = 5
_TENDED_MAX = 16  # tables; a domain has fewer
_FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/favicon.ico": ("icon.svg", "image/svg+xml"),  # browsers ask for it beside JSON and text
}


def page_files() -> dict[str, tuple[bytes, str]]:
    """Path -> (content, media type)."""
    folder = resources.files("emitter.watch") / "page"
    return {path: ((folder / name).read_bytes(), media_type) for path, (name, media_type) in _FILES.items()}


def status_document(picture: Picture, health: Health, *, version: str) -> dict[str, Any]:
    """What /api/status gives (docs/REFERENCE.md). Its fields are always all there, null where nothing is known; its
    size has a limit, and it holds no secret, no user and no query of a URI.
    """
    reason = health.why_not_ready()
    return {
        "version": version,
        **_of_run(picture.status),
        "ready": not reason,
        "reason": _text(reason or health.catching_up()),
        "retrying": _text(picture.retrying),
        "started_time": _wall_text(picture.started_wall_seconds),
        "running_seconds": round(picture.running_seconds, 1),
        "wall_time": _wall_text(picture.wall_seconds),
        **_of_time(picture.status),
        "inputs_ahead": _of_ahead(picture.status),
        **_of_rows(picture),
        "last_step": _of_step(picture.steps[0]) if picture.steps else None,
        "tables": [_of_table(line) for line in picture.tables],
        "upkeep": _of_upkeep(picture.upkeep),
        "verification": _of_verification(picture.verification) if picture.verification else None,
        "faults": {
            "counts": dict(picture.trouble_counts),
            "recent": [_of_trouble(trouble) for trouble in picture.troubles],
        },
    }


def _of_run(status: DaemonStatus | None) -> dict[str, Any]:
    if status is None:
        return dict.fromkeys(("run_id", "domain", "format", "output", "slice", "speed", "batch_seconds"))
    return {
        "run_id": status.run_id,
        "domain": status.domain,
        "format": status.format,
        "output": _text(status.output_uri),
        "slice": str(status.slice),
        "speed": "max" if status.speed is None else status.speed,
        "batch_seconds": status.batch_seconds,
    }


def _of_time(status: DaemonStatus | None) -> dict[str, Any]:
    if status is None:
        return dict.fromkeys(
            ("simulated_time", "reached_time", "lag_seconds", "debt_rows", "level_in_seconds", "curve")
        )
    return {
        "simulated_time": text_of(int(status.simulated_slot)),
        "reached_time": text_of(status.reached_slot),
        "lag_seconds": round(status.lag_seconds, 1),
        "debt_rows": round(status.debt_rows),
        "level_in_seconds": None if status.level_in_seconds is None else round(status.level_in_seconds, 1),
        "curve": {
            "from_time": text_of(status.curve.first_slot),
            "points": [[second, round(rate, 4)] for second, rate in status.curve.points],
        },
    }


def _of_ahead(status: DaemonStatus | None) -> list[dict[str, Any]]:
    """The next ones."""
    return [
        {
            "from_time": text_of(inputs.from_slot),
            "in_seconds": status.seconds_until(inputs.from_slot),
            "changes": _text("; ".join(inputs.changes)),
        }
        for inputs in (status.ahead[:_AHEAD_MAX] if status else ())
        if status
    ]


def _of_rows(picture: Picture) -> dict[str, Any]:
    targets = [line.target_rows_per_second for line in picture.tables]
    known = [target for target in targets if target is not None]
    return {
        "rows_per_second": round(sum(line.rows_per_second for line in picture.tables), 2),
        "target_rows_per_second": round(sum(known), 2) if known else None,
    }


def _of_step(step: StepLine) -> dict[str, Any]:
    return {
        "from_time": text_of(step.window.first),
        "to_time": text_of(step.window.end),
        "rows": step.rows,
        "bytes": step.bytes,
        "seconds": round(step.seconds, 4),
    }


def _of_table(line: TableLine) -> dict[str, Any]:
    target, written, last = line.target_rows_per_second, line.written or TableProgress(0), line.last_commit
    return {
        "name": line.name,
        "rows_per_second": round(line.rows_per_second, 4),
        "target_rows_per_second": None if target is None else round(target, 4),
        "rows": written.rows,
        "bytes": written.bytes,
        "files": written.files,
        "commit_to_time": text_of(written.slot) if line.written else None,
        "lag_seconds": line.lag_seconds,
        "commit_time": _wall_text(last.wall_seconds) if last else None,
        "commit_seconds": round(last.seconds, 4) if last else None,
    }


def _of_upkeep(upkeep: UpkeepPicture) -> dict[str, Any]:
    succeeded = upkeep.last_success_wall_seconds
    return {
        "last_round": _of_round(upkeep.last_round) if upkeep.last_round else None,
        "last_success_time": None if succeeded is None else _wall_text(succeeded),
        "tables": [_of_tended(table) for table in upkeep.tables[:_TENDED_MAX]],
    }


def _of_round(line: RoundLine) -> dict[str, Any]:
    return {
        "time": _wall_text(line.wall_seconds),
        "outcome": line.outcome,
        "seconds": round(line.seconds, 2),
        "chores": line.chores,
        "freed_bytes": line.freed_bytes,
        "conflicts": line.conflicts,
        "failures": line.failures,
        "problem": _text(line.problem),
    }


def _of_tended(table: TendedTable) -> dict[str, Any]:
    return {
        "name": table.name,
        "files": table.size.files if table.size else None,
        "bytes": table.size.bytes if table.size else None,
        "freed_bytes": table.freed_bytes,
        "done_time": None if table.done_wall_seconds is None else _wall_text(table.done_wall_seconds),
        "tasks": [_of_task(task, line) for task, line in table.tasks.items()],
    }


def _of_task(task: str, line: TaskLine) -> dict[str, Any]:
    return {
        "task": task,
        "files_removed": line.files_removed,
        "files_written": line.files_written,
        "conflicts": line.conflicts,
        "failures": line.failures,
    }


def _of_verification(line: VerificationLine) -> dict[str, Any]:
    report, window, succeeded = line.report, line.report.window, line.last_success_wall_seconds
    found = [*report.wrong_rows.values(), *report.wrong_files.values()]
    return {
        "time": _wall_text(line.wall_seconds),
        "outcome": report.outcome,
        "seconds": round(report.seconds, 2),
        "from_time": text_of(window.first) if window else None,
        "to_time": text_of(window.end) if window else None,
        "rows": report.rows if window else None,
        "differences": sum(sum(counts.values()) for counts in found),
        "tables": [
            {"name": table, **rows, **{f"{kind}_files": count for kind, count in report.wrong_files[table].items()}}
            for table, rows in list(report.wrong_rows.items())[:_TENDED_MAX]
        ],
        "last_success_time": None if succeeded is None else _wall_text(succeeded),
        "problem": _text(report.problem),
    }


def _of_trouble(trouble: Trouble) -> dict[str, Any]:
    return {
        "time": _wall_text(trouble.wall_seconds),
        "kind": trouble.kind,
        "table": trouble.table or None,
        "text": _text(trouble.text),
        "count": trouble.count,
    }


def _text(text: str) -> str:
    return shortened(publishable(text), _TEXT_LENGTH_MAX)


def _wall_text(unix_seconds: float) -> str:
    return text_of(int(unix_seconds) - EPOCH_UNIX_SECONDS)
