"""Which snapshots a table may forget.

A snapshot is readable for `keep_seconds` from when another one was put in its place, unless `versions_max` later ones
are listed: then the list forgets it, as every commit reads and writes the list, but its files stay (`unnamed.py`).
What a branch or a tag names stays for good. So does, in effect, all by which a table that was set back is found: a
slice's progress names its snapshot, which may be gone once everything left in the line is later (`tables.recorded`),
and nothing is forgotten of a table that was set back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table as Handle
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import (
    AssertRefSnapshotId,
    AssertTableUUID,
    RemoveSnapshotsUpdate,
)

from emitter.priority import urgently
from emitter.writers.upkeep import UpkeepPolicy


def expired(metadata: TableMetadata, policy: UpkeepPolicy, now_seconds: float) -> list[Snapshot]:
    """The oldest first."""
    named = {reference.snapshot_id for reference in metadata.refs.values()} | {metadata.current_snapshot_id}
    replaced = _replaced_milliseconds(metadata)
    limit = (now_seconds - policy.keep_seconds) * 1000
    newest = sorted(metadata.snapshots, key=lambda each: each.sequence_number or 0)[-policy.versions_max :]
    listed = {each.snapshot_id for each in newest if replaced.get(each.snapshot_id, each.timestamp_ms) > limit}
    gone = [each for each in metadata.snapshots if each.snapshot_id not in named | listed]
    return sorted(gone, key=lambda each: each.sequence_number or 0)


def expire(handle: Handle, snapshots: list[Snapshot]) -> None:
    """Forget them, on what was loaded: nothing may have been set to any of them since. Raises what the catalogue does.

    It is no new snapshot, so appends pass it by. But that branches and tags stand as they were is a requirement, as
    catalogues remove those whose snapshot goes. Of one that is made meanwhile a REST catalogue cannot be asked.
    """
    snapshot_ids = [each.snapshot_id for each in snapshots]
    update = RemoveSnapshotsUpdate.model_validate({"snapshot-ids": snapshot_ids})
    urgently(lambda: handle._do_commit((update,), tuple(_requirements(handle, snapshot_ids))))


def _requirements(handle: Handle, snapshot_ids: list[int]) -> Iterator[Any]:
    metadata = handle.metadata
    for name, reference in metadata.refs.items():
        yield AssertRefSnapshotId.model_validate({"ref": name, "snapshot-id": reference.snapshot_id})
    yield AssertTableUUID(uuid=metadata.table_uuid)
    if isinstance(handle.catalog, SqlCatalog):
        yield _AsLoaded(len(metadata.refs), frozenset(snapshot_ids))


@dataclass(frozen=True, slots=True)
class _AsLoaded:
    """That no branch or tag has come, and no snapshot has gone: for a catalogue in this process, as the REST protocol
    has no such requirement.
    """

    references: int
    snapshot_ids: frozenset[int]

    def validate(self, base_metadata: TableMetadata | None) -> None:
        there = {each.snapshot_id for each in base_metadata.snapshots} if base_metadata else set()
        if (
            base_metadata is None
            or len(base_metadata.refs) != self.references
            or not there.issuperset(self.snapshot_ids)
        ):
            raise CommitFailedException("Requirement failed: snapshots, branches or tags have changed")


def _replaced_milliseconds(metadata: TableMetadata) -> dict[int, int]:
    """When another snapshot came in the place of each that was current, for the last time."""
    found = {each.parent_snapshot_id: each.timestamp_ms for each in metadata.snapshots if each.parent_snapshot_id}
    log = metadata.snapshot_log
    for entry, later in pairwise(log):
        found[entry.snapshot_id] = later.timestamp_ms
    return found
