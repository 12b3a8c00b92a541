"""Results as a person reads them: tables as wide as the terminal, or as COLUMNS says, or 80 characters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from emitter.clock import text_of
from emitter.truth.verdict import WRONG_ROWS

if TYPE_CHECKING:
    from emitter import model
    from emitter.run.bounded import Estimate, GenerateReport
    from emitter.settings.declaring import Key
    from emitter.truth.inspection import TableStatus
    from emitter.truth.verdict import Verification


_ANY_WIDTH = 10_000


class Paper(Console):
    """Standard output. No markup: what is printed is data."""

    def __init__(self) -> None:
        super().__init__(markup=False, highlight=False, emoji=False)

    def print_table(self, table: Table) -> None:
        """A table of `columns`, which stand closer where the width is short: better than to cut their titles."""
        if Measurement.get(self, self.options.update(width=_ANY_WIDTH), table).maximum > self.width:
            table.padding = (0, 1, 0, 0)
        self.print(table)


def print_estimate(estimate: Estimate) -> None:
    """What `generate` would write, by table and in all."""
    Paper().print(_amounts(estimate.rows, estimate.bytes, estimate.files))


def print_generated(report: GenerateReport, tables: Iterable[str], seconds: float) -> None:
    """What `generate` wrote, by table in this order, and in all."""
    paper = Paper()
    if report.has_written:
        rows = {table: report.rows.get(table, 0) for table in tables}
        paper.print(_amounts(rows, report.bytes, report.files))
        per_second = sum(rows.values()) / max(seconds, 0.001)
        paper.print(f"{per_second:,.0f} rows a second.")
    paper.print(report.sentence(), soft_wrap=True)


def _amounts(rows: Mapping[str, float], sizes: Mapping[str, float], files: Mapping[str, int]) -> Table:
    table = columns("table", ">rows", ">bytes", ">files")
    for name, count in rows.items():
        table.add_row(name, f"{count:,.0f}", size_text(sizes.get(name, 0)), f"{files.get(name, 0):,}")
    table.add_row(
        "in all",
        f"{sum(rows.values()):,.0f}",
        size_text(sum(sizes.values())),
        f"{sum(files.values()):,}",
        style="bold",
    )
    return table


def print_verification(verification: Verification) -> None:
    """What is there compared with what should be, how far it is complete, and the verdict in one line."""
    paper = Paper()
    table = columns("table", ">expected", ">found", *(f">{kind}" for kind in WRONG_ROWS))
    for one in verification.tables:
        counts = {kind: getattr(one, kind) for kind in WRONG_ROWS}
        table.add_row(
            one.table,
            f"{one.rows_expected:,}",
            f"{one.rows_found:,}",
            *(Text(f"{count:,}", style="bold red" if count else "dim") for count in counts.values()),
        )
    paper.print_table(table)
    for line in verification.partition_lines():
        paper.print(f"  {line}", soft_wrap=True)
    for one in verification.tables:
        for example in one.examples:
            paper.print(f"  {one.table}: {example}", soft_wrap=True)
    for line in verification.completeness():
        paper.print(line, soft_wrap=True)
    paper.print(Text(verification.sentence(), style="green" if verification.ok else "bold red"), soft_wrap=True)


def print_status(tables: Sequence[TableStatus]) -> None:
    """How far each table is, and how much is in it."""
    table = columns("table", "complete up to", ">rows", ">bytes", ">files", ">lag")
    for one in tables:
        table.add_row(
            one.table,
            text_of(one.slot),
            f"{one.rows:,}",
            size_text(one.bytes),
            f"{one.files:,}",
            f"{one.behind_seconds:,} s" if one.lag_seconds is None else f"{one.lag_seconds:,.0f} s",
        )
    paper = Paper()
    paper.print(table)
    paper.print(f"Sealed until {tables[0].sealed_until}: what changes in rates, tables or shards shows beyond.")


def print_checked(checked: Iterable[str]) -> None:
    """What was looked at: fine, or a warning."""
    paper = Paper()
    for line in checked:
        mark = ("! ", "bold yellow") if line.startswith("warning: ") else ("✓ ", "green")
        paper.print(Text.assemble(mark, line), soft_wrap=True)


def print_list(domains: Mapping[str, str], formats: Mapping[str, str]) -> None:
    """Names with one line each."""
    paper = Paper()
    for title, entries in (("Domains", domains), ("Formats", formats)):
        paper.print(Text(title, style="bold"))
        for name, description in entries.items():
            paper.print(f"  {name:<12} {description}", soft_wrap=True)
    paper.print(Text("`emitter info DOMAIN` shows tables and options.", style="dim"))


def print_info(tables: Iterable[model.Table], options: Mapping[str, Key]) -> None:
    """A domain's tables with their columns, and the options of its section of the configuration."""
    paper = Paper()
    for one in tables:
        paper.print(Text.assemble((one.name, "bold"), f": {one.description}"), soft_wrap=True)
        parents = f", parents: {', '.join(one.parents)}" if one.parents else ""
        paper.print(Text(f"key: {', '.join(one.key)}{parents}", style="dim"), soft_wrap=True)
        shown = columns("column", "type", "description", wrap_last=True)
        for column in one.columns:
            shown.add_row(column.name, column.type + ("?" if column.nullable else ""), column.description)
        paper.print(shown)
        paper.print()
    paper.print(Text("Options, and what they are if not given", style="bold"))
    for path, key in options.items():
        allowed = f" Allowed: {key.rule.allowed}." if key.rule else ""
        paper.print(f"{path}: {_option_text(key.default)}", soft_wrap=True)
        paper.print(Padding(Text(key.doc + allowed, style="dim"), (0, 0, 0, 4)))


def _option_text(value: Any) -> str:
    if value is None:
        return "not given"
    if isinstance(value, tuple):  # pairs, kept as a tuple
        return ", ".join(f"{name} {item:g}" for name, item in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def size_text(size: float) -> str:
    """Bytes with a unit: 1.2 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def columns(*titles: str, wrap_last: bool = False) -> Table:
    """Columns; those whose title begins with `>` are flushed right."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for place, title in enumerate(titles, 1):
        wraps = wrap_last and place == len(titles)
        table.add_column(
            title.lstrip(">"),
            justify="right" if title[0] == ">" else "left",
            no_wrap=not wraps,
            overflow="ellipsis",
        )
    return table
