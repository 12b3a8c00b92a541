"""The result of a query as it is printed: a table for people; CSV, JSON, or a JSON object a line for programs.

Times are ISO 8601, in UTC where they have a zone. A table gives numbers, times and names of columns whole, and cuts
texts where the width is short; what does not fit even so is printed row by row, a line for each value.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

import pyarrow as pa
from rich.cells import cell_len, set_cell_size

from emitter.cli import streams
from emitter.cli.printing import Paper
from emitter.errors import UsageError

FORMATS = ("table", "csv", "json", "ndjson")
TEXT_WIDTH_MIN = 8
_GAP = 2
_NANOSECONDS = 1_000_000_000
_EXPLAINED = ["explain_key", "explain_value"]


def print_result(schema: pa.Schema, batches: Iterable[pa.RecordBatch], form: str, rows_max: int) -> None:
    """Print a result; as a table at most so many rows of it. Raises UsageError for a value that has no form in it."""
    with told(form):
        _print(schema, batches, form, rows_max)


@contextmanager
def told(form: str) -> Iterator[None]:
    """As a UsageError what Python or a format has no value or type for, such as a time beyond the year 9999."""
    try:
        yield
    except (pa.ArrowException, OverflowError, ValueError) as error:
        raise UsageError(
            f"something in the result has no form in {form}: {str(error).splitlines()[0]}",
            hint="cast the column that it is in, such as to VARCHAR: column::VARCHAR",
        ) from None


def _print(schema: pa.Schema, batches: Iterable[pa.RecordBatch], form: str, rows_max: int) -> None:
    names = _unique(schema.names)
    rows = (row for batch in batches for row in _rows(batch))
    if form == "csv":
        _print_csv(names, rows)
    elif form == "json":
        _print_json(names, rows)
    elif form == "ndjson":
        for row in _read(rows):
            sys.stdout.write(f"{_object(names, row)}\n")
    elif names == _EXPLAINED:
        sys.stdout.writelines(f"{text.rstrip()}\n" for _, text in rows)
    else:
        _print_table(names, [_is_right(field.type) for field in schema], rows, rows_max)


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    columns = [_values(column) for column in batch.columns]
    return zip(*columns, strict=True)


def _values(column: Any) -> list[Any]:
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":  # which Python's own times cannot hold
        column, kind = column.cast(pa.string()), pa.string()
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
    found: list[Any] = column.to_pylist()
    return found


def _plain(value: Any) -> Any:
    """A value as JSON has it; a decimal that no float is exact for is a text."""
    plain = value
    match value:
        case None | bool() | int() | str():
            pass
        case float():
            plain = value if math.isfinite(value) else str(value)  # which JSON has no numbers for
        case Decimal():
            plain = _number(value)
        case datetime() if value.utcoffset() == timedelta():
            plain = f"{value.replace(tzinfo=None).isoformat()}Z"
        case datetime() | date() | time():
            plain = value.isoformat()
        case bytes():
            plain = value.hex()
        case pa.MonthDayNano():
            plain = _interval(value)
        case dict():
            plain = {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            plain = [_plain(inner) for inner in value]
        case _:
            plain = str(value)
    return plain


def _number(value: Decimal) -> int | float | str:
    if value.as_tuple().exponent == 0:
        return int(value)
    return float(value) if Decimal(repr(float(value))) == value else str(value)


def _interval(value: pa.MonthDayNano) -> str:
    seconds, nanoseconds = divmod(abs(value.nanoseconds), _NANOSECONDS)
    fraction = f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
    sign = "-" if value.nanoseconds < 0 else ""
    clock = f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{fraction}"
    named = [(value.months, "month"), (value.days, "day")]
    parts = [f"{count} {unit}{'' if abs(count) == 1 else 's'}" for count, unit in named if count]
    return " ".join([*parts, clock] if value.nanoseconds or not parts else parts)


def _print_csv(names: list[str], rows: Iterator[tuple[Any, ...]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for row in _read(rows):
        writer.writerow([_text(value) for value in row])


def _print_json(names: list[str], rows: Iterator[tuple[Any, ...]]) -> None:
    """An array with a line for each row."""
    before = "[\n"
    for row in _read(rows):
        sys.stdout.write(before + _object(names, row))
        before = ",\n"
    sys.stdout.write("[]\n" if before == "[\n" else "\n]\n")


def _object(names: list[str], row: tuple[Any, ...]) -> str:
    return json.dumps(dict(zip(names, map(_plain, row), strict=True)), ensure_ascii=False)


def _read(rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The rows, for as long as somebody reads what is printed of them."""
    for row in rows:
        if streams.reader_is_gone():
            return
        yield row


