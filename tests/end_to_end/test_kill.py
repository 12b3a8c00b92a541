"""Processes that end without warning: at every named crash point, and by `kill -9` at any moment."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from emitter.clock import text_of
from emitter.truth import oracle
from emitter.writers.parquet.writer import ParquetWriter
from tests.support.case import DaemonCase
from tests.support.effort import new_seed
from tests.support.killer import DEADLINE_SECONDS, REPOSITORY, Killer, emitter, write_config
from tests.support.shop import ORIGIN, TABLES, run, settled

EXIT_CRASHED = 137
UNTIL = 300


class KillCase(DaemonCase):
    def config_file(self, **changes: object) -> Path:
        return write_config(self.output, self.new_folder() / "emitter.json", **changes)

    def drive(self, point: str, nth: int, until: int) -> int:
        """Run the shop in a process that ends at a crash point; its exit code."""
        command = [sys.executable, "-m", "tests.support.driver", str(self.config_file()), str(until), point, str(nth)]
        result = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True, timeout=120)
        self.assertIn(result.returncode, (0, EXIT_CRASHED), result.stderr)
        return result.returncode

    def assert_whole(self, until: int, **changes: object) -> None:
        self.assert_undisturbed(until, **changes)
        self.assert_verified(self.config(**changes), until)
        self.assertEqual([str(path) for path in self.output.rglob("*.staged")], [])

    def reached(self) -> int:
        """How far the furthest table is, in seconds from the origin."""
        slots = []
        for table in TABLES:
            path = self.output / "_emitter/progress" / table / "0-of-1.json"
            if path.exists():
                slots.append(json.loads(path.read_bytes())["slot"] or ORIGIN)
        return max(slots, default=ORIGIN) - ORIGIN

    def kill_often(self, seed: int, times: int) -> None:
        slow = {"clock__batch_seconds": 10, "ecommerce__orders_per_second": 0.2}
        killer, moments = Killer(self.output, self.config_file(**slow), seed), []
        with self.subTest(seed=seed):
            for _ in range(times):
                moments.append(killer.run_and_kill())
                if (self.output / "_emitter/journal/0000000001.json").exists():
                    verification = oracle.verify(self.config(**slow))
                    self.assertTrue(verification.ok, (moments, verification))
            until = settled(self.config(**slow)) + 25
            run(self.config(**slow), until)
            self.assert_whole(until, **slow)


class CrashPointsTest(KillCase):
    def test_each_crash_point(self):
        for point in ParquetWriter.crash_points:
            with self.subTest(point):
                self.output = self.new_folder()
                self.assertEqual(self.drive(point, 2, UNTIL), EXIT_CRASHED)
                run(self.config(), UNTIL)
                self.assert_whole(UNTIL)


class KillTest(KillCase):
    def test_kill_9_at_any_moment(self):
        self.kill_often(new_seed(), times=5)

    def test_workers_do_not_outlive_the_process_that_commits(self):
        config = self.config_file(clock__batch_rows_max=300)
        command = emitter("generate", "--jobs=2", f"--to={text_of(ORIGIN + 20_000)}", config=config)
        with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            self.wait_until(lambda: self.reached() > 1000)
            workers = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGKILL)
        self.assertGreaterEqual(len(workers), 4)  # two, what they are forked of, and what keeps track of it
        until = self.reached() + 600
        self.assertLess(until, 20_000)  # it was in the middle
        run(self.config(), until)  # at once: nobody else holds the lock
        self.wait_until(lambda: not any(map(psutil.pid_exists, [worker.pid for worker in workers])))
        self.assert_undisturbed(until)
        self.assert_verified(self.config(), until)

    def wait_until(self, is_so) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not is_so():
            self.assertLess(time.monotonic(), deadline, "it does not come to the point")
            time.sleep(0.001)
