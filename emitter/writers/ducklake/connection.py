"""A lake as one process sees it: where its catalogue is, the connection to it, and what its errors mean.

    nothing                         a SQLite file in the output, `ducklake.sqlite`
    sqlite:///shop.sqlite           a SQLite file anywhere
    postgresql://user@host/db       a Postgres database

A SQLite file in the output goes where the output goes, and stands where whoever looks for the tables finds it. It is
kept in WAL mode: in SQLite's older mode a reader keeps a writer from committing, and two writers lock each other out.

The lake is opened when it is first needed, and anew after every failure: a commit to SQLite that was refused would
otherwise keep its locks. A lake is made when its first table is: looking leaves nothing. Every piece of work gets a
cursor of its own, which sees the newest snapshot, not that of an earlier piece.

DuckLake remembers of each commit up to 45 kB, a third of it in DuckDB itself, which a lake that is opened anew leaves
there. So after many sessions all of DuckDB goes, and is made anew.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import duckdb

from emitter.duck import NOTHING_UNASKED, literal, load, quoted
from emitter.errors import (
    CommitConflictError,
    CommitUnknownError,
    ConfigurationError,
    EmitterError,
    Fault,
    StateError,
    StorageError,
)
from emitter.priority import urgently
from emitter.storage.s3 import S3Access
from emitter.writers.sqlite import room_hint

LAKE = "lake"
CATALOG = "lake_catalog"
DEFAULT_NAME = "ducklake.sqlite"

_ALLOWED = "a URI such as sqlite:///shop.sqlite or postgresql://user@host/database"
_LOCKED_MILLISECONDS_MAX = 5_000
_REPLY_MILLISECONDS_MAX = 60_000
_POSTGRES_PARAMETERS = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "4",
    "tcp_user_timeout": "30000",
}
_SETTINGS = {
    "TimeZone": "UTC",
    "threads": 1,  # with two, the one that asks never sleeps while the other works: a fifth more of the processor
    "memory_limit": "512MB",
    "temp_directory": "",  # nothing that we ask needs a disk
    "enable_external_file_cache": False,  # our files are read once
    # All of a new progress table's rows go into the catalogue, rather than into a Parquet file per commit.
    "ducklake_default_data_inlining_row_limit": 1_000,
    # DuckLake itself retries a commit that met another, once it has seen that the two touch different tables.
    "ducklake_max_retry_count": 8,
    "ducklake_retry_wait_ms": 10,
    "ducklake_retry_backoff": 1.5,
}
_HTTP_SETTINGS = {
    "threads": 2,  # two footers at a time: there it is waiting that counts
    "http_timeout": 30,
    "http_retries": 3,
    "http_retry_wait_ms": 100,
    "http_retry_backoff": 4,
}
_ONE_CONNECTION = "sqlite_disable_multithreaded_scans"  # by several a transaction would see several moments
_RETENTION = "7 days"
_SESSIONS_MAX = 1_000  # to make DuckDB anew takes as long as some commits

_MET_ANOTHER = re.compile(
    r"Transaction conflict|database is locked|duplicate key value|UNIQUE constraint|PRIMARY KEY|already exists"
    r"|could not serialize|deadlock detected"
    r"|Failed to load DuckLake",  # a table or a schema that another is just creating, of which not all is seen yet
    re.IGNORECASE,
)
_NO_LAKE = "creating a new DuckLake is explicitly disabled"
_ELSEWHERE = "does not match existing data path"
_BEFORE_COMMIT = "Failed to flush changes into DuckLake"
_STATEMENT = re.compile(r'(Failed to (?:execute|prepare) query) ".*?":', re.DOTALL)
_REASON_LENGTH_MAX = 400
_POSTGRES_HINT = (
    "see that the Postgres of output.catalog.uri runs and lets this user in, and that the files can be reached; then"
    " repeat the call: it goes on where it stopped"
)


@dataclass(frozen=True)
class CatalogPlace:
    """Where a catalogue is, in DuckLake's words; a SQLite file has a path."""

    metadata: str
    sqlite_path: Path | None = None
    password: str | None = field(default=None, repr=False)


