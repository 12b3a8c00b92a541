"""What an Iceberg table of ours is made of: schema, partitioning, properties, data files, and the progress it records.

A table property `emitter.progress.<slice>` holds what the slice has reached, and the snapshot that brought it there,
with its sequence number. Properties are not part of a snapshot: who sets a table back to an older one leaves them as
they are. So each recorded snapshot must be the current one or one of its ancestors. Where ancestors have expired (some
tools cut the link of a snapshot to its parent then), it may also be older than the oldest one that is left: sequence
numbers grow with every snapshot, and never fall.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pyarrow.parquet import FileMetaData
from pyiceberg.io.pyarrow import (
    DataFileStatistics,
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.partitioning import PARTITION_FIELD_ID_START, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table as Handle
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.name_mapping import create_mapping_from_schema
from pyiceberg.transforms import DayTransform, HourTransform, MonthTransform, Transform
from pyiceberg.types import (
    BooleanType,
    DecimalType,
    DoubleType,
    IcebergType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestamptzType,
)

from emitter.clock import text_of
from emitter.errors import DamagedStateError, RolledBackError
from emitter.model import Slice, StagedFile, Table, TableProgress, TableSize
from emitter.partitioning import GRANULARITIES

RUN_ID = "emitter.run-id"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PROGRESS = "emitter.progress."
_TYPES: dict[str, IcebergType] = {
    "int32": IntegerType(),
    "int64": LongType(),
    "float64": DoubleType(),
    "bool": BooleanType(),
    "string": StringType(),
    "timestamp": TimestamptzType(),
    "money": DecimalType(12, 2),
}
_TRANSFORMS: dict[str, Transform[int, int]] = {
    "month": MonthTransform(),
    "day": DayTransform(),
    "hour": HourTransform(),
}


def schema_of(table: Table) -> Schema:
    """The columns, with the field ids that the encoder writes into the files."""
    return Schema(
        *(
            NestedField(place, column.name, _TYPES[column.type], required=not column.nullable, doc=column.description)
            for place, column in enumerate(table.columns, 1)
        )
    )


def spec_of(schema: Schema, granularity: str) -> PartitionSpec:
    """Hidden partitioning by `event_time`: readers filter on the time itself."""
    return PartitionSpec(
        PartitionField(
            schema.find_field("event_time").field_id,
            PARTITION_FIELD_ID_START,
            _TRANSFORMS[granularity],
            f"event_time_{granularity}",
        )
    )


def properties_of(schema: Schema, run_id: str) -> dict[str, str]:
    """What a table gets in the act of its creation: whose it is, and what lets it live for long."""
    return {
        RUN_ID: run_id,
        "format-version": "2",
        # Every commit writes a metadata file. The newest stay, for readers that were given one by its name.
        "write.metadata.delete-after-commit.enabled": "true",
        "write.metadata.previous-versions-max": "20",
        # Every commit adds a manifest, and reads the list of all: it takes longer with each, unless they merge. Upkeep
        # does so; where there is none, a commit does for a hundred.
        "commit.manifest-merge.enabled": "true",
        "commit.manifest.min-count-to-merge": "100",
        "commit.manifest.target-size-bytes": str(256 * 1024),
        # What a tool that expires snapshots without further orders shall keep: all of them make commits slow.
        "history.expire.max-snapshot-age-ms": str(3_600_000),
        "history.expire.min-snapshots-to-keep": "20",
        "write.metadata.metrics.default": "truncate(16)",
        # For files of other tools that carry no field ids.
        "schema.name-mapping.default": create_mapping_from_schema(schema).model_dump_json(),
    }


_EARLIER = {
    "write.metadata.previous-versions-max": ("100", "20"),
    "commit.manifest.min-count-to-merge": ("50", "100"),
}
"""What earlier releases gave a table, and what this one does."""


def outdated(properties: Mapping[str, str]) -> dict[str, str]:
    """What a table should say instead of what an earlier release made it say. To be set with a snapshot alone: see the
    writer.
    """
    return {key: now for key, (before, now) in _EARLIER.items() if properties.get(key) == before}


def size(metadata: TableMetadata) -> TableSize:
    """As the current snapshot sums it up."""
    snapshot = metadata.current_snapshot()
    totals = snapshot.summary.additional_properties if snapshot and snapshot.summary else {}
    return TableSize(int(totals.get("total-data-files", 0)), int(totals.get("total-files-size", 0)))


def columns_of(schema: Schema) -> tuple[tuple[str, str, bool], ...]:
    """(name, type and field id such as `long#1`, nullable). Readers match columns by id: our files have 1, 2, 3..."""
    return tuple(
        (field.name, f"{field.field_type}#{field.field_id}".replace(" ", ""), not field.required)
        for field in schema.fields
    )


def partition_text(spec: PartitionSpec, schema: Schema) -> str:
    """Such as `day(event_time)`."""
    return ", ".join(f"{field.transform}({schema.find_column_name(field.source_id)})" for field in spec.fields)


def partition_values(value: int, granularity: str) -> tuple[int, ...]:
    """What a partition's months, days or hours since 1970 are as year, month and so on."""
    if granularity == "month":
        return 1970 + value // 12, value % 12 + 1
    moment = _EPOCH + timedelta(**{f"{granularity}s": value})
    values = (moment.year, moment.month, moment.day, moment.hour)
    return values[: GRANULARITIES[granularity]]


