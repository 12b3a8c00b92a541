"""`kill -9` of upkeep at any moment, over and over, while a daemon appends: of `emitter maintain`, and of the process
beside the daemon. When exactly a blow falls hangs on the machine too, so a seed that failed may have to be tried again.
"""

from __future__ import annotations

import signal
import subprocess
import threading
import time
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import psutil

from emitter.clock import SystemClock
from emitter.model import TASKS
from emitter.truth import oracle
from emitter.upkeep.opened import opened
from emitter.upkeep.rounds import Round
from emitter.writers.upkeep import UpkeepPolicy
from tests.simulation.test_formats import FormatCase
from tests.support.effort import IS_SOAK, count, new_seed
from tests.support.killer import DEADLINE_SECONDS, REPOSITORY, emitter
from tests.support.places import TARGETS, Place, Target
from tests.support.shop import settled

OFTEN: dict[str, Any] = {
    "clock__speed": 60,
    "clock__batch_seconds": 20,
    "ecommerce__orders_per_second": 0.2,
    "maintenance__interval_seconds": 5,
    "maintenance__interval_batches": 3,
    "maintenance__small_files_min": 3,
    "maintenance__read_seconds_max": 1,
    "maintenance__keep_seconds": 1,
    "maintenance__versions_max": 2,
    "maintenance__orphan_seconds": 60,
}
AT_ONCE = UpkeepPolicy(small_files_min=3, keep_seconds=0, versions_max=1, orphan_seconds=0)
KILLS = count(10)  # of each kind
STORAGE_GAVE_UP = 4  # also where an append came first too often
LOOK_SECONDS = 0.02


class KillUpkeepTest(FormatCase):
    def test_upkeep_that_is_killed_at_any_moment_harms_nothing_and_goes_on(self):
        seed = new_seed()
        with_chores = TARGETS[1:]
        for target in with_chores if IS_SOAK else Random(seed).sample(with_chores, 2):
            with self.subTest(str(target), seed=seed):
                self.kill_often(target, Random(f"{target} {seed}"))

    def kill_often(self, target: Target, random: Random) -> None:
        place = self.place(target)
        config = place.config(**OFTEN)
        if target.storage == "disk":  # elsewhere each would wait a minute for the lease of the one before
            with self.daemon(place, maintenance__enabled=False):
                self.kill_maintain(place, random)
            self.assertTrue((verification := oracle.verify(config)).ok, verification)
        with self.daemon(place) as process:
            self.kill_child(process, random)
        self.assertTrue((verification := oracle.verify(config)).ok, verification)
        self.assertEqual(self.maintain(place).wait(DEADLINE_SECONDS), 0)
        self.assert_nothing_left(place)
        self.assert_exact(place, settled(config), **OFTEN)

    @contextmanager
    def daemon(self, place: Place, **changes: Any) -> Iterator[subprocess.Popen[bytes]]:
        """One that appends meanwhile, and ends well."""
        with TemporaryFile() as errors:
            process = self.started(place, "run", "--no-live", errors=errors, **changes)
            try:
                yield process
                process.send_signal(signal.SIGTERM)
                code = process.wait(DEADLINE_SECONDS)
            finally:
                process.kill()
                process.wait()
            errors.seek(0)
            self.assertEqual(code, 0, errors.read().decode())

    def maintain(self, place: Place) -> subprocess.Popen[bytes]:
        return self.started(place, "maintain", errors=subprocess.DEVNULL)

    def started(self, place: Place, *arguments: str, errors: Any, **changes: Any) -> subprocess.Popen[bytes]:
        folder = Path(self.enterContext(TemporaryDirectory()))
        path, environ = place.write_config(folder, **{**OFTEN, **changes})
        return subprocess.Popen(
            emitter(*arguments, config=path),
            cwd=REPOSITORY, env=environ, stdout=subprocess.DEVNULL, stderr=errors,
        )  # fmt: skip

    def kill_maintain(self, place: Place, random: Random) -> None:
        """Each some part of the time that the last one took that came to its end; most of them after their start."""
        whole_seconds, kills = 0.0, 0
        while kills < KILLS:
            begin_seconds = time.monotonic()
            process = self.maintain(place)
            try:
                code = process.wait(random.uniform(0.3, 1.1) * whole_seconds or DEADLINE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
            else:
                whole_seconds = time.monotonic() - begin_seconds
                if kills:  # before, there may have been no journal yet
                    self.assertIn(code, (0, STORAGE_GAVE_UP))

    def kill_child(self, daemon: subprocess.Popen[bytes], random: Random) -> None:
        """Each up to some seconds after it has begun; the daemon has another one then."""
        for _ in range(KILLS):
            child = child_of(daemon)
            time.sleep(3 * random.random())
            child.kill()
            child.wait(DEADLINE_SECONDS)
        child_of(daemon)

    def assert_nothing_left(self, place: Place) -> None:
        """Two more rounds, for which all is old enough, find all done but what they make themselves."""
        clock = SystemClock()
        with opened(place.config(**OFTEN), clock) as found:
            round_ = Round(found.writer.upkeep(AT_ONCE), found.tables, clock, threading.Event())
            for _ in range(3):
                self.assertEqual([report.problem for report in round_.run(TASKS) if report.problem], [])
            self.assertEqual([chore for chore in round_.plan(TASKS) if chore.task in ("compact", "vacuum")], [])


def child_of(daemon: subprocess.Popen[bytes]) -> psutil.Process:
    """The process that works beside a daemon, as soon as there is one."""
    end_seconds = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < end_seconds and daemon.poll() is None:
        for child in psutil.Process(daemon.pid).children():
            if child.status() != psutil.STATUS_ZOMBIE and "spawn_main" in " ".join(child.cmdline()):
                return child
        time.sleep(LOOK_SECONDS)
    raise AssertionError(f"no process of upkeep; the daemon has {daemon.poll()}")


if __name__ == "__main__":
    unittest.main()
