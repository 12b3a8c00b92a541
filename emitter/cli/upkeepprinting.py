"""What `maintain` did, or would do, as a person reads it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.text import Text

from emitter.cli.printing import Paper, columns, size_text
from emitter.model import ChoreReport
from emitter.writers.upkeep import Chore

_NOTHING = "Nothing to do: every table is as it should be."


def print_planned(chores: Sequence[Chore]) -> None:
    """The pieces of work that there are, and all of them together."""
    paper = Paper()
    if not chores:
        paper.print(Text(_NOTHING, style="green"), soft_wrap=True)
        return
    table = columns("task", "table", "partition", ">files", ">bytes")
    for one in chores:
        files = f"{one.files:,} → {one.files_after:,}"
        table.add_row(one.task, one.table, _partition_text(one.partition), files, size_text(one.size_bytes))
    before, after = sum(one.files for one in chores), sum(one.files_after for one in chores)
    size = size_text(sum(one.size_bytes for one in chores))
    table.add_row("in all", "", "", f"{before:,} → {after:,}", size, style="bold")
    paper.print(table)
    paper.print("Nothing was changed.", soft_wrap=True)


def print_maintained(reports: Sequence[ChoreReport], seconds: float, *, stopped: bool) -> None:
    """What was done, all of it together, and what went wrong."""
    paper = Paper()
    changed = [one for one in reports if one.files_removed or one.files_written or one.problem]
    failed = [one for one in reports if one.problem]
    has_conflicts = any(one.conflicts for one in changed)
    if changed:
        table = columns("task", "table", "partition", ">files", ">bytes", ">seconds", *[">conflicts"] * has_conflicts)
        for one in changed:
            cells = [one.task, one.table, _partition_text(one.partition), *_amounts([one])]
            table.add_row(*cells, *[f"{one.conflicts:,}"] * has_conflicts, style="red" if one.problem else "")
        conflicts = [f"{sum(one.conflicts for one in changed):,}"] * has_conflicts
        table.add_row("in all", "", "", *_amounts(changed), *conflicts, style="bold")
        paper.print(table)
    for one in failed:
        where = " ".join(filter(None, (one.task, one.table, _partition_text(one.partition))))
        paper.print(Text.assemble(("✗ ", "bold red"), f"{where}: {one.problem}"), soft_wrap=True)
    if failed:
        said = Text(f"{len(failed):,} of {len(changed):,} failed: the next round tries again.", style="bold red")
    elif stopped:
        said = Text("Stopped: the next round goes on from there.")
    elif changed:
        said = Text(f"Done in {seconds:,.1f} s.", style="green")
    else:
        said = Text(_NOTHING, style="green")
    paper.print(said, soft_wrap=True)


def _amounts(reports: Sequence[ChoreReport]) -> tuple[str, str, str]:
    files = f"{sum(one.files_removed for one in reports):,} → {sum(one.files_written for one in reports):,}"
    before, after = sum(one.bytes_removed for one in reports), sum(one.bytes_written for one in reports)
    return files, f"{size_text(before)} → {size_text(after)}", f"{sum(one.seconds for one in reports):,.2f}"


def _partition_text(folder: str) -> str:
    """`2026-01-31 05` for year=2026/month=01/day=31/hour=05."""
    values = re.fullmatch(r"year=(\d+)/month=(\d+)(?:/day=(\d+)(?:/hour=(\d+))?)?", folder)
    if values is None:
        return folder
    year, month, day, hour = values.groups()
    return "-".join(filter(None, (year, month, day))) + (f" {hour}" if hour else "")
