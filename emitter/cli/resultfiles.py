"""The result of a query as a file: whole, or not there."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import redirect_stdout, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from emitter.cli import results
from emitter.errors import StorageError, UsageError
from emitter.settings.declaring import nearest

FORMATS = (*results.FORMATS, "parquet", "arrow")
_ENDINGS = {
    ".csv": "csv",
    ".json": "json",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".parquet": "parquet",
} | dict.fromkeys((".arrow", ".feather", ".ipc"), "arrow")
_BINARY = ("parquet", "arrow")


def chosen_format(form: str | None, path: Path | None) -> str:
    """The format that is asked for, or that a file's name ends in, or `table`. Raises UsageError."""
    if form is None:
        form = _ENDINGS.get(path.suffix.lower(), "table") if path else "table"
    if form not in FORMATS:
        hint = f"{nearest(form, FORMATS)} choose one of: {', '.join(FORMATS)}".strip()
        raise UsageError(f"there is no format {form!r} for results", hint=hint)
    if form in _BINARY and path is None:
        raise UsageError(f"{form} is no text to print", hint="give a file: -o FILE")
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise UsageError(f"{path} cannot be written: it is a folder, or is in none", hint="give the path of a file")
    if path is not None and path.exists() and not path.is_file():
        raise UsageError(f"{path} cannot be written: it is no file", hint="give a file, or leave -o out and redirect")
    return form


def write(schema: pa.Schema, batches: Iterable[pa.RecordBatch], form: str, path: Path, rows_max: int) -> None:
    """Write a result beside its place, and put it there once all of it is. Raises StorageError."""
    place = path.resolve()  # where a link leads
    part = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        if form in _BINARY:
            with results.told(form):
                _write_binary(schema, batches, form, part)
        else:
            with part.open("w", encoding="utf-8", newline="\n") as file, redirect_stdout(file):
                results.print_result(schema, batches, form, rows_max)
        if place.exists():
            part.chmod(stat.S_IMODE(place.stat().st_mode))
        part.replace(place)
    except OSError as error:
        raise StorageError("write", str(path), str(error), hint="give a file in a folder that can be written") from None
    finally:
        with suppress(OSError):
            part.unlink()


def _write_binary(schema: pa.Schema, batches: Iterable[pa.RecordBatch], form: str, part: Path) -> None:
    if form == "parquet":
        with pq.ParquetWriter(part, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
    else:
        with pa.ipc.new_file(str(part), schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
