"""What the lives of orders need of them: an order made again from its id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from emitter.randomness import Integers


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of some orders, in the order of the orders, each of which has one at least. By line."""

    order: Integers  # place of its order among those that were asked for
    ids: Integers  # order_item_id
    amounts: Integers  # what it comes to with its discount and tax, in hundredths of the order's currency
    return_bp: Integers  # how often goods of its category come back: of those delivered, in hundredths of a percent

    def sums(self, values: Integers) -> Integers:
        """By order: the sum of its lines' values."""
        orders = int(self.order[-1]) + 1 if len(self.order) else 0
        found: Integers = np.add.reduceat(values, np.searchsorted(self.order, np.arange(orders)), dtype=np.int64)
        return found


class OrderBook(Protocol):
    """Orders by their ids, in the shape of `ids`; an id may stand in it more than once."""

    def countries(self, ids: Integers) -> Integers:
        """Where they are shipped to (of `kit.places`). The currency of an order is that of this country."""

    def item_counts(self, ids: Integers) -> Integers:
        """How many lines they have, 1 to 15."""

    def totals(self, ids: Integers) -> Integers:
        """What they come to, in hundredths of their currency."""

    def lines(self, ids: Integers) -> Lines:
        """Their lines, from 1 on."""
