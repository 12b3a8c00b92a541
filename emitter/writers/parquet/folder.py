"""What stands in a table's folder where it holds no progress of ours: nothing, what a crash of ours has left, or the
files of another tool. Those are gone on with if that was asked for, and if every one of them fits.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from emitter import arrow
from emitter.errors import ForeignTableError, RolledBackError
from emitter.model import Table
from emitter.storage.base import Storage
from emitter.writers import hive
from emitter.writers.base import WriterOptions, is_file_name
from emitter.writers.parquet.progress import EARLIER_FOLDER, EARLIER_STAGING, FOLDER
from emitter.writers.registering import FoundTable, check_found

_AWAY = "choose another output.uri, or move that folder away"


def gone(storage: Storage, table: str) -> RolledBackError:
    """What to say where a table with rows has no folder, and more is to be added."""
    return RolledBackError(
        f"{storage.uri}/{table} is gone, though {FOLDER}/{table} tells of rows in it",
        hint="restore it; to make the table anew, move the folder of its progress away too",
    )


def check_folder(storage: Storage, table: Table, run_id: str, options: WriterOptions) -> None:
    """See that a folder without progress may be written to. Raises ForeignTableError."""
    own = {EARLIER_FOLDER, EARLIER_STAGING}  # what an earlier release leaves that crashes before its first commit
    where = f"{storage.uri}/{table.name}"
    spec = options.spec
    entries = [entry for entry in storage.list(table.name) if entry.name not in own and entry.name[0] != "."]
    strange = [
        entry.name for entry in entries if not (entry.is_folder and entry.name.startswith(f"{spec.columns[0]}="))
    ]
    if strange:
        raise ForeignTableError(
            f"{where} is not empty and holds no progress of ours, but "
            + ", ".join(strange[:3])
            + (f" and {len(strange) - 3} more" if len(strange) > 3 else ""),
            hint=_AWAY,
        )
    declared = FoundTable(run_id, _columns(arrow.file_schema(table)), ", ".join(spec.columns))
    for path, _ in hive.files_below(storage, table.name) if entries else ():
        if is_file_name(path):  # to adopt them may be to make them a second time
            raise ForeignTableError(
                f"{where} holds files that emitter has made, such as {path.rpartition('/')[2]}, but no progress that"
                " tells of them: it was lost, or they are another run's",
                hint=f"restore {FOLDER}/{table.name} from a backup, {_AWAY}",
            )
        found = FoundTable(None, _columns(_schema(storage, path)), _partition(path))
        check_found(f"{storage.uri}/{path}", run_id, declared, found, adopt=options.adopt)


def _schema(storage: Storage, path: str) -> pa.Schema:
    with storage.open_file(path) as file:
        try:
            return pq.read_schema(file)
        except pa.ArrowException as error:
            raise ForeignTableError(f"{storage.uri}/{path} cannot be read as Parquet: {error}", hint=_AWAY) from error


def _columns(schema: pa.Schema) -> tuple[tuple[str, str, bool], ...]:
    return tuple((field.name, str(_stored(field.type)), field.nullable) for field in schema)


def _stored(kind: pa.DataType) -> pa.DataType:
    """A type as it stands in the file: in how Arrow laid it out in memory, tools differ."""
    if isinstance(kind, pa.DictionaryType):
        return _stored(kind.value_type)
    return pa.string() if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else kind


def _partition(path: str) -> str:
    folders = path.split("/")[1:-1]
    return ", ".join(folder.partition("=")[0] for folder in folders)
