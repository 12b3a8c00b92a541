"""Over a real run a real Prometheus has an answer to every query of the dashboard, and no alert fires."""

from __future__ import annotations

import math
import unittest

from tests.support.dashboard import queries
from tests.support.prometheus import PrometheusCase

CHOSEN = {"$job": "emitter", "$instance": ".*", "$table": ".*", "$__rate_interval": "10s", "$__range": "1m"}
ABSENT_HERE = "emitter_memory_limit_bytes"  # only where the control group has a limit


class DashboardTest(PrometheusCase):
    def values(self, expression: str) -> list[float]:
        """What Grafana would draw."""
        for name, value in CHOSEN.items():
            expression = expression.replace(name, value)
        data = self.ask("query", query=expression)
        found = [float(one["value"][1]) for one in data["result"]] if data else []
        return [value for value in found if not math.isnan(value)]

    def test_every_panel_and_variable_gets_data(self) -> None:
        for where, expression in queries():
            if not expression.startswith(ABSENT_HERE):
                with self.subTest(where):
                    self.poll(f"answer to {expression}", lambda expression=expression: self.values(expression))

    def test_a_query_for_nothing_would_be_noticed(self) -> None:
        self.poll("scrape", lambda: self.values('emitter_ready{job=~"$job"}'))
        self.assertEqual(self.values('emitter_ready{job=~"$job", shard="0"}'), [])

    def test_every_alert_is_evaluated_and_a_healthy_run_sets_none_off(self) -> None:
        self.poll("rate", lambda: self.query('rate(emitter_rows_committed_total{table="orders"}[10s]) > 0'))
        rules = self.poll("evaluation", self.evaluated_rules)
        self.assertEqual({rule["name"]: rule["state"] for rule in rules if rule["state"] != "inactive"}, {})

    def evaluated_rules(self) -> list[dict[str, str]]:
        """The alerts, once each was evaluated without an error after the daemon was scraped."""
        found = self.ask("rules", type="alert")
        rules: list[dict[str, str]] = [rule for group in found["groups"] for rule in group["rules"]] if found else []
        return rules if rules and all(rule["health"] == "ok" for rule in rules) else []


if __name__ == "__main__":
    unittest.main()
