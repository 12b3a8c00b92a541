"""What upkeep did is counted by task, and a table's files are those that are in it."""

from __future__ import annotations

import unittest
from typing import get_args

from prometheus_client import CollectorRegistry

from emitter.model import ChoreReport, RoundOutcome, RoundReport, TableSize
from emitter.testing import ManualClock
from emitter.watch.upkeepmetrics import UpkeepMetrics
from tests.unit.watch.scripted_daemon import STATUS, commit


class UpkeepMetricsTest(unittest.TestCase):
    def setUp(self) -> None:
        self.clock, self.registry = ManualClock(), CollectorRegistry()
        self.metrics = UpkeepMetrics(self.registry, self.clock)
        self.metrics.started(STATUS)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"emitter_{name}", labels)

    def files(self) -> float | None:
        return self.value("table_data_files", table="orders")

    def test_everything_is_counted_from_zero_by_task_and_outcome(self) -> None:
        for task in ("compact", "checkpoint", "expire", "vacuum", "finish_partitions"):
            for name in ("failures", "conflicts", "files_removed", "files_written", "bytes_removed", "bytes_written"):
                self.assertEqual(self.value(f"maintenance_{name}_total", task=task), 0.0, name)
            self.assertEqual(self.value("maintenance_duration_seconds_count", task=task), 0.0)
        for outcome in get_args(RoundOutcome):
            self.assertEqual(self.value("maintenance_rounds_total", outcome=outcome), 0.0)

    def test_a_chore_counts_what_it_removed_wrote_and_met(self) -> None:
        self.metrics.maintained(ChoreReport("compact", "orders", "", 2.5, 60, 1, 600_000, 400_000, conflicts=2))
        found = {
            name: self.value(f"maintenance_{name}_total", task="compact")
            for name in ("files_removed", "files_written", "bytes_removed", "bytes_written", "conflicts", "failures")
        }
        self.assertEqual(found, {"files_removed": 60, "files_written": 1, "bytes_removed": 600_000,
                                 "bytes_written": 400_000, "conflicts": 2, "failures": 0})  # fmt: skip
        self.assertEqual(self.value("maintenance_duration_seconds_sum", task="compact"), 2.5)

    def test_a_chore_that_failed_counts_and_a_task_that_nobody_knows_makes_no_series_of_its_own(self) -> None:
        self.metrics.maintained(ChoreReport("compact", "orders", problem="disk full"))
        self.metrics.maintained(ChoreReport("sweep", "orders"))
        self.assertEqual(self.value("maintenance_failures_total", task="compact"), 1.0)
        self.assertIsNone(self.value("maintenance_duration_seconds_count", task="sweep"))
        self.assertEqual(self.value("maintenance_duration_seconds_count", task="other"), 1.0)

    def test_the_last_success_is_absent_until_a_round_goes_well_and_stays_after_one_that_does_not(self) -> None:
        self.metrics.round_ended(RoundReport("failed"))
        self.assertIsNone(self.value("maintenance_last_success_timestamp_seconds"))
        self.metrics.round_ended(RoundReport("ok"))
        well = self.clock.wall_seconds()
        self.clock.advance(60)
        self.metrics.round_ended(RoundReport("killed", problem="too long"))
        self.assertEqual(self.value("maintenance_last_success_timestamp_seconds"), well)
        for outcome, count in (("ok", 1.0), ("failed", 1.0), ("killed", 1.0), ("skipped", 0.0)):
            self.assertEqual(self.value("maintenance_rounds_total", outcome=outcome), count)

    def test_before_a_round_the_files_are_those_that_the_shard_has_put_there(self) -> None:
        self.metrics.committed(commit("orders", table_files=8_000))
        self.assertEqual(self.files(), 8_000.0)

    def test_after_a_round_they_are_those_that_it_found_and_what_came_since(self) -> None:
        self.metrics.committed(commit("orders", table_files=8_000))
        self.metrics.round_ended(RoundReport("ok", sizes={"orders": TableSize(12, 99), "elsewhere": TableSize(1, 1)}))
        self.assertEqual(self.files(), 12.0)
        self.metrics.committed(commit("orders", table_files=8_002, files=2))
        self.metrics.committed(commit("orders", outcome="conflict", files=2))
        self.assertEqual(self.files(), 14.0)
        self.assertIsNone(self.value("table_data_files", table="elsewhere"))

    def test_a_shard_that_leaves_upkeep_to_another_says_nothing_until_it_takes_over(self) -> None:
        self.metrics.committed(commit("orders", table_files=8_000))
        self.metrics.round_ended(RoundReport("skipped"))
        self.metrics.committed(commit("orders", table_files=8_001))
        self.assertIsNone(self.files())
        self.metrics.round_ended(RoundReport("ok", sizes={"orders": TableSize(12, 99)}))
        self.assertEqual(self.files(), 12.0)


if __name__ == "__main__":
    unittest.main()
