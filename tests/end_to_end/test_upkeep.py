"""Upkeep beside a real `emitter run`: it is killed, it is in the way of nobody, and another takes over."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
import unittest
import urllib.request
from collections.abc import Callable
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import psutil

from emitter.truth import oracle
from tests.support.case import DaemonCase
from tests.support.killer import DEADLINE_SECONDS, REPOSITORY, emitter, write_config

OFTEN: dict[str, Any] = {
    "output__format": "delta",
    "clock__speed": 600,
    "clock__batch_seconds": 30,
    "log__level": "debug",
    "maintenance__interval_batches": 20,
    "maintenance__small_files_min": 5,
    "maintenance__interval_seconds": 5,
}


class Run:
    """A daemon in a process of its own, and the lines of its log."""

    def __init__(self, case: unittest.TestCase, config: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            emitter("run", "--no-live", *arguments, config=config),
            cwd=REPOSITORY,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        case.addCleanup(self.end)
        self.lines: list[dict[str, Any]] = []
        self._queue: Queue[dict[str, Any] | None] = Queue()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._queue.put(json.loads(line))
        self._queue.put(None)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def wait_for(self, is_it: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The next line that is one."""
        while True:
            line = self._queue.get(timeout=DEADLINE_SECONDS)
            if line is None:
                raise AssertionError(f"it ended: {self.lines[-3:]}")
            self.lines.append(line)
            if is_it(line):
                return line

    def wait_for_round(self, outcome: str = "ok") -> dict[str, Any]:
        return self.wait_for(lambda line: line["action"] == "upkeep" and line["outcome"] == outcome)

    def wait_for_chore(self) -> dict[str, Any]:
        return self.wait_for(lambda line: line["action"] == "maintain" and line.get("files_removed"))

    def upkeep(self) -> list[psutil.Process]:
        """The processes that work for it."""
        children = psutil.Process(self.process.pid).children()
        return [each for each in children if "spawn_main" in " ".join(each.cmdline())]

    def metrics(self) -> str:
        url = next(line["url"] for line in self.lines if line["action"] == "serve")
        with urllib.request.urlopen(f"{url}/metrics", timeout=30) as page:
            return str(page.read().decode())

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(DEADLINE_SECONDS)
        assert code == 0, code


def wait_until_gone(process: psutil.Process) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            raise AssertionError(f"{process} is still there")
        time.sleep(0.01)


class UpkeepTest(DaemonCase):
    def config_file(self, **changes: Any) -> Path:
        return write_config(self.output, self.new_folder() / "emitter.json", **{**OFTEN, **changes})

    def assert_right(self) -> None:
        verification = oracle.verify(self.config(**OFTEN))
        self.assertFalse(verification.is_wrong, verification)

    def test_files_become_few_and_metrics_and_status_tell_those_that_are_there(self) -> None:
        run = Run(self, self.config_file())
        run.wait_for_chore()
        run.wait_for_round()
        self.assertEqual(len(run.upkeep()), 1)
        page = run.metrics()
        self.assertRegex(page, r'emitter_maintenance_rounds_total\{outcome="ok"\} [1-9]')
        self.assertRegex(page, r'emitter_maintenance_files_removed_total\{task="compact"\} [1-9]')
        found = re.search(r'emitter_table_data_files\{table="orders"\} (\S+)', page)
        commits = re.search(r'emitter_commits_total\{outcome="ok",table="orders"\} (\S+)', page)
        assert found is not None and commits is not None
        self.assertLess(float(found[1]), float(commits[1]))  # each had a file
        (child,) = run.upkeep()
        run.stop()
        wait_until_gone(child)
        self.assert_right()
        told = subprocess.run(
            emitter("status", "--json", config=self.config_file()), cwd=REPOSITORY, capture_output=True, check=True
        )
        orders = next(table for table in json.loads(told.stdout) if table["table"] == "orders")
        self.assertLess(orders["files"], float(commits[1]))

    def test_whoever_is_killed_the_rows_are_right_and_the_work_goes_on(self) -> None:
        run = Run(self, self.config_file())
        run.wait_for_chore()  # most often in the middle of a round
        (child,) = run.upkeep()
        child.kill()
        run.wait_for_round()
        (other,) = run.upkeep()
        self.assertNotEqual(other.pid, child.pid)
        run.wait_for_chore()
        run.end()
        wait_until_gone(other)
        self.assert_right()
        again = Run(self, self.config_file())
        again.wait_for_round()
        again.stop()
        self.assert_right()

    def test_of_two_shards_one_looks_after_the_tables_and_the_other_takes_over_where_it_is_killed(self) -> None:
        config = self.config_file(shard__count=2)
        first = Run(self, config, "--set=shard.index=0")
        first.wait_for_round()
        second = Run(self, config, "--set=shard.index=1")
        second.wait_for_round("skipped")
        self.assertEqual((len(first.upkeep()), second.upkeep()), (1, []))
        first.end()
        second.wait_for_round()
        self.assertEqual(len(second.upkeep()), 1)
        second.stop()
        verification = oracle.verify(self.config(**OFTEN, shard__count=2))
        self.assertFalse(verification.is_wrong, verification)

    def test_switched_off_it_has_no_process_until_a_reload_switches_it_on(self) -> None:
        config = self.config_file(maintenance__enabled=False)
        run = Run(self, config)
        for _ in range(25):
            run.wait_for(lambda line: line["action"] == "batch")
        self.assertEqual(run.upkeep(), [])
        write_config(self.output, config, **OFTEN)
        run.process.send_signal(signal.SIGHUP)
        reloaded = run.wait_for(lambda line: line["action"] == "reload")
        self.assertEqual(reloaded["applied"], ["maintenance.enabled"])
        run.wait_for_round()
        run.stop()


if __name__ == "__main__":
    unittest.main()
