"""A proxy between a client and a server, on which bad luck can be had on command (see `tests.support.wire_faults`).

    with HttpProxy(server.address) as proxy:
        client = ...(proxy.endpoint_url)                        # instead of server.endpoint_url
        fault = proxy.inject(lose_reply, method="PUT", path=r"_delta_log/.*[.]json")
        ...
        fault.wait()                                            # it has struck

`HttpProxy` knows requests. It passes each on byte by byte, so that the `Host` that a client signed stays as it was.
`TcpProxy` knows only what a client sends in one go, which for Postgres is a statement:

    with TcpProxy(postgres.address) as proxy:
        proxy.inject(lose_reply, text=b"COMMIT")
"""

from __future__ import annotations

import re
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import BinaryIO, Self
from urllib.parse import unquote

from tests.support.wire_faults import DEADLINE_SECONDS, Action, Exchange, Fault, Request

CHUNK_BYTES = 2**16


class Proxy:
    """Listens on a free port, with a thread per connection. Ends with `close`, or as a context manager."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self._upstream = upstream
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._down = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def inject(
        self,
        action: Action,
        *,
        method: str = "",
        path: str = "",
        text: bytes = b"",
        where: Callable[[Request], bool] = lambda request: True,
        nth: int = 1,
        times: int | None = 1,
    ) -> Fault:
        """Strike the nth request that fits all (`path` is a regular expression to search, `text` any bytes in it)."""

        def wanted(request: Request) -> bool:
            fits = request.method == (method or request.method) and re.search(path, request.path) is not None
            return fits and text in request.raw and where(request)

        fault = Fault(action, wanted, nth, times)
        with self._lock:
            self._faults.append(fault)
        return fault

    def remove(self, *faults: Fault) -> None:
        """Let these strike no more; all of them if none is named."""
        with self._lock:
            self._faults = [fault for fault in self._faults if faults and fault not in faults]

    def go_down(self) -> None:
        """Cut every connection, and refuse new ones (they end at once) until `come_up`."""
        with self._lock:
            self._down = True
            for connection in self._sockets:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def come_up(self) -> None:
        self._down = False

    def close(self) -> None:
        with suppress(OSError):  # wakes the thread in accept(); macOS does so by close() alone
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(DEADLINE_SECONDS)
        self.go_down()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_one, args=[client], daemon=True).start()

    def _serve_one(self, client: socket.socket) -> None:
        with suppress(OSError), self._cuttable(client):
            self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        raise NotImplementedError

    def _connect(self) -> AbstractContextManager[socket.socket]:
        return self._cuttable(socket.create_connection(self._upstream, DEADLINE_SECONDS))

    @contextmanager
    def _cuttable(self, connection: socket.socket) -> Iterator[socket.socket]:
        """Have `go_down` cut this connection too while it is in use; and close it afterwards."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection:
            with self._lock:
                if self._down:
                    raise ConnectionAbortedError("the proxy is down")
                self._sockets.add(connection)
            try:
                yield connection
            finally:
                with self._lock:
                    self._sockets.discard(connection)
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _fault(self, request: Request) -> Fault | None:
        with self._lock:
            return next((fault for fault in self._faults if fault.takes(request)), None)


class HttpProxy(Proxy):
    """Speaks HTTP/1.1 without TLS. `requests` is what came so far, as (method, path)."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.requests: list[tuple[str, str]] = []
        super().__init__(upstream)

    @property
    def endpoint_url(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"

    def _serve(self, client: socket.socket) -> None:
        with client.makefile("rb") as stream:
            while (request := self._read_request(stream, client)) is not None:
                self.requests.append((request.method, request.path))
                exchange = Exchange(request, client, partial(self._forward, request))
                if (fault := self._fault(request)) is None:
                    exchange.reply(exchange.forward())
                else:
                    fault.action(exchange)
                    fault.done()
                if not exchange.replied:
                    return

    def _read_request(self, stream: BinaryIO, client: socket.socket) -> Request | None:
        head = _read_head(stream)
        if not head:
            return None
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        headers = _headers(head)
        if headers.get("expect", "").lower() == "100-continue":  # the client waits to be told to send the body
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return Request(head + _read_body(stream, headers, until_end=False), method, unquote(target), headers)

    def _forward(self, request: Request) -> bytes:
        with self._connect() as server, server.makefile("rb") as stream:
            server.sendall(request.raw)
            head = _read_head(stream)
            while head.split(b" ", 2)[1:2] == [b"100"]:
                head = _read_head(stream)
            if not head:
                raise ConnectionResetError("the server did not answer")
            if request.method == "HEAD" or head.split(b" ", 2)[1] in {b"204", b"304"}:
                return head
            return head + _read_body(stream, _headers(head), until_end=True)


def _read_head(stream: BinaryIO) -> bytes:
    """The lines up to the first empty one, which is included; nothing if the other side is gone."""
    lines = []
    while (line := stream.readline()) not in {b"\r\n", b""}:
        lines.append(line)
    return b"".join([*lines, line]) if line else b""


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:-2]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _read_body(stream: BinaryIO, headers: dict[str, str], *, until_end: bool) -> bytes:
    """The body as it is on the wire, chunk sizes included. Without a length a reply lasts until the connection ends."""
    if "chunked" in headers.get("transfer-encoding", "").lower():
        parts = []
        while True:
            line = stream.readline()
            if not line:
                raise ConnectionResetError("the other side went away in the middle of a message")
            parts.append(line)
            if (size := int(line.split(b";")[0], 16)) == 0:
                return b"".join([*parts, _read_head(stream)])
            parts.append(stream.read(size + 2))
    if "content-length" in headers:
        length = int(headers["content-length"])
        body = stream.read(length)
        if len(body) < length:
            raise ConnectionResetError("the other side went away in the middle of a message")
        return body
    return stream.read() if until_end else b""


class TcpProxy(Proxy):
    """Passes bytes both ways, whatever they mean. A request is what a client sends in one go."""

    def _serve(self, client: socket.socket) -> None:
        with self._connect() as server, selectors.DefaultSelector() as selector:
            for connection in (client, server):
                selector.register(connection, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    chunk = key.fileobj.recv(CHUNK_BYTES)
                    if not chunk:
                        return
                    if key.fileobj is server:
                        client.sendall(chunk)
                    elif (fault := self._fault(request := Request(chunk))) is None:
                        server.sendall(chunk)
                    else:
                        exchange = Exchange(request, client, partial(_ask, server, chunk))
                        fault.action(exchange)
                        fault.done()
                        if not exchange.replied:
                            return


def _ask(server: socket.socket, chunk: bytes) -> bytes:
    """Send it, and give what comes back first."""
    server.sendall(chunk)
    return server.recv(CHUNK_BYTES)
