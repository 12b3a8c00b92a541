"""Orders and their items, and what each order comes to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from emitter import arrow
from emitter.generators.ecommerce.catalogue import Catalogue
from emitter.generators.ecommerce.people import People
from emitter.generators.ecommerce.tables import ORDER_ITEMS, ORDERS
from emitter.generators.kit.choices import choice_table, choose
from emitter.generators.kit.counts import Counts
from emitter.generators.kit.dealing import Dealer, Dealt
from emitter.generators.kit.keys import SLOT_SHIFT, times_micros
from emitter.generators.kit.limits import CHILD_MAX
from emitter.generators.kit.things import Things
from emitter.randomness import Integers, Stream, Words, entries

CURRENCY = "EUR"
_CHANNELS = (("web", 52), ("app", 33), ("marketplace", 10), ("store", 5))
# Of 4096 orders, so many have 1, 2, ... 15 items.
_ITEM_WEIGHTS = (1475, 985, 610, 385, 240, 148, 92, 58, 36, 24, 16, 10, 7, 5, 5)
_QUANTITY_WEIGHTS = (790, 140, 40, 16, 8, 6)
MEAN_ITEMS = sum((items + 1) * weight for items, weight in enumerate(_ITEM_WEIGHTS)) / sum(_ITEM_WEIGHTS)

_ITEM_TABLE = choice_table(_ITEM_WEIGHTS).astype(np.int64) + 1
_QUANTITY_TABLE = choice_table(_QUANTITY_WEIGHTS).astype(np.int64) + 1
_CHANNEL_TABLE = choice_table(tuple(share for _, share in _CHANNELS))
_CHANNEL_NAMES, _CURRENCY_NAMES = pa.array([channel for channel, _ in _CHANNELS]), pa.array([CURRENCY])
assert len(_ITEM_WEIGHTS) <= CHILD_MAX
_ORDER_COLUMNS = [column.name for column in ORDERS.columns]
_ITEM_COLUMNS = [column.name for column in ORDER_ITEMS.columns]


@dataclass(frozen=True, slots=True)
class Items:
    """The items of some orders, in their order. Words, counts and cents that begin with `order_` are by order, the
    rest by item.
    """

    order_words: Words  # of the orders' own stream
    order_counts: Integers
    order_cents: Integers
    order: Integers  # place of the item's order among the orders
    order_ids: Integers
    lines: Integers
    products: Integers
    quantities: Integers
    unit_cents: Integers
    cents: Integers


class Orders:
    """The orders that start in any slots, made from their keys."""

    def __init__(self, seed: int, counts: Counts, people: People, catalogue: Catalogue) -> None:
        self._people, self._catalogue = people, catalogue
        self.things = Things(counts, Dealer(Stream(seed, "orders.deal")))
        self._order, self._customer = Stream(seed, "orders"), Stream(seed, "orders.customer")
        self._item = Stream(seed, "order_items")

    def cents(self, ids: Integers) -> Integers:
        """What each of these orders comes to (any, in any order; at least one)."""
        return self.items(ids).order_cents

    def items(self, ids: Integers) -> Items:
        """The items of these orders (any, in any order; at least one)."""
        words = self._order.words(ids)
        counts = choose(_ITEM_TABLE, words)
        ends = np.cumsum(counts)
        order = np.repeat(np.arange(len(ids)), counts)
        order_ids = entries(ids, order)
        lines = np.arange(1, len(order) + 1)
        lines -= entries(ends - counts, order)
        item_words = self._item.words(order_ids + lines)
        slots = order_ids >> SLOT_SHIFT
        products = self._catalogue.pick(item_words, self._catalogue.population.sizes_within(slots))
        quantities = choose(_QUANTITY_TABLE, item_words)
        unit_cents = self._catalogue.prices_cents(products, slots)
        cents = unit_cents * quantities
        order_cents = np.diff(np.cumsum(cents)[ends - 1], prepend=0)
        return Items(words, counts, order_cents, order, order_ids, lines, products, quantities, unit_cents, cents)

    def order_batch(self, dealt: Dealt, items: Items) -> pa.RecordBatch:
        """Rows of `orders`."""
        words = items.order_words
        sizes = self._people.population.sizes_within(dealt.slots)
        return pa.RecordBatch.from_arrays(
            [
                pa.array(dealt.ids),
                arrow.times(times_micros(dealt.slots, words)),
                pa.array(self._people.pick(self._customer.words(dealt.ids), sizes)),
                arrow.labels(choose(_CHANNEL_TABLE, words, 12), _CHANNEL_NAMES),
                arrow.labels(np.zeros(len(dealt.ids), dtype=np.int8), _CURRENCY_NAMES),
                pa.array(items.order_counts.astype(np.int32)),
                pa.array(items.order_cents),
            ],
            names=_ORDER_COLUMNS,
        )

    def item_batch(self, dealt: Dealt, items: Items) -> pa.RecordBatch:
        """Rows of `order_items`."""
        times = times_micros(dealt.slots, items.order_words)
        return pa.RecordBatch.from_arrays(
            [
                pa.array(items.order_ids + items.lines),
                pa.array(items.order_ids),
                arrow.times(entries(times, items.order)),
                pa.array(items.lines.astype(np.int32)),
                pa.array(items.products),
                pa.array(items.quantities.astype(np.int32)),
                pa.array(items.unit_cents),
                pa.array(items.cents),
            ],
            names=_ITEM_COLUMNS,
        )
