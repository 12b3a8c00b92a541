"""Many small files of a table as few large ones, with the same rows: what upkeep makes, by the encoder that made them.

So a merged file is in all as those that are appended: types, nulls, field ids, encodings and statistics. It holds the
rows in the order of the files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyarrow as pa

from emitter import arrow
from emitter.encoder import Encoder
from emitter.errors import DamagedStateError
from emitter.model import EncodedFile, Frame, StagedFile, Table
from emitter.storage.base import Storage
from emitter.writers.base import WriterOptions, file_name, put_young
from emitter.writers.merges import Merge
from emitter.writers.parts import BATCH_ROWS_MAX, DataFile, Part
from emitter.writers.shapes import Shapes


def merged(
    storage: Storage, table: Table, options: WriterOptions, file_rows_target: int, merge: Merge
) -> Iterator[StagedFile]:
    """The rows of a merge as files of `file_rows_target` rows, stored and durable where no version names them yet. One
    of them is in memory at a time, and one that is read.

    Raises DamagedStateError where a file is not as it is registered, and then nothing should be done with what has
    come; StorageNotFoundError where it is gone; StorageError.
    """
    parts = [Part(file.path, None, file.size_bytes, file.rows) for file in merge.files]
    for file in _encoded(storage, table, replace(options, file_rows_target=file_rows_target), parts):
        digest = hashlib.sha256(file.data).hexdigest()[:16]
        name = file_name(merge.slice, merge.window, file.part, digest, is_merged=True)
        path = f"{table.name}/{file.partition}/{name}"
        put_young(storage, path, file.data)
        yield StagedFile(table.name, path, path, file.rows, file.data.size, file.partition, file.metadata)


def _encoded(storage: Storage, table: Table, options: WriterOptions, parts: Sequence[Part]) -> Iterator[EncodedFile]:
    encoder = Encoder([table], options)
    rows = 0
    for batch in _read(storage, table, options, parts):
        for chunk in encoder.add(Frame(table.name, batch)):
            rows += chunk.rows
            yield encoder.encode(chunk)
    rests = encoder.finish()
    folders = {chunk.partition for chunk in rests}
    rows += sum(chunk.rows for chunk in rests)
    if len(folders) > 1 or rows != sum(part.rows or 0 for part in parts):
        raise _damaged(parts[0].name, "it, or one beside it, holds rows of another partition")
    for chunk in rests:
        yield encoder.encode(chunk)


def _read(storage: Storage, table: Table, options: WriterOptions, parts: Sequence[Part]) -> Iterator[pa.RecordBatch]:
    """The rows in batches of many files: what is done with a batch costs a small one as much as a large one."""
    shapes = Shapes(table, options.spec.columns)
    waiting, rows = list[pa.RecordBatch](), 0
    for part in parts:
        with DataFile(storage, part.name) as file:
            faults = shapes.faults(file, part)
            if faults:
                raise _damaged(part.name, faults[0])
            for batch in file.batches(table):
                waiting.append(batch)
                rows += batch.num_rows
                if rows >= BATCH_ROWS_MAX:
                    yield _inside(part.name, table, waiting)
                    waiting, rows = [], 0
    if waiting:
        yield _inside(parts[-1].name, table, waiting)


def _inside(path: str, table: Table, batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    try:
        return arrow.to_inside_form(table, pa.concat_batches(batches))  # type: ignore[attr-defined]  # not in the stubs
    except pa.ArrowException as error:
        raise _damaged(path, f"it, or one before it: {error}") from error


def _damaged(path: str, fault: str) -> DamagedStateError:
    return DamagedStateError(
        f"{path} cannot be put together with others: {fault}",
        hint="run emitter verify to see what is wrong with the table; upkeep leaves these files as they are",
    )