def catalog_place(uri: str | None, default_path: str | None) -> CatalogPlace:
    """The catalogue of `output.catalog.uri`, or else a SQLite file at the default path. Raises ConfigurationError."""
    if uri is None:
        if default_path is None:
            hint = "a SQLite file cannot be on S3: give a database that every reader reaches"
            raise ConfigurationError([Fault("output.catalog.uri", "nothing", _ALLOWED, hint)])
        return _sqlite_place(default_path)
    scheme, separator, rest = uri.partition(":")
    if scheme == "sqlite" and rest.startswith("///") and len(rest) > len("///"):
        return _sqlite_place(rest.removeprefix("///"))
    try:
        if scheme in ("postgresql", "postgres") and rest.startswith("//"):
            return _postgres_place(uri)
    except ValueError:
        pass  # a port that is no number and the like: told below, without what may be a password
    hint = ""
    if scheme == "duckdb" or (not separator and uri.endswith((".duckdb", ".ducklake", ".db"))):
        hint = "a DuckDB file serves one process only: nobody could read while emitter runs"
    raise ConfigurationError([Fault("output.catalog.uri", f"{scheme[:20]}:..." if separator else uri, _ALLOWED, hint)])


def _sqlite_place(path: str) -> CatalogPlace:
    full = full_path(path)
    return CatalogPlace(f"sqlite:{full}", Path(full))


def full_path(path: str | os.PathLike[str]) -> str:
    """What names the same from any working directory. Links stay as they are: they may be moved."""
    return os.path.normpath(Path(path).absolute())


def _postgres_place(uri: str) -> CatalogPlace:
    parts = urlsplit(uri)
    given = {
        "host": parts.hostname,
        "port": str(parts.port) if parts.port else None,
        "user": unquote(parts.username or ""),
        "dbname": unquote(parts.path.lstrip("/")),
    }
    # Some poolers want no `options`: a URI that ends in `?options=` sends none.
    limits = {**_POSTGRES_PARAMETERS, "options": f"-c statement_timeout={_REPLY_MILLISECONDS_MAX}"}
    asked = dict(parse_qsl(parts.query, keep_blank_values=True))
    parameters = {name: value for name, value in {**limits, **asked}.items() if value}
    parameters.update({name: value for name, value in given.items() if value})
    password = parameters.pop("password", None) or unquote(parts.password or "") or None
    text = " ".join(f"{key}={_parameter(value)}" for key, value in parameters.items())
    return CatalogPlace(f"postgres:{text}", password=password)


