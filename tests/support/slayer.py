"""Kills real `emitter run`s in any format, at any moment of their start or of a batch.

What it does follows from a seed. When exactly the blow falls hangs on the machine too, so a seed that failed may have
to be tried some times before it fails again.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

from tests.support.places import Place

REPOSITORY = Path(__file__).parents[2]
DEADLINE_SECONDS = 120.0
SPEEDS = ("max", "600")


class Slayer:
    """One output that is written, by as many processes at once as there are shards, and killed again and again."""

    def __init__(self, place: Place, folder: Path, seed: int, shards: int, changes: Mapping[str, Any]) -> None:
        self._random, self._shards = Random(seed), shards
        self._config, self._environ = place.write_config(folder, **{**changes, "shard__count": shards})

    def run_and_kill(self) -> str:
        """Start all shards, and kill each at a moment of its own; the moments."""
        moments = [self._moment() for _ in range(self._shards)]
        speed = self._random.choice(SPEEDS)
        with_shards = list(enumerate(moments))
        errors: list[BaseException] = []

        def one(index: int, moment: tuple[int, float]) -> None:
            try:
                self._one(index, speed, *moment)
            except BaseException as error:  # noqa: BLE001 (told by the thread that waits)
                errors.append(error)

        threads = [threading.Thread(target=one, args=[index, moment]) for index, moment in with_shards]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise AssertionError(f"{moments} at speed {speed}") from errors[0]
        return f"{moments} at speed {speed}"

    def _moment(self) -> tuple[int, float]:
        """After how many lines of the log, and how many seconds later; some fall into the start."""
        if self._random.random() < 0.2:
            return 0, 2.5 * self._random.random()
        return self._random.randrange(1, 6), 0.15 * self._random.random()

    def _one(self, index: int, speed: str, lines: int, seconds: float) -> None:
        command = [sys.executable, "-m", "emitter", "run", "--no-live", "--take-over", "-c", str(self._config)]
        command += [f"--set=clock.speed={speed}", f"--set=shard.index={index}"]
        with subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=self._environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr is not None
            deadline = threading.Timer(DEADLINE_SECONDS, process.kill)
            deadline.start()
            told: list[str] = []
            try:
                while len(told) < lines and (line := process.stderr.readline()):
                    told += [line] if '"action":"batch"' in line.replace(": ", ":") or "Error" in line else []
                time.sleep(seconds)
            finally:
                process.send_signal(signal.SIGKILL)
                deadline.cancel()
            rest = process.stderr.read()
        if process.returncode != -signal.SIGKILL:
            raise AssertionError(f"shard {index} ended by itself with {process.returncode}: {''.join(told)}{rest}")
