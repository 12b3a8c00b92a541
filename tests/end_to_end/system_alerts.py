"""promtool accepts the rules and the example, and every alert fires when it should, and only then."""

from __future__ import annotations

import shutil
import subprocess
import unittest
from pathlib import Path

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


if __name__ == "__main__":
    unittest.main()
