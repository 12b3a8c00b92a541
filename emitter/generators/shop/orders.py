"""Orders and their items, and what each order comes to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from emitter import arrow
from emitter.generators.kit.choices import choice_table, choose
from emitter.generators.kit.data import data_file
from emitter.generators.kit.dealing import places_within
from emitter.generators.kit.keys import times_micros
from emitter.generators.kit.places import countries
from emitter.generators.shop.baskets import Baskets, Items
from emitter.generators.shop.books import Lines
from emitter.generators.shop.catalogue import Catalogue
from emitter.generators.shop.habits import Habits
from emitter.generators.shop.kinds import kinds
from emitter.generators.shop.money import Amounts, Tills
from emitter.generators.shop.regions import regions
from emitter.generators.shop.stories import ORDERS as STEPS
from emitter.generators.shop.stories import Stories
from emitter.generators.shop.tables import ORDER_ITEMS, ORDERS
from emitter.model import Slice, Window
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
    """The orders of any slots, made from their keys: an `OrderBook` of all that there are."""

    def __init__(
        self, seed: int, stories: Stories, habits: Habits, catalogue: Catalogue, baskets: Baskets, tills: Tills
    ) -> None:
        self._stories, self._choice = stories, stories.choose(STEPS)
        self._habits, self._catalogue, self._baskets, self._tills = habits, catalogue, baskets, tills
        self._order, self._customer = Stream(seed, "orders"), Stream(seed, "orders.customer")
        channels = data_file("emitter.generators.shop", "channels.csv")
        own = [place for place, of in enumerate(channels.texts("of")) if of == "order"]
        self._channels = pa.array([channels.texts("channel")[place] for place in own])
        self._channel_table = choice_table(tuple(channels.integers("weight")[own].tolist()))
        self._last: Placed | None = None

    def due(self, window: Window, slice: Slice) -> Placed | None:
        """The orders that are placed in a window, by slot; None where there are none."""
        steps = self._stories.due(window, slice, self._choice)
        return self._placed(steps.ids, steps.slots) if len(steps.ids) else None

    def countries(self, ids: Integers) -> Integers:
        if not len(ids):
            return np.empty(0, np.int64)
        customers = self._habits.pick(self._customer.words(ids), self._stories.placed(ids))
        return entries(regions().countries, self._habits.regions_of(customers))

    def item_counts(self, ids: Integers) -> Integers:
        placed, places = self._again(ids)
        return placed.items.counts[places]

    def totals(self, ids: Integers) -> Integers:
        placed, places = self._again(ids)
        return placed.amounts.order_totals[places]

    def lines(self, ids: Integers) -> Lines:
        placed, places = self._again(ids)
        items, amounts = placed.items, placed.amounts
        order, within = places_within(items.counts[places])
        of_item = (np.cumsum(items.counts) - items.counts)[places][order] + within
        paid = amounts.unit_prices[of_item] * items.quantities[of_item]
        paid += amounts.taxes[of_item] - amounts.discounts[of_item]
        return_bp = kinds().returns_bp[self._catalogue.kinds_of(items.products[of_item])]
        return Lines(order, ids[order] + within + 1, paid, return_bp)

    def _again(self, ids: Integers) -> tuple[Placed, Integers]:
        """Orders made again, and the place of each of these among them: what is asked for one after the other is mostly
        about the same orders.
        """
        if self._last is not None and len(self._last.ids):
            places = np.searchsorted(self._last.ids, ids)
            np.minimum(places, len(self._last.ids) - 1, out=places)
            if (self._last.ids[places] == ids).all():
                return self._last, places
        wanted, places = np.unique(ids, return_inverse=True)
        self._last = self._placed(wanted, self._stories.placed(wanted)) if len(wanted) else _NONE
        return self._last, places

    def _placed(self, ids: Integers, slots: Integers) -> Placed:
        """These orders (any, in any order; at least one), placed in these slots."""
        words = self._order.words(ids)
        customers = self._habits.pick(self._customer.words(ids), slots)
        lands = entries(regions().countries, self._habits.regions_of(customers))
        items = self._baskets.items(ids, customers, slots)
        prices = self._catalogue.prices_cents(items.products, entries(slots, items.order))
        amounts = self._tills.amounts(words, slots, lands, items.order, items.quantities, prices)
        return Placed(ids, words, slots, customers, lands, items, amounts)

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


_EMPTY = np.empty(0, np.int64)
_NONE = Placed(
    *(_EMPTY, np.empty(0, np.uint64), _EMPTY, _EMPTY, _EMPTY),
    Items(_EMPTY, _EMPTY, _EMPTY, _EMPTY, _EMPTY),
    Amounts(_EMPTY, _EMPTY, _EMPTY, _EMPTY, _EMPTY, _EMPTY, _EMPTY, _EMPTY),
)
