"""A gauge that tells nothing where there is nothing to tell."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Known(Collector):
    """A gauge that is absent while its value is None."""

    def __init__(self, name: str, what: str) -> None:
        self._name, self._what = name, what
        self.value: float | None = None

    def collect(self) -> Iterable[Metric]:
        gauge = GaugeMetricFamily(self._name, self._what, labels=[])
        if self.value is not None:
            gauge.add_metric([], self.value)
        yield gauge
