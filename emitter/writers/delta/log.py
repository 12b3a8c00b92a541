"""The log of a Delta table as a folder: its checkpoints, how much has come since the last one, and what is expired.

    orders/_delta_log/00000000000000000042.json                  what made version 42
    orders/_delta_log/00000000000000000039.checkpoint.parquet    all that counts as of version 39, in one file
    orders/_delta_log/_last_checkpoint                           which checkpoint is the newest

The library writes all of this, and cleans up where nobody looks after the table. On a local disk it leaves to the
system when that becomes durable.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
from pathlib import Path
from typing import Any

from emitter.errors import StorageError, StorageNotFoundError
from emitter.storage.base import Entry, Storage
from emitter.storage.local import LocalStorage

LOG = "_delta_log"
LAST = "_last_checkpoint"
_VERSIONED = re.compile(r"(\d{20})\.(json|checkpoint\.parquet|checkpoint\..*(?:parquet|json))")
_BESIDE = re.compile(r"(?:\d{20}\.)?(\d{20})\.(crc|compacted\.json)")  # by others: of a version, or up to it


class DeltaLog:
    """The logs of an output's tables."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def checkpoint_version(self, table: str) -> int:
        """The version of the newest checkpoint by the table's own word; -1 where it has none, or does not say."""
        return self._last(table)[0]

    def _last(self, table: str) -> tuple[int, int]:
        """The version of the newest checkpoint, and its bytes where that is told."""
        try:
            last = json.loads(self._storage.read(f"{table}/{LOG}/{LAST}"))
            return int(last["version"]), int(last.get("sizeInBytes") or 0)
        except StorageNotFoundError:
            return -1, 0
        except (ValueError, KeyError, TypeError, AttributeError):
            return -1, 0  # readers look into the folder then

    def since_checkpoint(self, table: str) -> tuple[list[Entry], int]:
        """The commits that every reader reads on top of the newest checkpoint, and the bytes of that."""
        version, size_bytes = self._last(table)
        after = "" if version < 0 else f"{version:020d}.json"
        entries = self._storage.list(f"{table}/{LOG}", after)
        return [entry for entry in entries if entry.name.endswith(".json")], size_bytes

    def told_removed(self, table: str) -> tuple[int, dict[str, float]] | None:
        """The version of the newest checkpoint, and the files of which it says that they were removed, by their paths
        in the table, each with the unix time of that in seconds. -1 and none where there is no checkpoint; None where
        it can't be read in one file. Raises StorageError.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        version = self.checkpoint_version(table)
        if version < 0:
            return version, {}
        path = f"{table}/{LOG}/{version:020d}.checkpoint.parquet"
        try:
            with self._storage.open_file(path) as source:
                found = pq.ParquetFile(source).read(["remove.path", "remove.deletionTimestamp"])
        except (StorageNotFoundError, pa.ArrowException, OSError):
            return None
        removed: list[Any] = found["remove"].drop_null().to_pylist() if found.num_columns else []
        return version, {each["path"]: (each["deletionTimestamp"] or math.inf) / 1000 for each in removed}

    def has_after(self, table: str, version: int) -> bool:
        """Whether the folder holds anything of a newer version. A clean-up that was cut short may have left a gap."""
        entries = self._storage.list(f"{table}/{LOG}", f"{version:020d}.json")
        found = (_VERSIONED.fullmatch(entry.name) for entry in entries)
        return any(each and int(each[1]) > version for each in found)

    def expired(self, table: str, before_wall_seconds: float) -> list[Entry]:
        """What nobody needs: all before the checkpoint from which the oldest version is read that was made at or after
        a time. Only those in one file count, as others may lack a part, and only up to the one that the table tells of:
        by that a commit under way finds out that it came behind one (`delta.committing`).
        """
        told = self.checkpoint_version(table)
        entries = {
            entry: (int(found[1]), found[2])
            for entry in self._storage.list(f"{table}/{LOG}")
            if (found := _VERSIONED.fullmatch(entry.name) or _BESIDE.fullmatch(entry.name))
        }
        newest = max((version for version, _ in entries.values()), default=0)
        kept = min(
            (
                version
                for entry, (version, kind) in entries.items()
                if kind == "json" and entry.written_wall_seconds >= before_wall_seconds
            ),
            default=newest,
        )
        checkpoints = (version for version, kind in entries.values() if kind == "checkpoint.parquet")
        first = max((version for version in checkpoints if version <= min(kept, told)), default=0)
        return [
            entry
            for entry, (version, _) in entries.items()
            if version < first and entry.written_wall_seconds < before_wall_seconds
        ]

    def sync_entries(self, table: str, after_version: int) -> None:
        """Make durable what was committed after a version. On a local disk the library leaves that to the system, which
        may keep a name without its bytes when the power fails: then nobody can read the table any more. Raises
        StorageError.
        """
        if not isinstance(self._storage, LocalStorage):
            return
        folder = self._storage.root / table / LOG
        try:
            for version in itertools.count(after_version + 1):
                if not _synced(folder / f"{version:020d}.json"):
                    break
                if _synced(folder / f"{version:020d}.checkpoint.parquet"):
                    _synced(folder / LAST)
        except OSError as error:
            raise StorageError("sync the log of", f"{self._storage.uri}/{table}", error) from error
        self._storage.sync_folders({f"{table}/{LOG}"})

    def sync_checkpoints(self, table: str) -> None:
        """Make durable all that may replace entries, before they are removed. Raises StorageError."""
        if not isinstance(self._storage, LocalStorage):
            return
        folder = self._storage.root / table / LOG
        names = (entry.name for entry in self._storage.list(f"{table}/{LOG}"))
        checkpoints = [name for name in names if ".checkpoint." in name]
        try:
            for name in (*checkpoints, LAST):
                _synced(folder / name)
        except OSError as error:
            raise StorageError("sync the checkpoints of", f"{self._storage.uri}/{table}", error) from error
        self._storage.sync_folders({f"{table}/{LOG}"})


def _synced(path: Path) -> bool:
    """Whether there is such a file; its bytes are durable then."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return True