def _print_table(names: list[str], is_right: list[bool], rows: Iterator[tuple[Any, ...]], rows_max: int) -> None:
    shown = [[_cell(value) for value in row] for row in islice(rows, rows_max)]
    is_more = next(rows, None) is not None
    is_text = [all(not isinstance(cell, _Whole) for cell in column) for column in zip(*shown, strict=True)]
    titles = [_harmless(name) for name in names]
    widths = [max(map(cell_len, column)) for column in zip(titles, *shown, strict=True)]
    floors = [
        min(width, max(cell_len(title), TEXT_WIDTH_MIN)) if text else width
        for width, title, text in zip(widths, titles, is_text or [False] * len(titles), strict=True)
    ]
    paper = Paper()
    room = paper.width - _GAP * (len(widths) - 1)
    if sum(floors) <= room:
        _fit(widths, floors, room)
        for line in (titles, *shown):
            paper.print(_line(line, widths, is_right), soft_wrap=True, style="dim" if line is titles else "")
    else:
        width = max(map(cell_len, titles))
        for number, line in enumerate(shown, 1):
            paper.print(f"row {number}", style="dim")
            for title, cell in zip(titles, line, strict=True):
                paper.print(f"  {set_cell_size(title, width)}  {cell}", soft_wrap=True)
    count = "1 row" if len(shown) == 1 else f"{len(shown):,} rows"
    more = f"The first {count}: --rows shows more of them, --format csv or json gives all."
    paper.print(more if is_more else f"{count[0].upper()}{count[1:]}.", style="dim", soft_wrap=True)


def _fit(widths: list[int], floors: list[int], room: int) -> None:
    """Take width away, always from the column with the most to spare, until all fit."""
    while sum(widths) > room:
        _, place = max((width - floor, place) for place, (width, floor) in enumerate(zip(widths, floors, strict=True)))
        widths[place] -= 1


def _line(cells: list[str], widths: list[int], is_right: list[bool]) -> str:
    shown = (
        " " * (width - cell_len(cell)) + cell if right else _cut(cell, width)
        for cell, width, right in zip(cells, widths, is_right, strict=True)
    )
    return (" " * _GAP).join(shown).rstrip()


def _cut(text: str, width: int) -> str:
    return set_cell_size(text, width) if cell_len(text) <= width else f"{set_cell_size(text, width - 1)}…"


class _Whole(str):
    """A cell that is never cut: a number, a time."""

    __slots__ = ()


def _cell(value: Any) -> str:
    text = "NULL" if value is None else _harmless(_text(value))
    return _Whole(text) if isinstance(value, int | float | Decimal | datetime | date | time) else text


def _text(value: Any) -> str:
    """A value as a table and CSV have it."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case Decimal():
            return f"{value:f}"
    plain = _plain(value)
    return json.dumps(plain, ensure_ascii=False) if isinstance(plain, dict | list) else str(plain)


def _harmless(text: str) -> str:
    """On one line, and nothing that a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _is_right(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _unique(names: list[str]) -> list[str]:
    """Names of which none is there twice: the second `a` is `a_1`."""
    found: dict[str, None] = {}
    for name in names:
        other, number = name, 0
        while other in found:
            number += 1
            other = f"{name}_{number}"
        found[other] = None
    return list(found)
