"""Payments: attempted, perhaps declined and tried again, and mostly captured, seconds to minutes after the order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from emitter import arrow
from emitter.generators.chains import Chains, Delay
from emitter.generators.ecommerce.keys import (
    CHILD_BITS,
    SEQUENCE_MASK,
    SLOT_SHIFT,
    Dealt,
    count_dealt,
    first_dealt,
    places_within,
    times_micros,
)
from emitter.generators.ecommerce.orders import Orders
from emitter.generators.ecommerce.tables import PAYMENTS
from emitter.model import Slice, Window
from emitter.randomness import Integers, Stream, choice_table, choose, entries

LANES = 64
_TO_PAYMENT, _TO_REPLY, _TO_RETRY = Delay(12), Delay(6), Delay(90)


@dataclass(frozen=True, slots=True)
class _Step:
    status: str
    attempt: int
    delay: Delay


_PAID = (_Step("attempted", 1, _TO_PAYMENT), _Step("captured", 1, _TO_REPLY))
_DECLINED = (_Step("attempted", 1, _TO_PAYMENT), _Step("declined", 1, _TO_REPLY))
_PAID_LATER = (*_DECLINED, _Step("attempted", 2, _TO_RETRY), _Step("captured", 2, _TO_REPLY))
_NEVER_PAID = (*_DECLINED, _Step("attempted", 2, _TO_RETRY), _Step("declined", 2, _TO_REPLY))
_SCRIPTS = (_PAID,) * 58 + (_PAID_LATER,) * 4 + (_NEVER_PAID,) * 2
assert len(_SCRIPTS) == LANES
MEAN_STEPS = sum(len(script) for script in _SCRIPTS) / LANES

_STATUSES = ("attempted", "declined", "captured")
_METHODS = (("card", 55), ("wallet", 27), ("transfer", 11), ("invoice", 7))
_STATUS_NAMES, _METHOD_NAMES = pa.array(_STATUSES), pa.array([method for method, _ in _METHODS])
_METHOD_TABLE = choice_table(tuple(share for _, share in _METHODS))
_COLUMN_NAMES = [column.name for column in PAYMENTS.columns]
_BOOK_ORDERS_MAX = 4_000_000  # 32 MB of amounts
_FOLLOWING_COST = 2  # following a step forwards, in lookups of a lane and step


class Payments:
    """The payment steps that fall in any slots, found backwards through each lane's chain."""

    def __init__(self, seed: int, orders: Orders) -> None:
        self._orders = orders
        self._chains = Chains([[step.delay for step in script] for script in _SCRIPTS], Stream(seed, "payments.chain"))
        self._payment, self._method = Stream(seed, "payments"), Stream(seed, "payments.method")
        steps = [_SCRIPTS[pair.lane][pair.step] for pair in self._chains.pairs]
        self._status = np.array([_STATUSES.index(step.status) for step in steps], dtype=np.int8)
        self._attempt = np.array([step.attempt for step in steps], dtype=np.int32)
        self.amounts = AmountBook(orders)

    @property
    def longest_seconds(self) -> int:
        """How long after its order a payment step can come."""
        return self._chains.longest_seconds

    def note(self, dealt: Dealt, amounts_cents: Integers) -> None:
        """Orders that were made for another table, and what they come to: their payments will ask."""
        self.amounts.add(dealt, amounts_cents, self.longest_seconds)

    def batch(self, window: Window, slice: Slice) -> pa.RecordBatch | None:
        """The rows of a window; None where there are none."""
        ids, pairs, slots = self._due(window, slice)
        if not len(ids):
            return None
        payment_ids = entries(self._chains.steps, pairs) + 1
        payment_ids += ids
        amounts = self.amounts.of(ids, slice)
        method = choose(_METHOD_TABLE, self._method.words(ids))
        return pa.RecordBatch.from_arrays(
            [
                pa.array(payment_ids),
                pa.array(ids),
                arrow.times(times_micros(slots, self._payment.words(payment_ids))),
                pa.array(entries(self._attempt, pairs)),
                arrow.labels(entries(self._status, pairs), _STATUS_NAMES),
                arrow.labels(method, _METHOD_NAMES),
                pa.array(amounts),
            ],
            names=_COLUMN_NAMES,
        )

    def _due(self, window: Window, slice: Slice) -> tuple[Integers, Integers, Integers]:
        """(order ids, pairs, slots) of the steps in the window, by slot.

        Backwards, every lane and step is looked up in every slot; forwards, every order is followed. The rows are the
        same: where orders are few for the length of the window, forwards is the shorter way.
        """
        reach = Window(window.first - self.longest_seconds, window.end)
        lookups = window.seconds * len(self._chains.pairs) // slice.count
        if self._orders.expected(reach) * MEAN_STEPS / slice.count * _FOLLOWING_COST < lookups:
            return self._due_forwards(window, reach, slice)
        return self._due_backwards(window, slice)

    def _due_forwards(self, window: Window, reach: Window, slice: Slice) -> tuple[Integers, Integers, Integers]:
        dealt = self._orders.dealt(reach.first, reach.end, slice)
        offsets = self._orders.offsets(dealt.slots)
        lanes = (((dealt.ids >> CHILD_BITS) & SEQUENCE_MASK) + offsets) % LANES
        orders, steps = places_within(self._chains.lane_steps[lanes])
        pairs = self._chains.lane_columns[lanes][orders] + steps
        slots = self._chains.targets(dealt.slots[orders], pairs)
        due = np.flatnonzero((slots >= window.first) & (slots < window.end))
        due = due[np.argsort(slots[due], kind="stable")]
        return dealt.ids[orders[due]], pairs[due], slots[due]

    def _due_backwards(self, window: Window, slice: Slice) -> tuple[Integers, Integers, Integers]:
        columns = np.arange(len(self._chains.pairs))
        if LANES % slice.count == 0:  # a shard owns whole lanes: it need not look at the others
            columns = columns[self._chains.lanes % slice.count == slice.index]
        slots = np.arange(window.first, window.end, dtype=np.int64)
        sources = self._chains.sources(slots, columns)
        counts, offsets = self._orders.counts(sources), self._orders.offsets(sources)
        firsts = first_dealt(offsets, self._chains.lanes[columns], LANES)
        cells, seqs = places_within(count_dealt(counts, firsts, LANES).reshape(-1))
        seqs *= LANES
        seqs += entries(firsts.reshape(-1), cells)
        if LANES % slice.count:
            mine = np.flatnonzero((seqs + offsets.reshape(-1)[cells]) % slice.count == slice.index)
            cells, seqs = cells[mine], seqs[mine]
        ids = entries(sources.reshape(-1), cells)
        ids <<= SLOT_SHIFT - CHILD_BITS
        ids |= seqs
        ids <<= CHILD_BITS
        rows = cells // len(columns)
        return ids, entries(columns, cells - rows * len(columns)), entries(slots, rows)


