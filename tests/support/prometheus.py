"""A real Prometheus that scrapes a real daemon and evaluates the alerts."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
RULES = PROJECT / "deploy" / "prometheus" / "emitter.rules.yml"
PATIENCE_SECONDS = 120
CONFIG = """
clock: {{start: 2026-01-01, speed: 600, batch_seconds: 60}}
output: {{uri: {folder}/shop, retry_attempts_max: 100, retry_wait_seconds_max: 2}}
server: {{port: 0}}
maintenance: {{interval_seconds: 5}}
verification: {{enabled: true, interval_seconds: 10, period_seconds: 600}}
ecommerce: {{customers: 100, products: 50, orders_per_second: 5}}
"""
PROMETHEUS = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: emitter
    static_configs: [{{targets: ["{target}"]}}]
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


class PrometheusCase(unittest.TestCase):
    """Each test begins with a daemon at `target`, and a Prometheus whose API is at `api`."""

    exit_code: int | None = None  # of the daemon, while a test polls: None where it must not end

    def rules(self) -> str:
        """The alerts to evaluate."""
        return RULES.read_text("utf-8")

    def setUp(self) -> None:
        for binary in ("prometheus", "promtool"):
            self.assertIsNotNone(shutil.which(binary), f"{binary} is not on PATH: run scripts/install-system.sh")
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.target = self.start_emitter()
        self.api = self.start_prometheus()

    def start(self, *command: str, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(command, text=True, **options)
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process: subprocess.Popen[str]) -> None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def start_emitter(self) -> str:
        config = self.folder / "emitter.yaml"
        config.write_text(CONFIG.format(folder=self.folder), encoding="utf-8")
        log = self.folder / "emitter.log"
        with log.open("w", encoding="utf-8") as stderr:
            self.emitter = self.start(
                sys.executable, "-m", "emitter", "run", "-c", str(config), stderr=stderr, cwd=PROJECT
            )
        line = self.poll("first log line", lambda: log.read_text(encoding="utf-8").partition("\n")[0])
        return str(json.loads(line)["url"]).removeprefix("http://")

    def start_prometheus(self) -> str:
        address = f"127.0.0.1:{free_port()}"
        config, rules = self.folder / "prometheus.yml", self.folder / "emitter.rules.yml"
        config.write_text(PROMETHEUS.format(target=self.target, rules=rules), encoding="utf-8")
        rules.write_text(self.rules(), encoding="utf-8")
        self.start(
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={self.folder}/tsdb",
            f"--web.listen-address={address}",
            "--log.level=error",
            cwd=self.folder,
        )
        return f"http://{address}/api/v1"

    def ask(self, path: str, **arguments: str) -> Any:
        """What Prometheus's API answers; None while it does not answer yet, or refuses."""
        url = f"{self.api}/{path}?{urllib.parse.urlencode(arguments)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return json.load(response)["data"]
        except (urllib.error.URLError, ConnectionError):
            return None

    def poll(self, what: str, look: Any) -> Any:
        """The first thing that `look` finds."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if found := look():
                return found
            self.assertEqual(self.emitter.poll(), self.exit_code, "the daemon has ended")
            time.sleep(0.2)
        return self.fail(f"in {PATIENCE_SECONDS} s there was no {what}")

    def query(self, expression: str) -> dict[str, float]:
        """Table -> value of an instant query."""
        data = self.ask("query", query=expression)
        return {one["metric"].get("table", ""): float(one["value"][1]) for one in data["result"]} if data else {}
