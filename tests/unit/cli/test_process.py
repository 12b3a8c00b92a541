"""The command line as real processes: signals, pipes, terminals."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import unittest
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.unit.cli.cli_case import CONFIG, PROJECT, config_file, invoke
from tests.unit.watch.test_logs import restore_logging


class ProcessTest(unittest.TestCase):
    """As real processes: signals, pipes, terminals."""

    def setUp(self) -> None:
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.config = config_file(self.folder)

    @contextmanager
    def running(self, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Iterator[dict[str, Any]]]]:
        """`emitter run` and its log lines."""
        process = subprocess.Popen(
            [sys.executable, "-m", "emitter", "run", "-c", self.config, *arguments],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            cwd=PROJECT,
        )
        timer = threading.Timer(60, process.kill)
        timer.start()
        try:
            assert process.stderr
            yield process, map(json.loads, process.stderr)
        finally:
            timer.cancel()
            process.kill()
            process.wait()
            process.stderr.close()  # type: ignore[union-attr]

    def until(self, lines: Iterator[dict[str, Any]], action: str) -> dict[str, Any]:
        found = next((line for line in lines if line["action"] == action), None)
        assert found, f"it ended without {action}"
        return found

    def test_sigterm_and_sigint_finish_the_batch_and_end_in_0(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number.name), self.running() as (process, lines):
                self.until(lines, "batch")
                process.send_signal(number)
                self.assertEqual(self.until(lines, "stop")["reason"], "signal")
                self.assertEqual(process.wait(), 0)

    def test_sighup_applies_what_is_safe_and_names_the_rest(self) -> None:
        with self.running() as (process, lines):
            self.until(lines, "batch")
            changed = CONFIG.replace("speed: 100", "speed: 200").replace("customers: 20", "customers: 30")
            config_file(self.folder, changed)
            process.send_signal(signal.SIGHUP)
            line = self.until(lines, "reload")
            self.assertEqual((line["applied"], line["refused"]), (["clock.speed"], ["ecommerce.customers"]))
            config_file(self.folder, "clock: {speed: fast}")
            process.send_signal(signal.SIGHUP)
            line = self.until(lines, "reload")
            self.assertEqual(line["level"], "error")
            self.assertIn("clock.speed", line["error"])
            self.until(lines, "batch")

    def test_it_serves_where_it_says_and_refuses_a_second_of_its_kind(self) -> None:
        with self.running() as (_, lines):
            url = self.until(lines, "serve")["url"]
            self.until(lines, "batch")
            restore_logging(self)
            second = invoke("run", "-c", self.config)
            self.assertEqual(second.exit_code, 3)
            self.assertRegex(json.loads(second.stderr.splitlines()[-1])["error"], r"held by process \d+$")
            for page, said in (("livez", b"true"), ("readyz", b"true"), ("metrics", b"emitter_build_info")):
                with urllib.request.urlopen(f"{url}/{page}", timeout=10) as response:
                    self.assertIn(said, response.read())

    def at_a_terminal(self, *arguments: str) -> str:
        """What `emitter ARGUMENTS` draws on a terminal of 80 by 24 that stderr is."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-m", "emitter", *arguments],
            stderr=theirs,
            stdout=subprocess.DEVNULL,
            cwd=PROJECT,
            env=os.environ | {"TERM": "xterm-256color"},
        )
        timer = threading.Timer(60, process.kill)
        timer.start()
        os.close(theirs)
        drawn = b""
        with suppress(OSError):  # EIO: the other side is closed
            while part := os.read(ours, 4096):
                drawn += part
        os.close(ours)
        self.assertEqual(process.wait(), 0)
        timer.cancel()
        return drawn.decode()

    def test_at_a_terminal_a_live_view_shows_the_batches_and_gives_the_cursor_back(self) -> None:
        drawn = self.at_a_terminal("run", "-c", self.config, "--batches", "3")
        for part in ("Simulated ", "order_items", "Done: all batches are written."):
            self.assertIn(part, drawn)
        self.assertGreater(drawn.rindex("\x1b[?25h"), drawn.rindex("\x1b[?25l"))

    def test_without_a_live_view_a_terminal_gets_coloured_lines(self) -> None:
        drawn = self.at_a_terminal("run", "-c", self.config, "--batches", "2", "--no-live")
        self.assertEqual(drawn.count("batch   "), 2)
        self.assertNotIn("\x1b[?25l", drawn)

    def test_a_stray_configuration_of_a_library_is_named_and_a_folder_that_is_gone_too(self) -> None:
        """In a process of its own, as pyiceberg reads its file when it is loaded."""
        program = (
            "import json, os, sys\n"
            "from typer.testing import CliRunner\n"
            "from emitter.cli.main import app\n"
            "if not os.listdir():\n"
            "    os.rmdir(os.getcwd())\n"
            "for line in sys.stdin:\n"
            "    ended = CliRunner().invoke(app, json.loads(line))\n"
            "    print(json.dumps([ended.exit_code, ended.stderr]))\n"
        )
        iceberg = ("--set", "output.format=iceberg")
        commands = [["list"], ["check", "-c", self.config], ["check", "-c", self.config, *iceberg]]
        commands.append(["check", "-c", self.config, "--set", "output.uri=shop"])
        for content, code, said in (
            (None, 0, ""),
            ("catalog:\n\t- x", 2, ".pyiceberg.yaml, line 2: got what is no plain YAML"),
            ("just a text", 2, ".pyiceberg.yaml: got a text or a list"),
            ("catalog:\n  other:\n    uri: x", 0, ""),
        ):
            with self.subTest(content), tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                if content:
                    (Path(folder) / ".pyiceberg.yaml").write_text(content)
                environment = os.environ | {"PYTHONPATH": str(PROJECT), "HOME": "/nowhere"}
                ended = subprocess.run(
                    [sys.executable, "-c", program],
                    input="\n".join(map(json.dumps, commands)),
                    cwd=folder,
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=True,
                )
                listed, checked, iceberg_checked, relative = map(json.loads, ended.stdout.splitlines())
                self.assertEqual((listed, checked), ([0, ""], [0, ""]))
                self.assertEqual(iceberg_checked[0], code, iceberg_checked[1])
                self.assertIn(said, iceberg_checked[1])
                self.assertEqual(relative[0], 0 if content else 2)
                self.assertIn("" if content else "'shop' begins in the working folder, which is gone", relative[1])

    def test_a_signal_that_comes_while_storage_is_asked_for_the_run_ends_it_in_0(self) -> None:
        program = (
            "import os, signal\n"
            "from emitter.cli.main import main\n"
            "from emitter.run.daemon import Daemon\n"
            "def take(self, take=Daemon.take, **more):\n"
            "    os.kill(os.getpid(), signal.SIGTERM)\n"
            "    return take(self, **more)\n"
            "Daemon.take = take\n"
            "main()\n"
        )
        command = [sys.executable, "-c", program, "run", "--no-live", "-c", self.config]
        ended = subprocess.run(command, cwd=PROJECT, check=False, capture_output=True, text=True, timeout=60)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertEqual(json.loads(ended.stderr.splitlines()[-1])["reason"], "signal")

    def test_a_second_signal_ends_at_once_whatever_the_main_thread_does(self) -> None:
        program = (
            "import threading\n"
            "from emitter.cli.signals import Signals\n"
            "with Signals(on_stop=lambda: print('stopping', flush=True), on_reload=lambda: None):\n"
            "    print('ready', flush=True)\n"
            "    threading.Event().wait()\n"
        )
        for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
            with (
                self.subTest(number.name),
                subprocess.Popen(
                    [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=PROJECT
                ) as process,
            ):
                assert process.stdout
                self.assertEqual(process.stdout.readline(), "ready\n")
                process.send_signal(number)
                self.assertEqual(process.stdout.readline(), "stopping\n")
                process.send_signal(number)
                self.assertEqual(process.wait(30), code)


if __name__ == "__main__":
    unittest.main()
