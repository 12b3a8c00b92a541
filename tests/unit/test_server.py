"""The server answers over real HTTP, says truly whether the daemon is well, and gets out of the way."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import unittest
from dataclasses import replace
from unittest import mock

from emitter import server
from emitter.errors import StorageError, UsageError
from emitter.metrics import Metrics
from emitter.observer import DaemonStatus
from emitter.server import Health, Server, application
from emitter.testing import ManualClock
from tests.unit.scripted_daemon import STATUS, step

BEHIND = replace(STATUS, lag_seconds=100.0)


class ServerTest(unittest.TestCase):
    def setUp(self) -> None:
        clock = ManualClock()
        self.metrics, self.health = Metrics(version="1", clock=clock), Health(clock)
        self.server = self.enterContext(Server(application(self.metrics, self.health), "127.0.0.1", 0))

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
            Server(application(self.metrics, self.health), "127.0.0.1", self.server.port)
        self.assertEqual(caught.exception.exit_code, 2)
        self.assertEqual(
            caught.exception.problem,
            f"could not listen on 127.0.0.1 port {self.server.port}: Address already in use",
        )
        self.assertIn("server.port", caught.exception.hint)

    def test_a_host_that_is_not_here_is_refused(self) -> None:
        for host in ("host.invalid", "192.0.2.1"):
            with self.subTest(host), self.assertRaises(UsageError) as caught:
                Server(application(self.metrics, self.health), host, 0)
            self.assertIn(host, caught.exception.problem)


class StoppingTest(unittest.TestCase):
    def test_it_stops_with_a_half_sent_request_open_and_frees_the_port(self) -> None:
        clock = ManualClock()
        app = application(Metrics(version="1", clock=clock), Health(clock))
        with Server(app, "127.0.0.1", 0) as first:
            raw = socket.create_connection(("127.0.0.1", first.port), 10)
            self.addCleanup(raw.close)
            raw.sendall(b"GET /metr")
        self.assertNotIn("emitter-http", [thread.name for thread in threading.enumerate()])
        with Server(app, "127.0.0.1", first.port) as second:
            self.assertEqual(second.port, first.port)

    def test_who_connects_and_stays_silent_is_cut_off(self) -> None:
        clock = ManualClock()
        app = application(Metrics(version="1", clock=clock), Health(clock))
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


class HealthTest(unittest.TestCase):
    """STATUS: batches of 10 simulated seconds at speed 2, so at least 30 s pass before readiness is lost."""

    def setUp(self) -> None:
        self.clock = ManualClock()
        self.health = Health(self.clock)
        self.status: DaemonStatus = BEHIND
        self.health.watch(lambda: self.status)

    def test_it_is_not_ready_while_it_starts(self) -> None:
        self.assertEqual(self.health.why_not_ready(), "starting")
        self.assertEqual(self.health.why_not_alive(), "")

    def test_it_is_ready_for_so_long_after_a_step(self) -> None:
        self.health.started(BEHIND)
        self.clock.advance(29.0)
        self.health.stepped(step(), BEHIND)
        self.clock.advance(30.0)
        self.assertEqual(self.health.why_not_ready(), "")
        self.clock.advance(1.0)
        self.assertEqual(self.health.why_not_ready(), "no step has finished for 31 s, 30 s are allowed")

    def test_large_batches_have_three_times_their_length_in_real_time(self) -> None:
        self.status = replace(BEHIND, batch_seconds=3600, lag_seconds=3600.0)
        self.health.started(self.status)
        self.clock.advance(5400.0)
        self.assertEqual(self.health.why_not_ready(), "")
        self.clock.advance(1.0)
        self.assertIn("5400 s are allowed", self.health.why_not_ready())

    def test_it_stays_ready_while_nothing_is_due(self) -> None:
        self.status = replace(STATUS, lag_seconds=9.0)
        self.health.started(self.status)
        self.clock.advance(86_400.0)
        self.assertEqual(self.health.why_not_ready(), "")

    def test_at_speed_max_something_is_always_due(self) -> None:
        self.status = replace(STATUS, speed=None, lag_seconds=0.0)
        self.health.started(self.status)
        self.clock.advance(31.0)
        self.assertIn("no step has finished", self.health.why_not_ready())

    def test_the_reason_tells_what_is_being_retried_until_a_step_finishes(self) -> None:
        self.health.started(BEHIND)
        self.health.waiting_to_retry(StorageError("write", "x", "no space"), 3, 9, 1.0)
        self.clock.advance(31.0)
        self.assertIn("retrying: could not write x: no space", self.health.why_not_ready())
        self.health.stepped(step(), BEHIND)
        self.clock.advance(31.0)
        self.assertNotIn("retrying", self.health.why_not_ready())

    def test_a_wall_clock_that_jumps_changes_nothing(self) -> None:
        self.health.started(BEHIND)
        for jump in (3600.0, -7200.0):
            self.clock.jump_wall(jump)
            self.assertEqual(self.health.why_not_ready(), "")

    def test_it_is_dead_once_the_daemons_thread_has_ended(self) -> None:
        made: list[Health] = []
        thread = threading.Thread(target=lambda: made.append(Health(self.clock)))
        thread.start()
        thread.join()
        self.assertEqual(made[0].why_not_alive(), "the daemon's thread has ended")
        self.assertEqual(made[0].why_not_ready(), "the daemon's thread has ended")


if __name__ == "__main__":
    unittest.main()
