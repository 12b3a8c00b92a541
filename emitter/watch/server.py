"""The HTTP side of a running daemon: /metrics for Prometheus, /livez and /readyz for who runs it, / for who watches.

A thread of its own serves it, so that it answers while a batch is under way; nothing here can touch the
daemon. So the name that a request asks for is not looked at: what a page of another origin could get hold of by giving
its name this address is what anyone on this network may read, and holds no secret.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from emitter.errors import UsageError
from emitter.watch.board import Board
from emitter.watch.health import Health
from emitter.watch.metrics import CONTENT_TYPE, Metrics
from emitter.watch.statuspage import page_files, status_document

CONNECTIONS_MAX = 64
ACCEPTS_MAX = 16  # in one go, before any of those that are too many is closed again
CONNECTION_SECONDS_MAX = 10.0  # one request each: who takes longer to ask, or to read the answer, is cut off
HEADER_BYTES_MAX = 16 * 1024
STOP_SECONDS_MAX = 1.0
# The page is all of this origin, in no frame, and what is shown is of this moment.
HEADERS = {
    "connection": "close",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

type Page = Callable[[Request], Coroutine[Any, Any, Response]]


def application(metrics: Metrics, health: Health, board: Board, *, version: str) -> Starlette:
    """The pages. Each answers GET and HEAD."""

    async def show_metrics(_request: Request) -> Response:
        return Response(metrics.page(), headers={"content-type": CONTENT_TYPE})

    async def show_livez(_request: Request) -> Response:
        return _verdict("alive", health.why_not_alive())

    async def show_readyz(_request: Request) -> Response:
        return _verdict("ready", health.why_not_ready(), health.catching_up())

    async def show_status(_request: Request) -> Response:
        return JSONResponse(status_document(board.picture(), health, version=version))

    async def show_error(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    pages: dict[str, Page] = {
        "/metrics": show_metrics,
        "/livez": show_livez,
        "/readyz": show_readyz,
        "/api/status": show_status,
    }
    pages |= {path: _fixed(content, media_type) for path, (content, media_type) in page_files().items()}
    app = Starlette(
        routes=[Route(path, page, methods=["GET"]) for path, page in pages.items()],
        exception_handlers={HTTPException: show_error},
    )
    app.router.redirect_slashes = False  # it would send people to whatever name the request gave
    return app


def _verdict(what: str, reason: str, note: str = "") -> Response:
    if reason:
        return JSONResponse({what: False, "reason": reason}, 503)
    return JSONResponse({what: True, "note": note} if note else {what: True})


def _fixed(content: bytes, media_type: str) -> Page:
    async def show(_request: Request) -> Response:
        return Response(content, media_type=media_type)

    return show


class Server:
    """Serves an application from a thread. The port is bound at once; requests are answered inside `with`."""

    def __init__(self, app: Starlette, host: str, port: int) -> None:
        """Raises UsageError where the address can't be had. Port 0 takes any free one."""
        self._socket = _listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=_OneRequest,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # whoever reaches the port could otherwise fill the log
            access_log=False,
            proxy_headers=False,
            server_header=False,
            headers=list(HEADERS.items()),
            limit_concurrency=CONNECTIONS_MAX,
            backlog=ACCEPTS_MAX,
            h11_max_incomplete_event_size=HEADER_BYTES_MAX,
            timeout_keep_alive=1,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="emitter-http", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(STOP_SECONDS_MAX)
        self._socket.close()


class _OneRequest(H11Protocol):
    """A connection that carries one request and ends soon, so that idle ones never use up the limit."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._end = self.loop.call_later(CONNECTION_SECONDS_MAX, transport.abort)
        if len(self.connections) > 2 * CONNECTIONS_MAX:  # who is silent cannot be told 503, and costs a descriptor
            transport.abort()

    def send_400_response(self, msg: str) -> None:
        """What is wrong may come after the head: then its answer is under way, and there is no second one."""
        if self.conn.our_state is h11.IDLE:
            super().send_400_response(msg)
        else:
            self.cycle.disconnected = True
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        super().connection_lost(exc)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address, family=family, backlog=CONNECTIONS_MAX)
    except socket.gaierror as error:  # its errno is of a numbering of its own
        raise UsageError(f"could not listen on {host}: {error.strerror}", hint=_hint(error)) from error
    except OSError as error:
        reason = os.strerror(error.errno or 0)  # without the address, which its own text repeats
        raise UsageError(f"could not listen on {host} port {port}: {reason}", hint=_hint(error)) from error


def _hint(error: OSError) -> str:
    other_port = "--set server.port=N (0 takes any free one)"
    if error.errno == errno.EADDRINUSE:
        return f"stop what listens there, or choose another port with {other_port}"
    if error.errno == errno.EACCES:
        return f"ports below 1024 need a privilege: choose another with {other_port}"
    return "give an address of this machine, such as --set server.host=127.0.0.1"
