"""The table formats, by name. Importing this loads no format; `create_writer` does."""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import TYPE_CHECKING, Literal

from emitter.errors import MissingExtraError, UsageError, wrong_type

if TYPE_CHECKING:
    from emitter.settings.connections import CatalogConfig, S3Config
    from emitter.storage.base import Storage
    from emitter.writers.base import CrashHook, TableWriter, WriterOptions

FormatName = Literal["parquet", "delta", "iceberg", "ducklake"]
FORMATS: dict[str, str] = {
    "parquet": "emitter.writers.parquet.writer",
    "delta": "emitter.writers.delta.writer",
    "iceberg": "emitter.writers.iceberg.writer",
    "ducklake": "emitter.writers.ducklake.writer",
}
"""Format name -> module with a class named WRITER."""

SUMMARIES: dict[str, str] = {
    "parquet": "Parquet files in hive partitions, exactly once, on a local disk and on S3.",
    "delta": "Delta Lake tables, exactly once, on a local disk or on S3.",
    "iceberg": "Apache Iceberg tables, exactly once, in a SQL or a REST catalogue.",
    "ducklake": "DuckLake: files that a catalogue in SQLite or Postgres registers, all tables of a batch in one"
    " snapshot.",
}
"""Format name -> what it is, without loading it."""

_LIBRARIES = {"delta": "deltalake", "iceberg": "pyiceberg", "ducklake": "duckdb"}


def is_installed(format: str) -> bool:
    """Whether the library that a format needs is there, without loading it."""
    return format not in _LIBRARIES or importlib.util.find_spec(_LIBRARIES[format]) is not None


def create_writer(
    format: FormatName | str,
    output_uri: str | os.PathLike[str],
    s3: S3Config | None = None,
    catalog: CatalogConfig | None = None,
    options: WriterOptions | None = None,
    *,
    crash_hook: CrashHook | None = None,
) -> TableWriter:
    """The writer of a format for an output: a path, a `file://` or an `s3://` URI. Touches no storage. Raises
    UsageError for a format or an output that there is no support for, and MissingExtraError.

    >>> import emitter
    >>> writer = emitter.create_writer("parquet", "data/shop", options=emitter.WriterOptions(compression="snappy"))
    >>> writer.format_name
    'parquet'
    """
    from emitter.settings.connections import WRITTEN_OUT, CatalogConfig, S3Config, shell_hint
    from emitter.writers.base import WriterOptions, no_crash

    uri: object = os.fspath(output_uri) if isinstance(output_uri, os.PathLike) else output_uri
    if not isinstance(uri, str) or not uri:
        raise wrong_type("output_uri", output_uri, hint="give a folder, or a URI such as s3://bucket/shop")
    for name, value, kind in (
        ("s3", s3, S3Config),
        ("catalog", catalog, CatalogConfig),
        ("options", options, WriterOptions),
    ):
        if value is not None and not isinstance(value, kind):
            raise wrong_type(name, value, hint=f"give {name}=emitter.{kind.__name__}(...), or leave it out")
    paths = {"output_uri": uri, "s3.ca_file": s3.ca_file if s3 else "", "catalog.uri": catalog.uri if catalog else ""}
    for name, path in paths.items():
        if hint := shell_hint(path or ""):
            raise UsageError(f"{name} is {path!r}, not {WRITTEN_OUT}", hint=hint)
    if format not in tuple(FORMATS):  # whatever it is: not everything can be looked up
        from emitter.settings.declaring import nearest

        choices = f"choose one of: {', '.join(sorted(FORMATS))}"
        near = nearest(format, FORMATS)
        raise UsageError(f"there is no format {format!r}", hint=f"{near} {choices}".strip())
    try:
        writer: type[TableWriter] = importlib.import_module(FORMATS[format]).WRITER
    except ModuleNotFoundError as error:
        raise MissingExtraError(format, needed_for=f"output.format {format}") from error
    return writer(_storage(uri, s3), options or WriterOptions(), crash_hook or no_crash, catalog=catalog)


def _storage(uri: str, s3: S3Config | None) -> Storage:
    if uri.startswith("s3://"):
        from emitter.settings.connections import S3Config
        from emitter.storage.objects import ObjectStorage
        from emitter.storage.s3 import S3Access

        return ObjectStorage(uri, S3Access(s3 or S3Config()))
    from emitter.storage.local import LocalStorage

    return LocalStorage(uri)
