"""The server answers over real HTTP, says truly whether the daemon is well, and gets out of the way."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import unittest
from dataclasses import replace
from unittest import mock

from emitter.errors import UsageError
from emitter.testing import ManualClock
from emitter.watch import server
from emitter.watch.board import Board
from emitter.watch.health import Health
from emitter.watch.metrics import Metrics
from emitter.watch.server import Server, application
from tests.unit.watch.scripted_daemon import STATUS


class ServerTest(unittest.TestCase):
    def setUp(self) -> None:
        clock = ManualClock()
        self.metrics, self.health, self.board = Metrics(version="1", clock=clock), Health(clock), Board(clock)
        self.app = application(self.metrics, self.health, self.board, version="1.2.3")
        self.server = self.enterContext(Server(self.app, "127.0.0.1", 0))

    def connection(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        self.addCleanup(connection.close)
        return connection

    def ask(self, path: str, method: str = "GET") -> tuple[http.client.HTTPResponse, bytes]:
        connection = self.connection()
        connection.request(method, path)
        response = connection.getresponse()
        return response, response.read()

    def test_metrics_come_in_the_text_format_of_prometheus(self) -> None:
        self.metrics.started(STATUS)
        response, body = self.ask("/metrics")
        self.assertEqual(response.status, 200)
        self.assertEqual(response.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
        self.assertIn(b'emitter_rows_committed_total{table="orders"} 0.0\n', body)

    def test_head_gives_the_headers_alone(self) -> None:
        response, body = self.ask("/metrics", "HEAD")
        self.assertEqual((response.status, body), (200, b""))

    def test_nothing_can_be_changed_here(self) -> None:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            with self.subTest(method):
                response, body = self.ask("/metrics", method)
                self.assertEqual(response.status, 405)
                self.assertEqual(json.loads(body), {"error": "Method Not Allowed"})

    def test_an_unknown_page_is_told_as_json(self) -> None:
        response, body = self.ask("/nope")
        self.assertEqual(response.status, 404)
        self.assertEqual(json.loads(body), {"error": "Not Found"})

    def test_liveness_and_readiness_are_pages(self) -> None:
        self.assertEqual((self.ask("/livez")[0].status, self.ask("/readyz")[0].status), (200, 503))
        self.health.watch(lambda: STATUS)
        self.health.started(STATUS)
        response, body = self.ask("/readyz")
        self.assertEqual((response.status, json.loads(body)), (200, {"ready": True}))
        self.health.stopped("signal")
        response, body = self.ask("/livez")
        self.assertEqual(response.status, 503)
        self.assertEqual(json.loads(body), {"alive": False, "reason": "stopped: signal"})

    def test_readiness_tells_of_catching_up(self) -> None:
        self.health.watch(lambda: replace(STATUS, lag_seconds=10_800.0))
        self.health.started(STATUS)
        response, body = self.ask("/readyz")
        self.assertEqual(response.status, 200)
        self.assertEqual(json.loads(body), {"ready": True, "note": "catching up: 3 h of simulated time behind"})

    def test_the_status_is_json_of_this_moment(self) -> None:
        self.board.watch(lambda: STATUS)
        self.board.started(STATUS)
        response, body = self.ask("/api/status")
        self.assertEqual((response.status, response.headers["content-type"]), (200, "application/json"))
        status = json.loads(body)
        self.assertEqual((status["version"], status["run_id"]), ("1.2.3", STATUS.run_id))

    def test_the_page_has_its_files_and_no_other_is_served(self) -> None:
        kinds = {"/": "text/html", "/page.css": "text/css", "/page.js": "text/javascript", "/icon.svg": "image/svg+xml"}
        for path, kind in kinds.items():
            with self.subTest(path):
                response, body = self.ask(path)
                self.assertEqual(response.status, 200)
                self.assertTrue(response.headers["content-type"].startswith(kind))
                self.assertTrue(body)
        for path in ("/index.html", "/../server.py", "/page/page.js", "//page.js", "/livez/"):
            self.assertEqual(self.ask(path)[0].status, 404, path)

    def test_every_answer_forbids_what_browsers_could_do_with_it(self) -> None:
        for path in ("/", "/page.js", "/metrics", "/api/status", "/livez", "/readyz", "/nope"):
            with self.subTest(path):
                headers = self.ask(path)[0].headers
                policy = headers["content-security-policy"]
                self.assertTrue(policy.startswith("default-src 'none';"))
                self.assertIn("frame-ancestors 'none'", policy)
                self.assertNotIn("unsafe", policy)
                self.assertEqual(headers["x-content-type-options"], "nosniff")
                self.assertEqual(headers["cache-control"], "no-store")

    def test_what_is_no_http_gets_an_answer_and_harms_nobody(self) -> None:
        with (
            self.assertLogs("uvicorn.error", "WARNING"),
            socket.create_connection(("127.0.0.1", self.server.port), 10) as raw,
        ):
            raw.sendall(b"\x16\x03\x01 hello\r\n\r\n")
            self.assertTrue(raw.recv(100).startswith(b"HTTP/1.1 400"))
        self.assertEqual(self.ask("/livez")[0].status, 200)

    def test_a_header_without_end_is_refused(self) -> None:
        with (
            self.assertLogs("uvicorn.error", "WARNING"),
            socket.create_connection(("127.0.0.1", self.server.port), 10) as raw,
        ):
            raw.sendall(b"GET /livez HTTP/1.1\r\nX: " + b"x" * (server.HEADER_BYTES_MAX + 1))
            self.assertTrue(raw.recv(100).startswith(b"HTTP/1.1 400"))

    def test_the_port_in_use_is_named_with_a_way_out(self) -> None:
        with self.assertRaises(UsageError) as caught:
            Server(self.app, "127.0.0.1", self.server.port)
        self.assertEqual(caught.exception.exit_code, 2)
        self.assertEqual(
            caught.exception.problem,
            f"could not listen on 127.0.0.1 port {self.server.port}: Address already in use",
        )
        self.assertIn("server.port", caught.exception.hint)

    def test_a_host_that_is_not_here_is_refused(self) -> None:
        for host in ("host.invalid", "192.0.2.1"):
            with self.subTest(host), self.assertRaises(UsageError) as caught:
                Server(self.app, host, 0)
            self.assertIn(host, caught.exception.problem)


class StoppingTest(unittest.TestCase):
    def test_it_stops_with_a_half_sent_request_open_and_frees_the_port(self) -> None:
        clock = ManualClock()
        app = application(Metrics(version="1", clock=clock), Health(clock), Board(clock), version="1")
        with Server(app, "127.0.0.1", 0) as first:
            raw = socket.create_connection(("127.0.0.1", first.port), 10)
            self.addCleanup(raw.close)
            raw.sendall(b"GET /metr")
        self.assertNotIn("emitter-http", [thread.name for thread in threading.enumerate()])
        with Server(app, "127.0.0.1", first.port) as second:
            self.assertEqual(second.port, first.port)

    def test_who_connects_and_stays_silent_is_cut_off(self) -> None:
        clock = ManualClock()
        app = application(Metrics(version="1", clock=clock), Health(clock), Board(clock), version="1")
        with (
            mock.patch.object(server, "CONNECTION_SECONDS_MAX", 0.05),
            Server(app, "127.0.0.1", 0) as serving,
            socket.create_connection(("127.0.0.1", serving.port), 10) as raw,
        ):
            try:
                received = raw.recv(1)
            except ConnectionResetError:
                received = b""
        self.assertEqual(received, b"")


if __name__ == "__main__":
    unittest.main()
