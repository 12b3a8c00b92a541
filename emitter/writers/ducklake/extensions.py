"""DuckDB's extensions: from their Python packages where those are installed, else from DuckDB's own repository.

The extra `ducklake` brings the packages, so that a machine without the internet has all it needs. DuckDB itself would
fetch an extension whenever a statement seems to need one; that is turned off, so that nothing is fetched unasked.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import duckdb

from emitter.errors import MissingExtraError, UsageError

NOTHING_UNASKED: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
"""What a connection is made with."""


def load(connection: duckdb.DuckDBPyConnection, name: str, *, extra: str, needed_for: str) -> None:
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


def quoted(text: str) -> str:
    """A text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def _packaged(name: str) -> Path | None:
    """The extension inside its Python package, if that is installed."""
    package = find_spec(f"duckdb_extension_{name}")
    folders = package.submodule_search_locations if package else None
    for folder in folders or ():
        for path in Path(folder).rglob(f"{name}.duckdb_extension"):
            return path
    return None
