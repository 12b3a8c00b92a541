"""A running daemon's HTTP server, and clients who send anything: it answers or closes, and the daemon hears nothing of
it. The many cases are in long_fuzz_http.
"""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import psutil

from tests.support.canary import PAGES, REPOSITORY, SERVES
from tests.support.shop import shop_mapping

CLIENTS = 8
REPLY_SECONDS_MAX = 30.0  # more than a connection lasts, on a busy machine
DEADLINE_SECONDS = 120.0
FLOOD = 300  # connections at once, with 160 descriptors for them and all else
DESCRIPTORS_MAX = 256
GROWTH_BYTES_MAX = 32 * 2**20
METHODS = (
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "CONNECT",
    "PRI",
    "get",
    "",
    "G T",
    "\0",
)
VERSIONS = ("HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9", "http/1.1", "", "HTTP/1.1 x")
TARGETS = (
    "*", "", "//", "http://other/metrics", "/metrics?x=%00", "/metrics#x", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/x",
    "/static/..%2f..%2femitter.yaml", "/metrics/", "/%ff", "/\xff", "/" + "a" * 20_000, "/api/status?" + "&a=b" * 2_000,
    "/<script>alert(1)</script>", "/%0d%0aX-Injected:%201",
)  # fmt: skip
HEADERS = (
    "Host: x", "Host: x\r\nHost: y", "Content-Length: -1", "Content-Length: 99999999999999999999", "Content-Length: 5",
    "Content-Length: 5\r\nContent-Length: 6", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked, gzip",
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x", "Expect: 1",
    "Expect: 100-continue",
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__", "Range: bytes=0-1",
    "Accept-Encoding: gzip", "X: " + "x" * 30_000, "X : y", ": y", "X\0: y", " folded", "X-Forwarded-For: 1.2.3.4",
    "Cookie: " + "a=b; " * 500, "Authorization: Basic " + "A" * 500, "If-None-Match: *", "\xff: \xff",
)  # fmt: skip
BODIES = (
    b"",
    b"hello",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"-1\r\n",
    b"\0" * 5000,
    b"GET / HTTP/1.1\r\n\r\n" * 50,
)


class HttpFuzzCase(unittest.TestCase):
    """A daemon that writes batch after batch, in a process with few descriptors."""

    def setUp(self) -> None:
        folder = Path(self.enterContext(TemporaryDirectory()))
        config = folder / "emitter.json"
        config.write_text(json.dumps(shop_mapping(folder / "out", {"clock.speed": 60, "clock.batch_seconds": 10})))
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    "prlimit",
                    f"--nofile={DESCRIPTORS_MAX}",
                    sys.executable,
                    "-m",
                    "emitter",
                    "run",
                    "--no-live",
                    "-c",
                    config,
                ],
                cwd=REPOSITORY,
                stderr=log,
            )
        self.addCleanup(self.process.wait)
        self.addCleanup(self.process.kill)
        self.wait_for_batches(1)
        url = SERVES.search(self.log.read_bytes())
        assert url is not None
        self.port = int(url[1].rpartition(b":")[2])

    def wait_for_batches(self, more: int) -> None:
        wanted = self.log.read_bytes().count(b'"action": "batch"') + more
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self.log.read_bytes().count(b'"action": "batch"') < wanted:
            self.assertIsNone(self.process.poll(), self.log.read_text())
            self.assertLess(time.monotonic(), deadline, self.log.read_text())
            time.sleep(0.05)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), REPLY_SECONDS_MAX)

    def send(self, data: bytes, says_goodbye: bool) -> bytes:
        """What comes back until the server closes; nothing where it cuts the connection."""
        with self.connect() as client, suppress(ConnectionError):
            client.sendall(data)
            if says_goodbye:
                client.shutdown(socket.SHUT_WR)
            received = b""
            while part := client.recv(2**16):
                received += part
            return received
        return b""

    def fuzz(self, count: int) -> None:
        """Send so many requests, and see that nothing came of it."""
        random = Random(20261123)
        self.answer_as_ever()
        before = psutil.Process(self.process.pid).memory_info().rss
        requests = [raw_request(random) for _ in range(count)]
        with ThreadPoolExecutor(CLIENTS) as clients:
            replies = clients.map(self.send, requests, (random.random() < 0.95 for _ in requests))
        for number, (data, reply) in enumerate(zip(requests, replies, strict=True)):
            with self.subTest(number=number, data=data[:300]):
                if reply:
                    self.assertRegex(reply[:12], rb"\AHTTP/1\.1 [2-5]\d\d")
                    self.assertNotIn(b"Traceback", reply)
                    self.assertNotIn(b"x-injected", reply.partition(b"\r\n\r\n")[0].lower())
                    self.assertNotIn(b"root:", reply)
        self.answer_as_ever()
        self.assert_calm(before)

    def flood(self) -> None:
        """Open more connections than there are descriptors, silent ones: the tables' files still get theirs."""
        before = psutil.Process(self.process.pid).memory_info().rss
        with ExitStack() as stack:
            for _ in range(FLOOD):
                with suppress(OSError):
                    stack.enter_context(self.connect()).sendall(b"GET /met")
            self.wait_for_batches(3)
        self.answer_as_ever()
        self.assert_calm(before)

    def answer_as_ever(self) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        for page in PAGES:
            while True:  # a flood may still be on its way out
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=REPLY_SECONDS_MAX)
                try:
                    connection.request("GET", page)
                    status = connection.getresponse().status
                except (http.client.HTTPException, ConnectionError):
                    status = 503
                finally:
                    connection.close()
                if status != 503 or time.monotonic() > deadline:
                    break
                time.sleep(0.2)
            self.assertIn(status, (200, 404), page)

    def assert_calm(self, bytes_before: int) -> None:
        self.wait_for_batches(1)
        process = psutil.Process(self.process.pid)
        self.assertLess(process.memory_info().rss - bytes_before, GROWTH_BYTES_MAX)
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.process.wait(DEADLINE_SECONDS), 0)
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        odd = [line for line in lines if "exception" in line or "uvicorn" in line.get("logger", "")]
        self.assertEqual([(line.get("message"), line.get("exception", "")[-300:]) for line in odd], [])


def raw_request(random: Random) -> bytes:
    """What a client sends: a request with something odd about it, a part of one, or bytes."""
    if random.random() < 0.1:
        return random.randbytes(random.choice([1, 10, 1000, 40_000]))
    target = random.choice(PAGES) if random.random() < 0.5 else random.choice(TARGETS)
    method = random.choice(METHODS) if random.random() < 0.5 else "GET"
    version = random.choice(VERSIONS) if random.random() < 0.3 else "HTTP/1.1"
    headers = ["Host: x", *random.sample(HEADERS, random.randrange(4))]
    lines = "\r\n".join([f"{method} {target} {version}".rstrip(" "), *headers, "", ""])
    data = lines.encode("latin-1") + random.choice(BODIES)
    match random.randrange(6):
        case 0:
            return data[: random.randrange(len(data) + 1)]
        case 1:
            at = random.randrange(len(data))
            return data[:at] + random.randbytes(3) + data[at + 3 :]
        case _:
            return data


class HttpFuzzTest(HttpFuzzCase):
    def test_requests_of_any_kind(self) -> None:
        self.fuzz(200)

    def test_more_connections_than_descriptors(self) -> None:
        self.flood()


if __name__ == "__main__":
    unittest.main()
