"""Removes the files of a lake's tables that nobody needs any more."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import batched
from typing import TYPE_CHECKING

from emitter.errors import StorageNotFoundError
from emitter.model import Slice, TableProgress
from emitter.storage.base import StoredFile
from emitter.writers.base import is_file_name, parse_file_name
from emitter.writers.ducklake import catalog, replacing
from emitter.writers.ducklake import files as lake_files
from emitter.writers.ducklake.output import Output
from emitter.writers.leftovers import Leftovers
from emitter.writers.upkeep import Chore, Done, UpkeepPolicy

if TYPE_CHECKING:
    import duckdb

FILES_MAX = 1_000  # removed in one go
_MERGED_NAME = re.compile(r"merged-\d+-[0-9a-f]{16}\.parquet")


class Vacuum:
    """See the module: files of a table that the catalogue notes as out of use since `keep_seconds`, those named as ours
    that no snapshot ever named, and what kills have left, both since `orphan_seconds`.
    """

    def __init__(self, policy: UpkeepPolicy, output: Output) -> None:
        self._out, self._policy = output, policy
        self._leftovers = Leftovers(output.storage, policy.orphan_seconds, output.clock)

    def plan(self, table: str) -> list[Chore]:
        return [
            Chore("vacuum", table, files=len(some), size_bytes=sum(file.size_bytes for file in some))
            for some in batched(self._removable(table)[0], FILES_MAX)
        ]

    def apply(self, table: str) -> Done:
        removable, replaced = self._removable(table)
        files = removable[:FILES_MAX]
        if not files:
            return Done()
        done = self._leftovers.remove(files)
        self._out.crash("ducklake.removed")
        paths = [f"{self._out.root}/{file.path}" for file in files]
        numbers = [replaced[path] for path in paths if path in replaced]

        def forget(cursor: duckdb.DuckDBPyConnection) -> bool:
            replacing.forget(cursor, numbers)
            return True

        if numbers:
            self._out.write("vacuum", forget)
        return done

    def _removable(self, table: str) -> tuple[list[StoredFile], Mapping[str, int]]:
        """The files, and under which numbers the catalogue notes those of them that it does, by their full paths.

        They are listed before the catalogue is asked, so that what is committed meanwhile is known by then.
        """
        listed = {file.path: file for file in self._out.storage.walk(table) if _is_ours(file.path)}
        root = f"{self._out.root}/"
        with self._out.lake.session("look into") as cursor:
            if cursor is None:
                return [], {}
            needed = lake_files.needed_paths(cursor, self._out.lake.data_path)
            noted = lake_files.scheduled(cursor, self._out.lake.data_path)
            replaced = self._replaced(cursor, table)
        progress = self._out.progress(table)
        unnamed = [file for path, file in listed.items() if root + path not in needed and root + path not in noted]
        orphans = [file for file in self._leftovers.old(unnamed) if not self._may_be_committed(file.path, progress)]
        gone = (path.removeprefix(root) for path in sorted(replaced.keys() - needed))
        out_of_use = [listed.get(path) or self._sized(path) for path in gone]
        return [*out_of_use, *orphans, *self._leftovers.find(table)], replaced

    def _sized(self, path: str) -> StoredFile:
        try:
            return StoredFile(path, self._out.storage.size(path), math.inf)
        except StorageNotFoundError:  # only its note is left
            return StoredFile(path, 0, math.inf)

    def _replaced(self, cursor: duckdb.DuckDBPyConnection, table: str) -> dict[str, int]:
        """The full paths of a table's files that went out of use long enough ago, with their numbers."""
        before = self._out.clock.wall_seconds() - self._policy.keep_seconds
        known = lake_files.scheduled(cursor, self._out.lake.data_path, before)
        found = catalog.tables(cursor, self._out.schema, [table]).get(table)
        folders = [f"{self._out.root}/{table}/"]
        if found:  # where DuckLake's own compaction puts what it makes
            folders.append(lake_files.folder(cursor, found.table_id, self._out.lake.data_path))
        root = f"{self._out.root}/"
        return {
            path: number for path, number in known.items() if path.startswith(tuple(folders)) and path.startswith(root)
        }

    def _may_be_committed(self, path: str, progress: Mapping[Slice, TableProgress]) -> bool:
        """Whether a live process may be about to register a file that no snapshot ever named."""
        named = parse_file_name(path)
        if named is None:
            return False
        slice, window = named
        return (slice not in progress or progress[slice].slot < window.end) and self._out.is_held(slice)


def _is_ours(path: str) -> bool:
    return is_file_name(path) or _MERGED_NAME.fullmatch(path.rpartition("/")[2]) is not None
