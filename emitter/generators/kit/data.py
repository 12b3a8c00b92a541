"""Word lists and catalogues: CSV files beside the code, each read once.

A file is UTF-8 with comment lines (`#`) on top that name its source and licence, then a header, then rows of as many
fields as the header. A cell is a text or a whole number: which of them, the reader of a column says.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import pyarrow as pa

from emitter.randomness import Integers

type Texts = pa.Array[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """A column of texts that repeat: int16 codes, and the different texts in the order in which they first come."""

    codes: Integers
    names: Texts


@dataclass(frozen=True, slots=True, eq=False)
class DataFile:
    """The cells of a file by column, as they are written in it."""

    name: str
    columns: dict[str, tuple[str, ...]]
    lines: tuple[int, ...]  # on which each row stands

    def __len__(self) -> int:
        return len(self.lines)

    def texts(self, column: str) -> tuple[str, ...]:
        """A column as it is written. Raises ValueError if there is none of this name."""
        if column not in self.columns:
            raise ValueError(f"{self.name} has no column {column!r}, only {', '.join(self.columns)}")
        return self.columns[column]

    def integers(self, column: str) -> Integers:
        """A column of whole numbers. Raises ValueError, which tells the line, where a cell is none."""
        cells = self.texts(column)
        try:
            found = np.array(list(map(int, cells)), dtype=np.int64)
        except ValueError:
            line, cell = next(bad for bad in zip(self.lines, cells, strict=True) if not _is_whole(bad[1]))
            raise ValueError(f"{self.name}, line {line}: {column} is {cell!r}, and must be a whole number") from None
        found.flags.writeable = False  # it is shared
        return found

    def labels(self, column: str) -> Labels:
        """A column of texts as codes into the different ones."""
        return labels_of(self.texts(column))

    def places(self, column: str, target: DataFile, key: str) -> Integers:
        """For each row, the row of `target` whose `key` this column names. Raises ValueError, which tells the line,
        where it names none.
        """
        rows = {cell: row for row, cell in enumerate(target.texts(key))}
        cells = self.texts(column)
        for line, cell in zip(self.lines, cells, strict=True):
            if cell not in rows:
                raise ValueError(f"{self.name}, line {line}: {column} is {cell!r}, which is no {key} of {target.name}")
        return np.array([rows[cell] for cell in cells], dtype=np.int64)


@lru_cache(maxsize=64)
def data_file(package: str, name: str) -> DataFile:
    """The file `data/<name>` beside a package's code. Raises ValueError, which tells the line, if it is malformed."""
    text = (files(package) / "data" / name).read_text("utf-8")
    return parsed(name, text)


def parsed(name: str, text: str) -> DataFile:
    """A file's text, read. Raises ValueError, which tells the line, if it is malformed."""
    lines = text.splitlines()
    head = next((place for place, line in enumerate(lines) if not line.startswith("#")), len(lines))
    if head == 0:
        raise ValueError(f"{name}, line 1: comment lines on top must name source and licence")
    reader = csv.reader(lines[head:], strict=True)
    rows, numbers = [], []
    try:
        header = next(reader, [])
        if not header or len(set(header)) < len(header) or not all(header):
            raise ValueError(f"{name}, line {head + 1}: the header must name each column, and each once")
        for row in reader:
            if len(row) != len(header):
                message = f"{len(row)} fields, where the header has {len(header)}"
                raise ValueError(f"{name}, line {head + reader.line_num}: {message}")
            rows.append(row)
            numbers.append(head + reader.line_num)
    except csv.Error as error:
        raise ValueError(f"{name}, line {head + reader.line_num}: {error}") from error
    if not rows:
        raise ValueError(f"{name}: no rows")
    return DataFile(name, dict(zip(header, zip(*rows, strict=True), strict=True)), tuple(numbers))


def labels_of(texts: tuple[str, ...]) -> Labels:
    """Texts as codes into the different ones: a dictionary in which one stood twice would not be one."""
    found = dict.fromkeys(texts)
    places = {text: place for place, text in enumerate(found)}
    return Labels(np.array([places[text] for text in texts], dtype=np.int16), pa.array(list(found), pa.string()))


def _is_whole(cell: str) -> bool:
    return cell.removeprefix("-").isdecimal()
