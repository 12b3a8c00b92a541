"""Output that cannot be written: what is said beside the work decides nothing, a lost result has a code of its own."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import unittest
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from emitter.cli import streams
from emitter.cli.main import main
from tests.unit.cli.cli_case import END, PROJECT, config_file, invoke
from tests.unit.watch.test_logs import restore_logging

Open = Callable[[], int | None]


def full() -> int | None:
    return os.open("/dev/full", os.O_WRONLY)


def closed() -> int | None:
    return None


def without_reader() -> int | None:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


class StreamsCase(unittest.TestCase):
    """Ten minutes of a small shop, generated once."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.config = config_file(str(cls.folder))
        invoke("generate", "-c", cls.config, "--to", END, "--jobs", "1")

    def setUp(self) -> None:
        restore_logging(self)
        self.enterContext(mock.patch.multiple(sys, stdout=sys.stdout, stderr=sys.stderr))
        self.enterContext(mock.patch("resource.setrlimit"))

    def file(self, name: str) -> Open:
        return lambda: os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def command(self, *arguments: str, out: Open | None = None, err: Open | None = None) -> int:
        """The exit code of a command in this process, whose first descriptors are for the time being these."""
        ways = {1: out or self.file("out"), 2: err or self.file("err")}
        before = {descriptor: os.dup(descriptor) for descriptor in ways}
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            for descriptor, way in ways.items():
                opened = way()
                if opened is None:
                    os.close(descriptor)
                else:
                    os.dup2(opened, descriptor)
                    os.close(opened)
            with mock.patch.object(sys, "argv", ["emitter", *arguments]), self.assertRaises(SystemExit) as end:
                streams.secure()
                main()
            self.assertIsInstance(end.exception.code, int)
            return int(str(end.exception.code))
        finally:
            for descriptor, own in before.items():
                os.dup2(own, descriptor)
                os.close(own)

    def read(self, name: str) -> str:
        return (self.folder / name).read_bytes().decode()

    def verbs(self) -> dict[str, tuple[str, ...]]:
        """Every verb whose result is on standard output."""
        config = ("-c", self.config)
        return {
            "check": config,
            "verify": config,
            "expect": (*config, "--to", END),
            "status": config,
            "generate": (*config, "--to", END),
            "preview": (*config, "--rows", "2"),
            "list": (),
            "info": ("ecommerce",),
            "--help": (),
        }


