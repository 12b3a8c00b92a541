"""Real `emitter run`s as an orchestrator keeps them: each is started again whenever it ends, until it is taken away.

pods = Pods(place, folder)
old = pods.start(0, 2, revision=1)       # shard 0 of 2
old.kill()                               # it comes back, with the configuration that it had
old.take_away(grace_seconds=10)          # SIGTERM, and SIGKILL when its time is up
pods.start(0, 4, revision=2)
pods.close()                             # fails where a process has ended as no orchestrator should see it
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from emitter.clock import parse_time, slot_of
from emitter.run.assembly import configured_writer
from emitter.run.journal import Journal
from emitter.run.plan import layouts
from tests.support.places import Place

REPOSITORY = Path(__file__).parents[2]
DEADLINE_SECONDS = 240.0  # on a machine that is busy with other things
BACK_OFF_SECONDS = 0.5
POLL_SECONDS = 0.5
BLOW_SECONDS_MAX = 15.0
KILLED, OVERTAKEN = -signal.SIGKILL, 3
EXPECTED = {0, OVERTAKEN, KILLED, -signal.SIGTERM}  # the last: before it was ready to listen


class Pod:
    """One process, again and again, in a thread that watches it."""

    def __init__(self, name: str, command: list[str], environ: Mapping[str, str], log: Path) -> None:
        self.name, self.exits = name, list[int]()
        self._command, self._environ, self._log = command, environ, log
        self._gone, self._lock = threading.Event(), threading.Lock()
        self._process = self._start()
        self._thread = threading.Thread(target=self._keep)
        self._thread.start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(self._command, cwd=REPOSITORY, env=self._environ, stdout=log, stderr=log)

    def _keep(self) -> None:
        while True:
            self.exits.append(self._process.wait())
            if self._gone.wait(BACK_OFF_SECONDS):
                return
            with self._lock:
                if self._gone.is_set():
                    return
                self._process = self._start()

    @property
    def said(self) -> str:
        return self._log.read_text()

    @property
    def reached(self) -> int:
        """The slot up to which its last batch went."""
        ends = re.findall(r'"action": "batch".*"end": "([^"]+)"', self.said)
        return slot_of(parse_time(ends[-1])) if ends else 0

    def kill(self) -> None:
        """As when it runs out of memory: it is started again as it was."""
        with self._lock:
            self._process.kill()

    def take_away(self, grace_seconds: float) -> None:
        """As when it is deleted: SIGTERM, and SIGKILL when its time is up."""
        with self._lock:
            self._gone.set()
            process = self._process
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace_seconds)
        process.kill()
        self._thread.join()


class Pods:
    """All that run in one output. With `random`, each is killed once at any moment, on top of all else."""

    def __init__(self, place: Place, folder: Path, random: Random | None = None) -> None:
        self._folder, self._random = folder, random
        self._started, self._blows = list[Pod](), list[threading.Timer]()
        self._config, self._environ = place.write_config(folder)
        self._writer = configured_writer(place.config())

    def start(self, index: int, count: int, **changes: Any) -> Pod:
        """A shard, with changes to the configuration."""
        sets = {"shard__index": index, "shard__count": count, **changes}
        command = [sys.executable, "-m", "emitter", "run", "--no-live", "--take-over", "-c", str(self._config)]
        command += [f"--set={key.replace('__', '.')}={value}" for key, value in sets.items()]
        pod = Pod(f"{index}-of-{count}", command, self._environ, self._folder / f"{len(self._started)}.log")
        self._started.append(pod)
        if self._random:
            self._blows.append(threading.Timer(self._random.uniform(0, BLOW_SECONDS_MAX), pod.kill))
            self._blows[-1].start()
        return pod

    def counts(self) -> list[int]:
        """The shard counts that were put in force, in turn."""
        journal = Journal.load(self._writer.storage)
        return [layout.shard_count for layout in layouts(journal.epochs)] if journal and journal.epochs else []

    def edge(self) -> int:
        """From which slot on the last shard count is in force."""
        journal = Journal.load(self._writer.storage)
        assert journal is not None
        return layouts(journal.epochs)[-1].first

    def wait_until(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not is_so():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what} did not happen: {self.exits()}\n{self._tails()}")
            time.sleep(POLL_SECONDS)

    def exits(self) -> list[tuple[str, list[int]]]:
        return [(pod.name, pod.exits) for pod in self._started]

    def close(self) -> None:
        """Take all away that are left, and see that none ended as it should not."""
        for blow in self._blows:
            blow.cancel()
        for pod in self._started:
            pod.take_away(0)
        self._writer.close()
        if any(set(pod.exits) - EXPECTED for pod in self._started):
            raise AssertionError(f"they ended so: {self.exits()}\n{self._tails()}")

    def _tails(self) -> str:
        return "\n".join(f"--- {pod.name}\n{pod.said[-2000:]}" for pod in self._started)
