"""What a verification found is told until the next one comes to a verdict."""

from __future__ import annotations

import unittest
from typing import get_args

from prometheus_client import CollectorRegistry

from emitter.model import VerificationOutcome, VerificationReport, Window
from emitter.testing import ManualClock
from emitter.watch.verificationmetrics import VerificationMetrics
from tests.unit.watch.scripted_daemon import STATUS

WINDOW = Window(0, 100)
FILES = {"orders": {"broken": 1, "misshapen": 0}}


class VerificationMetricsTest(unittest.TestCase):
    def setUp(self) -> None:
        self.clock, self.registry = ManualClock(), CollectorRegistry()
        self.metrics = VerificationMetrics(self.registry, self.clock)
        self.metrics.started(STATUS)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"emitter_{name}", labels)

    def found(self, outcome: VerificationOutcome, lost: int) -> None:
        self.metrics.verified(VerificationReport(outcome, 1.0, WINDOW, 100, {"orders": {"lost": lost}}, FILES))

    def lost(self) -> float | None:
        return self.value("verification_rows", table="orders", kind="lost")

    def test_outcomes_are_counted_from_zero(self) -> None:
        for outcome in get_args(VerificationOutcome):
            self.assertEqual(self.value("verifications_total", outcome=outcome), 0.0)
        self.found("different", 3)
        self.assertEqual(self.value("verifications_total", outcome="different"), 1.0)

    def test_what_was_found_stays_until_the_next_verdict_and_goes_with_the_turn(self) -> None:
        self.assertIsNone(self.lost())
        self.found("different", 3)
        self.assertEqual((self.lost(), self.value("verification_files", table="orders", kind="broken")), (3.0, 1.0))
        self.metrics.verified(VerificationReport("killed", problem="too long"))
        self.assertEqual(self.lost(), 3.0)
        self.found("ok", 0)
        self.assertEqual(self.lost(), 0.0)
        self.metrics.verified(VerificationReport("skipped"))
        self.assertIsNone(self.lost())

    def test_the_last_success_is_one_that_found_nothing(self) -> None:
        self.found("different", 3)
        self.assertIsNone(self.value("verification_last_success_timestamp_seconds"))
        self.found("ok", 0)
        self.assertEqual(self.value("verification_last_success_timestamp_seconds"), self.clock.wall_seconds())

    def test_what_was_under_way_when_it_was_switched_off_is_only_counted(self) -> None:
        self.metrics.due_every(3_600)
        self.metrics.due_every(None)
        self.found("different", 3)
        self.assertEqual((self.lost(), self.value("verifications_total", outcome="different")), (None, 1.0))
        self.metrics.due_every(60)
        self.found("different", 3)
        self.assertEqual(self.lost(), 3.0)

    def test_where_it_is_switched_off_nothing_is_told_any_more(self) -> None:
        self.metrics.due_every(3_600)
        self.found("different", 3)
        self.assertEqual(self.value("verification_interval_seconds"), 3_600.0)
        self.metrics.due_every(None)
        self.assertEqual((self.lost(), self.value("verification_interval_seconds")), (None, None))


if __name__ == "__main__":
    unittest.main()