class UnwritableTest(StreamsCase):
    def test_a_result_that_cannot_be_written_has_a_code_of_its_own(self) -> None:
        for verb, arguments in self.verbs().items():
            for out, reason in ((full, "No space left on device"), (closed, "it is closed")):
                with self.subTest(verb, out=out.__name__):
                    self.assertEqual(self.command(verb, *arguments, out=out), 5)
                    said = self.read("err")
                    self.assertIn(f"could not write the result to standard output: {reason}", said)
                    self.assertNotIn("Traceback", said)

    def test_a_reader_who_goes_away_has_seen_enough(self) -> None:
        for verb, arguments in self.verbs().items():
            with self.subTest(verb):
                self.assertEqual(self.command(verb, *arguments, out=without_reader), 0)
                self.assertEqual(self.read("err"), "")

    def test_standard_error_decides_nothing(self) -> None:
        self.command("check", "-c", self.config)
        expected = self.read("out")
        for verb, arguments in self.verbs().items():
            for err in (full, closed, without_reader):
                with self.subTest(verb, err=err.__name__):
                    self.assertEqual(self.command(verb, *arguments, err=err), 0)
                    self.assertEqual(self.command("preview", "-c", "nowhere.yaml", err=err), 2)
        self.command("check", "-c", self.config, err=closed)
        self.assertEqual(self.read("out"), expected)

    def test_the_verdict_stays_whatever_becomes_of_its_words(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            config = config_file(folder)
            invoke("generate", "-c", config, "--to", END, "--jobs", "1")
            next(Path(folder).glob("shop/orders/year=*/**/*.parquet")).unlink()
            for out in (full, closed, without_reader, None):
                self.assertEqual(self.command("verify", "-c", config, out=out, err=full), 1)

    def test_a_run_goes_on_without_its_log(self) -> None:
        for err in (full, closed, without_reader):
            with self.subTest(err=err.__name__), tempfile.TemporaryDirectory() as folder:
                config = config_file(folder)
                run = ("run", "-c", config, "--set", "clock.speed=max", "--batches", "3")
                self.assertEqual(self.command(*run, out=closed, err=err), 0)
                self.assertIn("2026-01-01T00:00:30Z", invoke("status", "-c", config).stdout)

    def test_a_process_ends_in_the_same_codes(self) -> None:
        """The interpreter has a word in it too: when it flushes at the end."""
        for redirection, verb, code in (
            ("2>/dev/full", "verify", 0),
            (">/dev/full", "verify", 5),
            ("<&- >&- 2>&-", "verify", 5),
            (">&- 2>/dev/full", "run --batches 1", 0),
        ):
            with self.subTest(redirection):
                command = f"exec '{sys.executable}' -m emitter {verb} -c '{self.config}' {redirection}"
                ended = subprocess.run(["sh", "-c", command], cwd=PROJECT, check=False, capture_output=True)
                self.assertEqual(ended.returncode, code, ended.stderr)
                self.assertNotIn(b"Traceback", ended.stderr)


class LogStreamTest(unittest.TestCase):
    def test_a_line_that_was_torn_does_not_tear_the_next(self) -> None:
        written: list[bytes] = []
        log = streams._Stream(2)

        def write_some(data: bytes) -> int:
            if written and written[-1] == b"{12":
                written.append(b"")
                raise OSError(28, "No space left on device")
            written.append(data[:3])
            return min(3, len(data))

        with mock.patch.object(log, "_write_some", write_some):
            log.write(b"{123}\n")
            written.append(b"(space again)")
            log.write(b"{456}\n")
        self.assertEqual(b"".join(written), b"{12(space again)\n{456}\n")

    def test_a_reader_that_stands_still_is_waited_for_once(self) -> None:
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        with mock.patch.object(streams, "STALL_SECONDS_MAX", 0.001):
            log = streams._Log(writing)
            for _ in range(100):
                self.assertEqual(log.write(b"x" * 4096), 4096)
            self.assertEqual(log._stall_milliseconds, 0)
            kept = os.read(reading, 1 << 20)
            self.assertLess(len(kept), 100 * 4096)
            log.write(b"again\n")
            self.assertEqual(os.read(reading, 1 << 20), b"again\n")
        os.close(reading)


class EncodingTest(StreamsCase):
    def test_an_output_without_all_signs_gets_plain_ones(self) -> None:
        for encoding in ("ascii", "latin-1"):
            stdout = mock.Mock(encoding=encoding, flush=lambda: None)
            for verb, arguments in self.verbs().items():
                with self.subTest(verb, encoding=encoding), mock.patch.object(sys, "stdout", stdout):
                    self.assertEqual(self.command(verb, *arguments), 0)
                    self.assertEqual(self.read("err"), "")
                    (self.folder / "out").read_bytes().decode(encoding)
        with mock.patch.object(sys, "stdout", stdout):
            self.command("check", "-c", self.config)
        self.assertRegex(self.read("out"), r"(?m)^\+ storage: ")


class JsonLogTest(StreamsCase):
    """Where the log is JSON, every line to the last is a document with an action."""

    def lines(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.read("err").splitlines()]
        self.assertEqual([line for line in lines if "action" not in line or "level" not in line], [])
        return lines

    def test_errors_of_all_kinds(self) -> None:
        for code, arguments, said in (
            (2, ("run", "-c", "nowhere.yaml"), "nowhere.yaml: got no such file"),
            (2, ("run", "--bogus"), "No such option: --bogus"),
            (2, ("verify", "-c", self.config, "--to", "tomorrow"), "--to 'tomorrow'"),
            (2, ("run", "-c", self.config, "--set", "seed=7"), "belongs to another run"),
            (2, ("check", "-c", self.config, "--set", "log.format=json", "--set", "seeed=7"), "seeed: got 7"),
        ):
            with self.subTest(arguments):
                self.assertEqual(self.command(*arguments), code)
                last = self.lines()[-1]
                self.assertEqual((last["action"], last["level"], last["exit_code"]), ("error", "error", code))
                self.assertIn(said, last["error"])
                self.assertTrue(last["hint"])

    def test_a_fault_of_ours_with_its_traceback(self) -> None:
        for fault in (RuntimeError("password=hunter2"), BaseException("a panic"), BrokenPipeError(32, "of a library")):
            with mock.patch("emitter.truth.oracle.verify", side_effect=fault):
                self.assertEqual(self.command("verify", "-c", self.config), 70)
                (line,) = self.lines()
                self.assertIn("Traceback", line["exception"])
                self.assertNotIn("hunter2", self.read("err"))
            with mock.patch("emitter.truth.inspection.status", side_effect=fault):
                self.assertEqual(self.command("status", "-c", self.config), 70)
                self.assertRegex(self.read("err"), r"(?s)Traceback.*\nError: this is a fault in emitter.*\nTry: ")

    def test_what_libraries_print(self) -> None:
        def talk(*_: object, **__: object) -> None:
            warnings.warn("an old call", UserWarning, stacklevel=1)
            logging.getLogger("library").warning("%d is none", "a text")
            thread = threading.Thread(target=lambda: 1 / 0, name="helper")
            thread.start()
            thread.join()
            sys.unraisablehook(mock.Mock(err_msg="", exc_value=KeyError("key"), object=talk))
            raise KeyError("key")

        with mock.patch("emitter.truth.oracle.verify", talk):
            self.assertEqual(self.command("verify", "-c", self.config), 70)
        self.assertEqual([line["action"] for line in self.lines()], ["library"] * 4 + ["error"])
        for said in ("an old call", "a text", "thread helper ended", "exception ignored in function"):
            self.assertIn(said, self.read("err"))

    def test_what_a_library_says_before_the_configuration_is_read(self) -> None:
        def load_config(*_: object, **__: object) -> None:
            warnings.warn("an old call", UserWarning, stacklevel=1)
            raise KeyError("key")

        with mock.patch("emitter.config.load_config", load_config):
            self.assertEqual(self.command("run", "-c", self.config), 70)
        self.assertEqual([line["action"] for line in self.lines()], ["library", "error"])

    def test_who_writes_no_log_speaks_to_people(self) -> None:
        self.assertEqual(self.command("status", "-c", "nowhere.yaml"), 2)
        self.assertRegex(self.read("err"), r"(?s)^Error: .*\nTry: [^\n]+\n$")


if __name__ == "__main__":
    unittest.main()
