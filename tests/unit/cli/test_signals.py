"""Signals from the first moment on, also where the kernel gives a process no default: as the first of a container."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from emitter.cli.signals import Signals
from emitter.run import bounded
from tests.unit.cli.cli_case import END, PROJECT, config_file, invoke
from tests.unit.watch.test_logs import restore_logging

CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}
FIRST = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


def can_be_first() -> bool:
    return subprocess.run([*FIRST, "true"], check=False, capture_output=True).returncode == 0


class FirstMomentTest(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def test_a_signal_is_heard_before_anything_heavy_is_loaded(self) -> None:
        stub = (
            "import os, signal, threading\nos.kill(os.getpid(), int(os.environ['SIGNAL']))\nthreading.Event().wait()\n"
        )
        (self.folder / "typer.py").write_text(stub)
        for number, code in CODES.items():
            for verb in ("run", "verify"):
                with self.subTest(verb, signal=number.name):
                    ended = subprocess.run(
                        [sys.executable, "-m", "emitter", verb],
                        cwd=PROJECT,
                        env=os.environ | {"PYTHONPATH": str(self.folder), "SIGNAL": str(int(number))},
                        capture_output=True,
                        check=False,
                        timeout=60,
                    )
                    expected = 0 if verb == "run" else code  # of a run nothing is under way yet
                    self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (expected, b"", b""))

    def test_the_first_process_of_a_container_ends_by_sigterm_in_every_verb(self) -> None:
        """Each is held where it reads its configuration. Where no process may be made the first, an exit code that is
        no signal's tells as much: there is a handler.
        """
        first = FIRST if can_be_first() else ()
        started = {}
        for verb in ("run", "generate --to 2027-01-01", "verify", "check"):
            pipe = self.folder / verb.partition(" ")[0]
            os.mkfifo(pipe)
            command = [*first, sys.executable, "-m", "emitter", *verb.split(), "-c", str(pipe)]
            started[pipe] = subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        for pipe, process in started.items():
            with self.subTest(pipe.name), process:
                with pipe.open("wb"):  # which waits until it is there
                    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                    os.kill(int(children[0]) if first else process.pid, signal.SIGTERM)
                    said = process.communicate(timeout=60)
                self.assertEqual((process.returncode, *said), (0 if pipe.name == "run" else 143, b"", b""))

    def test_who_was_told_to_ignore_ctrl_c_ignores_it(self) -> None:
        """A SIGTERM follows each: it comes second, so whatever hears the SIGINT has ended the process by then."""
        program = (
            "import os, signal, sys, threading\n"
            "from emitter.cli.signals import Signals, listen\n"
            "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
            "verb, options = sys.argv[1], {'on_reload': list} if sys.argv[1] == 'run' else {}\n"
            "listen([verb])\n"
            "inner = Signals(on_stop=lambda: os._exit(128 + inner.stopped_by), **options)\n"
            "verb == 'verify' or inner.__enter__()\n"
            "os.kill(os.getpid(), signal.SIGINT)\n"
            "os.kill(os.getpid(), signal.SIGTERM)\n"
            "threading.Event().wait()\n"
        )
        for verb in ("run", "generate", "verify"):
            with self.subTest(verb):
                command = [sys.executable, "-c", program, verb]
                ended = subprocess.run(command, cwd=PROJECT, check=False, timeout=60)
                self.assertEqual(ended.returncode, 143)


class StopTest(unittest.TestCase):
    def test_a_stop_that_takes_too_long_ends_at_once(self) -> None:
        program = (
            "import os, signal, threading\n"
            "from emitter.cli.signals import Signals\n"
            "with Signals(on_stop=lambda: None, stop_seconds_max=0.01):\n"
            "    os.kill(os.getpid(), signal.SIGTERM)\n"
            "    threading.Event().wait()\n"
        )
        ended = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=False, timeout=60)
        self.assertEqual(ended.returncode, 143)

    def test_one_inside_another_takes_over_until_it_ends(self) -> None:
        outer, inner = mock.Mock(), mock.Mock()
        with Signals(on_stop=outer) as outside:
            with Signals(on_stop=inner) as inside:
                os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
        self.assertEqual((inside.exit_code, outside.exit_code), (143, 130))
        inner.assert_called_once()
        outer.assert_called_once()

    def test_generate_commits_what_is_under_way_and_says_where_to_go_on(self) -> None:
        restore_logging(self)
        for number, code in CODES.items():
            with self.subTest(number.name), tempfile.TemporaryDirectory() as folder:
                config = config_file(folder)

                def generate(
                    *arguments: object, number: int = number, real: object = bounded.generate, **given: object
                ) -> object:
                    os.kill(os.getpid(), number)
                    given["stop"].wait(60)  # type: ignore[attr-defined]
                    return real(*arguments, **given)  # type: ignore[operator]

                with mock.patch("emitter.run.bounded.generate", generate):
                    result = invoke("generate", "-c", config, "--to", END, "--jobs", "1")
                self.assertEqual(result.exit_code, code, result.output)
                self.assertIn('"reached": "2026-01-01T00:00:00Z", "hint": "repeat the command', result.stderr)
                self.assertEqual(invoke("generate", "-c", config, "--to", END, "--jobs", "1").exit_code, 0)


if __name__ == "__main__":
    unittest.main()
