"""The curve of a day: how many rows the rates ask for, from hour to hour."""

from __future__ import annotations

from emitter.generators.base import GeneratorBase
from emitter.model import Window
from emitter.watch.observer import DayCurve

DAY_SECONDS = 86400
_HOUR_SECONDS = 3600
_SAMPLE_SECONDS = 60
_EDGES_MAX = 24


def day_curve(generator: GeneratorBase, slot: int) -> DayCurve:
    """The curve of the day (UTC) that holds a slot: a point each hour, and two where other inputs come into force.

    Takes about a millisecond: not to be asked for at every step.
    """
    first = slot - slot % DAY_SECONDS
    end = first + DAY_SECONDS
    begin = max(first, generator.origin_slot + 1)  # at the origin itself stands all that was there before
    edges = [epoch.from_slot for epoch in generator.epochs if begin < epoch.from_slot < end][-_EDGES_MAX:]
    hours = range(first + _HOUR_SECONDS, end, _HOUR_SECONDS)
    before = [(slot, Window(max(begin, slot - _SAMPLE_SECONDS), slot)) for slot in [*edges, end]]
    after = [(slot, Window(slot, slot + _SAMPLE_SECONDS)) for slot in [begin, *hours, *edges] if slot >= begin]
    samples = sorted(dict.fromkeys(before + after), key=lambda sample: (sample[0], sample[1].first))
    return DayCurve(
        first, tuple((slot - first, _rows_per_second(generator, window)) for slot, window in samples if window.seconds)
    )


def _rows_per_second(generator: GeneratorBase, window: Window) -> float:
    """Of one slice: all are alike."""
    expected = generator.expected_rows(window)
    inputs = next(epoch.inputs for epoch in reversed(generator.epochs) if epoch.from_slot <= window.first)
    return sum(expected[table] for table in inputs.tables) / inputs.shard_count / window.seconds
