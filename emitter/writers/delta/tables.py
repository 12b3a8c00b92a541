"""Delta tables as the library has them: opened, created, described, and listed; and its errors in our terms.

The types of its errors tell little. TableNotFoundError also comes where a folder cannot be read or made, so a table is
only absent where its log has no entries. A request to S3 that failed, or a full disk, is an OSError whose errno is in
the text alone.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deltalake import DeltaTable, Field, PostCommitHookProperties, Schema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.schema import PrimitiveType

from emitter.errors import CommitConflictError, CommitUnknownError, ForeignTableError, StorageError, UsageError
from emitter.model import Table
from emitter.partitioning import PartitionSpec
from emitter.storage.base import Storage
from emitter.storage.local import LocalStorage
from emitter.storage.objects import ObjectStorage
from emitter.writers import hive
from emitter.writers.delta.log import LOG, DeltaLog
from emitter.writers.parts import Part
from emitter.writers.registering import FoundTable
from emitter.writers.upkeep import UpkeepPolicy

RUN_ID = "emitter.run_id"
NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
CHECKPOINT_COMMITS = 500
"""So many may come since the last checkpoint before who appends makes one: whoever opens the table reads all of them.
"""
CHECKPOINT_GRACE_SECONDS = 60
"""For so long it waits even then, as a batch takes ten times as long with one: upkeep, where there is any, comes first.
"""


def retention(keep_seconds: int) -> dict[str, str]:
    """The properties by which what was replaced stays readable for so long.

    A reader that
    follows the table by its log, or goes back in time, may be away for as long as this. So may one that reads an old
    version: vacuum leaves its files alone, and checkpoints go on telling of them.
    """
    interval = f"interval {keep_seconds} seconds"
    return {"delta.logRetentionDuration": interval, "delta.deletedFileRetentionDuration": interval}


PROPERTIES = {
    "delta.checkpointInterval": "20",  # for what others commit by the library: it reads what came since, twice each
    "delta.enableExpiredLogCleanup": "true",
    **retention(UpkeepPolicy().keep_seconds),
}
_HARMFUL = (
    re.compile(r"delta\.columnMapping\.mode=(?!none$)"),  # files are read by other column names than ours
    re.compile(r"delta\.setTransactionRetentionDuration="),  # the table forgets its progress
    re.compile(r"delta\.constraints\."),  # what registers files must test their rows itself
    re.compile(r"delta\.(invariants|generationExpression|identity\..*)="),
)
_LOADS_MAX = 5
_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}
_UNKNOWN_FEATURES = "Unsupported table features"  # said as if it were a conflict
_NO_RIGHTS = "lacked the necessary privileges"
"""What the library says of 401 and 403."""
_RIGHTS = "allow these credentials to list the bucket, and to read and write objects below output.uri"
_TYPES = {
    "int32": "integer",
    "int64": "long",
    "float64": "double",
    "bool": "boolean",
    "string": "string",
    "timestamp": "timestamp",
    "money": "decimal(12,2)",
}


def entry_path(table: str, version: int) -> str:
    """Where the log entry is that made a version of a table."""
    return f"{table}/{LOG}/{version:020d}.json"


class DeltaTables:
    """The Delta tables of an output. Nothing is kept: every table is loaded anew."""

    def __init__(self, storage: Storage) -> None:
        """Raises UsageError for an output that the library would take for another place."""
        self._storage = storage
        self.log = DeltaLog(storage)
        self._access = storage.access if isinstance(storage, ObjectStorage) else None
        self._base = str(storage.root) if isinstance(storage, LocalStorage) else storage.uri
        if set("%\\") & set(self._base):
            raise UsageError(
                f"the library for Delta Lake cannot write below {self._base}",
                hint="choose an output.uri without % and \\",
            )

    def credentials_version(self) -> int:
        """Moves when what was loaded before holds credentials that are no longer those in force."""
        return self._access.credentials_version() if self._access else 0

    def where(self, table: str) -> str:
        """For people."""
        return f"the Delta table {self._storage.uri}/{table}"

    def load(self, table: str) -> DeltaTable | None:
        """The table as it stands; None only where it is absent."""
        found = self._load(table)
        if found is None and self._has_entries(table):
            found = self._load(table)  # it may have been created meanwhile
            if found is None:
                raise StorageError(
                    "open", self.where(table), "the library does not find it, though its log has entries"
                )
        return found

    def _load(self, table: str) -> DeltaTable | None:
        for attempt in range(1, _LOADS_MAX + 1):
            try:
                return DeltaTable(f"{self._base}/{table}", storage_options=self._options())
            except TableNotFoundError:
                return None
            except (DeltaError, OSError) as error:
                if attempt == _LOADS_MAX or not _has_moved(error):
                    raise storage_error("open", self.where(table), error) from error
        raise AssertionError

    def _has_entries(self, table: str) -> bool:
        """Raises StorageError where that cannot be known."""
        entries = self._storage.list(f"{table}/{LOG}")
        return any(entry.name.endswith((".json", ".parquet")) for entry in entries)

    def create(self, table: Table, declared: FoundTable) -> None:
        """Create the table, empty, unless it is there."""
        texts = {column.name: column.description for column in table.columns}
        fields = [
            Field(name, PrimitiveType(kind), nullable=nullable, metadata=_comment(texts.get(name)))
            for name, kind, nullable in declared.columns
        ]
        try:
            DeltaTable.create(
                f"{self._base}/{table.name}",
                schema=Schema(fields),
                mode="error",
                partition_by=declared.partition.split(", "),
                name=table.name,
                description=table.description,
                configuration={**PROPERTIES, RUN_ID: declared.run_id},
                storage_options=self._options(),
                raise_if_key_not_exists=False,
            )
        except (DeltaError, OSError) as error:
            if self.load(table.name) is None:
                raise storage_error("create", self.where(table.name), error) from error
        self.log.sync_entries(table.name, after_version=-1)

    def described(self, table: str, handle: DeltaTable) -> FoundTable:
        """Raises ForeignTableError for a table that must not be written to."""
        metadata = handle.metadata()
        properties = [*metadata.configuration.items()]
        properties += [item for field in handle.schema().fields for item in field.metadata.items()]
        for name, value in properties:
            if any(harmful.match(f"{name}={value}") for harmful in _HARMFUL):
                raise ForeignTableError(
                    f"{self.where(table)} has the property {name}, with which emitter cannot write to it",
                    hint="unset the property, or choose another output.uri",
                )
        columns = tuple((field.name, _type_text(field), field.nullable) for field in handle.schema().fields)
        return FoundTable(metadata.configuration.get(RUN_ID), columns, ", ".join(metadata.partition_columns))

    def is_plain(self, handle: DeltaTable) -> bool:
        """Whether an append is all that it takes to append: no feature asks for more. The first four versions of the
        protocol ask for nothing, but by properties that `described` refuses.
        """
        protocol = handle.protocol()
        return protocol.min_reader_version == 1 and protocol.min_writer_version <= 4

    def is_readable(self, handle: DeltaTable) -> bool:
        """Whether the data files are all there is to read."""
        return "deletionVectors" not in (handle.protocol().reader_features or ())

    def unreadable(self, table: str) -> ForeignTableError:
        """What to say of one that is not."""
        return ForeignTableError(
            f"{self.where(table)} has the feature deletionVectors, with which emitter cannot read it",
            hint="remove the deletion vectors (REORG TABLE ... APPLY (PURGE)) and drop the feature",
        )

    def parts(self, table: str, handle: DeltaTable, spec: PartitionSpec) -> list[Part]:
        """The data files of the version that is loaded, as its log describes them. Raises ForeignTableError where the
        files are not all there is to read.
        """
        import pyarrow as pa

        if not self.is_readable(handle):
            raise self.unreadable(table)
        with reading(self.where(table)):
            added = pa.table(handle.get_add_actions(flatten=True))
        names = [f"partition.{name}" for name in spec.columns]
        values = zip(*(_column(added, name) for name in names), strict=True)
        paths, sizes, rows = (_column(added, name) for name in ("path", "size_bytes", "num_records"))
        return [
            Part(f"{table}/{path}", hive.NOWHERE if None in place else tuple(map(int, place)), size, count)
            for path, place, size, count in zip(paths, values, sizes, rows, strict=True)
        ]

    def paths_from(self, table: str, handle: DeltaTable, first: str) -> list[str]:
        """The data files of the version that is loaded, from a partition's folder on."""
        import pyarrow as pa

        with reading(self.where(table)):
            added = pa.table(handle.get_add_actions())
        paths: list[Any] = added["path"].to_pylist()
        return [path for path in paths if path >= first]

    def _options(self) -> dict[str, str] | None:
        return self._access.delta_options() if self._access else None


