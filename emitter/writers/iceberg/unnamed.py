"""The files of a table that nobody needs any more: what no version names that is kept, or that somebody may be reading.

Who reads a table has loaded a metadata file, and finds everything else by it: a snapshot's list, the manifests in it,
the data files in those. So for `keep_seconds` all that the snapshots named stays that were current meanwhile, listed by
the table or not. No record says when a snapshot went, but the lists themselves do, as they are files:

    listed     those that the table's metadata names, whatever their age
    young      those written within the time: they stay, and what is in them alone is as young
    edge       the last one written before that (by its sequence number): it was current when the time began
    undecided  those of a number that the table has not reached: a commit may be about to name them
    dead       all others: the snapshot has expired, or its commit was refused and cannot pass any more

From the dead ones it goes down: the manifests that only they name are dead, and of the data files in those, the ones
that are live in none of the rest. So each file goes with the last that told of it, and before it: a process that is
killed in the middle leaves what tells the next one of the remainder.

What no dead file tells of and no other names was never part of the table: staged data, the manifests of a commit that
was cut short, undecided lists. It goes at `orphan_seconds`, if it is named as ours or pyiceberg's are. Files of other
names, in other places, and statistics are left in peace.

The time is made a tenth longer, for commits that were under way at its edge and for clocks of stores that go otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pyiceberg.avro.file import AvroFile
from pyiceberg.manifest import (
    MANIFEST_LIST_FILE_SCHEMAS,
    ManifestContent,
    ManifestEntryStatus,
    ManifestFile,
    PartitionFieldSummary,
)
from pyiceberg.table import Table as Handle

from emitter.errors import ForeignTableError, StorageNotFoundError
from emitter.storage.base import StoredFile
from emitter.writers.base import is_file_name
from emitter.writers.iceberg.io import Place
from emitter.writers.upkeep import UpkeepPolicy

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_LIST = re.compile(rf"snap-\d+-\d+-{_UUID}\.avro")
_MANIFEST = re.compile(rf"{_UUID}-m\d+\.avro")
_METADATA = re.compile(rf"(\d+)-{_UUID}(?:\.gz)?\.metadata\.json")
_MARGIN = 0.1


@dataclass(slots=True)
class _Named:
    """What some lists name: manifests by path, and the data files that are live in them."""

    manifests: dict[str, ManifestFile] = field(default_factory=dict)
    live: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Seen:
    """What was read of a table's lists and manifests, which never change: the next look need not read them again."""

    lists: dict[str, list[ManifestFile]] = field(default_factory=dict)
    manifests: dict[str, ManifestFile] = field(default_factory=dict)
    entries: dict[str, list[tuple[str, bool]]] = field(default_factory=dict)

    def forget_all_but(self, lists: set[str], manifests: set[str]) -> None:
        """Keep these lists, and these manifests (locations)."""
        self.lists = {path: found for path, found in self.lists.items() if path in lists}
        self.manifests = {path: found for path, found in self.manifests.items() if path in manifests}
        self.entries = {path: found for path, found in self.entries.items() if path in manifests}


