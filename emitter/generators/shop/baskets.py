"""What is ordered together: what the season sells and the customer likes, and what goes with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emitter.generators.kit.choices import choice_table, choose, choose_by
from emitter.generators.kit.limits import CHILD_MAX
from emitter.generators.shop.calendar import months
from emitter.generators.shop.catalogue import Catalogue
from emitter.generators.shop.kinds import COMPLEMENTS, kinds
from emitter.randomness import Integers, Stream, Words, entries

# Of 4096 orders, so many have 1, 2, ... 15 items.
_ITEM_WEIGHTS = (1475, 985, 610, 385, 240, 148, 92, 58, 36, 24, 16, 10, 7, 5, 5)
_QUANTITY_WEIGHTS = (840, 110, 26, 14, 6, 4)
# Of 64 orders so many begin with what the customer likes, the others with what the season sells. Of 64 further items so
# many go with the first one, and of 64 of these so many are its fixed partner.
_FAVOURITE_IN_64, _COMPLEMENT_IN_64, _PARTNER_IN_64 = 34, 30, 32
_FAVOURITES = 3
MEAN_ITEMS = 2.69  # what is left of the weights' 2.71 once nothing is ordered twice
SEVERAL_LINES = 1 - _ITEM_WEIGHTS[0] / sum(_ITEM_WEIGHTS)  # of all orders have more than one
assert len(_ITEM_WEIGHTS) <= CHILD_MAX
_ITEM_TABLE = choice_table(_ITEM_WEIGHTS).astype(np.int64) + 1
_QUANTITY_TABLE = choice_table(_QUANTITY_WEIGHTS).astype(np.int64) + 1


@dataclass(frozen=True, slots=True)
class Items:
    """The items of some orders, in their order: `counts` are by order, the rest by item."""

    counts: Integers
    order: Integers  # place of the item's order among the orders
    lines: Integers  # from 1
    products: Integers
    quantities: Integers


class Baskets:
    """What each order holds, from its key and its customer."""

    def __init__(self, seed: int, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._basket, self._item = Stream(seed, "baskets"), Stream(seed, "order_items")
        self._favourite, self._partner = Stream(seed, "customers.favourites"), Stream(seed, "products.partners")
        present = catalogue.present
        self._by_month, self._by_department = kinds().rows_by_month(present), kinds().rows_by_department(present)
        self._complements = kinds().complements(present).reshape(-1)
        weights = np.bincount(kinds().departments.codes, weights=np.where(present, kinds().weights, 0))
        self._departments = choice_table(tuple(weights.astype(np.int64).tolist())).astype(np.int64)

    def items(self, ids: Integers, customers: Integers, slots: Integers) -> Items:
        """The items of these orders (any, in any order; at least one), placed by these customers in these slots."""
        basket = self._basket.words(ids)
        counts = choose(_ITEM_TABLE, basket)
        order, lines = np.repeat(np.arange(len(ids)), counts), _lines(counts)
        words = self._item.words(entries(ids, order) + lines)
        month = months(slots)
        of_kinds = choose_by(self._by_month, entries(month, order), words).astype(np.int64)
        heads = np.cumsum(counts) - counts
        liked = np.flatnonzero(_in_64(basket, 12) < _FAVOURITE_IN_64)
        of_kinds[heads[liked]] = self._liked(basket[liked], customers[liked])
        item_slots = entries(slots, order)
        products = np.empty(len(order), dtype=np.int64)
        products[heads] = self._catalogue.pick(words[heads], of_kinds[heads], slots)
        later = np.flatnonzero(lines > 1)
        if later.size:
            first, draws = heads[order[later]], words[later]
            together = _in_64(draws, 14) < _COMPLEMENT_IN_64
            places = of_kinds[first] * COMPLEMENTS + (draws & np.uint64(COMPLEMENTS - 1)).view(np.int64)
            of_kinds[later] = np.where(together, entries(self._complements, places), of_kinds[later])
            fixed = together & (_in_64(draws, 20) < _PARTNER_IN_64)
            # A product has one partner in each kind that goes with its own.
            keys = products[first[fixed]] * COMPLEMENTS + (draws[fixed] & np.uint64(COMPLEMENTS - 1)).view(np.int64)
            draws[fixed] = self._partner.words(keys)
            products[later] = self._catalogue.pick(draws, of_kinds[later], item_slots[later])
        quantities = choose(_QUANTITY_TABLE, words, 26)
        twice = _repeated(order, products, int(counts.max(initial=0)))
        if not twice.any():
            return Items(counts, order, lines, products, quantities)
        kept = np.flatnonzero(~twice)
        order = order[kept]
        counts = np.bincount(order, minlength=len(ids))
        return Items(counts, order, _lines(counts), products[kept], quantities[kept])

    def _liked(self, words: Words, customers: Integers) -> Integers:
        """A kind of a department that each customer likes."""
        favourites = self._favourite.words(customers)
        which = (words >> np.uint64(18)) % np.uint64(_FAVOURITES)
        departments = choose(self._departments, favourites >> (which * np.uint64(12)))
        return choose_by(self._by_department, departments, words, 32).astype(np.int64)


def _lines(counts: Integers) -> Integers:
    """From 1 in each order."""
    ends = np.cumsum(counts)
    return np.arange(1, int(ends[-1]) + 1) - np.repeat(ends - counts, counts)


def _repeated(order: Integers, products: Integers, count_max: int) -> np.ndarray:
    """Whether the same product stands before in the same order."""
    repeated = np.zeros(len(order), dtype=np.bool_)
    for back in range(1, count_max):
        repeated[back:] |= (order[back:] == order[:-back]) & (products[back:] == products[:-back])
    return repeated


def _in_64(words: Words, shift: int) -> Integers:
    return ((words >> np.uint64(shift)) & np.uint64(63)).view(np.int64)
