"""promtool accepts the rules and the example, and every alert fires when it should, and only then. What pages does so
also over a real daemon in trouble.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import unittest
from pathlib import Path

from tests.support.prometheus import PrometheusCase

PROMETHEUS = Path(__file__).parents[2] / "deploy" / "prometheus"


class AlertsTest(unittest.TestCase):
    def setUp(self) -> None:
        self.assertIsNotNone(shutil.which("promtool"), "promtool is not on PATH: run scripts/install-system.sh")

    def promtool(self, *arguments: str) -> str:
        result = subprocess.run(
            ["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False, timeout=120
        )
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result.stdout

    def test_the_rules_are_valid(self) -> None:
        self.assertIn("SUCCESS", self.promtool("check", "rules", "emitter.rules.yml"))

    def test_the_example_is_valid_and_loads_the_rules(self) -> None:
        self.assertIn("1 rule files found", self.promtool("check", "config", "prometheus.yml"))

    def test_each_alert_fires_when_it_should_and_only_then(self) -> None:
        for file in sorted((PROMETHEUS / "tests").glob("*.yml")):
            self.assertIn("SUCCESS", self.promtool("test", "rules", str(file)))


class RealTroubleTest(PrometheusCase):
    """The rules, with a second for each of their minutes, over a daemon on a small disk of its own."""

    def rules(self) -> str:
        return re.sub(
            r"\b(\d+)m\b", r"\1s", re.sub(r"\b(\d+)h\b", lambda hours: f"{int(hours[1]) * 60}m", super().rules())
        )

    def start_emitter(self) -> str:
        self.assertEqual(os.geteuid(), 0, "mounting a small tmpfs needs root: run `make test-system` as root")
        self.disk = self.folder / "shop"
        self.disk.mkdir()
        self.mount("size=2m", "none", "-t", "tmpfs")
        self.addCleanup(subprocess.run, ["umount", str(self.disk)], check=True)
        return super().start_emitter()

    def mount(self, options: str, *rest: str) -> None:
        subprocess.run(["mount", "-o", options, *rest, str(self.disk)], check=True)

    def firing(self) -> set[str]:
        data = self.ask("query", query='ALERTS{alertstate="firing", severity="page"}')
        return {one["metric"]["alertname"] for one in data["result"]} if data else set()

    def test_a_full_disk_and_a_killed_daemon_page_and_room_ends_it(self) -> None:
        self.poll("retry", lambda: self.query("emitter_retries_total > 0"))
        self.poll("page", lambda: self.firing() == {"EmitterNotReady"})
        self.mount("remount,size=200m")
        self.poll("end of the page", lambda: self.query("emitter_ready == 1") and not self.firing())
        self.emitter.kill()
        self.exit_code = -signal.SIGKILL
        self.emitter.wait()
        self.poll("page", lambda: self.firing() == {"EmitterDown"})


if __name__ == "__main__":
    unittest.main()
