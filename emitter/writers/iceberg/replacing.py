"""A snapshot that puts data files in the place of others with the same rows, which pyiceberg has no operation for.

    manifest   the new files, and all others of the manifests that named an old one
    manifest   the old files, marked as deleted by this snapshot: who follows changes must be told. Without statistics
    the list   both, and every other manifest of the snapshot before

The manifests are written before the table is looked at for the last time: they only stand for others, which never
change. So between that look and the commit there is one small file to write, and an append is seldom in the way. The
snapshot's operation is `replace`, by which readers of what was appended pass it over. Rows and progress stay.

The new files count as new to deletes: a delete that was made before does not reach them. So the files of partitions
with deletes are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import batched
from typing import Any
from uuid import UUID

from pyiceberg.manifest import (
    UNASSIGNED_SEQ,
    DataFile,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriter,
    write_manifest,
    write_manifest_list,
)
from pyiceberg.table import Table as Handle
from pyiceberg.table import TableProperties
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType
from pyiceberg.table.snapshots import Operation, Snapshot, Summary, UpdateMetrics, update_snapshot_summaries
from pyiceberg.table.update import AddSnapshotUpdate, AssertRefSnapshotId, AssertTableUUID, SetSnapshotRefUpdate

from emitter.priority import urgently
from emitter.randomness import unique_name

_ENTRIES_MAX = 1_000  # of a manifest
_SMALL_MANIFESTS_MAX = 20  # besides those that have to be written anew; more are put together with them
_SMALL_MANIFEST_ENTRIES = 200

PartitionKey = tuple[int, tuple[object, ...]]
"""The number of a spec, and a partition's values."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """What is written of a snapshot to be: manifests, and the paths of those that they stand for; and of which
    partitions the files are.
    """

    snapshot_id: int
    manifests: tuple[ManifestFile, ...]
    instead_of: frozenset[str]
    partitions: frozenset[PartitionKey]
    metrics: UpdateMetrics


def partition_key(file: DataFile) -> PartitionKey:
    """The partition of a file that was read of a manifest."""
    return file.spec_id, tuple(file.partition[place] for place in range(len(file.partition)))


def with_deletes(handle: Handle, manifests: Sequence[ManifestFile]) -> Callable[[PartitionKey], bool]:
    """Whether rows of a partition may be deleted by files that say so: of its own, or of a spec without partitions."""
    keys = {
        partition_key(entry.data_file)
        for manifest in manifests
        if manifest.content == ManifestContent.DELETES
        for entry in manifest.fetch_manifest_entry(handle.io)
    }
    everywhere = any(not values for _, values in keys)
    return lambda key: everywhere or key in keys


def live_manifests(handle: Handle) -> list[ManifestFile]:
    """Those of the current snapshot that name anything."""
    snapshot = handle.current_snapshot()
    found = snapshot.manifests(handle.io) if snapshot else []
    return [manifest for manifest in found if manifest.has_added_files() or manifest.has_existing_files()]


def prepare(
    handle: Handle,
    manifests: Sequence[ManifestFile],
    old: Collection[str],
    holding: Collection[str],
    new: Sequence[DataFile],
) -> Replacement | None:
    """Write the manifests of a snapshot with `new` instead of `old` (locations), as the table stands with its live
    `manifests`; None where not all of the old ones are in those that are said to be `holding` them (locations).
    """
    spec = handle.spec()
    ours = [
        manifest
        for manifest in manifests
        if manifest.content == ManifestContent.DATA and manifest.partition_spec_id == spec.spec_id
    ]
    touched = {manifest.manifest_path for manifest in ours if manifest.manifest_path in holding}
    small = {
        manifest.manifest_path
        for manifest in ours
        if manifest.manifest_path not in touched and _entries(manifest) < _SMALL_MANIFEST_ENTRIES
    }
    if len(small) > _SMALL_MANIFESTS_MAX:
        touched |= small
    gone, stay = list[ManifestEntry](), list[ManifestEntry]()
    for manifest in ours:
        for entry in manifest.fetch_manifest_entry(handle.io) if manifest.manifest_path in touched else ():
            (gone if entry.data_file.file_path in old else stay).append(entry)
    if len(gone) != len(old):
        return None
    snapshot_id, metrics = handle.metadata.new_snapshot_id(), UpdateMetrics()
    for file in new:
        metrics.add_file(file)
    for entry in gone:
        metrics.remove_file(entry.data_file)
    written = tuple(_write(handle, snapshot_id, new, stay, gone))
    partitions = frozenset(partition_key(entry.data_file) for entry in gone)
    return Replacement(snapshot_id, written, frozenset(touched), partitions, metrics)


def _entries(manifest: ManifestFile) -> int:
    """How many files are live in it."""
    return (manifest.added_files_count or 0) + (manifest.existing_files_count or 0)


def commit(handle: Handle, manifests: Sequence[ManifestFile], replacement: Replacement) -> None:
    """Commit it on what was loaded, whose live `manifests` must hold those that it stands for. It is accepted only if
    the current snapshot still is the one that was loaded. Raises what the catalogue does.
    """
    parent = handle.current_snapshot()
    assert parent is not None
    sequence_number = handle.metadata.next_sequence_number()
    name = f"snap-{replacement.snapshot_id}-0-{_uuid()}.avro"
    location = handle.location_provider().new_metadata_location(name)
    with write_manifest_list(
        2, handle.io.new_output(location), replacement.snapshot_id, parent.snapshot_id, sequence_number, _codec(handle)
    ) as writer:
        # A list gives its manifests their number, for good: an attempt that is refused must leave none.
        writer.add_manifests([deepcopy(manifest) for manifest in replacement.manifests])
        writer.add_manifests([each for each in manifests if each.manifest_path not in replacement.instead_of])
    snapshot = Snapshot.model_validate(
        {
            "snapshot-id": replacement.snapshot_id,
            "parent-snapshot-id": parent.snapshot_id,
            "manifest-list": location,
            "sequence-number": sequence_number,
            "summary": _summary(replacement.metrics, parent.summary),
            "schema-id": handle.metadata.current_schema_id,
        }
    )
    main = {"ref-name": MAIN_BRANCH, "type": SnapshotRefType.BRANCH, "snapshot-id": replacement.snapshot_id}
    before = {"ref": MAIN_BRANCH, "snapshot-id": parent.snapshot_id}
    updates = AddSnapshotUpdate(snapshot=snapshot), SetSnapshotRefUpdate.model_validate(main)
    wanted = AssertRefSnapshotId.model_validate(before), AssertTableUUID(uuid=handle.metadata.table_uuid)
    urgently(lambda: handle._do_commit(updates, wanted))  # a catalogue in a database keeps others out meanwhile


def _write(
    handle: Handle,
    snapshot_id: int,
    new: Sequence[DataFile],
    stay: Sequence[ManifestEntry],
    gone: Sequence[ManifestEntry],
) -> Iterator[ManifestFile]:
    commit_uuid = _uuid()
    first, *more = list(batched(stay, _ENTRIES_MAX)) or [()]
    for number, kept in enumerate((first, *more)):
        with _writer(handle, snapshot_id, f"{commit_uuid}-m{number}.avro") as writer:
            for file in new if number == 0 else ():
                writer.add(_entry(file))
            for entry in kept:
                writer.existing(entry)
        yield writer.to_manifest_file()
    with _writer(handle, snapshot_id, f"{commit_uuid}-m{len(more) + 1}.avro") as writer:
        for entry in gone:
            writer.delete(_in_short(entry))
    yield writer.to_manifest_file()


def _uuid() -> UUID:
    return UUID(unique_name() + unique_name())


def _in_short(entry: ManifestEntry) -> ManifestEntry:
    """Of a file that is deleted, its statistics are nobody's concern, and would be most of what there is to write."""
    file = entry.data_file
    short = DataFile.from_args(
        content=file.content,
        file_path=file.file_path,
        file_format=file.file_format,
        partition=file.partition,
        record_count=file.record_count,
        file_size_in_bytes=file.file_size_in_bytes,
        column_sizes={},  # pyiceberg's inspection needs a mapping
    )
    return ManifestEntry.from_args(
        status=entry.status,
        snapshot_id=entry.snapshot_id,
        sequence_number=entry.sequence_number,
        file_sequence_number=entry.file_sequence_number,
        data_file=short,
    )


def _entry(file: DataFile) -> ManifestEntry:
    return ManifestEntry.from_args(
        status=ManifestEntryStatus.ADDED, snapshot_id=None, sequence_number=UNASSIGNED_SEQ, data_file=file
    )


def _writer(handle: Handle, snapshot_id: int, name: str) -> ManifestWriter:
    output = handle.io.new_output(handle.location_provider().new_metadata_location(name))
    return write_manifest(2, handle.spec(), handle.schema(), output, snapshot_id, _codec(handle))


def _codec(handle: Handle) -> Any:
    properties = handle.metadata.properties
    return properties.get(TableProperties.WRITE_AVRO_COMPRESSION, TableProperties.WRITE_AVRO_COMPRESSION_DEFAULT)


def _summary(metrics: UpdateMetrics, before: Summary | None) -> Summary:
    """The library sums up every operation but this one."""
    counts = update_snapshot_summaries(Summary(Operation.OVERWRITE, **metrics.to_dict()), before)
    return Summary(Operation.REPLACE, **counts.additional_properties)
