"""Orders and their items, and what each order comes to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from emitter import arrow
from emitter.generators.kit.choices import choice_table, choose
from emitter.generators.kit.data import data_file
from emitter.generators.kit.dealing import Dealt
from emitter.generators.kit.keys import SLOT_SHIFT, times_micros
from emitter.generators.kit.places import countries
from emitter.generators.kit.things import Things
from emitter.generators.shop.baskets import Baskets, Items
from emitter.generators.shop.catalogue import Catalogue
from emitter.generators.shop.habits import Habits
from emitter.generators.shop.money import Amounts, Tills
from emitter.generators.shop.regions import regions
from emitter.generators.shop.tables import ORDER_ITEMS, ORDERS
from emitter.randomness import Integers, Stream, Words, entries

_ORDER_COLUMNS = [column.name for column in ORDERS.columns]
_ITEM_COLUMNS = [column.name for column in ORDER_ITEMS.columns]


@dataclass(frozen=True, slots=True)
class Placed:
    """Orders as placed: words of their stream, and by order who, from which country (of `kit.places`), when."""

    ids: Integers
    words: Words
    slots: Integers
    customers: Integers
    lands: Integers
    items: Items
    amounts: Amounts


class Orders:
    """The orders that start in any slots, made from their keys."""

    def __init__(
        self, seed: int, things: Things, habits: Habits, catalogue: Catalogue, baskets: Baskets, tills: Tills
    ) -> None:
        self.things = things
        self._habits, self._catalogue, self._baskets, self._tills = habits, catalogue, baskets, tills
        self._order, self._customer = Stream(seed, "orders"), Stream(seed, "orders.customer")
        channels = data_file("emitter.generators.shop", "channels.csv")
        own = [place for place, of in enumerate(channels.texts("of")) if of == "order"]
        self._channels = pa.array([channels.texts("channel")[place] for place in own])
        self._channel_table = choice_table(tuple(channels.integers("weight")[own].tolist()))

    def placed(self, ids: Integers) -> Placed:
        """These orders (any, in any order; at least one)."""
        words, slots = self._order.words(ids), ids >> SLOT_SHIFT
        customers = self._habits.pick(self._customer.words(ids), slots)
        lands = entries(regions().countries, self._habits.regions_of(customers))
        items = self._baskets.items(ids, customers, slots)
        prices = self._catalogue.prices_cents(items.products, entries(slots, items.order))
        amounts = self._tills.amounts(words, slots, lands, items.order, items.quantities, prices)
        return Placed(ids, words, slots, customers, lands, items, amounts)

    def dealt(self, dealt: Dealt) -> Placed:
        """The orders of a slice."""
        return self.placed(dealt.ids)

    def order_batch(self, placed: Placed) -> pa.RecordBatch:
        """Rows of `orders`."""
        lands, amounts = countries(), placed.amounts
        return pa.RecordBatch.from_arrays(
            [
                pa.array(placed.ids),
                arrow.times(times_micros(placed.slots, placed.words)),
                pa.array(placed.customers),
                arrow.labels(choose(self._channel_table, placed.words, 12), self._channels),
                arrow.labels(placed.lands.astype(np.int16), pa.array(lands.codes)),
                arrow.labels(lands.currencies.codes[placed.lands], lands.currencies.names),
                pa.array(placed.items.counts.astype(np.int32)),
                arrow.optional_labels(amounts.order_codes.astype(np.int16), self._tills.code_names),
                pa.array(amounts.order_subtotals),
                pa.array(amounts.order_discounts),
                pa.array(amounts.order_taxes),
                pa.array(amounts.order_shipping),
                pa.array(amounts.order_totals),
            ],
            names=_ORDER_COLUMNS,
        )

    def item_batch(self, placed: Placed) -> pa.RecordBatch:
        """Rows of `order_items`."""
        items, amounts = placed.items, placed.amounts
        times = times_micros(placed.slots, placed.words)
        order_ids = entries(placed.ids, items.order)
        amount = amounts.unit_prices * items.quantities
        amount -= amounts.discounts
        amount += amounts.taxes
        return pa.RecordBatch.from_arrays(
            [
                pa.array(order_ids + items.lines),
                pa.array(order_ids),
                arrow.times(entries(times, items.order)),
                pa.array(items.lines.astype(np.int32)),
                pa.array(items.products),
                pa.array(items.quantities.astype(np.int32)),
                pa.array(amounts.unit_prices),
                pa.array(amounts.discounts),
                pa.array(amounts.taxes),
                pa.array(amount),
            ],
            names=_ITEM_COLUMNS,
        )
