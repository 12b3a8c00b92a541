"""Rows of a table as a person reads them, in the width that there is.

Numbers and times are never cut: a cut id is no id. Where the width is short, titles are broken at their underscores,
then text is cut, and titles last.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from emitter.cli.printing import Paper

if TYPE_CHECKING:
    import polars as pl

TITLE_WIDTH_MIN = 4
TEXT_WIDTH_MIN = 8


@dataclass
class _Column:
    title: str
    cells: list[str]
    is_text: bool
    is_number: bool
    width: int = 0

    def __post_init__(self) -> None:
        self.cells_width = max(map(len, self.cells), default=0)
        self.width = max(self.cells_width, *map(len, self.title.split("\n")))

    @property
    def broken_width(self) -> int:
        """What the title takes where it is broken as far as it can be."""
        return max(len(piece) for line in self.title.split("\n") for piece in _pieces(line))

    @property
    def title_width_min(self) -> int:
        """The second line of a title is part of the values, so it is not cut either."""
        return max([min(self.width, TITLE_WIDTH_MIN), *map(len, self.title.split("\n")[1:])])

    @property
    def text_width_min(self) -> int:
        return min(self.cells_width, TEXT_WIDTH_MIN) if self.is_text else self.cells_width

    def broken_title(self) -> str:
        """The title in lines that are no wider than the column, as far as its pieces are not."""
        lines: list[str] = []
        for line in self.title.split("\n"):
            lines.append("")
            for piece in _pieces(line):
                if lines[-1] and len(lines[-1]) + len(piece) > self.width:
                    lines.append("")
                lines[-1] += piece
        return "\n".join(lines)


def _pieces(line: str) -> list[str]:
    """What a line of a title may be broken into."""
    return re.findall(r"[^_]+_*|_+", line)


def print_rows(frames: Mapping[str, pl.DataFrame]) -> None:
    """Some rows of each table."""
    paper = Paper()
    for name, frame in frames.items():
        paper.print(Text(name, style="bold"))
        columns = [_column(series) for series in frame]
        _fit(columns, paper.width - len(columns) + 1)
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
        for column in columns:
            table.add_column(
                column.broken_title(),
                width=column.width,
                justify="right" if column.is_number else "left",
                no_wrap=True,
                overflow="ellipsis",
            )
        for row in zip(*(column.cells for column in columns), strict=True):
            table.add_row(*row)
        paper.print(table)
        if not frame.height:
            paper.print("no rows within a day of the origin")
        paper.print()


def _column(series: pl.Series) -> _Column:
    values = series.to_list()
    if series.dtype.is_temporal():
        return _times(series.name, values)
    cells = ["" if value is None else str(value) for value in values]
    is_number = series.dtype.is_numeric()
    return _Column(series.name, cells, is_text=not is_number, is_number=is_number)


def _times(name: str, values: list[datetime | None]) -> _Column:
    """Whole seconds, in UTC; a day that all have in common moves into the title."""
    days = {value.date() for value in values if value}
    title, form = (f"{name}\n{days.pop()}", "%H:%M:%S") if len(days) == 1 else (name, "%Y-%m-%d %H:%M:%S")
    cells = [value.strftime(form) if value else "" for value in values]
    return _Column(title, cells, is_text=False, is_number=False)


def _fit(columns: list[_Column], room: int) -> None:
    """Take width away, always from the column with the most to spare, until all fit or nothing can give."""
    titles_break = [max(column.cells_width, column.title_width_min, column.broken_width) for column in columns]
    text_gives = [max(column.text_width_min, column.title_width_min, column.broken_width) for column in columns]
    titles_give = [max(column.text_width_min, column.title_width_min) for column in columns]
    for floors in (titles_break, text_gives, titles_give):
        while sum(column.width for column in columns) > room:
            spare, place = max((column.width - floors[at], at) for at, column in enumerate(columns))
            if spare <= 0:
                break
            columns[place].width -= 1