def data_file(file: StagedFile, location: str, schema: Schema, spec: PartitionSpec) -> DataFile:
    """A staged file as a manifest names it, with its statistics. Nothing is read: they are in the footer that the
    encoder kept. Raises ValueError for one whose rows are of two partitions.
    """
    statistics = _statistics(file.metadata, schema)
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=location,
        file_format=FileFormat.PARQUET,
        partition=statistics.partition(spec, schema),
        file_size_in_bytes=file.size_bytes,
        sort_order_id=None,
        spec_id=spec.spec_id,
        equality_ids=None,
        key_metadata=None,
        **statistics.to_serialized_dict(),
    )


def _statistics(footer: FileMetaData, schema: Schema) -> DataFileStatistics:
    """What pyiceberg makes of a footer, without the bounds that would let readers skip rows that they look for: it
    passes over a row group without bounds (a value is too long for a footer) as if it had no values; and a footer
    passes over NaN, which many readers hold to be the largest number. Text that ends in U+D7FF it rounds up to no text.
    """
    ids = parquet_path_to_id_mapping(schema)
    statistics = data_file_statistics_from_parquet_metadata(footer, compute_statistics_plan(schema, {}), ids)
    bounds = statistics.column_aggregates
    for group in map(footer.row_group, range(footer.num_row_groups)):
        for column in map(group.column, range(footer.num_columns)):
            known = column.statistics
            if known is not None and known.num_values and not known.has_min_max:
                bounds.pop(ids[column.path_in_schema], None)
    for field_id in list(bounds):
        if bounds[field_id].primitive_type == DoubleType():
            bounds[field_id].current_max = None
        try:
            bounds[field_id].max_as_bytes()
        except UnicodeEncodeError:
            del bounds[field_id]
    return statistics


@dataclass(frozen=True, slots=True)
class Recorded:
    """A slice's progress, and the snapshot that brought it."""

    progress: TableProgress
    snapshot_id: int
    sequence_number: int

    def as_property(self, slice: Slice) -> dict[str, str]:
        """The table property that says so."""
        value = {
            "slot": self.progress.slot,
            "time": text_of(self.progress.slot),  # for people
            "rows": self.progress.rows,
            "files": self.progress.files,
            "bytes": self.progress.bytes,
            "snapshot": self.snapshot_id,
            "sequence": self.sequence_number,
        }
        return {f"{_PROGRESS}{slice}": json.dumps(value, separators=(",", ":"))}


def recorded(name: str, metadata: TableMetadata) -> dict[Slice, TableProgress]:
    """What a table says of every slice. Raises RolledBackError where it holds less than that, and DamagedStateError."""
    found = {slice: _decode(name, key, metadata.properties[key]) for key, slice in _slices(metadata.properties)}
    line = _lineage(metadata)
    oldest = min(line.values(), default=None)
    for slice, known in found.items():
        if known.snapshot_id not in line and (oldest is None or known.sequence_number >= oldest):
            raise RolledBackError(
                f"Iceberg table {name} was set back to {_shown(metadata)}, behind snapshot {known.snapshot_id}, with"
                f" which slice {slice} reached {text_of(known.progress.slot)}: rows that it counts are missing",
                hint="make the newest snapshot the current one again (in pyiceberg: table.manage_snapshots()"
                f".set_current_snapshot({known.snapshot_id}).commit()), or start anew with another output.uri",
            )
    return {slice: known.progress for slice, known in found.items()}


def files_since(handle: Handle, slice: Slice) -> Iterator[str]:
    """The files that came after the snapshot with which a slice got where it is, which must be recorded; no manifest
    that was there then is read.
    """
    key = f"{_PROGRESS}{slice}"
    known = _decode(".".join(handle.name()), key, handle.metadata.properties[key])
    current = handle.current_snapshot()
    for manifest in current.manifests(handle.io) if current else ():
        if manifest.sequence_number > known.sequence_number:
            yield from (entry.data_file.file_path for entry in manifest.fetch_manifest_entry(handle.io))


def _shown(metadata: TableMetadata) -> str:
    return "no snapshot" if metadata.current_snapshot_id is None else f"snapshot {metadata.current_snapshot_id}"


def _lineage(metadata: TableMetadata) -> dict[int, int]:
    """The current snapshot and its ancestors, as far as they are still there: id -> sequence number."""
    known = {snapshot.snapshot_id: snapshot for snapshot in metadata.snapshots}
    line: dict[int, int] = {}
    place = metadata.current_snapshot_id
    while place is not None and place in known:
        line[place] = known[place].sequence_number or 0
        place = known[place].parent_snapshot_id
    return line


def _slices(properties: Mapping[str, str]) -> Iterator[tuple[str, Slice]]:
    for key in properties:
        index, of, count = key.removeprefix(_PROGRESS).partition("-of-")
        if key.startswith(_PROGRESS) and of and index.isdecimal() and count.isdecimal():
            yield key, Slice(int(index), int(count))


def _decode(name: str, key: str, text: str) -> Recorded:
    try:
        value = json.loads(text)
        numbers = [value[part] for part in ("slot", "rows", "files", "bytes", "snapshot", "sequence")]
        if any(type(number) is not int or number < 0 for number in numbers):
            raise ValueError(f"{numbers} are no counts")
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedStateError(
            f"property {key} of Iceberg table {name} cannot be understood: {error}",
            hint="somebody changed it: set it back to what an older metadata file of the table says",
        ) from error
    return Recorded(TableProgress(*numbers[:4]), *numbers[4:])
