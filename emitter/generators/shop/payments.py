"""Payments: authorised or declined, captured when the first parcel is handed over, and perhaps given back."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from emitter import arrow
from emitter.generators.kit.choices import choice_table, choose
from emitter.generators.kit.data import data_file
from emitter.generators.kit.keys import times_micros
from emitter.generators.kit.places import countries
from emitter.generators.shop.books import OrderBook
from emitter.generators.shop.coming_back import ANY_BACK, ComingBack
from emitter.generators.shop.lives_tables import PAYMENTS
from emitter.generators.shop.stories import ANYWHERE, Stories, zone_weights, zones
from emitter.generators.shop.stories import PAYMENTS as STEPS
from emitter.model import Slice, Window
from emitter.randomness import Integers, Stream, entries

_STATUSES = ("authorised", "declined", "voided", "captured", "partly_refunded", "refunded", "charged_back")
_DECLINED, _PARTLY, _REFUNDED, _CHARGED_BACK = (
    _STATUSES.index(status) for status in ("declined", "partly_refunded", "refunded", "charged_back")
)
_CHARGED_BACK_IN_1024 = 700  # of the card payments of a lane of 128: 0.3 % of all orders
_CARD = "card"
_STATUS_NAMES = pa.array(_STATUSES)
_COLUMN_NAMES = [column.name for column in PAYMENTS.columns]


class Payments:
    """The rows of any window."""

    def __init__(self, seed: int, stories: Stories, book: OrderBook, coming_back: ComingBack) -> None:
        self._stories, self._book, self._coming_back = stories, book, coming_back
        self._choice = stories.choose(STEPS)
        self._status = stories.statuses(_STATUSES)
        self._lost = np.array([step.status == "refunded" and step.zone == ANYWHERE for step in stories.steps])
        self._weights = zone_weights(stories) * np.where(self._status == _CHARGED_BACK, 0.38, 1.0)
        self._weights *= np.where((self._status == _REFUNDED) & (stories.zones != ANYWHERE), ANY_BACK, 1.0)
        self._zones, self._currencies = zones(), countries().currencies
        self._words, self._method_words = Stream(seed, "payments"), Stream(seed, "payments.method")
        methods, reasons = (data_file(__package__, f"{name}.csv") for name in ("payment_methods", "decline_reasons"))
        self._methods, self._reasons = pa.array(methods.texts("method")), pa.array(reasons.texts("reason"))
        self._card = methods.texts("method").index(_CARD)
        self._method_table = choice_table(tuple(methods.integers("weight").tolist()))
        self._reason_table = choice_table(tuple(reasons.integers("weight").tolist()))

    def rows(self, window: Window, slice: Slice) -> pa.RecordBatch | None:
        """The table's rows of a window and a slice; None where there are none."""
        due = self._stories.due(window, slice, self._choice)
        lands = self._book.countries(due.ids)
        step_zones = entries(self._stories.zones, due.pairs)
        status, attempts = entries(self._status, due.pairs), entries(self._stories.attempts, due.pairs)
        methods = choose(self._method_table, self._method_words.words(due.ids + attempts))
        payment_ids = due.ids + entries(self._stories.numbers, due.pairs)
        words = self._words.words(payment_ids)  # of which the upper half says when within the second
        amounts = np.zeros(len(due.ids), np.int64)
        back = np.flatnonzero((status == _REFUNDED) & _fits(step_zones, entries(self._zones, lands)))
        status[back], amounts[back] = self._refunds(due.ids[back], entries(self._lost, due.pairs[back]))
        others = np.flatnonzero(status < _PARTLY)
        charged = status == _CHARGED_BACK
        charged &= (methods == self._card) & ((words & np.uint64(1023)) < np.uint64(_CHARGED_BACK_IN_1024))
        others = np.concatenate([others, np.flatnonzero(charged)])
        amounts[others] = self._book.totals(due.ids[others])
        there = np.flatnonzero(amounts)
        if not len(there):
            return None
        status, ids, payment_ids = status[there], due.ids[there], payment_ids[there]
        reasons = choose(self._reason_table, words[there], 10)
        return pa.RecordBatch.from_arrays(
            [
                pa.array(payment_ids),
                pa.array(ids),
                arrow.times(times_micros(due.slots[there], words[there])),
                pa.array(attempts[there].astype(np.int32)),
                arrow.labels(status.astype(np.int8), _STATUS_NAMES),
                arrow.labels(reasons, self._reasons, status != _DECLINED),
                arrow.labels(methods[there], self._methods),
                arrow.labels(entries(self._currencies.codes, lands[there]), self._currencies.names),
                pa.array(amounts[there]),
            ],
            names=_COLUMN_NAMES,
        )

    def expected_rows(self, window: Window) -> float:
        """The mean number of rows in a window, all slices together."""
        return self._stories.expected(window, self._choice, self._weights)

    def _refunds(self, ids: Integers, lost: np.ndarray) -> tuple[Integers, Integers]:
        """By order: the status and the amount of its refund; nothing where nothing comes back."""
        lines = self._book.lines(ids)
        counts, totals = lines.sums(np.ones_like(lines.ids)), self._book.totals(ids)
        # Of two parcels, the lost one is the second, which has the even lines; of one line, it is the only one.
        of_lost = (lines.ids % 2 == 0) | (counts == 1)[lines.order]
        is_back = np.where(lost[lines.order], of_lost, self._coming_back.of(lines))
        whole = lines.sums(is_back) == counts
        amounts = np.where(whole, totals, lines.sums(is_back * lines.amounts))
        return np.where(whole, _REFUNDED, _PARTLY), amounts


def _fits(step_zones: Integers, order_zones: Integers) -> np.ndarray:
    found: np.ndarray = (step_zones == ANYWHERE) | (step_zones == order_zones)
    return found
