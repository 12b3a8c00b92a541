"""The metrics say what the daemon did, under the names that dashboards rely on."""

from __future__ import annotations

import unittest
from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from emitter.errors import StorageError
from emitter.model import ChoreReport
from emitter.testing import ManualClock
from emitter.watch.metrics import Metrics
from tests.unit.watch.scripted_daemon import STATUS, TABLES, commit, step

# Section 5 of the design: others rely on these.
NAMES = {
    "emitter_events_generated_total": {"table"},
    "emitter_rows_committed_total": {"table"},
    "emitter_committed_bytes_total": {"table"},
    "emitter_commits_total": {"table", "outcome"},
    "emitter_commit_duration_seconds_count": {"table"},
    "emitter_batch_duration_seconds_count": {"stage"},
    "emitter_last_commit_timestamp_seconds": {"table"},
    "emitter_simulated_timestamp_seconds": set(),
    "emitter_clock_lag_seconds": set(),
    "emitter_target_events_per_second": {"table"},
    "emitter_rate_debt_events": set(),
    "emitter_table_data_files": {"table"},
    "emitter_maintenance_duration_seconds_count": {"task"},
    "emitter_build_info": {"version", "python", "format"},
    # What upkeep and alerts need besides.
    "emitter_maintenance_conflicts_total": {"task"},
    "emitter_maintenance_files_removed_total": {"task"},
    "emitter_maintenance_files_written_total": {"task"},
    "emitter_maintenance_bytes_removed_total": {"task"},
    "emitter_maintenance_bytes_written_total": {"task"},
    "emitter_maintenance_rounds_total": {"outcome"},
    "emitter_maintenance_failures_total": {"task"},
    "emitter_retries_total": set(),
    "emitter_ready": set(),
    "emitter_clock_speed": set(),
    "emitter_batch_simulated_seconds": set(),
    "emitter_shards": {"run", "shard"},
}
OUTCOMES = ("ok", "conflict", "unknown", "deduplicated", "error")


