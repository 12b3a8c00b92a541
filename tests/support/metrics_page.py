"""What a scrape of a running daemon may hold."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from emitter.model import RoundReport, VerificationReport
from emitter.testing import ManualClock
from emitter.watch.metrics import Metrics
from tests.unit.watch.scripted_daemon import STATUS, commit


def full_page() -> str:
    """The page of a daemon that has committed and looked after its tables, in a group with a memory limit."""
    metrics = Metrics(version="1", clock=ManualClock(), memory_limit_bytes=2**30)
    metrics.upkeep_is_due_every(300)
    metrics.verification_is_due_every(3_600)
    metrics.watch(lambda: replace(STATUS, level_in_seconds=60.0))
    metrics.watch_health(lambda: "")
    metrics.started(STATUS)
    metrics.committed(commit())
    metrics.round_ended(RoundReport("ok"))
    wrong_rows, wrong_files = {"orders": {"lost": 0}}, {"orders": {"broken": 0}}
    metrics.verified(VerificationReport("ok", wrong_rows=wrong_rows, wrong_files=wrong_files))
    return metrics.page().decode()


def sample_labels() -> dict[str, set[str]]:
    """Name of a series, such as `emitter_retries_total` -> its labels."""
    families = text_string_to_metric_families(full_page())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}