def _parameter(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


class Lake:
    """See the module. `data_path` is where the files are, and ends with a slash."""

    def __init__(self, place: CatalogPlace, data_path: str, access: S3Access | None) -> None:
        self.place = place
        self.data_path = data_path
        self._access = access
        self._guard = threading.RLock()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._prepared: duckdb.DuckDBPyConnection | None = None  # one that has found no lake: to load takes a while
        self._credentials_version = 0
        self._sessions = 0  # since DuckDB was made

    def __str__(self) -> str:
        return f"the DuckLake catalogue of {self.data_path}"

    @contextmanager
    def session(self, operation: str, *, create: bool = False) -> Iterator[duckdb.DuckDBPyConnection | None]:
        """A cursor for one piece of work; None where there is no lake yet, and none is to be made. DuckDB's errors in
        it are a CommitConflictError where another writer was met, else a StorageError: nothing has landed.
        """
        try:
            connection = self._connected(create)
            if connection is None:
                yield None
                return
            cursor = connection.cursor()
            try:
                yield cursor
            finally:
                _end(cursor)
        except duckdb.Error as error:
            self.renew()
            raise self._failure(operation, error) from error

    def commit(self, cursor: duckdb.DuckDBPyConnection, operation: str) -> None:
        """Commit what a session has begun. Raises CommitConflictError and StorageError as `session` does, and
        CommitUnknownError where nobody can say whether it has landed.
        """
        try:
            cursor.execute("COMMIT")
        except duckdb.Error as error:
            self.renew()
            if _BEFORE_COMMIT in str(error) or _MET_ANOTHER.search(str(error)):
                raise self._failure(operation, error) from error
            raise CommitUnknownError(
                f"could not {operation} {self}, or its reply was lost: {self._reason(error)}",
                hint=self._hint(error) or "read the progress back: it says whether the commit has landed",
            ) from error

    def renew(self) -> None:
        """Let go of all that the connection has open and remembers, and keep the rest for the next session: what it has
        loaded takes ten times as long as to open a lake.
        """
        with self._guard:
            connection, self._connection = self._connection, None
            if connection is None:
                return
            try:
                connection.execute(f"DETACH {LAKE}")
            except duckdb.Error:  # something of it is still going on, or it is broken: nobody can use it any more
                connection.close()
            else:
                self.close()
                self._prepared = connection

    def close(self) -> None:
        """Let go of the connection. The next session makes another."""
        with self._guard:
            for connection in (self._connection, self._prepared):
                if connection is not None:
                    connection.close()
            self._connection = self._prepared = None

    def _connected(self, create: bool) -> duckdb.DuckDBPyConnection | None:
        with self._guard:
            self._sessions += 1
            if self._sessions > _SESSIONS_MAX:
                # Not closed, as that would end sessions that go on: it goes with the last of them.
                self._connection = self._prepared = None
                self._sessions = 0
            if self._connection is None:
                # DuckDB's own threads too take part in what others wait for: they begin here.
                self._connection = urgently(lambda: self._connect(create))
            else:
                self._renew_credentials(self._connection)
            return self._connection

    def _connect(self, create: bool) -> duckdb.DuckDBPyConnection | None:
        path = self.place.sqlite_path
        if path and not create and not path.exists():
            return None  # a look by DuckDB would leave an empty file
        known, self._prepared = self._prepared, None
        connection = known or duckdb.connect(config=dict(NOTHING_UNASKED))
        try:
            if known:
                self._renew_credentials(known)
            else:
                self._prepare(connection)
            if path:
                _make_folder(path.parent)
            is_there = self._attach(connection, create=False)
            if not is_there and create:
                self._attach(connection, create=True)
                connection.execute(f"CALL {LAKE}.set_option('expire_older_than', '{_RETENTION}')")
        except BaseException:
            connection.close()
            raise
        if is_there or create:
            return connection
        self._prepared = connection
        return None

    def attach_to(self, connection: duckdb.DuckDBPyConnection) -> bool:
        """Attach the lake to somebody else's connection that knows the storage, as LAKE and read-only, if it is not
        yet. False where there is no lake.
        """
        if self.place.sqlite_path and not self.place.sqlite_path.exists():
            return False
        if connection.execute(f"FROM duckdb_databases() WHERE database_name = '{LAKE}'").fetchone():
            return True
        self._load(connection)
        if self.place.sqlite_path:
            connection.execute(f"SET GLOBAL {_ONE_CONNECTION} = true")
        self._give_password(connection)
        return self._attach(connection, create=False, read_only=True)

    def _load(self, connection: duckdb.DuckDBPyConnection) -> None:
        scanner = "sqlite_scanner" if self.place.sqlite_path else "postgres_scanner"
        for name in ("ducklake", scanner, *(["httpfs"] if self._access else [])):
            load(connection, name, extra="ducklake", needed_for="output.format ducklake")

    def _prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Extensions, settings and secrets."""
        self._load(connection)
        settings: dict[str, object] = dict(_SETTINGS)
        if self.place.sqlite_path:
            settings[_ONE_CONNECTION] = True
        if self._access:
            settings |= {**_HTTP_SETTINGS, **self._access.duckdb_settings()}
        for name, value in settings.items():
            connection.execute(f"SET GLOBAL {name} = {literal(value)}")
        self._give_password(connection)
        if self._access:
            self._give_credentials(connection)

    def _give_password(self, connection: duckdb.DuckDBPyConnection) -> None:
        if self.place.password:
            self._keep_secret(connection, f"{CATALOG} (TYPE postgres, PASSWORD {quoted(self.place.password)})")

    def _renew_credentials(self, connection: duckdb.DuckDBPyConnection) -> None:
        if self._access and self._access.credentials_version() != self._credentials_version:
            self._give_credentials(connection)

    def _give_credentials(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Tell DuckDB the keys to S3, again and again as they expire."""
        assert self._access is not None
        self._credentials_version = self._access.credentials_version()
        values = {**self._access.duckdb_secret(), "SCOPE": self.data_path}
        text = ", ".join(f"{name} {literal(value)}" for name, value in values.items())
        self._keep_secret(connection, f"lake_data (TYPE s3, {text})")

    def _keep_secret(self, connection: duckdb.DuckDBPyConnection, definition: str) -> None:
        try:
            connection.execute(f"CREATE OR REPLACE SECRET {definition}")
        except duckdb.Error as error:  # whose text may repeat the definition
            raise StorageError("give credentials to", "DuckDB", type(error).__name__) from None

    def _attach(self, connection: duckdb.DuckDBPyConnection, *, create: bool, read_only: bool = False) -> bool:
        """False where there is no lake, and none is to be made."""
        options = [f"DATA_PATH {quoted(self.data_path)}", f"METADATA_CATALOG '{CATALOG}'"]
        options += [f"CREATE_IF_NOT_EXISTS {literal(create)}", f"BUSY_TIMEOUT {_LOCKED_MILLISECONDS_MAX}"]
        if read_only:
            options.append("READ_ONLY")
        elif self.place.sqlite_path:
            options.append("META_JOURNAL_MODE 'WAL'")
        if self.place.password:
            options.append(f"META_SECRET '{CATALOG}'")
        try:
            connection.execute(f"ATTACH {quoted(f'ducklake:{self.place.metadata}')} AS {LAKE} ({', '.join(options)})")
        except duckdb.Error as error:
            if not create and _NO_LAKE in str(error):
                return False
            if _ELSEWHERE in str(error):
                raise StateError(
                    f"the catalogue belongs to another output than {self.data_path}: {self._reason(error)}",
                    hint="set output.uri to where the lake's data is, or output.catalog.uri to another catalogue",
                ) from None
            raise self._failure("open", error) from None  # its text may hold what the catalogue is reached with
        return True

    def _failure(self, operation: str, error: duckdb.Error) -> EmitterError:
        """What an error means after which nothing has landed."""
        if _MET_ANOTHER.search(str(error)):
            return CommitConflictError(
                f"could not {operation} {self}, as another writer came first: {self._reason(error)}",
                hint="read the progress again, then decide",
            )
        hint = self._hint(error) if self.place.sqlite_path else _POSTGRES_HINT
        return StorageError(operation, self, self._reason(error), hint=hint)

    def _hint(self, error: duckdb.Error) -> str:
        """What to do about a disk of a SQLite file that is full; nothing for other errors."""
        return room_hint(error) if self.place.sqlite_path else ""

    def _reason(self, error: duckdb.Error) -> str:
        """What DuckDB says, without the statements it repeats, on one line."""
        text = " ".join(_STATEMENT.sub(r"\1:", str(error)).split())
        text = text.replace(self.place.metadata.removeprefix("postgres:"), "...")  # twice, before what went wrong
        if self.place.password:
            text = text.replace(self.place.password, "***")
        return text if len(text) <= _REASON_LENGTH_MAX else f"{text[: _REASON_LENGTH_MAX - 3]}..."


def _end(cursor: duckdb.DuckDBPyConnection) -> None:
    """Drop what is not committed. To close a cursor in the middle of a transaction would do so too, but ends the whole
    process if Postgres is gone by then.
    """
    with suppress(duckdb.Error):  # nothing was begun, or the other side is gone: dropped it is
        cursor.execute("ROLLBACK")
    cursor.close()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError("make folder", folder, error) from error
