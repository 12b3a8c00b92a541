"""Orders to tell the lives of: a book of invented ones, and what the tests of their tables share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pyarrow as pa

from emitter import arrow
from emitter.clock import parse_time, slot_of
from emitter.generators.kit.counts import Counts
from emitter.generators.kit.dealing import Dealer, places_within
from emitter.generators.kit.places import countries
from emitter.generators.kit.rates import FlatCurve
from emitter.generators.kit.things import Things
from emitter.generators.shop.books import Lines
from emitter.generators.shop.stories import ORDERS, Stories
from emitter.model import Slice, Table, Window
from emitter.randomness import Integers, Stream, below

ORIGIN = slot_of(parse_time("2026-01-01T06:30:00Z"))
DAY = 86_400
QUARTER = Window(ORIGIN, ORIGIN + 91 * DAY)
RATES_BP = np.array([400, 1200, 3400])
_BEFORE = 1200  # seconds from which on visits may lead to orders at the origin

type Rows = Callable[[Window, Slice], pa.RecordBatch | None]


class Book:
    """Orders with as many lines, amounts and countries as the words of their ids say."""

    def __init__(self) -> None:
        self._words = Stream(5, "book")

    def countries(self, ids: Integers) -> Integers:
        return countries().pick(self._words.words(ids + (1 << 60)))

    def item_counts(self, ids: Integers) -> Integers:
        return 1 + np.minimum(below(self._words.words(ids), 15), below(self._words.words(ids + (1 << 61)), 15)) // 2

    def totals(self, ids: Integers) -> Integers:
        things, places = np.unique(ids, return_inverse=True)
        if not len(things):
            return np.empty(0, np.int64)
        lines = self.lines(things)
        return (lines.sums(lines.amounts) + 499)[places]

    def lines(self, ids: Integers) -> Lines:
        order, lines = places_within(self.item_counts(ids))
        line_ids = ids[order] + 1 + lines
        words = self._words.words(line_ids)
        return Lines(order, line_ids, 100 + below(words, 20_000), RATES_BP[line_ids % len(RATES_BP)])


def stories_at(rate: float, seed: int = 1, origin: int = ORIGIN) -> Stories:
    first = origin - _BEFORE
    counts = Counts(first, [(first, FlatCurve(rate))], Stream(seed, "count"))
    return Stories(seed, Things(counts, Dealer(Stream(seed, "deal"))), origin)


def orders_of(stories: Stories, window: Window) -> pl.DataFrame:
    """The orders placed in a window, as a table of orders would have them."""
    due = stories.due(window, Slice(), stories.choose(ORDERS))
    book = Book()
    lands = book.countries(due.ids)
    return pl.DataFrame(
        {
            "order_id": due.ids,
            "placed_slot": due.slots,
            "country": np.array(countries().codes)[lands],
            "item_count": book.item_counts(due.ids),
            "total": book.totals(due.ids),
        }
    )


def frame(table: Table, rows: pa.RecordBatch | None) -> pl.DataFrame:
    """Rows as they are written, money in cents, in the order of the key."""
    if rows is None:
        return pl.DataFrame()
    found = pl.from_arrow(arrow.to_inside_form(table, arrow.to_file_form(table, rows)))
    assert isinstance(found, pl.DataFrame)
    return found.sort(table.key)


def together(table: Table, rows: Rows, windows: list[Window], shards: int = 1) -> pl.DataFrame:
    parts = [frame(table, rows(window, Slice(index, shards))) for window in windows for index in range(shards)]
    return pl.concat([part for part in parts if len(part)]).sort(table.key)


def cut(window: Window, seconds: int) -> list[Window]:
    return [Window(first, min(first + seconds, window.end)) for first in range(window.first, window.end, seconds)]


def share_interval(share: float, count: int) -> float:
    """What a share of so many may be off by: four deviations."""
    return 4 * float(np.sqrt(share * (1 - share) / count))
