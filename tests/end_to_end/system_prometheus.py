"""A real Prometheus scrapes a real daemon, and promtool has nothing to say about the page."""

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

from tests.unit.test_metrics import NAMES

PROJECT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60
CONFIG = """
clock: {{start: 2026-01-01, speed: 600, batch_seconds: 60}}
output: {{uri: {folder}/shop}}
server: {{port: 0}}
ecommerce: {{customers: 100, products: 50, orders_per_second: 5}}
"""
PROMETHEUS = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: emitter
    static_configs: [{{targets: ["{target}"]}}]
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


class PrometheusTest(unittest.TestCase):
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
        config = self.folder / "prometheus.yml"
        config.write_text(PROMETHEUS.format(target=self.target), encoding="utf-8")
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
        """What Prometheus's API answers; None while it does not answer yet."""
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
            self.assertIsNone(self.emitter.poll(), "the daemon has ended")
            time.sleep(0.2)
        return self.fail(f"in {PATIENCE_SECONDS} s there was no {what}")

    def query(self, expression: str) -> dict[str, float]:
        """Table -> value of an instant query."""
        data = self.ask("query", query=expression)
        return {one["metric"].get("table", ""): float(one["value"][1]) for one in data["result"]} if data else {}

    def test_it_is_scraped_whole_and_its_counters_grow(self) -> None:
        self.poll("healthy target", lambda: self.query('up{job="emitter"} == 1'))
        self.poll(
            "scrape with every metric",
            lambda: set(NAMES) <= set(self.ask("label/__name__/values") or ()),
        )
        first = self.poll("orders", lambda: self.query("emitter_rows_committed_total > 0")).get("orders", 0.0)
        grown = f'emitter_rows_committed_total{{table="orders"}} > {first}'
        self.poll("growth", lambda: self.query(grown))
        self.poll("rate", lambda: self.query('rate(emitter_rows_committed_total{table="orders"}[10s]) > 0'))
        for outcome in ("ok", "error"):
            found = self.query(f'emitter_commits_total{{outcome="{outcome}"}}')
            self.assertEqual(len(found), 5, "one series a table, from the start")
        simulated = self.query("emitter_simulated_timestamp_seconds")[""]
        self.assertGreater(simulated, 1767225600.0)  # 2026-01-01

    def test_promtool_has_nothing_to_say(self) -> None:
        self.poll("orders", lambda: self.query("emitter_rows_committed_total > 0"))
        with urllib.request.urlopen(f"http://{self.target}/metrics", timeout=10) as response:
            page = response.read()
        result = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, check=False)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"", b""))


if __name__ == "__main__":
    unittest.main()
