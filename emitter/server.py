"""The HTTP side of a running daemon: /metrics for Prometheus, /livez and /readyz for who runs it.

A thread of its own serves it, so that it answers while a batch is under way; nothing here can touch the
daemon.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self, override

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from emitter.clock import Clock
from emitter.errors import EmitterError, UsageError
from emitter.metrics import CONTENT_TYPE, Metrics
from emitter.model import StepReport
from emitter.observer import DaemonStatus, Observer

READY_SECONDS_MIN = 30.0
READY_BATCHES = 3
CONNECTIONS_MAX = 64
CONNECTION_SECONDS_MAX = 10.0  # one request each: who takes longer to ask, or to read the answer, is cut off
HEADER_BYTES_MAX = 16 * 1024
STOP_SECONDS_MAX = 1.0


class Health(Observer):
    """Whether the process lives and whether batches finish.

    Ages are of monotonic time: a clock that is set does not make a daemon unhealthy.
    """

    def __init__(self, clock: Clock) -> None:
        """Watches the thread that makes it: that one has to be the daemon's."""
        self._clock = clock
        self._thread = threading.current_thread()
        self._status: Callable[[], DaemonStatus] | None = None
        self._finished_seconds: float | None = None
        self._trouble = ""
        self._stopped = ""

    def watch(self, status: Callable[[], DaemonStatus]) -> None:
        """From now on ask the daemon itself how it stands."""
        self._status = status

    @override
    def started(self, status: DaemonStatus) -> None:
        self._finished_seconds = self._clock.monotonic_seconds()

    @override
    def stepped(self, report: StepReport, status: DaemonStatus) -> None:
        self._finished_seconds = self._clock.monotonic_seconds()
        self._trouble = ""

    @override
    def waiting_to_retry(self, error: EmitterError, attempt: int, attempts_max: int, wait_seconds: float) -> None:
        self._trouble = f"; retrying: {error.problem}"

    @override
    def stopped(self, reason: str) -> None:
        self._stopped = reason

    def why_not_alive(self) -> str:
        """Empty while the daemon's thread is at work."""
        if self._stopped:
            return f"stopped: {self._stopped}"
        return "" if self._thread.is_alive() else "the daemon's thread has ended"

    def why_not_ready(self) -> str:
        """Empty while steps finish in time, or none is due."""
        if dead := self.why_not_alive():
            return dead
        if self._status is None or self._finished_seconds is None:
            return "starting"
        status = self._status()
        if status.speed is not None and status.lag_seconds < status.batch_seconds:
            return ""
        batch_seconds = status.batch_seconds / status.speed if status.speed else 0.0
        limit_seconds = max(READY_SECONDS_MIN, READY_BATCHES * batch_seconds)
        age_seconds = self._clock.monotonic_seconds() - self._finished_seconds
        if age_seconds <= limit_seconds:
            return ""
        return f"no step has finished for {age_seconds:.0f} s, {limit_seconds:.0f} s are allowed{self._trouble}"


def application(metrics: Metrics, health: Health) -> Starlette:
    """The pages. Each answers GET and HEAD."""

    async def show_metrics(_request: Request) -> Response:
        return Response(metrics.page(), headers={"content-type": CONTENT_TYPE})

    async def show_livez(_request: Request) -> Response:
        return _verdict("alive", health.why_not_alive())

    async def show_readyz(_request: Request) -> Response:
        return _verdict("ready", health.why_not_ready())

    async def show_error(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    pages = {"/metrics": show_metrics, "/livez": show_livez, "/readyz": show_readyz}
    return Starlette(
        routes=[Route(path, page, methods=["GET"]) for path, page in pages.items()],
        exception_handlers={HTTPException: show_error},
    )


def _verdict(what: str, reason: str) -> Response:
    if reason:
        return JSONResponse({what: False, "reason": reason}, 503)
    return JSONResponse({what: True})


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
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            headers=[("connection", "close")],
            limit_concurrency=CONNECTIONS_MAX,
            backlog=CONNECTIONS_MAX,
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
        self.loop.call_later(CONNECTION_SECONDS_MAX, transport.abort)


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
