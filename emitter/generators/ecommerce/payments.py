"""Payments: attempted, perhaps declined and tried again, and mostly captured, seconds to minutes after the order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from emitter import arrow
from emitter.generators.ecommerce.orders import Orders
from emitter.generators.ecommerce.tables import PAYMENTS
from emitter.generators.kit.chains import Delay
from emitter.generators.kit.choices import choice_table, choose
from emitter.generators.kit.dealing import Dealt
from emitter.generators.kit.followers import Followers
from emitter.generators.kit.keys import times_micros
from emitter.generators.kit.memos import RecentValues
from emitter.model import Slice, Window
from emitter.randomness import Integers, Stream, entries

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


class Payments:
    """The payment steps that fall in any slots, found through each lane's chain."""

    def __init__(self, seed: int, orders: Orders) -> None:
        delays = [[step.delay for step in script] for script in _SCRIPTS]
        self._followers = Followers(orders.things, delays, Stream(seed, "payments.chain"))
        self._payment, self._method = Stream(seed, "payments"), Stream(seed, "payments.method")
        steps = [_SCRIPTS[pair.lane][pair.step] for pair in self._followers.chains.pairs]
        self._status = np.array([_STATUSES.index(step.status) for step in steps], dtype=np.int8)
        self._attempt = np.array([step.attempt for step in steps], dtype=np.int32)
        self.amounts = RecentValues(orders.cents)

    @property
    def longest_seconds(self) -> int:
        """How long after its order a payment step can come."""
        return self._followers.chains.longest_seconds

    def note(self, dealt: Dealt, amounts_cents: Integers) -> None:
        """Orders that were made for another table, and what they come to: their payments will ask."""
        self.amounts.add(dealt, amounts_cents, self.longest_seconds)

    def batch(self, window: Window, slice: Slice) -> pa.RecordBatch | None:
        """The rows of a window; None where there are none."""
        due = self._followers.due(window, slice)
        ids, pairs = due.ids, due.pairs
        if not len(ids):
            return None
        payment_ids = entries(self._followers.chains.steps, pairs) + 1
        payment_ids += ids
        amounts = self.amounts.of(ids, slice)
        method = choose(_METHOD_TABLE, self._method.words(ids))
        return pa.RecordBatch.from_arrays(
            [
                pa.array(payment_ids),
                pa.array(ids),
                arrow.times(times_micros(due.slots, self._payment.words(payment_ids))),
                pa.array(entries(self._attempt, pairs)),
                arrow.labels(entries(self._status, pairs), _STATUS_NAMES),
                arrow.labels(method, _METHOD_NAMES),
                pa.array(amounts),
            ],
            names=_COLUMN_NAMES,
        )