class MetricsTest(unittest.TestCase):
    def setUp(self) -> None:
        self.clock = ManualClock()
        self.metrics = Metrics(version="1.2.3", clock=self.clock)
        self.status = STATUS
        self.metrics.watch(lambda: self.status)
        self.not_ready = "starting"
        self.metrics.watch_health(lambda: self.not_ready)
        self.metrics.started(STATUS)

    def samples(self) -> dict[tuple[str, tuple[str, ...]], float]:
        """(name, label values in order of their names) -> value, of what a scrape sees."""
        families = text_string_to_metric_families(self.metrics.page().decode())
        return {
            (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }

    def test_how_often_upkeep_is_due_is_told_where_it_is_on(self) -> None:
        self.assertNotIn(("emitter_maintenance_interval_seconds", ()), self.samples())
        self.metrics.upkeep_is_due_every(300)
        self.assertEqual(self.samples()["emitter_maintenance_interval_seconds", ()], 300.0)
        self.metrics.upkeep_is_due_every(None)
        self.assertNotIn(("emitter_maintenance_interval_seconds", ()), self.samples())

    def test_every_name_is_there_with_its_labels_after_one_commit(self) -> None:
        self.metrics.committed(commit())
        families = text_string_to_metric_families(self.metrics.page().decode())
        labels = {sample.name: set(sample.labels) for family in families for sample in family.samples}
        self.assertEqual({name: labels.get(name) for name in NAMES}, NAMES)

    def test_counters_of_known_tables_start_at_zero_so_that_rates_see_the_first_event(self) -> None:
        samples = self.samples()
        for table in TABLES:
            for name in ("events_generated", "rows_committed", "committed_bytes"):
                self.assertEqual(samples[f"emitter_{name}_total", (table,)], 0.0)
            for outcome in OUTCOMES:
                self.assertEqual(samples["emitter_commits_total", (outcome, table)], 0.0)
        self.assertEqual(samples["emitter_maintenance_duration_seconds_count", ("finish_partitions",)], 0.0)

    def test_a_commit_counts_its_rows_bytes_files_and_time(self) -> None:
        self.metrics.committed(commit("orders", 100))
        self.metrics.committed(commit("orders", 50, table_files=8))
        samples = self.samples()
        self.assertEqual(samples["emitter_rows_committed_total", ("orders",)], 150.0)
        self.assertEqual(samples["emitter_committed_bytes_total", ("orders",)], 3750.0)
        self.assertEqual(samples["emitter_table_data_files", ("orders",)], 8.0)
        self.assertEqual(samples["emitter_commits_total", ("ok", "orders")], 2.0)
        self.assertEqual(samples["emitter_commit_duration_seconds_count", ("orders",)], 2.0)
        self.assertEqual(samples["emitter_last_commit_timestamp_seconds", ("orders",)], self.clock.wall_seconds())

    def test_rows_of_a_commit_that_did_not_land_are_not_counted(self) -> None:
        for outcome in ("conflict", "unknown", "error"):
            self.metrics.committed(commit("orders", 100, outcome))  # type: ignore[arg-type]
        samples = self.samples()
        self.assertEqual(samples["emitter_rows_committed_total", ("orders",)], 0.0)
        self.assertNotIn(("emitter_last_commit_timestamp_seconds", ("orders",)), samples)
        for outcome in ("conflict", "unknown", "error"):
            self.assertEqual(samples["emitter_commits_total", (outcome, "orders")], 1.0)

    def test_rows_that_were_found_committed_after_a_lost_reply_count_once(self) -> None:
        self.metrics.committed(commit("orders", 100, "unknown"))
        self.metrics.committed(commit("orders", 100, "deduplicated"))
        self.assertEqual(self.samples()["emitter_rows_committed_total", ("orders",)], 100.0)

    def test_generated_rows_count_again_when_a_batch_is_made_again(self) -> None:
        self.metrics.generated("orders", 10)
        self.metrics.generated("orders", 10)
        self.assertEqual(self.samples()["emitter_events_generated_total", ("orders",)], 20.0)

    def test_the_stages_of_a_step_and_maintenance_are_timed(self) -> None:
        self.metrics.stepped(step(), STATUS)
        self.metrics.maintained(ChoreReport("finish_partitions", "", seconds=0.5))
        samples = self.samples()
        self.assertEqual(samples["emitter_batch_duration_seconds_sum", ("generate",)], 0.001)
        self.assertEqual(samples["emitter_maintenance_duration_seconds_sum", ("finish_partitions",)], 0.5)

    def test_lag_and_simulated_time_are_those_of_the_scrape(self) -> None:
        self.status = replace(STATUS, simulated_slot=7.5, lag_seconds=4.0, debt_rows=42.0)
        samples = self.samples()
        self.assertEqual(samples["emitter_simulated_timestamp_seconds", ()], 1577836807.5)
        self.assertEqual(samples["emitter_clock_lag_seconds", ()], 4.0)
        self.assertEqual(samples["emitter_rate_debt_events", ()], 42.0)

    def test_targets_are_per_second_of_real_time_and_absent_at_speed_max(self) -> None:
        self.assertEqual(self.samples()["emitter_target_events_per_second", ("orders",)], 20.0)
        self.status = replace(STATUS, speed=None)
        self.assertNotIn(("emitter_target_events_per_second", ("orders",)), self.samples())

    def test_the_speed_is_absent_at_speed_max(self) -> None:
        self.assertEqual(self.samples()["emitter_clock_speed", ()], 2.0)
        self.status = replace(STATUS, speed=None)
        self.assertNotIn(("emitter_clock_speed", ()), self.samples())

    def test_the_number_of_shards_tells_which_one_of_which_run_this_is(self) -> None:
        self.assertEqual(self.samples()["emitter_shards", ("0123456789abcdef", "0")], 2.0)

    def test_readiness_is_that_of_the_scrape(self) -> None:
        self.assertEqual(self.samples()["emitter_ready", ()], 0.0)
        self.not_ready = ""
        self.assertEqual(self.samples()["emitter_ready", ()], 1.0)

    def test_retries_and_failed_maintenance_are_counted_from_zero(self) -> None:
        before = self.samples()
        self.metrics.waiting_to_retry(StorageError("write", "x", "full"), 1, 9, 0.5)
        self.metrics.maintained(ChoreReport("finish_partitions", "", problem="disk full"))
        after = self.samples()
        for name in (("emitter_retries_total", ()), ("emitter_maintenance_failures_total", ("finish_partitions",))):
            self.assertEqual((before[name], after[name]), (0.0, 1.0))

    def test_the_memory_limit_is_absent_without_one(self) -> None:
        self.assertNotIn(("emitter_memory_limit_bytes", ()), self.samples())
        page = Metrics(version="1", clock=self.clock, memory_limit_bytes=2**30).page()
        self.assertIn(b"emitter_memory_limit_bytes 1.073741824e+09", page)

    def test_before_a_daemon_is_there_the_page_works(self) -> None:
        self.assertIn(b"emitter_rows_committed_total", Metrics(version="1", clock=self.clock).page())

    def test_two_daemons_in_one_process_do_not_mix(self) -> None:
        other = Metrics(version="1", clock=self.clock)
        other.started(STATUS)
        other.generated("orders", 5)
        self.assertEqual(self.samples()["emitter_events_generated_total", ("orders",)], 0.0)

    def test_there_are_no_series_of_creation_times(self) -> None:
        self.metrics.committed(commit())
        self.assertNotIn("_created", self.metrics.page().decode())


if __name__ == "__main__":
    unittest.main()
