"""Kills a real `emitter run` without warning, most often in the middle of a commit.

What it does follows from a seed. When exactly the blow falls hangs on the machine too, so a seed that failed may have
to be tried some times before it fails again.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

from tests.support.shop import TABLES, shop_mapping

REPOSITORY = Path(__file__).parents[2]
DEADLINE_SECONDS = 60.0
PATIENCE_SECONDS = 3.0  # for a moment that may be too short to be seen, on a busy machine
SPEEDS = ("max", 600, 60)


def emitter(*arguments: str, config: Path) -> list[str]:
    """The command line of a verb."""
    return [sys.executable, "-m", "emitter", arguments[0], "-c", str(config), *arguments[1:]]


def write_config(output: Path, path: Path, **changes: object) -> Path:
    mapping = shop_mapping(output, {key.replace("__", "."): value for key, value in changes.items()})
    path.write_text(json.dumps(mapping))
    return path


class Killer:
    """One output that is written and killed, again and again."""

    def __init__(self, output: Path, config: Path, seed: int) -> None:
        self._output = output
        self._config = config
        self._random = Random(seed)

    def run_and_kill(self) -> str:
        """Start the daemon, and kill it at a moment that is told."""
        moment = self._random.choice(["start", "intent", "intent", "intent", "staged", "visible", "visible", "any"])
        table, fraction = self._random.choice(TABLES[2:]), self._random.random()
        speed = self._random.choice(SPEEDS)
        command = emitter("run", "--no-live", f"--set=clock.speed={speed}", config=self._config)
        with subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                if moment == "start":  # imports, the journal, recovery, the first batches
                    self._wait(process, (self._output / "_emitter").exists)
                    time.sleep(1.5 * fraction)
                else:
                    before = self._visible(table)
                    self._wait(process, lambda: self._visible(table) > before)
                    time.sleep(0.3 * fraction)
                    now = self._visible(table)
                    is_there = {
                        "intent": lambda: b'"intent":{' in self._progress(table),
                        "staged": lambda: any((self._output / "_emitter/staging" / table / "0-of-1").iterdir()),
                        "visible": lambda: self._visible(table) > now,
                        "any": lambda: True,
                    }
                    with suppress(TimeoutError):  # then it is killed at any moment
                        self._wait(process, is_there[moment], PATIENCE_SECONDS)
            finally:
                process.send_signal(signal.SIGKILL)
            errors = process.stderr.read() if process.stderr else ""
        if process.returncode != -signal.SIGKILL:
            raise AssertionError(f"it ended by itself with {process.returncode}: {errors}")
        return f"{moment} of {table} at speed {speed}"

    def _visible(self, table: str) -> int:
        return sum(1 for _ in (self._output / table).glob("year=*/**/*.parquet"))

    def _progress(self, table: str) -> bytes:
        path = self._output / "_emitter/progress" / table / "0-of-1.json"
        return path.read_bytes() if path.exists() else b""

    @staticmethod
    def _wait(process: subprocess.Popen[str], is_there: Callable[[], bool], seconds: float = DEADLINE_SECONDS) -> None:
        """Look again and again, without a pause: what is waited for may last less than a millisecond."""
        deadline = time.monotonic() + seconds
        while not is_there() and process.poll() is None:
            if time.monotonic() > deadline:
                raise TimeoutError("what should be killed does not come to the point")