def _column(added: Any, name: str) -> list[Any]:
    """The values of a column of the add actions; nothing says what it is where it is absent."""
    return added[name].to_pylist() if name in added.column_names else [None] * added.num_rows


def declared_columns(table: Table, partition: PartitionSpec) -> tuple[tuple[str, str, bool], ...]:
    """(name, type, nullable) of a table's columns, and of those it is partitioned by."""
    columns = [(column.name, _TYPES[column.type], column.nullable) for column in table.columns]
    return (*columns, *((name, "integer", False) for name in partition.columns))


def partition_values(folder: str) -> dict[str, str]:
    """`year=2026/month=01` as the log has it: integers, without zeros before them."""
    pairs = (part.split("=") for part in folder.split("/"))
    return {name: str(int(value)) for name, value in pairs}


@contextmanager
def reading(where: str) -> Iterator[None]:
    """The library's errors while a loaded table is read. What it could read when it loaded the table, and cannot now,
    was moved by somebody since, by a clean-up for instance: that is worth another look, so it is a CommitConflictError.
    """
    try:
        yield
    except DeltaError as error:
        raise CommitConflictError(
            f"the log of {where} is no longer as it was: {reason(error)}", hint="read it again, and go on from there"
        ) from error
    except OSError as error:
        if _has_moved(error):
            raise CommitConflictError(
                f"the log of {where} was cleaned up meanwhile: {reason(error)}", hint="read it again"
            ) from error
        raise storage_error("read", where, error) from error


