"""Orders and their items, and what each order comes to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from emitter import arrow
from emitter.generators.ecommerce.catalogue import Catalogue
from emitter.generators.ecommerce.growth import Population
from emitter.generators.ecommerce.keys import CHILD_MAX, SLOT_SHIFT, Dealer, Dealt, deal, times_micros
from emitter.generators.ecommerce.people import People
from emitter.generators.ecommerce.rates import Counts
from emitter.generators.ecommerce.tables import ORDER_ITEMS, ORDERS
from emitter.model import Slice
from emitter.randomness import Integers, Stream, choice_table

CURRENCY = "EUR"
_CHANNELS = (("web", 52), ("app", 33), ("marketplace", 10), ("store", 5))
# Of 4096 orders, so many have 1, 2, ... 15 items.
_ITEM_WEIGHTS = (1475, 985, 610, 385, 240, 148, 92, 58, 36, 24, 16, 10, 7, 5, 5)
_QUANTITY_WEIGHTS = (790, 140, 40, 16, 8, 6)
MEAN_ITEMS = sum((items + 1) * weight for items, weight in enumerate(_ITEM_WEIGHTS)) / sum(_ITEM_WEIGHTS)

_ITEM_TABLE = choice_table(_ITEM_WEIGHTS).astype(np.int64) + 1
_QUANTITY_TABLE = choice_table(_QUANTITY_WEIGHTS).astype(np.int64) + 1
_CHANNEL_TABLE = choice_table(tuple(share for _, share in _CHANNELS))
_CHANNEL_NAMES = pa.array([channel for channel, _ in _CHANNELS])
_LOW_12, _SHIFT_12 = np.uint64(0xFFF), np.uint64(12)
assert len(_ITEM_WEIGHTS) <= CHILD_MAX
_ORDER_COLUMNS = [column.name for column in ORDERS.columns]
_ITEM_COLUMNS = [column.name for column in ORDER_ITEMS.columns]


@dataclass(frozen=True, slots=True)
class Items:
    """The items of some orders, in their order. `first_item` is by order, the rest by item."""

    order: Integers  # place of the item's order among the orders
    line: Integers
    product: Integers
    quantity: Integers
    unit_cents: Integers
    amount_cents: Integers
    first_item: Integers


class Orders:
    """The orders that start in any slots, made from their keys."""

    def __init__(self, seed: int, counts: Counts, people: People, catalogue: Catalogue) -> None:
        self._counts, self._people, self._catalogue = counts, people, catalogue
        self._dealer = Dealer(Stream(seed, "orders.deal"))
        self._order, self._customer = Stream(seed, "orders"), Stream(seed, "orders.customer")
        self._item = Stream(seed, "order_items")

    def dealt(self, first_slot: int, end_slot: int, slice: Slice) -> Dealt:
        """The keys of a slice's orders in consecutive slots."""
        slots = np.arange(first_slot, end_slot, dtype=np.int64)
        return deal(first_slot, self._counts(slots), self._dealer.offsets(slots), slice)

    def counts_and_offsets(self, slots: Integers) -> tuple[Integers, Integers]:
        """How many orders start in each slot, and from where they are dealt."""
        return self._counts(slots), self._dealer.offsets(slots)

    def items(self, ids: Integers) -> Items:
        """The items of these orders (any, in any order)."""
        counts = _ITEM_TABLE[self._order.words(ids) & _LOW_12]
        first = np.cumsum(counts) - counts
        order = np.repeat(np.arange(len(ids)), counts)
        line = np.arange(1, len(order) + 1) - first[order]
        words = self._item.words(ids[order] + line)
        slots = ids[order] >> SLOT_SHIFT
        product = self._catalogue.pick(words, _of_slots(self._catalogue.population, ids)[order])
        quantity = _QUANTITY_TABLE[words & _LOW_12]
        unit_cents = self._catalogue.prices_cents(product, slots)
        return Items(order, line, product, quantity, unit_cents, unit_cents * quantity, first)

    def amounts_cents(self, items: Items) -> Integers:
        """What each order comes to."""
        if not len(items.first_item):
            return np.empty(0, dtype=np.int64)
        return np.add.reduceat(items.amount_cents, items.first_item)

    def order_batch(self, dealt: Dealt, items: Items, amounts_cents: Integers) -> pa.RecordBatch:
        """Rows of `orders`."""
        words = self._order.words(dealt.ids)
        sizes = _of_slots(self._people.population, dealt.ids)
        customers = self._people.pick(self._customer.words(dealt.ids), sizes)
        item_counts = np.diff(items.first_item, append=len(items.order)).astype(np.int32)
        return pa.RecordBatch.from_arrays(
            [
                pa.array(dealt.ids),
                arrow.times(times_micros(dealt.slots, words)),
                pa.array(customers),
                arrow.labels(_CHANNEL_TABLE[(words >> _SHIFT_12) & _LOW_12], _CHANNEL_NAMES),
                arrow.labels(np.zeros(len(dealt.ids), dtype=np.int8), pa.array([CURRENCY])),
                pa.array(item_counts),
                pa.array(amounts_cents),
            ],
            names=_ORDER_COLUMNS,
        )

    def item_batch(self, dealt: Dealt, items: Items) -> pa.RecordBatch:
        """Rows of `order_items`."""
        times = times_micros(dealt.slots, self._order.words(dealt.ids))
        order_ids = dealt.ids[items.order]
        return pa.RecordBatch.from_arrays(
            [
                pa.array(order_ids + items.line),
                pa.array(order_ids),
                arrow.times(times[items.order]),
                pa.array(items.line.astype(np.int32)),
                pa.array(items.product),
                pa.array(items.quantity.astype(np.int32)),
                pa.array(items.unit_cents),
                pa.array(items.amount_cents),
            ],
            names=_ITEM_COLUMNS,
        )


def _of_slots(population: Population, ids: Integers) -> Integers:
    """How many there are for each of these orders: looked up once a slot."""
    slots, places = np.unique(ids >> SLOT_SHIFT, return_inverse=True)
    return population.sizes_at(slots)[places]
