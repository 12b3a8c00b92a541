"""promtool takes the alerts out of what is applied to a cluster."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

from tests.support.kubernetes_tools import KUBERNETES, templated


class PrometheusRuleTest(unittest.TestCase):
    def setUp(self) -> None:
        self.assertIsNotNone(shutil.which("promtool"), "promtool is not on PATH: run scripts/install-system.sh")

    def test_promtool_has_nothing_to_say(self) -> None:
        ways = {
            "Kustomize": yaml.safe_load((KUBERNETES / "components" / "monitoring" / "prometheusrule.yaml").read_text()),
            "Helm": templated("--set", "monitoring.enabled=true", "-s", "templates/prometheusrule.yaml")[0],
        }
        for way, rule in ways.items():
            with self.subTest(way), tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "rules.yml"
                file.write_text(yaml.safe_dump(rule["spec"]), encoding="utf-8")
                command = ["promtool", "check", "rules", "--lint-fatal", file]
                done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertRegex(done.stdout, r"SUCCESS: [1-9]\d* rules found")


if __name__ == "__main__":
    unittest.main()
