"""Results that show themselves: as a table of text at a prompt, as one of HTML in a notebook."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, slots=True)
class Grid:
    """Columns and rows, and lines below them. Whole numbers are flushed right."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[object, ...]]
    lines: tuple[str, ...] = ()

    def text(self) -> str:
        """As lines of text."""
        table = [self.columns, *([_text(cell) for cell in row] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        right = [all(isinstance(row[place], int) for row in self.rows) for place in range(len(self.columns))]
        lines = (
            "  ".join(
                cell.rjust(width) if flush else cell.ljust(width)
                for cell, width, flush in zip(row, widths, right, strict=True)
            ).rstrip()
            for row in table
        )
        return "\n".join([*lines, *self.lines])

    def html(self) -> str:
        """As an HTML table, everything in it escaped."""
        head = "".join(f"<th>{escape(column)}</th>" for column in self.columns)
        body = "".join(f"<tr>{''.join(f'<td>{escape(_text(cell))}</td>' for cell in row)}</tr>" for row in self.rows)
        below = "".join(f"<p>{escape(line)}</p>" for line in self.lines)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"


class Shown(ABC):
    """What shows itself as a grid."""

    @abstractmethod
    def grid(self) -> Grid:
        """What is shown of it."""

    def __repr__(self) -> str:
        return self.grid().text()

    def _repr_html_(self) -> str:
        return self.grid().html()


def _text(cell: object) -> str:
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
