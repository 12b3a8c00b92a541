"""A real Prometheus scrapes a real daemon, and promtool has nothing to say about the page."""

from __future__ import annotations

import subprocess
import unittest
import urllib.request

from tests.support.prometheus import PrometheusCase
from tests.unit.watch.test_metrics import NAMES


class PrometheusTest(PrometheusCase):
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
