"""What keeps Iceberg tables from ageing: docs/decisions/0026 tells what ages them.

    compact   our small files, a partition and a slice at a time, as a few larger ones (`replacing.py`)
    expire    snapshots that nobody can want any more (`expiry.py`)
    vacuum    files that no version names which is kept (`unnamed.py`)

Each looks at the table anew, and commits only on what it has looked at; where an append comes first, it looks and tries
again, some times. What was merged by then is used again. A table that was set back is left as it is: what is to be
found out by it must not be tidied away.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from pyiceberg.manifest import ManifestContent, ManifestFile
from pyiceberg.table import Table as Handle

from emitter.clock import Clock
from emitter.errors import CommitConflictError, StorageError
from emitter.merging import merged
from emitter.model import StagedFile, Table
from emitter.writers import merges
from emitter.writers.base import CrashHook, WriterOptions
from emitter.writers.iceberg import tables as iceberg_tables
from emitter.writers.iceberg.catalog import IcebergCatalog
from emitter.writers.iceberg.expiry import expire, expired
from emitter.writers.iceberg.io import Place
from emitter.writers.iceberg.replacing import (
    PartitionKey,
    Replacement,
    commit,
    live_manifests,
    partition_key,
    prepare,
    with_deletes,
)
from emitter.writers.iceberg.unnamed import Seen, Unnamed
from emitter.writers.leftovers import Leftovers
from emitter.writers.merges import Merge, SmallFile
from emitter.writers.upkeep import Chore, Done, Task, Upkeep, UpkeepPolicy

Declared = Callable[[str, Handle], Table]
"""The table of a name as this run declares it, seen that it is what is there. Raises StateError, RolledBackError."""

_ATTEMPTS_MAX = 8
_WAIT_SECONDS = 0.02
_TRIES_SECONDS = 10  # also where nothing is kept


class IcebergUpkeep(Upkeep):
    """See the module."""

    tasks = ("compact", "expire", "vacuum")
    crash_points: ClassVar[tuple[str, ...]] = (
        "iceberg.merged",  # the new files are there, and no version names them
        "iceberg.replacing",  # so are the manifests
        "iceberg.replaced",
        "iceberg.expired",
        "iceberg.vacuumed",  # of a single file
    )

    def __init__(
        self,
        policy: UpkeepPolicy,
        place: Place,
        catalog: IcebergCatalog,
        options: WriterOptions,
        clock: Clock,
        crash_hook: CrashHook,
        declared: Declared,
    ) -> None:
        super().__init__(policy)
        self._place, self._storage, self._catalog = place, place.storage, catalog
        self._options, self._clock, self._crash, self._declared = options, clock, crash_hook, declared
        self._leftovers = Leftovers(place.storage, policy.orphan_seconds, clock)
        self._small: dict[str, dict[str, list[tuple[PartitionKey, SmallFile]]]] = {}
        self._seen: dict[str, Seen] = {}
        self._never = threading.Event()

    def plan(self, task: Task, table: str) -> Sequence[Chore]:
        handle = self._load(table)
        if handle is None:
            return ()
        match task:
            case "compact":
                return [merge.chore(table, self.policy.file_rows_target) for merge in self._merges(table, handle)]
            case "expire":
                snapshots = expired(handle.metadata, self.policy, self._clock.wall_seconds())
                return [Chore("expire", table, "", len(snapshots))] if snapshots else ()
            case "vacuum":
                files = [*self._unnamed(table, handle).found, *self._leftovers.find(table)]
                size_bytes = sum(file.size_bytes for file in files)
                return [Chore("vacuum", table, "", len(files), size_bytes)] if files else ()
        return ()

    def apply(self, chore: Chore) -> Done:
        handle = self._load(chore.table)
        if handle is None:
            return Done()
        match chore.task:
            case "compact":
                return self._compact(chore, handle)
            case "expire":
                return self._expire(chore.table)
            case "vacuum":
                files = [*self._unnamed(chore.table, handle).found, *self._leftovers.find(chore.table)]
                return self._leftovers.remove(files, lambda: self._crash("iceberg.vacuumed"))
        return Done()

    def _load(self, table: str) -> Handle | None:
        """The table as it stands, if it is there, ours to write to, and not set back. Raises StateError."""
        handle = self._catalog.load(table)
        if handle is not None:
            self._declared(table, handle)
        return handle

    # Compaction.

    def _merges(self, table: str, handle: Handle) -> list[Merge]:
        if handle.metadata.format_version != 2:
            return []  # later ones number rows, for good
        manifests = live_manifests(handle)
        deleted = with_deletes(handle, manifests)
        small = self._small_files(table, handle, manifests)
        files = [file for found in small.values() for key, file in found if not deleted(key)]
        slots = {slice: known.slot for slice, known in iceberg_tables.recorded(table, handle.metadata).items()}
        return merges.choose(files, slots, self._options.spec, self.policy)

    def _small_files(
        self, table: str, handle: Handle, manifests: Sequence[ManifestFile]
    ) -> dict[str, list[tuple[PartitionKey, SmallFile]]]:
        """By manifest, which never change: each is read once."""
        known, spec_id = self._small.get(table, {}), handle.spec().spec_id
        self._small[table] = {
            path: known[path] if path in known else list(self._read(table, handle, manifest))
            for manifest in manifests
            if manifest.content == ManifestContent.DATA and manifest.partition_spec_id == spec_id
            for path in [manifest.manifest_path]
        }
        return self._small[table]

    def _read(self, table: str, handle: Handle, manifest: ManifestFile) -> Iterator[tuple[PartitionKey, SmallFile]]:
        for entry in manifest.fetch_manifest_entry(handle.io):
            path, data = self._place.path(entry.data_file.file_path), entry.data_file
            folder = path.removeprefix(f"{table}/").rpartition("/")[0]
            file = merges.small_file(path, folder, data.record_count, data.file_size_in_bytes)
            if file and 2 * file.rows <= self.policy.file_rows_target:
                yield partition_key(data), file

    def _compact(self, chore: Chore, handle: Handle) -> Done:
        """One of the merges that the partition asks for by now, of those like the chore's if there are any."""
        asked = [merge for merge in self._merges(chore.table, handle) if merge.partition == chore.partition]
        if not asked:
            return Done()
        merge = min(asked, key=lambda each: abs(len(each.files) - chore.files))
        made = self._merge(self._declared(chore.table, handle), merge)
        self._crash("iceberg.merged")
        self._replace(chore.table, merge, made)
        self._crash("iceberg.replaced")
        return merge.done(made)

    def _merge(self, table: Table, merge: Merge) -> list[StagedFile]:
        return list(merged(self._storage, table, self._options, self.policy.file_rows_target, merge))

    def _replace(self, table: str, merge: Merge, made: Sequence[StagedFile]) -> None:
        """Put the new files in the old ones' place, if all of these are still in theirs."""
        replacement: Replacement | None = None
        begin = self._clock.monotonic_seconds()
        for attempt in range(1, _ATTEMPTS_MAX + 1):
            handle = self._load(table)
            if handle is None:
                raise _overtaken(table)
            manifests = live_manifests(handle)
            if replacement is None or not replacement.instead_of <= {each.manifest_path for each in manifests}:
                replacement = self._prepare(table, handle, manifests, merge, made)
                self._crash("iceberg.replacing")
                handle = self._load(table) or handle  # it took a while
                manifests = live_manifests(handle)
                if not replacement.instead_of <= {each.manifest_path for each in manifests}:
                    continue
            deleted = with_deletes(handle, manifests)
            if any(deleted(key) for key in replacement.partitions):
                raise _overtaken(table)
            if self._clock.monotonic_seconds() - begin > max(self.policy.keep_seconds, _TRIES_SECONDS):
                raise _overtaken(table)  # what a refused attempt told of may be removed by now
            try:
                with self._catalog.committing(table):
                    commit(handle, manifests, replacement)
            except CommitConflictError:
                if attempt == _ATTEMPTS_MAX:
                    raise
                self._clock.wait(self._never, _WAIT_SECONDS)
            else:
                return
        raise _overtaken(table)

    def _prepare(
        self, table: str, handle: Handle, manifests: Sequence[ManifestFile], merge: Merge, made: Sequence[StagedFile]
    ) -> Replacement:
        old = {file.path for file in merge.files}
        small = self._small_files(table, handle, manifests)
        holding = {manifest for manifest, files in small.items() if any(file.path in old for _, file in files)}
        schema, spec = iceberg_tables.schema_of(self._declared(table, handle)), handle.spec()
        new = [iceberg_tables.data_file(file, self._place.of(file.final_path), schema, spec) for file in made]
        for file in made:
            if self._storage.size(file.final_path) != file.size_bytes:
                raise StorageError("commit", file.final_path, "the merged file is cut short")
        replacement = prepare(handle, manifests, {self._place.of(path) for path in old}, holding, new)
        if replacement is None:
            raise _overtaken(table)
        return replacement

    # Snapshots and files.

    def _expire(self, table: str) -> Done:
        for attempt in range(1, _ATTEMPTS_MAX + 1):
            handle = self._load(table)
            if handle is not None:
                self._seen.setdefault(table, Seen()).note(self._place, handle.metadata)
            snapshots = expired(handle.metadata, self.policy, self._clock.wall_seconds()) if handle else []
            if handle is None or not snapshots:
                return Done()
            try:
                with self._catalog.committing(table):
                    expire(handle, snapshots)
            except CommitConflictError:
                if attempt == _ATTEMPTS_MAX:
                    raise
                self._clock.wait(self._never, _WAIT_SECONDS)
            else:
                self._crash("iceberg.expired")
                return Done(files_removed=len(snapshots))
        return Done()

    def _unnamed(self, table: str, handle: Handle) -> Unnamed:
        seen = self._seen.setdefault(table, Seen())
        return Unnamed(self._place, table, handle, self.policy, self._clock.wall_seconds(), seen)


def _overtaken(table: str) -> CommitConflictError:
    return CommitConflictError(
        f"somebody else has rewritten files of Iceberg table {table} that were to be put together", hint="plan it anew"
    )
