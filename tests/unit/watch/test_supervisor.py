"""What systemd hears of a run, at a real datagram socket."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

from emitter.clock import text_of
from emitter.errors import StorageError
from emitter.model import ChoreReport
from emitter.run.schedule import Enough, run_daemon
from emitter.testing import ManualClock
from emitter.watch.observer import Tally
from emitter.watch.supervisor import FEEDS_PER_TIMEOUT, Supervisor
from tests.unit.watch.scripted_daemon import STATUS, ScriptedDaemon, commit, step

FED = ["WATCHDOG=1"]
MONOTONIC_SECONDS = 1234.5


class SupervisorCase(unittest.TestCase):
    def setUp(self) -> None:
        self.path = str(Path(self.enterContext(tempfile.TemporaryDirectory())) / "notify")
        self.receiver = self.listen(self.path)
        self.clock = ManualClock()

    def listen(self, address: str) -> socket.socket:
        receiver = self.enterContext(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
        receiver.bind(address)
        return receiver

    def supervisor(self, **environ: str) -> Supervisor:
        return Supervisor({"NOTIFY_SOCKET": self.path} | environ, self.clock)

    def watched(self, seconds: float = 40) -> Supervisor:
        """One that is ready and has a watchdog; what it has said so far is forgotten."""
        supervisor = self.supervisor(WATCHDOG_USEC=f"{seconds * 1e6:.0f}", WATCHDOG_PID=str(os.getpid()))
        supervisor.started(STATUS)
        self.heard()
        return supervisor

    def heard(self) -> list[str]:
        """The lines that have come since the last look."""
        lines = []
        while True:
            try:
                lines += self.receiver.recv(4096).decode().split("\n")
            except BlockingIOError:
                return lines


class TellingTest(SupervisorCase):
    def test_it_is_ready_once_started(self) -> None:
        supervisor = self.supervisor()
        self.assertEqual(self.heard(), [])
        supervisor.started(STATUS)
        self.assertEqual(self.heard(), ["READY=1", f"STATUS=At {text_of(1000)}, recovered"])

    def test_an_abstract_socket_is_one(self) -> None:
        self.receiver = self.listen("\0" + self.path)
        self.supervisor(NOTIFY_SOCKET="@" + self.path).stopping()
        self.assertEqual(self.heard(), ["STOPPING=1"])

    def test_the_status_says_where_it_stands_once_a_second(self) -> None:
        supervisor = self.supervisor()
        supervisor.started(STATUS)
        self.heard()
        for _ in range(8):
            self.clock.advance(0.25)
            supervisor.stepped(step(customers=100, orders=900), replace(STATUS, reached_slot=1010, lag_seconds=3.0))
        self.assertEqual(self.heard(), [f"STATUS=At {text_of(1010)}, lag 3 s, 4,000 rows/s"] * 2)

    def test_a_wait_is_told_in_one_line_whatever_the_error_says(self) -> None:
        error = StorageError("write", "orders/a.parquet", "no\nSTOPPING=1")
        self.supervisor().waiting_to_retry(error, 2, 9, 30.0)
        (line,) = self.heard()
        self.assertRegex(line, r"^STATUS=Waiting to try again \(2 of 9 attempts failed\): .* no STOPPING=1")

    def test_a_reload_begins_with_its_moment_and_ends_ready_although_it_fails(self) -> None:
        with patch.object(self.clock, "monotonic_seconds", lambda: MONOTONIC_SECONDS):
            supervisor = self.supervisor()
            with self.assertRaises(KeyError), supervisor.reloading():
                self.assertEqual(self.heard(), ["RELOADING=1", "MONOTONIC_USEC=1234500000"])
                raise KeyError
        self.assertEqual(self.heard(), ["READY=1"])

    def test_the_end_is_told_with_its_reason(self) -> None:
        self.supervisor().stopped("until")
        self.assertEqual(self.heard(), ["STOPPING=1", "STATUS=Stopped: until"])


class WatchdogTest(SupervisorCase):
    def test_every_sign_of_life_feeds_but_seldom(self) -> None:
        supervisor = self.watched(40)
        signs: list[Callable[[], None]] = [
            supervisor.alive,
            lambda: supervisor.generated("orders", 5),
            lambda: supervisor.committed(commit()),
            lambda: supervisor.maintained(ChoreReport("finish_partitions", "", seconds=0.1)),
            lambda: supervisor.stepped(step(), STATUS),
        ]
        for sign in signs:
            self.clock.advance(40 / FEEDS_PER_TIMEOUT - 0.5)
            sign()
            self.assertNotIn("WATCHDOG=1", self.heard())
            self.clock.advance(0.5)
            sign()
            self.assertIn("WATCHDOG=1", self.heard())

    def test_a_loop_with_nothing_to_do_feeds(self) -> None:
        supervisor = self.watched(40)
        daemon = ScriptedDaemon([None] * 20 + [step()], clock=self.clock)
        run_daemon(
            daemon,  # type: ignore[arg-type]
            clock=self.clock,
            stop=threading.Event(),
            enough=Enough(batches=1),
            tally=Tally(),
            between_steps=supervisor.alive,
        )
        self.assertEqual(self.heard(), FED * 2)  # in twenty ticks of a second

    def test_a_wait_before_another_attempt_gets_the_time_it_takes(self) -> None:
        supervisor = self.watched(40)
        supervisor.waiting_to_retry(StorageError("write", "a", "no"), 2, 9, 300.0)
        self.assertEqual(self.heard()[1:], ["WATCHDOG_USEC=340000000"])
        self.clock.advance(300)
        supervisor.committed(commit(outcome="error"))
        supervisor.committed(commit())
        self.assertEqual(self.heard(), ["WATCHDOG_USEC=40000000"])  # which also feeds
        self.clock.advance(10)
        supervisor.alive()
        self.assertEqual(self.heard(), FED)

    def test_it_is_not_fed_before_it_is_ready_nor_after_a_stop_was_asked_for(self) -> None:
        supervisor = self.supervisor(WATCHDOG_USEC="40000000")
        self.clock.advance(100)
        supervisor.committed(commit())
        self.assertEqual(self.heard(), [])
        supervisor.started(STATUS)
        supervisor.stopping()
        self.heard()
        self.clock.advance(100)
        supervisor.committed(commit())
        self.assertEqual(self.heard(), [])

    def test_it_is_left_alone_where_it_is_not_ours(self) -> None:
        for environ in (
            {},
            {"WATCHDOG_USEC": "0"},
            {"WATCHDOG_USEC": "soon"},
            {"WATCHDOG_USEC": "40000000", "WATCHDOG_PID": "1"},
        ):
            with self.subTest(environ):
                supervisor = self.supervisor(**environ)
                supervisor.started(STATUS)
                self.heard()
                self.clock.advance(100)
                supervisor.alive()
                supervisor.waiting_to_retry(StorageError("write", "a", "no"), 2, 9, 300.0)
                self.assertEqual([line for line in self.heard() if "WATCHDOG" in line], [])


class SilenceTest(SupervisorCase):
    """What /livez asks: the same signs, with or without systemd."""

    def test_who_gives_no_sign_of_life_for_too_long_hangs(self) -> None:
        for environ, minutes in ((dict[str, str](), 15), ({"WATCHDOG_USEC": "120000000"}, 2)):
            supervisor = self.supervisor(**environ)
            for sign in (None, partial(supervisor.started, STATUS), partial(supervisor.committed, commit())):
                if sign:
                    sign()
                self.clock.advance(60 * minutes)
                self.assertEqual(supervisor.why_silent(), "")
                self.clock.advance(1)
                said = f"no part of a step has ended for {minutes} min 1 s, {minutes} min are allowed: a call hangs"
                self.assertEqual(supervisor.why_silent(), said)
                supervisor.alive()
                self.assertEqual(supervisor.why_silent(), "")

    def test_a_wait_before_another_attempt_is_no_silence(self) -> None:
        supervisor = self.supervisor()
        supervisor.waiting_to_retry(StorageError("write", "a", "no"), 2, 9, 300.0)
        self.clock.advance(300 + 900)
        self.assertEqual(supervisor.why_silent(), "")
        self.clock.advance(1)
        self.assertNotEqual(supervisor.why_silent(), "")


class HarmlessTest(SupervisorCase):
    def test_children_do_not_inherit_what_was_for_this_process(self) -> None:
        environ = {"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1", "HOME": "/"}
        Supervisor(environ, self.clock)
        self.assertEqual(environ, {"HOME": "/"})

    def test_without_systemd_nothing_is_sent(self) -> None:
        supervisor = Supervisor({}, self.clock)
        with patch.object(socket, "socket", side_effect=AssertionError("a socket was made")):
            supervisor.started(STATUS)
            supervisor.stopped("until")

    def test_a_socket_that_is_gone_or_full_ends_nothing_and_is_logged_once(self) -> None:
        supervisor = self.supervisor()
        Path(self.path).unlink()
        with patch("emitter.watch.logs.log") as log:
            supervisor.started(STATUS)
            supervisor.stopped("until")
        log.assert_called_once()
        self.assertIn("No such file", log.call_args.kwargs["error"])
        self.receiver = self.listen(self.path)
        with patch("emitter.watch.logs.log") as log, patch("emitter.watch.supervisor._SEND_SECONDS_MAX", 0.01):
            for _ in range(10_000):
                supervisor.stopping()
                if log.called:
                    break
        log.assert_called_once()
        self.assertIn("timed out", log.call_args.kwargs["error"])

    def test_a_run_tells_its_whole_life(self) -> None:
        """The command itself, to a socket that stands for systemd."""
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(
                [
                    *(
                        sys.executable,
                        "-m",
                        "emitter",
                        "run",
                        "--no-live",
                        "--batches=1",
                        "--set=clock.batch_seconds=1",
                    ),
                    *("-c", "config/emitter.yaml", f"--set=output.uri={folder}", "--set=server.port=0"),
                ],
                cwd=Path(__file__).parents[3],
                env={**os.environ, "NOTIFY_SOCKET": self.path},
                check=True,
                capture_output=True,
                timeout=60,
            )
        lines = [line.partition("=")[0] for line in self.heard()]
        self.assertEqual([key for key in lines if key != "STATUS"], ["READY", "STOPPING"])
        self.assertIn("STATUS", lines)


if __name__ == "__main__":
    unittest.main()
