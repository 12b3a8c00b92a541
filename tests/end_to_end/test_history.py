"""A real run with a history, several processes and a kill in the middle of it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta

from tests.support.case import DaemonCase
from tests.support.killer import DEADLINE_SECONDS, REPOSITORY, emitter, write_config

DAYS = 20
BATCH_SECONDS = 2


def is_live(line):
    """Whether a log line tells of a batch that was made as soon as it was due."""
    if line["action"] != "batch":
        return False
    seconds = (datetime.fromisoformat(line["end"]) - datetime.fromisoformat(line["first"])).total_seconds()
    return seconds <= BATCH_SECONDS and line["lag_seconds"] < BATCH_SECONDS


class HistoryTest(DaemonCase):
    def test_it_is_killed_in_its_history_and_ends_up_live(self):
        start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=DAYS)
        config = write_config(
            self.output,
            self.new_folder() / "emitter.json",
            clock__start=start.isoformat(),
            clock__speed=1,
            clock__history="max",
            clock__history_jobs=2,
            clock__batch_seconds=BATCH_SECONDS,
            clock__batch_rows_max=400_000,
            server__port=0,
        )
        first = self.run_until(config, lambda line: line["action"] == "batch", signal.SIGKILL)
        self.assertGreater(first["lag_seconds"], 86_400)
        self.run_until(config, is_live, signal.SIGTERM)
        verified = subprocess.run(
            emitter("verify", config=config), cwd=REPOSITORY, check=False, capture_output=True, text=True, timeout=120
        )
        self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)

    def run_until(self, config, is_there, end):
        """Run until a log line is there, and end it by a signal; the line."""
        deadline_seconds = time.monotonic() + DEADLINE_SECONDS
        with subprocess.Popen(
            emitter("run", "--no-live", config=config), cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stderr
                for text in process.stderr:
                    line = json.loads(text)
                    if is_there(line):
                        process.send_signal(end)
                        process.stderr.read()
                        return line
                    self.assertLess(time.monotonic(), deadline_seconds, text)
            finally:
                process.kill()
        raise AssertionError(f"it ended by itself with {process.returncode}")
