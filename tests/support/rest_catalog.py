"""An Iceberg REST catalogue for the tests: the protocol's routes over pyiceberg's SQL catalogue on SQLite.

There is none among the packages that could be installed with the tests. What is checked is real: a commit's
requirements are held against the current metadata under one lock, and answered with 409 where they fail; updates are
applied to what is current, as REST catalogues do, and not to what the client last saw. Without the token every request
is refused.

    with RestCatalog("s3://bucket/lake", server) as rest:       # or a folder, without a server
        catalog = load_catalog("rest", **rest.properties())
    with HttpProxy(rest.address) as proxy:                       # conflicts, lost replies, commits that land late
        proxy.inject(answer(409, body=rest_error("CommitFailedException")), method="POST", path="/tables/orders$")
        catalog = load_catalog("rest", **rest.properties(proxy.endpoint_url))
"""

from __future__ import annotations

import json
import socket
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from pyiceberg import exceptions
from pyiceberg.catalog.rest import CreateTableRequest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.table import CommitTableRequest
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.support.child import ServerProcess, serve_until_parent_ends
from tests.support.s3_server import S3Server


class RestCatalog:
    """A running catalogue of its own. Ends with `close`, as a context manager, or with the process."""

    def __init__(self, warehouse: str, s3: S3Server | None = None) -> None:
        self.token = uuid.uuid4().hex
        self._storage = {} if s3 is None else iceberg_properties(s3)
        self._folder = tempfile.TemporaryDirectory()
        self._settings = {"uri": f"sqlite:///{self._folder.name}/catalog.db", "warehouse": warehouse, **self._storage}
        self.address: tuple[str, int] = ("127.0.0.1", 0)
        self.start()

    def start(self) -> None:
        """Start it, for the first time or again: with the same tables at the same port."""
        arguments = [self.token, json.dumps(self._settings), str(self.address[1])]
        self._process = ServerProcess("tests.support.rest_catalog", *arguments)
        self.address = ("127.0.0.1", self._process.answer["port"])

    def stop(self) -> None:
        """Let it end what it does, and no more."""
        self._process.stop()

    def crash(self) -> None:
        """Kill it, whatever it does."""
        self._process.kill()

    @property
    def uri(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"

    def properties(self, uri: str = "") -> dict[str, str]:
        """What pyiceberg's `load_catalog` needs for it, its storage included."""
        return {"type": "rest", "uri": uri or self.uri, "token": self.token, **self._storage}

    def close(self) -> None:
        self._process.stop()
        self._folder.cleanup()

    def __enter__(self) -> RestCatalog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def iceberg_properties(s3: S3Server, endpoint_url: str = "") -> dict[str, str]:
    """What pyiceberg's file access needs for an S3 server."""
    return {
        "s3.endpoint": endpoint_url or s3.endpoint_url,
        "s3.region": s3.region,
        "s3.access-key-id": s3.access_key,
        "s3.secret-access-key": s3.secret_key,
    }


def rest_error(kind: str, code: int = 409, message: str = "said by the tests") -> bytes:
    """The body of a refusal, as the protocol has it."""
    return json.dumps({"error": {"message": message, "type": kind, "code": code}}).encode()


# What follows runs in a process of its own: python -m tests.support.rest_catalog TOKEN SETTINGS PORT

REFUSALS: dict[type[Exception], tuple[int, str]] = {
    exceptions.NoSuchTableError: (404, "NoSuchTableException"),
    exceptions.NoSuchNamespaceError: (404, "NoSuchNamespaceException"),
    exceptions.TableAlreadyExistsError: (409, "AlreadyExistsException"),
    exceptions.NamespaceAlreadyExistsError: (409, "AlreadyExistsException"),
    exceptions.NamespaceNotEmptyError: (409, "NamespaceNotEmptyException"),
    exceptions.CommitFailedException: (409, "CommitFailedException"),
}


class Routes:
    """Each method answers one request with what is to be sent as JSON; None is 204."""

    def __init__(self, catalog: SqlCatalog) -> None:
        self._catalog = catalog

    def config(self, path: dict[str, str], body: bytes, query: dict[str, str]) -> Any:
        endpoints = [f"{method} {route.replace('/v1', '/v1/{prefix}', 1)}" for method, route, _ in ROUTES[1:]]
        return {"defaults": {}, "overrides": {}, "endpoints": endpoints}

    def list_namespaces(self, path: dict[str, str], body: bytes, query: dict[str, str]) -> Any:
        return {"namespaces": self._catalog.list_namespaces(tuple(filter(None, query.get("parent", "").split("\x1f"))))}

    def create_namespace(self, path: dict[str, str], body: bytes, query: dict[str, str]) -> Any:
        wanted = json.loads(body)
        self._catalog.create_namespace(tuple(wanted["namespace"]), wanted.get("properties") or {})
        return {"namespace": wanted["namespace"], "properties": wanted.get("properties") or {}}

    def load_namespace(self, path: dict[str, str], body: bytes, query: dict[str, str]) -> Any:
        return {"namespace": namespace(path), "properties": self._catalog.load_namespace_properties(namespace(path))}

    def drop_namespace(self, path: dict[str, str], body: bytes, query: dict[str, str]) -> None:
        self._catalog.drop_namespace(namespace(path))

    def list_tables(self, path: dict[str, str], body: bytes, query: dict[str, str]) -> Any:
        found = self._catalog.list_tables(namespace(path))
        return {"identifiers": [{"namespace": names[:-1], "name": names[-1]} for names in found]}

    def create_table(self, path: dict[str, str], body: bytes, query: dict[str, str]) -> Any:
        optional = dict.fromkeys(["location", "partition-spec", "write-order"])
        request = CreateTableRequest.model_validate(optional | json.loads(body))
        if not self._catalog.namespace_exists(namespace(path)):
            raise exceptions.NoSuchNamespaceError(f"no namespace {namespace(path)}")
        identifier = (*namespace(path), request.name)
        if self._catalog.table_exists(identifier):
            raise exceptions.TableAlreadyExistsError(f"there is a table {identifier}")
        create = self._catalog._create_staged_table if request.stage_create else self._catalog.create_table
        return loaded(
            create(
                identifier,
                schema=request.table_schema,
                location=request.location,
                partition_spec=request.partition_spec or UNPARTITIONED_PARTITION_SPEC,
                sort_order=request.write_order or UNSORTED_SORT_ORDER,
                properties=request.properties,
            )
        )

    def load_table(self, path: dict[str, str], body: bytes, query: dict[str, str]) -> Any:
        return loaded(self._catalog.load_table(table(path)))

    def commit_table(self, path: dict[str, str], body: bytes, query: dict[str, str]) -> Any:
        request = CommitTableRequest.model_validate_json(body)
        named: Any = SimpleNamespace(name=lambda: table(path))  # a table that is only being created can't be loaded
        return loaded(self._catalog.commit_table(named, request.requirements, request.updates))

    def drop_table(self, path: dict[str, str], body: bytes, query: dict[str, str]) -> None:
        purge = query.get("purgeRequested", "").lower() == "true"
        (self._catalog.purge_table if purge else self._catalog.drop_table)(table(path))


NAMESPACES, NAMESPACE = "/v1/namespaces", "/v1/namespaces/{namespace}"
TABLES, TABLE = f"{NAMESPACE}/tables", f"{NAMESPACE}/tables/{{table}}"
ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    ("GET", "/v1/config", Routes.config),
    ("GET", NAMESPACES, Routes.list_namespaces),
    ("POST", NAMESPACES, Routes.create_namespace),
    ("GET", NAMESPACE, Routes.load_namespace),
    ("DELETE", NAMESPACE, Routes.drop_namespace),
    ("GET", TABLES, Routes.list_tables),
    ("POST", TABLES, Routes.create_table),
    ("GET", TABLE, Routes.load_table),
    ("POST", TABLE, Routes.commit_table),
    ("DELETE", TABLE, Routes.drop_table),
]


