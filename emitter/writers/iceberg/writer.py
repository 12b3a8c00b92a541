"""Apache Iceberg tables, exactly once, in a SQL or a REST catalogue.

    orders/metadata/00012-<uuid>.metadata.json    a state of the table: snapshots, and properties with the progress
    orders/metadata/*.avro                        what files each snapshot holds, with their statistics
    iceberg.sqlite                                the catalogue, where no other is configured: which state is the newest

A commit moves a table's slice from slot a to slot b:

1.  The table is loaded: one metadata file. What it says of the slice must be a. What it says of itself must be as it
    was when it was opened: whose it is, its schema, its partitioning; and no slice may be ahead of its snapshots.
2.  In one transaction on that very handle, a snapshot is added that holds the new files, and a property is set: b, with
    the id of that snapshot.
3.  The catalogue accepts it only if the current snapshot is still the one that was loaded: the compare-and-set.

The snapshot is the guard, not the property: a commit that only sets properties is never refused. So nothing of ours
ever moves without a new snapshot: neither progress (a commit without files adds an empty one) nor, in a table that is
adopted, the identity. For the same reason the library must not retry: it would put the old transaction on top of a
table whose progress has moved meanwhile. It takes the number of its retries from the table's properties; we set it to
0 on our handle alone, as the retries of others' tools on this table are theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.table import DataScan, FileScanTask, Transaction
from pyiceberg.table import Table as Handle
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import TableUpdate

from emitter.clock import time_of
from emitter.errors import DamagedStateError, ForeignTableError, StorageError, StorageNotFoundError
from emitter.model import Slice, Table, TableCommit, TableProgress, TableSize
from emitter.writers.base import advanced, parse_file_name
from emitter.writers.iceberg import tables as iceberg_tables
from emitter.writers.iceberg.catalog import IcebergCatalog
from emitter.writers.iceberg.io import Place
from emitter.writers.iceberg.upkeep import IcebergUpkeep
from emitter.writers.parts import Part
from emitter.writers.registering import FoundTable, RegisteringWriter, check_expected
from emitter.writers.upkeep import UpkeepPolicy

if TYPE_CHECKING:
    from emitter.duck import Connection


class IcebergWriter(RegisteringWriter):
    """See the module."""

    format_name = "iceberg"
    unreadable = (r"[#?]", "pyiceberg and polars")
    progress_place = "property emitter.progress of that slice"
    crash_points = (
        "iceberg.staged",
        "iceberg.created",
        "iceberg.adopted",
        "iceberg.checked",
        "iceberg.appended",
        "iceberg.committed",
    )
    own_folders = frozenset({"metadata"})

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._place = Place(self.storage)
        self._catalog = IcebergCatalog(self._catalog_config, self._place)

    def check(self) -> None:
        super().check()
        self._catalog.check()

    def close(self) -> None:
        self._catalog.close()

    def progress(self, table: str) -> Mapping[Slice, TableProgress]:
        handle = self._catalog.load(table)
        return iceberg_tables.recorded(table, handle.metadata) if handle else {}

    def _find(self, table: str) -> FoundTable | None:
        handle = self._catalog.load(table)
        return self._found(table, handle) if handle else None

    def _found(self, name: str, handle: Handle) -> FoundTable:
        place = self._place.of(name)
        if handle.metadata.location.rstrip("/") != place or handle.metadata.format_version < 2:
            raise ForeignTableError(
                f"Iceberg table {self._catalog.namespace}.{name} in {self._catalog.text} is at"
                f" {handle.metadata.location} in format version {handle.metadata.format_version}, and needed at {place}"
                " in version 2 or later",
                hint="choose another output.catalog.namespace, or set output.uri to where the tables are",
            )
        return FoundTable(
            handle.metadata.properties.get(iceberg_tables.RUN_ID),
            iceberg_tables.columns_of(handle.schema()),
            iceberg_tables.partition_text(handle.spec(), handle.schema()),
        )

    def _declared(self, table: Table) -> FoundTable:
        schema = iceberg_tables.schema_of(table)
        spec = iceberg_tables.spec_of(schema, self.options.spec.granularity)
        return FoundTable(self._run_id, iceberg_tables.columns_of(schema), iceberg_tables.partition_text(spec, schema))

    def _create(self, table: Table) -> None:
        assert self._run_id is not None
        schema = iceberg_tables.schema_of(table)
        self._catalog.create(
            table.name,
            schema,
            iceberg_tables.spec_of(schema, self.options.spec.granularity),
            iceberg_tables.properties_of(schema, self._run_id),
        )

    def _adopt(self, table: Table) -> None:
        handle = self._loaded(table)
        if iceberg_tables.RUN_ID in handle.metadata.properties:  # somebody was faster: is it us?
            return
        with self._catalog.committing(table.name):
            transaction = _transaction(handle)
            with transaction.update_snapshot().fast_append():
                pass  # without files: it is the guard against whom else adopts it now
            transaction.set_properties({iceberg_tables.RUN_ID: str(self._run_id)})
            transaction.commit_transaction()
        self._crash("iceberg.adopted")

    def _attempt(self, slice: Slice, commits: Sequence[TableCommit]) -> Mapping[str, TableProgress]:
        (commit,) = commits
        table = self._opened(commit.table)
        handle = self._loaded(table)
        known = iceberg_tables.recorded(table.name, handle.metadata).get(slice)
        check_expected(slice, commit, known)
        after = advanced(known, commit)
        self._crash("iceberg.checked")
        schema, spec = iceberg_tables.schema_of(table), handle.spec()
        files = [iceberg_tables.data_file(file, self._place.of(file.final_path), schema, spec) for file in commit.files]
        with self._catalog.committing(table.name):
            transaction = _transaction(handle)
            with transaction.update_snapshot().merge_append() as append:
                for file in files:
                    append.append_data_file(file)
            record = iceberg_tables.Recorded(after, append.snapshot_id, handle.metadata.next_sequence_number())
            transaction.set_properties(record.as_property(slice) | iceberg_tables.outdated(handle.metadata.properties))
            self._crash("iceberg.appended")
            transaction.commit_transaction()
        self._crash("iceberg.committed")
        return {table.name: after}

    def _loaded(self, table: Table) -> Handle:
        """The table as it stands, which must be as this run needs it."""
        handle = self._catalog.load(table.name)
        if handle is None:
            raise StorageError("commit to", f"{self.storage.uri}/{table.name}", "somebody has dropped the table")
        assert self._run_id is not None
        self._check_found(self._run_id, table, self._found(table.name, handle))
        return handle

    def upkeep(self, policy: UpkeepPolicy) -> IcebergUpkeep:
        return IcebergUpkeep(
            policy, self._place, self._catalog, self.options, self._clock, self._crash, self._declared_as
        )

    def _declared_as(self, name: str, handle: Handle) -> Table:
        table = self._opened(name)
        assert self._run_id is not None
        self._check_found(self._run_id, table, self._found(name, handle))
        iceberg_tables.recorded(name, handle.metadata)
        return table

    def relation(self, connection: Connection, table: Table) -> str | None:
        from emitter.duck import load, quoted

        handle = self._catalog.load(table.name)
        if handle is None or handle.current_snapshot() is None:
            return None
        for name in ("avro", "iceberg"):
            load(connection, name, extra="sql", needed_for="SQL over Iceberg tables")
        return f"iceberg_scan({quoted(handle.metadata_location)})"

    def size(self, table: str) -> TableSize:
        handle = self._catalog.load(table)
        return iceberg_tables.size(handle.metadata) if handle else TableSize(0, 0)

    def paths_from(self, table: str, slot: int) -> Iterator[str]:
        handle = self._catalog.load(table)
        if handle is not None:
            first = time_of(self.options.spec.start(slot)).isoformat()
            yield from (task.file.file_path for task in handle.scan(f"event_time >= '{first}'").plan_files())

    def check_not_set_back(self, slice: Slice, table: str, progress: TableProgress | None, slot: int) -> None:
        """As for every format, but to look through all manifests takes a start as long as the table is old."""
        handle = self._catalog.load(table) if progress else None
        if handle is not None and iceberg_tables.recorded(table, handle.metadata).get(slice) == progress:
            made = (parse_file_name(path) for path in iceberg_tables.files_since(handle, slice))
            if not any(known and known[0] == slice and known[1].end > slot for known in made):
                return
        super().check_not_set_back(slice, table, progress, slot)

    @contextmanager
    def contents(self, table: Table) -> Iterator[Sequence[Part]]:
        handle = self._catalog.load(table.name)
        yield [] if handle is None else list(self._parts(table, handle))

    def _parts(self, table: Table, handle: Handle) -> Iterator[Part]:
        schema = handle.schema()
        ids = {field.name: field.field_id for field in schema.fields}
        names = tuple(column.name for column in table.columns if column.name in ids)
        scan = handle.scan(selected_fields=names)
        granularity = self.options.spec.granularity
        places = {
            number: iceberg_tables.partition_text(spec, schema) == f"{granularity}(event_time)"
            for number, spec in handle.specs().items()
        }
        for task in scan.plan_files():
            file = task.file
            is_placed = places[file.spec_id] and file.partition[0] is not None
            yield Part(
                self._place.path(file.file_path),
                iceberg_tables.partition_values(file.partition[0], granularity) if is_placed else None,
                file.file_size_in_bytes,
                file.record_count,
                ids,
                partial(_read_in_part, scan, task) if task.delete_files else None,
            )


def _transaction(handle: Handle) -> Transaction:
    """A transaction on what was loaded, without retries, and without old snapshots: it copies all that the handle
    knows, so that commits would take longer with each. The catalogue is only sent what changes.
    """
    current = handle.current_snapshot()
    changes = {
        "properties": {**handle.metadata.properties, "commit.retry.num-retries": "0"},
        "snapshots": [current] if current else [],
        "snapshot_log": [],
    }
    handle.metadata = handle.metadata.model_copy(update=changes)
    return _Transaction(handle)


class _Transaction(Transaction):
    """pyiceberg's own works the table out anew each time that it is asked, twenty times for an append."""

    _worked_out: tuple[tuple[TableUpdate, ...], TableMetadata] | None = None

    @property
    def table_metadata(self) -> TableMetadata:
        if self._worked_out is None or self._worked_out[0] is not self._updates:
            self._worked_out = (self._updates, super().table_metadata)
        return self._worked_out[1]


def _read_in_part(scan: DataScan, task: FileScanTask) -> Iterator[pa.RecordBatch]:
    """A file less its deleted rows."""
    reader = ArrowScan(scan.table_metadata, scan.io, scan.projection(), scan.row_filter)
    try:
        yield from reader.to_record_batches([task])
    except (StorageNotFoundError, pa.ArrowException) as error:
        raise DamagedStateError(
            f"{task.file.file_path} is part of the table, but cannot be read: {error}",
            hint="every reader of the table fails on it: restore it from a backup",
        ) from error


WRITER = IcebergWriter
