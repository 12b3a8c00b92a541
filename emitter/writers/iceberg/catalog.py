"""The catalogue that says which metadata file is a table's newest: where it is, and what its errors mean.

    nothing                         a SQLite file in the output, `iceberg.sqlite`
    sqlite:///shop.db               pyiceberg's SQL catalogue in another SQLite file
    postgresql://user@host/db       the same in Postgres
    https://host/path               a REST catalogue; a token for it comes from PYICEBERG_CATALOG__EMITTER__TOKEN

A SQLite file in the output goes where the output goes, and whoever finds the tables finds it. It is kept in WAL mode:
in SQLite's older mode nobody can commit while a reader's transaction is open. Every client waits for a limited time. A
catalogue is reached when it is first asked, and made when the first table is: looking leaves nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import requests
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.sql import IcebergNamespaceProperties, IcebergTables, SqlCatalog
from pyiceberg.exceptions import (
    AuthorizationExpiredError,
    BadRequestError,
    CommitFailedException,
    ForbiddenError,
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    NoSuchTableError,
    RESTError,
    TableAlreadyExistsError,
    TooManyRequestsError,
    UnauthorizedError,
    ValidationError,
    ValidationException,
)
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.utils.config import Config
from requests.adapters import HTTPAdapter
from sqlalchemy import inspect, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError, SQLAlchemyError

from emitter.errors import (
    CommitConflictError,
    CommitUnknownError,
    ConfigurationError,
    DamagedStateError,
    Fault,
    StorageError,
)
from emitter.settings.connections import CatalogConfig
from emitter.writers.iceberg.io import Place
from emitter.writers.iceberg.library import configuration_faults
from emitter.writers.iceberg.remembering import RememberingSqlCatalog
from emitter.writers.sqlite import room_hint

NAME = "emitter"
"""Of the catalogue, which keeps several apart in one database, and of the namespace where none is configured."""
DEFAULT_PATH = "iceberg.sqlite"

_CONNECT_SECONDS_MAX = 10
_REPLY_SECONDS_MAX = 60
_MAKERS_MAX = 4  # who collide in making a catalogue: each collision has made one of its two tables
_LOCKED_SECONDS_MAX = 30  # another process may be writing to the same SQLite file
_SWITCH_MILLISECONDS_MAX = 100  # for it to be free of readers, once
_QUERY_OF = {
    "sqlite": {"timeout": str(_LOCKED_SECONDS_MAX)},
    "postgresql": {
        "connect_timeout": str(_CONNECT_SECONDS_MAX),
        "tcp_user_timeout": str(_REPLY_SECONDS_MAX * 1000),
        "options": f"-c statement_timeout={_REPLY_SECONDS_MAX * 1000}",
    },
}
_REST = ("http", "https")
_ALLOWED = "a URI such as sqlite:///shop.db, postgresql://user@host/database or https://host/catalog"
# A ValueError is a reply that is no reply of a catalogue; a missing module, a database driver that the URI asks for.
_FAILURES = (SQLAlchemyError, requests.RequestException, RESTError, OSError, ValueError, ModuleNotFoundError)
_REFUSALS = (BadRequestError, UnauthorizedError, ForbiddenError, AuthorizationExpiredError, TooManyRequestsError)


class IcebergCatalog:
    """One namespace of a catalogue. Making it reaches nothing; safe in threads. Raises ConfigurationError."""

    def __init__(self, config: CatalogConfig, place: Place) -> None:
        if faults := configuration_faults():
            raise ConfigurationError(faults)
        self.namespace = config.namespace or NAME
        self._place = place
        self._url = _url_of(config.uri, place)
        self._client: Catalog | None = None
        self._has_tables = False  # those of the catalogue itself
        self._lets_readers_be = False
        self._guard = threading.Lock()
        self.text = f"the catalogue {self._url.set(query={}).render_as_string(hide_password=True)}"

    def load(self, name: str) -> Table | None:
        """A table with its newest metadata; None only where it is absent. Raises StorageError, DamagedStateError."""
        with self._failures("load table", name):
            client = self._existing()
            try:
                return client.load_table((self.namespace, name)) if client else None
            except (NoSuchTableError, NoSuchNamespaceError) as error:
                if _comes_from_between(error):
                    raise
                return None

    def create(self, name: str, schema: Schema, spec: PartitionSpec, properties: dict[str, str]) -> None:
        """Create an empty table, and what it needs; somebody else may just have done so. Raises StorageError."""
        with self._failures("create table", name):
            client = self._made()
            with suppress(TableAlreadyExistsError):
                client.create_table((self.namespace, name), schema, self._place.of(name), spec, properties=properties)

    def check(self) -> None:
        """See that the catalogue answers, without leaving anything in it. Raises StorageError."""
        with self._failures("ask for", "*"):
            client = self._existing()
            if client is not None:
                client.namespace_exists(self.namespace)

    def close(self) -> None:
        """Let go of connections."""
        with self._guard:
            if self._client is not None:
                self._client.close()

    @contextmanager
    def committing(self, name: str) -> Iterator[None]:
        """A commit to a table: what its failures mean for what has become of it. Only what the catalogue has surely
        refused, or what failed before it was asked, is no CommitUnknownError.
        """
        what = f"the commit to Iceberg table {name} through {self.text}"
        try:
            if isinstance(self._client, SqlCatalog):
                self._let_readers_be(self._client)
            yield
        except (CommitFailedException, ValidationException) as error:
            raise CommitConflictError(
                f"{what} was refused: {error}", hint="another writer came first: read the progress, then try again"
            ) from error
        except (NoSuchTableError, *_REFUSALS) as error:
            raise self._failed("commit to table", name, error) from error
        except _FAILURES as error:
            self._drop_connections()
            raise CommitUnknownError(
                f"nobody knows what became of {what}: {_text_of(error)}", hint="read the progress back: it tells"
            ) from error

    @contextmanager
    def _failures(self, operation: str, name: str) -> Iterator[None]:
        try:
            yield
        except ValidationError as error:
            raise DamagedStateError(
                f"the metadata of Iceberg table {name} cannot be understood: {error}",
                hint="the newest metadata file of the table is damaged: restore it from a backup",
            ) from error
        except (*_FAILURES, NoSuchTableError, NoSuchNamespaceError) as error:
            self._drop_connections()
            raise self._failed(operation, name, error) from error

    def _drop_connections(self) -> None:
        """SQLAlchemy does not roll back a COMMIT that SQLite has refused: whoever got that connection next would see
        what is not there, and keep all others out.
        """
        if isinstance(self._client, SqlCatalog):
            self._client.engine.dispose()

    def _failed(self, operation: str, name: str, error: BaseException) -> StorageError:
        hint = room_hint(error) if self._url.get_backend_name() == "sqlite" else ""
        hint = (
            hint
            or f"see that {self.text} runs and lets this user in, then repeat the call: it goes on where it stopped"
        )
        return StorageError(operation, f"{self.namespace}.{name} of {self.text}", _text_of(error), hint=hint)

    def _existing(self) -> Catalog | None:
        """The client; None where there is no catalogue yet."""
        if self._url.get_backend_name() == "sqlite" and not Path(self._url.database or "").exists():
            return None
        client = self._connected()
        if isinstance(client, SqlCatalog) and not self._has_tables:
            self._has_tables = _has_tables(client)
            return client if self._has_tables else None
        return client

    def _made(self) -> Catalog:
        """The client of a catalogue that is there now, with the namespace."""
        if self._url.get_backend_name() == "sqlite":
            Path(self._url.database or "").parent.mkdir(parents=True, exist_ok=True)
        client = self._connected()
        if isinstance(client, SqlCatalog):
            self._let_readers_be(client)
            _make_tables(client)
        with suppress(NamespaceAlreadyExistsError, IntegrityError):
            client.create_namespace(self.namespace)
        return client

    def _let_readers_be(self, client: SqlCatalog) -> None:
        """Have a SQLite file in WAL mode, for good. Where somebody is reading it in the older one just now, the next
        commit tries again.
        """
        with self._guard:
            if not self._lets_readers_be and self._url.get_backend_name() == "sqlite":
                self._lets_readers_be = _in_wal_mode(client)

    def _connected(self) -> Catalog:
        with self._guard:
            if self._client is None:
                uri = self._url.render_as_string(hide_password=False)
                if self._url.drivername in _REST:
                    known = Config().get_catalog_config(NAME) or {}
                    self._client = _BoundedRestCatalog(NAME, **known | {"uri": uri} | self._place.properties())
                else:
                    self._client = RememberingSqlCatalog(
                        NAME, uri=uri, init_catalog_tables="false", pool_pre_ping="true", **self._place.properties()
                    )
            return self._client


def _in_wal_mode(client: SqlCatalog) -> bool:
    """False where somebody reads or writes the file. (A file system without it answers so, and that is no error.)"""
    with client.engine.connect() as connection:
        patience = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {_SWITCH_MILLISECONDS_MAX}")
        try:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        except OperationalError:
            return False
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {patience}")
    return True


def _has_tables(client: SqlCatalog) -> bool:
    """Whether all are there: who made them may have died, or run out of room, after the first."""
    names = inspect(client.engine).get_table_names()
    return {IcebergTables.__tablename__, IcebergNamespaceProperties.__tablename__} <= set(names)


def _make_tables(client: SqlCatalog) -> None:
    """Make those tables of the catalogue that are absent: others may do so at the same time, or have died meanwhile."""
    for attempt in range(_MAKERS_MAX):
        if _has_tables(client):
            return
        try:
            client.create_tables()
        except DBAPIError:
            if attempt == _MAKERS_MAX - 1:
                raise


class _BoundedRestCatalog(RestCatalog):
    """pyiceberg's own would wait for a reply for ever."""

    def _config_headers(self, session: requests.Session) -> None:
        # The first thing that happens to a session: what asks for a token comes after it.
        for scheme in _REST:
            session.mount(f"{scheme}://", _BoundedAdapter())
        super()._config_headers(session)