class Unnamed:
    """One look at a table's folder. `found` are the files that may go, in the order in which they should.

    Raises StorageError, and ForeignTableError for a table that has metadata elsewhere.
    """

    def __init__(
        self, place: Place, name: str, handle: Handle, policy: UpkeepPolicy, now_seconds: float, seen: Seen
    ) -> None:
        self._place, self._handle, self._seen = place, handle, seen
        self._horizon = now_seconds - policy.keep_seconds * (1 + _MARGIN)
        self._orphaned = now_seconds - policy.orphan_seconds
        self._stored = {file.path: file for file in place.storage.walk(name)}
        self._metadata = f"{name}/metadata/"
        self.found = self._find()

    def _find(self) -> list[StoredFile]:
        kept, dead, young = self._lists()
        named = self._named(kept, is_kept=True)
        below = self._named(dead, is_kept=False)
        old_manifests = {
            path: manifest
            for path, manifest in below.manifests.items()
            if path not in named.manifests and self._is_old(path, self._horizon)
        }
        known = {path for manifest in old_manifests.values() for path, _ in self._entries(manifest)}
        data = {path for path in known - named.live if self._is_old(path, self._horizon)}
        lists = {path for path in dead if self._is_old(path, self._horizon)}
        told = named.live | named.manifests.keys() | below.manifests.keys() | data
        orphans = {
            path
            for path in self._stored
            if self._is_ours(path) and self._is_old(path, self._orphaned) and path not in told
        }
        if data or orphans:  # what a refused attempt told of may have been committed since
            also = self._named(young, is_kept=True)
            data -= also.live
            orphans -= also.live | also.manifests.keys()
        named_at = {each.manifest_path for each in (*named.manifests.values(), *old_manifests.values())}
        self._seen.forget_all_but(kept | dead, named_at)
        order = (*sorted(data | orphans), *sorted(old_manifests), *sorted(lists), *self._metadata_files())
        return [self._stored[path] for path in order]

    def _is_old(self, path: str, limit: float) -> bool:
        return path in self._stored and self._stored[path].written_wall_seconds <= limit

    def _is_ours(self, path: str) -> bool:
        if path.startswith(self._metadata):
            return _MANIFEST.fullmatch(path.removeprefix(self._metadata)) is not None
        return is_file_name(path)

    # Lists.

    def _lists(self) -> tuple[set[str], set[str], set[str]]:
        """Those that are kept for what they name, those that are dead, and the young ones that the table does not
        list.
        """
        metadata, upcoming = self._handle.metadata, self._handle.metadata.next_sequence_number()
        numbers = dict[str, int]()
        for snapshot in metadata.snapshots:
            numbers[self._place.path(snapshot.manifest_list)] = snapshot.sequence_number or 0
        kept, dead, young = set(numbers), set[str](), set[str]()
        for path in self._there(_LIST):
            if path in kept:
                continue
            if not self._is_old(path, self._horizon):
                young.add(path)
                continue
            number = self._number(path)
            if number is None or (number >= upcoming and not self._is_old(path, self._orphaned)):
                kept.add(path)
            else:
                dead.add(path)
                numbers[path] = number
        passed = {
            path: number for path, number in numbers.items() if number < upcoming and self._is_old(path, self._horizon)
        }
        edge = {path for path in dead if passed.get(path) == max(passed.values())}
        return kept | edge, dead - edge, young

    def _number(self, path: str) -> int | None:
        """The sequence number of a list's snapshot; None where it does not say, or is gone."""
        try:
            with AvroFile[ManifestFile](self._handle.io.new_input(self._place.of(path))) as file:
                text = file.header.meta.get("sequence-number", "")
        except StorageNotFoundError:
            return None
        return int(text) if text.isdecimal() else None

    # What they name.

    def _named(self, lists: Iterable[str], *, is_kept: bool) -> _Named:
        """What is kept must be there: an unknown file might name whatever else is there. Raises StorageError."""
        named = _Named()
        for manifest in (each for path in lists if is_kept or path in self._stored for each in self._manifests(path)):
            path = self._path(manifest.manifest_path) or manifest.manifest_path
            if path not in named.manifests:
                named.manifests[path] = manifest
                if is_kept:
                    named.live.update(data for data, is_live in self._entries(manifest) if is_live)
        return named

    def _manifests(self, path: str) -> Iterator[ManifestFile]:
        if path not in self._seen.lists:
            with AvroFile[ManifestFile](
                self._handle.io.new_input(self._place.of(path)),
                MANIFEST_LIST_FILE_SCHEMAS[2],
                read_types={-1: ManifestFile, 508: PartitionFieldSummary},
                read_enums={517: ManifestContent},
            ) as reader:
                found = [self._seen.manifests.setdefault(manifest.manifest_path, manifest) for manifest in reader]
            self._seen.lists[path] = found
        yield from self._seen.lists[path]

    def _entries(self, manifest: ManifestFile) -> Sequence[tuple[str, bool]]:
        """The data files that a manifest tells of, and whether they are live in it."""
        location = manifest.manifest_path
        if location not in self._seen.entries:
            entries = manifest.fetch_manifest_entry(self._handle.io, discard_deleted=False)
            paths = [self._path(entry.data_file.file_path) for entry in entries]
            self._seen.entries[location] = [
                (path, entry.status != ManifestEntryStatus.DELETED)
                for path, entry in zip(paths, entries, strict=True)
                if path is not None
            ]
        return self._seen.entries[location]

    # Metadata files.

    def _metadata_files(self) -> Iterator[str]:
        """Those that the newest does not name. One of a higher number may be about to become the newest."""
        current = self._path(self._handle.metadata_location) or ""
        if (version := self._version(current)) is None:
            return
        kept = {current, *(self._path(entry.metadata_file) for entry in self._handle.metadata.metadata_log)}
        for path in self._there(_METADATA):
            number = self._version(path)
            limit = self._horizon if number is not None and number <= version else self._orphaned
            if path not in kept and self._is_old(path, limit):
                yield path

    def _version(self, path: str) -> int | None:
        match = _METADATA.fullmatch(path.removeprefix(self._metadata))
        return int(match[1]) if match else None

    def _there(self, name: re.Pattern[str]) -> list[str]:
        there = (path for path in self._stored if path.startswith(self._metadata))
        return sorted(path for path in there if name.fullmatch(path.removeprefix(self._metadata)))

    def _path(self, location: str) -> str | None:
        """The storage's name of it; None for what lies elsewhere."""
        try:
            return self._place.path(location)
        except ForeignTableError:
            return None