def namespace(path: dict[str, str]) -> tuple[str, ...]:
    return tuple(path["namespace"].split("\x1f"))


def table(path: dict[str, str]) -> tuple[str, ...]:
    return (*namespace(path), path["table"])


def loaded(found: Any) -> Any:
    """A table, or the answer to a commit, as the protocol has it."""
    metadata = json.loads(found.metadata.model_dump_json())
    return {"metadata-location": found.metadata_location, "metadata": metadata, "config": {}}


def application(catalog: SqlCatalog, token: str) -> Starlette:
    lock = threading.Lock()
    routes = Routes(catalog)

    def answered(act: Callable[..., Any], request: Request, body: bytes) -> Response:
        try:
            with lock:
                result = act(routes, request.path_params, body, dict(request.query_params))
        except tuple(REFUSALS) as error:
            code, kind = next(REFUSALS[known] for known in type(error).__mro__ if known in REFUSALS)
            return Response(rest_error(kind, code, str(error)), code, media_type="application/json")
        return Response(status_code=204) if result is None else JSONResponse(result)

    def endpoint(act: Callable[..., Any]) -> Callable[..., Any]:
        async def respond(request: Request) -> Response:
            if request.headers.get("authorization") != f"Bearer {token}":
                return Response(rest_error("NotAuthorizedException", 401), 401, media_type="application/json")
            return await run_in_threadpool(answered, act, request, await request.body())

        return respond

    async def failed(request: Request, error: Exception) -> Response:
        return Response(rest_error(type(error).__name__, 500, str(error)), 500, media_type="application/json")

    found = [Route(path, endpoint(act), methods=[method]) for method, path, act in ROUTES]
    return Starlette(routes=found, exception_handlers={Exception: failed})


def main(token: str, settings: dict[str, str], port: int) -> None:
    import uvicorn

    listener = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(application(SqlCatalog("rest", **settings), token), log_level="warning"))
    serve_until_parent_ends(lambda: server.run(sockets=[listener]), port=listener.getsockname()[1])


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]))