def _has_moved(error: Exception) -> bool:
    """Whether the log was not the same from the beginning of a look at it to its end. A disk may list an entry that
    came meanwhile and not the one before it; what is listed may be cleaned up before it is read.
    """
    return "found gap" in str(error) or system_code(error) == errno.ENOENT


@contextmanager
def committing(where: str) -> Iterator[None]:
    """The library's errors while it commits to a table, in our terms."""
    try:
        yield
    except CommitFailedError as error:
        if _UNKNOWN_FEATURES in str(error):
            raise ForeignTableError(
                f"{where} cannot be written to: {reason(error)}",
                hint="drop these features of the table, or choose another output.uri",
            ) from error
        raise CommitConflictError(
            f"another commit came before ours to {where}: {reason(error)}",
            hint="read the progress, and try again",
        ) from error
    except (DeltaError, OSError) as error:
        if system_code(error) in _CANNOT_WRITE or _NO_RIGHTS in str(error):
            raise storage_error("commit to", where, error) from error
        raise CommitUnknownError(
            f"nobody knows whether a commit to {where} landed: {reason(error)}",
            hint="read the progress: start again, and it goes on from there",
        ) from error


def cannot_write(error: StorageError) -> bool:
    """Whether storage said that it has no room, or that we may not write: so nothing was written."""
    if isinstance(error.cause, OSError):
        return error.cause.errno in _CANNOT_WRITE
    return "(AccessDenied)" in str(error.cause) or "(403)" in str(error.cause)


@contextmanager
def changing(operation: str, where: str) -> Iterator[None]:
    """The library's errors while it changes what belongs to no version: the next look tells what has come of it."""
    try:
        yield
    except CommitFailedError as error:
        raise CommitConflictError(
            f"somebody else came first, in the attempt to {operation} {where}: {reason(error)}", hint="plan it anew"
        ) from error
    except (DeltaError, OSError) as error:
        raise storage_error(operation, where, error) from error


def storage_error(operation: str, where: str, error: Exception) -> StorageError:
    """An error of the library as ours, with the hint that goes with what the system said."""
    code = system_code(error)
    hint = _RIGHTS if _NO_RIGHTS in str(error) else ""
    return StorageError(operation, where, OSError(code, os.strerror(code)) if code else reason(error), hint=hint)


def system_code(error: Exception) -> int | None:
    """The errno, of which the library has kept the text alone."""
    found = re.search(r"\(os error (\d+)\)|Os \{ code: (\d+)", str(error))
    return int(found[1] or found[2]) if found else None


def reason(error: Exception) -> str:
    """The library's text on one line, without its colours, the pages that a server sent, and traces of its calls."""
    plain = re.sub(r"\x1b\[\d+m|↳|(?s:(<\?xml|\n +0: ).*)", "", str(error))
    return " ".join(plain.split()) or type(error).__name__


def _comment(text: str | None) -> dict[str, Any] | None:
    return {"comment": text} if text else None


def _type_text(field: Field) -> str:
    return field.type.type if isinstance(field.type, PrimitiveType) else str(field.type)
