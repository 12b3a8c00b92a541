"""A checkpoint of a plain Delta table, by the library, of the last one and a single entry that stands for all since.

By itself the library reads every entry since the last checkpoint twice, in a thread each: 0.6 ms of a processor for
each commit, more than it takes to compact what the commit brought, and hundreds of megabytes for some thousands. So it
is shown another table, in a folder of the system's for temporary files: the last checkpoint, if there is one, and one
entry with what is left of all others. What it makes of them is the checkpoint of the table itself, which has the same
schema, properties, files, tombstones and transactions.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Set
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from emitter.errors import StorageNotFoundError
from emitter.storage.base import Storage
from emitter.writers.delta import history
from emitter.writers.delta import tables as delta_tables
from emitter.writers.delta.committing import DirectLog
from emitter.writers.delta.log import LAST, LOG


def checkpoint_of(storage: Storage, table: str, last: int, version: int, paths: Set[str]) -> tuple[bytes, bytes] | None:
    """The checkpoint of a version with these data files (by their paths in the table), and what is to stand in
    `_last_checkpoint`, by the checkpoint of an earlier version, or by all entries where `last` is -1.

    None where that cannot be told so: where an entry does more than `history.joined` knows, or one is gone, where there
    is no such checkpoint in one file, or nowhere to put the other table. Raises DamagedStateError, StorageError.
    """
    if version < last + 2:
        return None
    log, entries = DirectLog(storage), list[bytes]()
    for each in range(last + 1, version + 1):
        entry = log.entry(table, each)
        if entry is None:
            return None
        entries.append(entry)
    joined = history.joined(entries, delta_tables.entry_path(table, version))
    if joined is None:
        return None
    try:
        checkpoint = storage.read(f"{table}/{LOG}/{checkpoint_name(last)}") if last >= 0 else None
    except StorageNotFoundError:
        return None
    try:
        with tempfile.TemporaryDirectory(prefix="emitter-") as folder:
            return _made(Path(folder), checkpoint, joined, version, paths)
    except (OSError, DeltaError):
        return None


def checkpoint_name(version: int) -> str:
    """Of the file in the log's folder."""
    return f"{version:020d}.checkpoint.parquet"


def _made(
    folder: Path, checkpoint: bytes | None, entry: bytes, version: int, paths: Set[str]
) -> tuple[bytes, bytes] | None:
    log, there = folder / LOG, version if checkpoint else 0
    log.mkdir()
    if checkpoint:
        (log / checkpoint_name(version - 1)).write_bytes(checkpoint)
        (log / LAST).write_text(json.dumps({"version": version - 1, "size": 0}))
    (log / f"{there:020d}.json").write_bytes(entry)
    handle = DeltaTable(str(folder))
    found = {uri.rpartition(f"{folder.name}/")[2] for uri in handle.file_uris()}
    if handle.version() != there or found != paths:
        return None
    handle.create_checkpoint()
    told = json.loads((log / LAST).read_bytes())
    return (log / checkpoint_name(there)).read_bytes(), json.dumps({**told, "version": version}).encode()