class AmountBook:
    """What the orders of the last slots come to: a bounded memo, so that the payments that follow an order don't make
    its items again. It never changes a result.
    """

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._begin(0, Slice())

    def _begin(self, first_slot: int, slice: Slice) -> None:
        self._slice, self._first, self._end = slice, first_slot, first_slot
        self._starts, self._firsts = np.zeros(1, np.int64), np.empty(0, np.int64)  # by slot
        self._amounts = np.empty(0, np.int64)  # by order, with room to grow

    def add(self, dealt: Dealt, amounts_cents: Integers, keep_seconds: int) -> None:
        """Take in the orders of some slots, and keep those of so many seconds before them if they are the ones that
        were taken in last.
        """
        if dealt.first_slot != self._end or dealt.slice != self._slice:
            self._begin(dealt.first_slot, dealt.slice)
        self._forget(dealt.first_slot - keep_seconds)
        size = int(self._starts[-1])
        if size > _BOOK_ORDERS_MAX:
            self._begin(dealt.first_slot, dealt.slice)
            size = 0
        if size + len(amounts_cents) > len(self._amounts):
            grown = np.empty(2 * (size + len(amounts_cents)), np.int64)
            grown[:size] = self._amounts[:size]
            self._amounts = grown
        self._amounts[size : size + len(amounts_cents)] = amounts_cents
        self._starts = np.concatenate([self._starts, dealt.starts[1:] + size])
        self._firsts = np.concatenate([self._firsts, dealt.firsts])
        self._end += len(dealt.firsts)

    def _forget(self, before_slot: int) -> None:
        drop = before_slot - self._first
        if drop > 0:
            gone = int(self._starts[drop])
            self._starts, self._firsts = self._starts[drop:] - gone, self._firsts[drop:]
            self._amounts, self._first = self._amounts[gone:], before_slot

    def of(self, ids: Integers, slice: Slice) -> Integers:
        """The amount in cents of each of these orders of a slice."""
        slots = ids >> SLOT_SHIFT
        known = (slots >= self._first) & (slots < self._end) if slice == self._slice else np.zeros(len(ids), dtype=bool)
        if known.all():
            return self._look_up(ids, slots)
        amounts = np.empty(len(ids), np.int64)
        amounts[known] = self._look_up(ids[known], slots[known])
        orders, places = np.unique(ids[~known], return_inverse=True)
        amounts[~known] = self._orders.items(orders).order_cents[places]
        return amounts

    def _look_up(self, ids: Integers, slots: Integers) -> Integers:
        slots = slots - self._first
        place = (ids >> CHILD_BITS) & SEQUENCE_MASK
        place -= entries(self._firsts, slots)
        if self._slice.count > 1:
            place //= self._slice.count
        place += entries(self._starts, slots)
        amounts_cents: Integers = entries(self._amounts, place)
        return amounts_cents
