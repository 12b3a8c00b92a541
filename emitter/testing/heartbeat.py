"""A domain of one table with a row a second and a column of every type."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from emitter import arrow
from emitter.clock import EPOCH_UNIX_SECONDS
from emitter.generators.base import FRAME_ROWS_MAX, GeneratorBase
from emitter.model import Column, Frame, Slice, Table, Window
from emitter.randomness import Stream, below

_HOSTS = pa.array(["atlas", "boréas", "chronos", "δίκη", "エコー"])
_NOTES = pa.array(["", "rebooted", "naïve"])

HEARTBEATS = Table(
    "heartbeats",
    (
        Column("beat_id", "int64", "the slot"),
        Column("event_time", "timestamp", "within the slot"),
        Column("host", "string", "who beats"),
        Column("pulse", "int32", "0 to 199"),
        Column("load", "float64", "0 up to 1"),
        Column("healthy", "bool", "seven times in eight"),
        Column("cost", "money", "-50.00 to 49.99"),
        Column("credit", "money", "absent in one row of four", nullable=True),
        Column("note", "string", "absent in one row of four", nullable=True),
    ),
    ("beat_id",),
    (),
    "a row a second",
)


@dataclass(frozen=True, slots=True)
class HeartbeatOptions:
    """There is nothing to choose but how many hosts there are, at most 5."""

    hosts: int = 5


class HeartbeatGenerator(GeneratorBase):
    """Every second from the origin on, one host beats."""

    name = "heartbeat"
    content_version = 1
    options_type = HeartbeatOptions
    table_declarations = (HEARTBEATS,)

    def rows(self, window: Window, slice: Slice, tables: Collection[str]) -> Iterator[Frame]:
        if HEARTBEATS.name not in tables:
            return
        for first in range(max(window.first, self.origin_slot), window.end, FRAME_ROWS_MAX):
            slots = np.arange(first, min(first + FRAME_ROWS_MAX, window.end), dtype=np.int64)
            mine = slots[self._words("deal", slots) % np.uint64(slice.count) == np.uint64(slice.index)]
            if len(mine):
                yield Frame(HEARTBEATS.name, self._beats(mine))

    def expected_rows(self, window: Window) -> Mapping[str, float]:
        return {HEARTBEATS.name: float(max(0, window.end - max(window.first, self.origin_slot)))}

    def _words(self, stream: str, slots: np.ndarray) -> np.ndarray:
        return Stream(self.seed, f"heartbeat.{stream}").words(slots)

    def _beats(self, slots: np.ndarray) -> pa.RecordBatch:
        words = self._words("beat", slots)
        quarter = (words >> np.uint64(8)) % np.uint64(4) == 0
        cents = below(words, 10_000) - 5_000
        notes = ((words >> np.uint64(16)) % np.uint64(3)).astype(np.int8)
        times = (EPOCH_UNIX_SECONDS + slots) * 1_000_000 + below(self._words("time", slots), 1_000_000)
        columns = [
            pa.array(slots),
            arrow.times(times),
            arrow.labels(below(self._words("host", slots), self.options.hosts).astype(np.int8), _HOSTS),
            pa.array(below(self._words("pulse", slots), 200).astype(np.int32)),
            pa.array((self._words("load", slots) >> np.uint64(11)).astype(np.float64) / 2**53),
            pa.array(words % np.uint64(8) != 0),
            pa.array(cents),
            pa.array(-cents, mask=quarter),
            pa.DictionaryArray.from_arrays(pa.array(notes, pa.int8(), mask=quarter), _NOTES),
        ]
        fields = [
            pa.field(column.name, values.type, nullable=column.nullable)
            for column, values in zip(HEARTBEATS.columns, columns, strict=True)
        ]
        return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))
