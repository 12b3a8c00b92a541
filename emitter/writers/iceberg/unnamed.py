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

import io
import re
import struct
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import fastavro
from pyiceberg.manifest import ManifestEntryStatus
from pyiceberg.table import Table as Handle
from pyiceberg.table.metadata import TableMetadata

from emitter.errors import DamagedStateError, ForeignTableError, StorageNotFoundError
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
    """What some lists name: manifests (path -> location), and the data files that are live in them."""

    manifests: dict[str, str] = field(default_factory=dict)
    live: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Seen:
    """What is known of a table's lists and manifests, which never change: the next look need not read them again.

    `numbers`: sequence numbers of lists; `lists`: the manifests that each names; `entries`: the data files that each
    manifest tells of, and whether they are live in it.
    """

    numbers: dict[str, int] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)
    entries: dict[str, list[tuple[str, bool]]] = field(default_factory=dict)

    def note(self, place: Place, metadata: TableMetadata) -> None:
        """Know the number of every list that is named in the metadata."""
        for snapshot in metadata.snapshots:
            with suppress(ForeignTableError):  # who needs it will say so
                self.numbers[place.path(snapshot.manifest_list)] = snapshot.sequence_number or 0

    def forget_all_but(self, lists: set[str]) -> None:
        """Keep these lists, and the manifests that they name: until the last of them is removed, it is asked for."""
        self.numbers = {path: number for path, number in self.numbers.items() if path in lists}
        self.lists = {path: found for path, found in self.lists.items() if path in lists}
        manifests = {location for found in self.lists.values() for location in found}
        self.entries = {location: found for location, found in self.entries.items() if location in manifests}


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
            path: location
            for path, location in below.manifests.items()
            if path not in named.manifests and self._is_old(path, self._horizon)
        }
        known = {path for location in old_manifests.values() for path, _ in self._entries(location)}
        data = {path for path in known - named.live if self._is_old(path, self._horizon)}
        lists = {path for path in dead if self._is_old(path, self._horizon)}
        told = named.live | named.manifests.keys() | below.manifests.keys() | data
        orphans = {
            path
            for path in self._stored
            if self._is_ours(path) and self._is_old(path, self._orphaned) and path not in told
        }
        also = self._named(young if data or orphans else (), is_kept=True)
        data -= also.live  # what a refused attempt told of may have been committed since
        orphans -= also.live | also.manifests.keys()
        self._seen.forget_all_but(kept | dead | young)
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
        self._seen.note(self._place, metadata)
        numbers = {path: self._seen.numbers[path] for path in map(self._place.path, _lists_of(metadata))}
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
        newest = max(passed.values(), default=None)
        edge = {path for path in dead if newest is not None and passed.get(path) == newest}
        return kept | edge, dead - edge, young

    def _number(self, path: str) -> int | None:
        """The sequence number of a list's snapshot; None where it does not say, or is gone."""
        if path not in self._seen.numbers:
            try:
                about, self._seen.lists[path] = self._read_list(path)
            except StorageNotFoundError:
                return None
            text = about.get("sequence-number", "")
            if not text.isdecimal():
                return None
            self._seen.numbers[path] = int(text)
        return self._seen.numbers[path]

    # What they name.

    def _named(self, lists: Iterable[str], *, is_kept: bool) -> _Named:
        """What is kept must be there: an unknown file might name whatever else is there. Raises StorageError."""
        named = _Named()
        for location in {each for path in lists if is_kept or path in self._stored for each in self._manifests(path)}:
            named.manifests[self._path(location) or location] = location
            if is_kept:
                named.live.update(data for data, is_live in self._entries(location) if is_live)
        return named

    def _manifests(self, path: str) -> Sequence[str]:
        if path not in self._seen.lists:
            _, self._seen.lists[path] = self._read_list(path)
        return self._seen.lists[path]

    def _read_list(self, path: str) -> tuple[Mapping[str, str], list[str]]:
        """What a list says about itself, and the manifests that it names."""
        about, records = self._records(self._place.of(path))
        return about, [sys.intern(record["manifest_path"]) for record in records]

    def _entries(self, location: str) -> Sequence[tuple[str, bool]]:
        """The data files that a manifest tells of, and whether they are live in it."""
        if location not in self._seen.entries:
            _, records = self._records(location)
            found = [(self._path(each["data_file"]["file_path"]), each["status"]) for each in records]
            self._seen.entries[location] = [
                (sys.intern(path), status != ManifestEntryStatus.DELETED) for path, status in found if path is not None
            ]
        return self._seen.entries[location]

    def _records(self, location: str) -> tuple[Mapping[str, str], list[dict[str, Any]]]:
        """An Avro file's own words about it, and its records, by the names that Iceberg gives their fields."""
        with self._handle.io.new_input(location).open() as file:
            data = file.read()
        try:
            reader = fastavro.reader(io.BytesIO(data))
            return reader.metadata, [record for record in reader if isinstance(record, dict)]
        except (ValueError, EOFError, IndexError, OverflowError, struct.error, zlib.error) as error:
            raise DamagedStateError(
                f"{location} cannot be read: {error!r}",
                hint="readers of the snapshots that name it fail on it: restore it from a backup",
            ) from error

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


def _lists_of(metadata: TableMetadata) -> Iterator[str]:
    return (snapshot.manifest_list for snapshot in metadata.snapshots)