class _BoundedAdapter(HTTPAdapter):
    def send(self, *arguments: Any, **more: Any) -> requests.Response:
        more["timeout"] = more.get("timeout") or (_CONNECT_SECONDS_MAX, _REPLY_SECONDS_MAX)
        return super().send(*arguments, **more)


def _url_of(uri: str | None, place: Place) -> URL:
    if uri is None and not place.is_local:
        raise _wrong("nothing", "a SQLite file cannot be in an object store")
    try:
        url = URL.create("sqlite", database=place.local_path(DEFAULT_PATH)) if uri is None else make_url(uri)
    except ArgumentError as error:
        raise _wrong("what is no URI") from error
    backend = url.drivername.partition("+")[0]
    if backend in _REST:
        return url
    if backend not in _QUERY_OF:
        raise _wrong(url.set(query={}).render_as_string(hide_password=True))
    if not url.database:
        raise _wrong(f"{backend} without a database", "name the file or database after the last slash")
    return url.set(query={**_QUERY_OF[backend], **url.query})


def _wrong(shown: str, hint: str = "") -> ConfigurationError:
    return ConfigurationError([Fault("output.catalog.uri", shown, _ALLOWED, hint)])


def _comes_from_between(error: BaseException) -> bool:
    """Whether a 404 has not the body that a catalogue gives it: then a proxy did not find the catalogue."""
    return "RESTError" in str(error) or "RestError" in str(error)


def _text_of(error: BaseException) -> str:
    """What happened, without the statement and its parameters, which SQLAlchemy adds."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    return f"{type(cause).__name__}: {str(cause).strip()}"
