"""pyiceberg's SQL catalogue, which reads each metadata file of a table once, and its own never.

A metadata file lists every snapshot, so that it grows with each commit: with 500 of them it takes 15 ms to read, with
10,000 a third of a second. A start looks at each table five times until its first commit, and the library at
every commit once more. The file that the catalogue names is never written to again, so what was read of it stays true,
and so does what was put into it.

For the same reason a commit is worked out without the snapshots that it has nothing to do with: the library copies all
that it changes, which takes four times as long as to write it. They are put back before it is stored. And each snapshot
is made into text once, for all the files that list it: to write it costs a third of a commit else, once there are some
hundreds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.io import FileIO
from pyiceberg.table import CommitTableResponse, StagedTable, Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.update import (
    AddSnapshotUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
    TableRequirement,
    TableUpdate,
)
from pyiceberg.typedef import Identifier


class RememberingSqlCatalog(SqlCatalog):
    """See the module. Of each table it keeps the newest metadata that it has read or written."""

    def __init__(self, name: str, **properties: str) -> None:
        super().__init__(name, **properties)
        self._known: dict[tuple[str, str], Table] = {}
        self._texts: dict[UUID, _Texts] = {}  # by table

    def commit_table(
        self, table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        response = super().commit_table(table, requirements, updates)
        *namespace, name = table.name()
        key = (Catalog.namespace_to_string(tuple(namespace)), name)
        self._known[key] = Table(table.name(), response.metadata, response.metadata_location, table.io, self)
        return response

    def _write_metadata(self, metadata: TableMetadata, io: FileIO, metadata_path: str) -> None:  # type: ignore[override]
        known = self._texts.get(metadata.table_uuid, {})
        part = _Part(metadata, known)
        super()._write_metadata(cast(TableMetadata, part), io, metadata_path)
        self._texts[metadata.table_uuid] = part.texts

    def _convert_orm_to_iceberg(self, orm_table: IcebergTables) -> Table:
        key = (str(orm_table.table_namespace), str(orm_table.table_name))
        known = self._known.get(key)
        if known is None or known.metadata_location != orm_table.metadata_location:
            known = self._known[key] = super()._convert_orm_to_iceberg(orm_table)
        # A table of its own: who commits with it puts other metadata into it.
        return Table(known.name(), known.metadata, known.metadata_location, known.io, self)

    def _update_and_stage_table(
        self,
        current_table: Table | None,
        table_identifier: Identifier,
        requirements: tuple[TableRequirement, ...],
        updates: tuple[TableUpdate, ...],
    ) -> StagedTable:
        if current_table is None or not _concern_the_newest(updates):
            return super()._update_and_stage_table(current_table, table_identifier, requirements, updates)
        whole, current = current_table.metadata, current_table.metadata.current_snapshot()
        newest = [current] if current else []
        part = whole.model_copy(update={"snapshots": newest, "snapshot_log": []})
        base = Table(current_table.name(), part, current_table.metadata_location, current_table.io, self)
        staged = super()._update_and_stage_table(base, table_identifier, requirements, updates)
        put_back = {
            "snapshots": whole.snapshots + staged.metadata.snapshots[len(newest) :],
            "snapshot_log": whole.snapshot_log + staged.metadata.snapshot_log,
        }
        staged.metadata = staged.metadata.model_copy(update=put_back)
        return staged


_Texts = dict[tuple[str, int | None, int, int | None], str]


class _Part:
    """A table's metadata for the library to write. `known` are texts of snapshots, `texts` then those of all in it."""

    def __init__(self, metadata: TableMetadata, known: _Texts) -> None:
        self._metadata, self._known = metadata, known
        self.texts: _Texts = {}

    def model_dump_json(self, **how: Any) -> str:
        """The same text as the metadata's own."""
        for each in self._metadata.snapshots:
            # Its id is the same at every attempt, and an expiry takes the parent from it.
            key = each.manifest_list, each.sequence_number, each.timestamp_ms, each.parent_snapshot_id
            self.texts[key] = self._known.get(key) or each.model_dump_json(**how)
        rest = self._metadata.model_copy(update={"snapshots": []}).model_dump_json(**how)
        # Inside of a text its marks would be escaped, and no other key has this name with a list.
        return rest.replace('"snapshots":[]', f'"snapshots":[{",".join(self.texts.values())}]', 1)


def _concern_the_newest(updates: Sequence[TableUpdate]) -> bool:
    """Whether updates have nothing to do with snapshots other than the current one and one that they bring."""
    brought = {update.snapshot.snapshot_id for update in updates if isinstance(update, AddSnapshotUpdate)}
    return all(
        update.ref_name == MAIN_BRANCH and update.snapshot_id in brought
        if isinstance(update, SetSnapshotRefUpdate)
        else isinstance(update, AddSnapshotUpdate | SetPropertiesUpdate)
        for update in updates
    )
