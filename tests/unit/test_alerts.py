"""Alerts name what there is, and each has its cases and its runbook. That they fire is seen by system_alerts.py."""

from __future__ import annotations

import unittest
from pathlib import Path
from typing import Any

import yaml

from tests.support.metrics_page import sample_labels
from tests.support.promql import unknown_names

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "emitter.rules.yml").read_text("utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


class AlertsTest(unittest.TestCase):
    def test_every_series_they_ask_for_is_one_of_ours_with_these_labels(self) -> None:
        known = sample_labels()
        for name, rule in alerts().items():
            self.assertEqual(unknown_names(rule["expr"], known), [], name)

    def test_a_series_that_is_not_there_would_be_noticed(self) -> None:
        known = {"emitter_retries_total": {"table"}}
        expression = 'sum by (job) (rate(emitter_retries_total{tabel="x"}[5m])) + process_cpu_seconds'
        self.assertEqual(unknown_names(expression, known), ["emitter_retries_total{tabel}", "process_cpu_seconds"])

    def test_each_says_how_urgent_it_is_what_happened_and_where_to_read_on(self) -> None:
        for name, rule in alerts().items():
            self.assertIn(rule["labels"]["severity"], ("page", "ticket"), name)
            self.assertEqual(set(rule["annotations"]), {"summary", "description", "runbook_url"}, name)

    def test_each_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(self) -> None:
        fires: dict[str, set[bool]] = {name: set() for name in alerts()}
        for file in (PROMETHEUS / "tests").glob("*.yml"):
            for case in yaml.safe_load(file.read_text("utf-8"))["tests"]:
                for look in case["alert_rule_test"]:
                    # A moment before it fires is none in which it must not.
                    later = [other["eval_time"] for other in case["alert_rule_test"] if other.get("exp_alerts")]
                    if look.get("exp_alerts") or not later:
                        fires[look["alertname"]].add(bool(look.get("exp_alerts")))
        self.assertEqual(fires, {name: {True, False} for name in fires})


if __name__ == "__main__":
    unittest.main()
