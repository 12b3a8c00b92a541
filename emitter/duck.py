"""What all who use DuckDB share: its extensions, and how texts, names and types are written in its SQL.

Extensions come from their Python packages where those are installed, else from DuckDB's own repository. The extras
`sql` and `ducklake` bring the packages, so that a machine without the internet has all it needs. DuckDB itself would
fetch an extension whenever a statement seems to need one; that is turned off, so that nothing is fetched unasked.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import duckdb
from duckdb import DuckDBPyConnection as Connection

from emitter.errors import MissingExtraError, UsageError

__all__ = ["NOTHING_UNASKED", "TYPES", "Connection", "connect", "identifier", "literal", "load", "quoted"]

NOTHING_UNASKED: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
"""What a connection is made with."""

TYPES = {
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "bool": "BOOLEAN",
    "string": "VARCHAR",
    "timestamp": "TIMESTAMPTZ",
    "money": "DECIMAL(12, 2)",
}
"""Our types, in SQL."""


def load(connection: Connection, name: str, *, extra: str, needed_for: str) -> None:
    """Load an extension, such as `ducklake`. Raises MissingExtraError where it is neither installed nor to be had, and
    UsageError where what is installed does not fit.
    """
    path = _packaged(name)
    try:
        if path is None:
            connection.execute(f"INSTALL {name}")
        connection.execute(f"LOAD {name}" if path is None else f"LOAD {quoted(str(path))}")
    except duckdb.Error as error:
        if path is None:
            raise MissingExtraError(extra, needed_for=needed_for) from error
        raise UsageError(
            f"DuckDB {duckdb.__version__} cannot load {path}: {error}",
            hint=f"pip install --force-reinstall 'emitter[{extra}]': DuckDB and its extensions must be of one version",
        ) from error


def connect(*extensions: str) -> Connection:
    """A DuckDB of one's own, in memory, with these extensions loaded and times in UTC. Nothing is fetched unasked.
    Raises MissingExtraError, UsageError.
    """
    connection = duckdb.connect(config=dict(NOTHING_UNASKED))
    for name in extensions:
        load(connection, name, extra="sql", needed_for=f"DuckDB's extension {name}")
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def quoted(text: str) -> str:
    """A text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A name as SQL has it, whatever it is."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: object) -> str:
    """A text, a number, or yes or no, as SQL has it."""
    return quoted(value) if isinstance(value, str) else str(value).lower()


def _packaged(name: str) -> Path | None:
    """The extension inside its Python package, if that is installed."""
    package = find_spec(f"duckdb_extension_{name}")
    folders = package.submodule_search_locations if package else None
    for folder in folders or ():
        for path in Path(folder).rglob(f"{name}.duckdb_extension"):
            return path
    return None
