"""What can happen to a request on its way: the faults that `tests.support.proxy` injects.

A reply that never comes is a connection that ends. Libraries try again by themselves, so a fault that shall be the last
word has to strike every time (`inject(..., times=None)`).

    cut                           the request never reaches the server
    lose_reply                    the server has done it, nobody hears of it
    Hold()                        as `cut` for the client, but the server gets the request at `release`: it lands late
    Hold(client_waits=True)       the client waits meanwhile, and gets its reply
    cut_reply(10)                 only so many bytes of the reply arrive
    slow(0.2)                     the reply comes so many seconds later
    answer(503, {"Retry-After": "1"})  said instead of the server (HTTP only)
    answer(500, landed=True)      said although the server has done it (HTTP only)
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus

DEADLINE_SECONDS = 30.0  # no test waits longer for anything here


@dataclass(frozen=True)
class Request:
    """What a client sent: an HTTP request, or for `TcpProxy` some bytes."""

    raw: bytes
    method: str = ""
    path: str = ""  # with the query, percent signs decoded
    headers: dict[str, str] = field(default_factory=dict)  # names in lower case


class Exchange:
    """A request and what may become of it. Where a fault does not `reply`, the connection ends."""

    def __init__(self, request: Request, client: socket.socket, forward: Callable[[], bytes]) -> None:
        self.request = request
        self.forward = forward  # to the server; gives its reply
        self.replied = False
        self._client = client

    def reply(self, raw: bytes) -> None:
        self._client.sendall(raw)
        self.replied = True

    def cut(self, raw: bytes = b"") -> None:
        """End the connection of the client at once, with so much of a reply."""
        with suppress(OSError):
            self._client.sendall(raw)
            self._client.shutdown(socket.SHUT_RDWR)


Action = Callable[[Exchange], None]


def cut(exchange: Exchange) -> None:
    pass


def lose_reply(exchange: Exchange) -> None:
    exchange.forward()


def answer(status: int, headers: dict[str, str] | None = None, body: bytes = b"", *, landed: bool = False) -> Action:
    def act(exchange: Exchange) -> None:
        if landed:
            exchange.forward()
        fields = {"Content-Length": str(len(body)), **(headers or {})}
        head = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {fields[name]}" for name in fields)]
        exchange.reply("\r\n".join([*head, "", ""]).encode() + (b"" if exchange.request.method == "HEAD" else body))

    return act


def cut_reply(length_bytes: int) -> Action:
    def act(exchange: Exchange) -> None:
        exchange.cut(exchange.forward()[:length_bytes])

    return act


def slow(seconds: float) -> Action:
    def act(exchange: Exchange) -> None:
        raw = exchange.forward()
        time.sleep(seconds)
        exchange.reply(raw)

    return act


class Hold:
    """Keeps one request until `release`."""

    def __init__(self, *, client_waits: bool = False) -> None:
        self._client_waits = client_waits
        self._arrived, self._released, self._landed = threading.Event(), threading.Event(), threading.Event()
        self._reply = b""

    def __call__(self, exchange: Exchange) -> None:
        if not self._client_waits:
            exchange.cut()
        self._arrived.set()
        if self._released.wait(DEADLINE_SECONDS):
            self._reply = exchange.forward()
            self._landed.set()
            if self._client_waits:
                exchange.reply(self._reply)

    def wait(self) -> None:
        """Until there is a request to keep."""
        if not self._arrived.wait(DEADLINE_SECONDS):
            raise TimeoutError("no request came")

    def release(self) -> bytes:
        """Let the server have it now; gives the reply."""
        self.wait()
        self._released.set()
        if not self._landed.wait(DEADLINE_SECONDS):
            raise TimeoutError("the server did not answer")
        return self._reply


class Fault:
    """An action that waits for its requests; made by `inject`."""

    def __init__(self, action: Action, wanted: Callable[[Request], bool], nth: int, times: int | None) -> None:
        self.action = action
        self._wanted = wanted
        self._first, self._last = nth, None if times is None else nth + times - 1
        self._seen = self._done = 0
        self.struck = 0  # requests it took, which may still be on their way
        self._changed = threading.Condition()

    def takes(self, request: Request) -> bool:
        if not self._wanted(request):
            return False
        self._seen += 1
        taken = self._first <= self._seen and (self._last is None or self._seen <= self._last)
        self.struck += taken
        return taken

    def done(self) -> None:
        with self._changed:
            self._done += 1
            self._changed.notify_all()

    def wait(self, times: int = 1) -> None:
        """Until it has been carried out so many times."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._done >= times, DEADLINE_SECONDS):
                raise TimeoutError(f"carried out {self._done} times, not {times}")
