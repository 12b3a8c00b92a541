"""A real daemon in real time, a batch a second, that is struck again and again while its upkeep goes on beside it.

Blows come in storms. A storm may be such that no upkeep comes to its turn: on S3 whoever comes after a process that was
killed waits until its lease has stood still for a minute, and is often struck before. So after each storm comes a calm,
which lasts until the upkeep of the one daemon that lives through it has come to something.

What is done follows from a seed. When exactly a blow falls hangs on the machine too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

from tests.support.places import Place
from tests.support.proxy import Proxy

REPOSITORY = Path(__file__).parents[2]
CHANGES: dict[str, Any] = {
    "clock__start": "now",
    "clock__speed": 1,
    "clock__batch_seconds": 1,
    "ecommerce__orders_per_second": 20.0,
    "output__retry_wait_seconds_max": 2,
    "maintenance__interval_seconds": 10,
    "maintenance__interval_batches": 15,
    "maintenance__small_files_min": 10,
    "maintenance__read_seconds_max": 20,
    "maintenance__keep_seconds": 20,
    "maintenance__orphan_seconds": 60,
    "log__level": "debug",  # tells of every round
}
GAVE_UP = 4
STOP_SECONDS_MAX = 180.0  # also on a machine with far too much to do
STORM_SECONDS = 60.0
CALM_SECONDS_MAX = 300.0  # a lease that stood still takes a fourth of it
LOOK_SECONDS = 0.25


class Soaker:
    """One output. `outages`, by name, make something that it needs fail for so many seconds."""

    def __init__(
        self, place: Place, folder: Path, seed: int, outages: Mapping[str, Callable[[float], None]], **changes: Any
    ) -> None:
        self.place, self.blows = place, Counter[str]()
        self.actions = Counter[str]()  # of the log, and of upkeep the tasks that came to something
        self.lines: deque[str] = deque(maxlen=200)
        self._random, self._outages = Random(f"{place.target} {seed}"), outages
        self._config, self._environ = place.write_config(folder, **CHANGES, **changes)

    def soak(self, until_seconds: float) -> None:
        """Storms and calms in turn, and the last is a calm: it begins at that much on the monotonic clock."""
        while (now_seconds := time.monotonic()) < until_seconds:
            self._storm(min(now_seconds + STORM_SECONDS, until_seconds))
            self._calm()

    def _storm(self, until_seconds: float) -> None:
        while time.monotonic() < until_seconds:
            process = self._started()
            with suppress(subprocess.TimeoutExpired):
                process.wait(5 + 25 * self._random.random())
            self._strike(process)

    def _calm(self) -> None:
        """A daemon is left alone until its upkeep has done what the format most needs, then stopped as it should be."""
        proof = "upkeep ok" if self.place.target.format == "parquet" else "maintain compact"
        end_seconds, known = time.monotonic() + CALM_SECONDS_MAX, self.actions[proof]
        process = self._started()
        while self.actions[proof] == known:
            if time.monotonic() > end_seconds:
                process.kill()
                raise AssertionError(f"no {proof!r} in {CALM_SECONDS_MAX} s: {''.join(self.lines)}")
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(LOOK_SECONDS)
                if code != GAVE_UP:
                    raise AssertionError(f"it ended by itself with {code}: {''.join(self.lines)}")
                process = self._started()  # others may have struck at the catalogue that it shares with them
        self._end(process, signal.SIGTERM, 0, GAVE_UP)

    def call(self, verb: str, *more: str) -> subprocess.CompletedProcess[str]:
        """Another verb on the same output."""
        command = [sys.executable, "-m", "emitter", verb, "-c", str(self._config), *more]
        return subprocess.run(
            command, cwd=REPOSITORY, env=self._environ, capture_output=True, text=True, check=False, timeout=600
        )

    def _started(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "emitter", "run", "--no-live", "--take-over", "-c", str(self._config)]
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=self._environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self._is_listening = False  # to signals: not at first, nor once it has told why it gives up
        self._reader = threading.Thread(target=self._read, args=[process], daemon=True)
        self._reader.start()
        return process

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                self._is_listening = '"action": "error"' not in line
                self.lines.append(line)
                with suppress(ValueError, KeyError):
                    self._count(json.loads(line))

    def _count(self, entry: dict[str, Any]) -> None:
        self.actions[entry["action"]] += 1
        if entry["action"] == "maintain" and (entry["files_removed"] or entry["files_written"]):
            self.actions[f"maintain {entry['task']}"] += 1
        elif entry["action"] == "upkeep":
            self.actions[f"upkeep {entry['outcome']}"] += 1

    def _strike(self, process: subprocess.Popen[str]) -> None:
        blow = self._random.choice(["kill", "kill", "kill upkeep", "kill upkeep", "stop", *self._outages])
        self.blows[blow] += 1
        if blow == "kill":
            self._end(process, signal.SIGKILL, -signal.SIGKILL, GAVE_UP)
        elif blow == "stop":
            self._end(process, signal.SIGTERM, 0, GAVE_UP)
        elif blow == "kill upkeep":
            for child in children(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            self._end(process, signal.SIGKILL if self._random.random() < 0.5 else signal.SIGTERM)
        else:
            self._outages[blow](1 + 5 * self._random.random())
            self._end(process, signal.SIGTERM, 0, GAVE_UP)

    def _end(self, process: subprocess.Popen[str], how: signal.Signals, *codes: int) -> None:
        process.send_signal(how)
        try:
            code = process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"{how.name} did not end it: {''.join(self.lines)}") from None
        self._reader.join(STOP_SECONDS_MAX)  # so that what it said counts as its own
        allowed = codes or (0, -how, GAVE_UP)
        if code not in allowed and (self._is_listening or code != -how):
            raise AssertionError(f"it ended with {code} after {how.name}: {''.join(self.lines)}")


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(child) for child in path.read_text().split()]
    return found


@contextmanager
def outage_of(proxy: Proxy) -> Iterator[Callable[[float], None]]:
    """Nobody gets through for a while."""

    def down(seconds: float) -> None:
        proxy.go_down()
        time.sleep(seconds)
        proxy.come_up()

    with proxy:
        yield down
