"""The matched table of `peers.py` as a domain of ours, written as any other is.

.venv/bin/python bench/_matched.py ROWS FOLDER
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from emitter import arrow, create_writer, write_dataset
from emitter.clock import EPOCH_UNIX_SECONDS, parse_time, slot_of
from emitter.generators.base import GeneratorBase, Period
from emitter.model import Column, Frame, Slice, Table, Window
from emitter.randomness import Stream, below, below_low

DATA = json.loads(Path(__file__).with_suffix(".json").read_text())
PEOPLE = [(first, last) for first in DATA["first_names"] for last in DATA["last_names"]]
ROWS_PER_SECOND = 1000
FRAME_SECONDS = 50  # 50,000 rows stay in the cache
NOTE_LENGTH = 40
POOL_WORDS = 1 << 13

TABLE = Table(
    "matched",
    (
        Column("id", "int64", "counted"),
        Column("event_time", "timestamp", "a thousand a second"),
        Column("amount", "money", "1.00 to 999.99"),
        Column("category", "string", "one of eight"),
        Column("name", "string", "first and last"),
        Column("email", "string", "of the name and the id, unique"),
        Column("note", "string", "40 characters of text"),
    ),
    ("id",),
    (),
    "what each peer makes too",
)


@dataclass(frozen=True, slots=True)
class NoOptions:
    """There is nothing to choose."""


class Matched(GeneratorBase):
    """A thousand rows a second."""

    name = "matched"
    content_version = 1
    options_type = NoOptions
    table_declarations = (TABLE,)

    def __init__(self, **arguments) -> None:
        super().__init__(**arguments)
        chosen = below(Stream(self.seed, "matched.pool").words(np.arange(POOL_WORDS)), len(DATA["words"]))
        self._pool = np.frombuffer(" ".join(DATA["words"][place] for place in chosen).encode(), np.uint8)
        self._names = pa.array([f"{first} {last}" for first, last in PEOPLE])
        self._mailboxes = pa.array([f"{first}.{last}.".lower() for first, last in PEOPLE])

    def rows(self, window: Window, slice: Slice, tables: Collection[str]) -> Iterator[Frame]:  # noqa: ARG002
        for first in range(max(window.first, self.origin_slot), window.end, FRAME_SECONDS):
            slots = np.arange(first, min(first + FRAME_SECONDS, window.end), dtype=np.int64).repeat(ROWS_PER_SECOND)
            yield Frame(TABLE.name, self._made(slots, (first - self.origin_slot) * ROWS_PER_SECOND))

    def expected_rows(self, window: Window) -> Mapping[str, float]:
        return {TABLE.name: float(max(0, window.end - max(window.first, self.origin_slot))) * ROWS_PER_SECOND}

    def _made(self, slots: np.ndarray, first_id: int) -> pa.RecordBatch:
        ids = np.arange(first_id, first_id + len(slots), dtype=np.int64)
        one, two = self._words("one", ids), self._words("two", ids)
        times = (EPOCH_UNIX_SECONDS + slots) * 1_000_000 + below(one, 1_000_000)
        people = pa.array(below_low(one, len(self._names)))
        mailboxes = self._mailboxes.take(people)
        columns = [
            pa.array(ids),
            arrow.times(times),
            pa.array(100 + below_low(two, 99_900)),
            arrow.labels((ids % len(DATA["categories"])).astype(np.int8), pa.array(DATA["categories"])),
            self._names.take(people),
            pc.binary_join_element_wise(mailboxes, pa.array(ids).cast(pa.string()), "@example.com", ""),
            self._notes(below(two, len(self._pool) - NOTE_LENGTH)),
        ]
        return pa.RecordBatch.from_arrays(columns, names=[column.name for column in TABLE.columns])

    def _words(self, stream: str, ids: np.ndarray) -> np.ndarray:
        return Stream(self.seed, f"matched.{stream}").words(ids)

    def _notes(self, begins: np.ndarray) -> pa.Array:
        text = np.lib.stride_tricks.sliding_window_view(self._pool, NOTE_LENGTH)[begins]
        ends = np.arange(len(begins) + 1, dtype=np.int32) * NOTE_LENGTH
        return pa.StringArray.from_buffers(len(begins), pa.py_buffer(ends), pa.py_buffer(text))


def main() -> None:
    rows, folder = int(sys.argv[1]), sys.argv[2]
    origin = slot_of(parse_time("2026-03-02"))
    window = Window(origin, origin + rows // ROWS_PER_SECOND)
    generator = Matched(seed=42, origin_slot=origin, options=NoOptions(), period=Period(window))
    write_dataset(generator, create_writer("parquet", folder), progress=False)


if __name__ == "__main__":
    main()
