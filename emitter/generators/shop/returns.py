"""Returns: lines of delivered orders that come back, asked for and received."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from emitter import arrow
from emitter.generators.kit.choices import choice_rows, choice_table, choose, choose_by
from emitter.generators.kit.data import data_file
from emitter.generators.kit.keys import times_micros
from emitter.generators.kit.places import countries
from emitter.generators.shop.books import OrderBook
from emitter.generators.shop.coming_back import MEAN_BACK, ComingBack
from emitter.generators.shop.lives_tables import RETURNS
from emitter.generators.shop.stories import RETURNS as STEPS
from emitter.generators.shop.stories import Stories, zone_weights, zones
from emitter.model import Slice, Window
from emitter.randomness import Stream, entries

_STATUSES = ("requested", "received")
_REQUESTED = 0
_STATUS_NAMES = pa.array(_STATUSES)
_COLUMN_NAMES = [column.name for column in RETURNS.columns]


class Returns:
    """The rows of any window."""

    def __init__(self, seed: int, stories: Stories, book: OrderBook, coming_back: ComingBack) -> None:
        self._stories, self._book, self._coming_back = stories, book, coming_back
        self._choice = stories.choose(STEPS)
        self._status = stories.statuses(_STATUSES)
        self._weights = zone_weights(stories) * MEAN_BACK
        self._zones, self._currencies = zones(), countries().currencies
        self._words, self._moments = Stream(seed, "returns"), Stream(seed, "returns.moment")
        reasons = data_file(__package__, "return_reasons.csv")
        file = data_file(__package__, "return_conditions.csv")
        conditions = file.labels("condition")
        by_reason = np.zeros((len(reasons), len(conditions.names)), np.int64)
        by_reason[file.places("reason", reasons, "reason"), conditions.codes] = file.integers("weight")
        self._reasons, self._conditions = pa.array(reasons.texts("reason")), conditions.names
        self._reason_table = choice_table(tuple(reasons.integers("weight").tolist()))
        self._condition_table = choice_rows([tuple(row) for row in by_reason.tolist()])

    def rows(self, window: Window, slice: Slice) -> pa.RecordBatch | None:
        """The table's rows of a window and a slice; None where there are none."""
        due = self._stories.due(window, slice, self._choice)
        own_zones = entries(self._zones, self._book.countries(due.ids))
        here = np.flatnonzero(entries(self._stories.zones, due.pairs) == own_zones)
        lines = self._book.lines(due.ids[here])
        back = np.flatnonzero(self._coming_back.of(lines))
        if not len(back):
            return None
        steps, item_ids = here[lines.order[back]], lines.ids[back]
        order_ids, status = due.ids[steps], entries(self._status, due.pairs[steps])
        words = self._words.words(item_ids)
        reasons = choose(self._reason_table, words)
        conditions = choose_by(self._condition_table, reasons.astype(np.int64), words, 12)
        lands = self._book.countries(order_ids)
        return pa.RecordBatch.from_arrays(
            [
                pa.array(item_ids),
                arrow.labels(status.astype(np.int8), _STATUS_NAMES),
                pa.array(order_ids),
                pa.array(item_ids),
                arrow.times(times_micros(due.slots[steps], self._moments.words((item_ids << 1) + status))),
                arrow.labels(reasons, self._reasons),
                arrow.labels(conditions, self._conditions, status == _REQUESTED),
                arrow.labels(entries(self._currencies.codes, lands), self._currencies.names),
                pa.array(lines.amounts[back]),
            ],
            names=_COLUMN_NAMES,
        )

    def expected_rows(self, window: Window) -> float:
        """The mean number of rows in a window, all slices together."""
        return self._stories.expected(window, self._choice, self._weights)
