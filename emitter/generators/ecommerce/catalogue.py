"""The products, what they are called, and what they cost when."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, localcontext
from math import gcd

import numpy as np
import pyarrow as pa

from emitter import arrow
from emitter.clock import EPOCH_UNIX_SECONDS
from emitter.generators.base import batch_windows
from emitter.generators.ecommerce.curve import HOUR_WEIGHTS
from emitter.generators.ecommerce.options import EcommerceOptions
from emitter.generators.ecommerce.tables import PRODUCTS
from emitter.generators.kit.choices import choice_table, choose
from emitter.generators.kit.growth import DAY_SECONDS
from emitter.generators.kit.picks import power_law_quantiles, skewed_rank
from emitter.generators.kit.populations import Population
from emitter.generators.kit.shuffles import Shuffle
from emitter.model import Slice, Window
from emitter.randomness import EXACT, Integers, Stream, Words, below, entries

# Each department: its share of the products, the lowest and the highest opening price in cents, and its goods.
_CATEGORIES: tuple[tuple[str, int, int, int, tuple[str, ...]], ...] = (
    (
        *("kitchen", 16, 490, 24_900),
        (*("Saucepan", "Kettle", "Bread Knife", "Salad Bowl"), *("Coffee Grinder", "Oven Dish", "Whisk", "Teapot")),
    ),
    (
        *("home", 18, 690, 39_900),
        (
            *("Floor Lamp", "Throw Blanket", "Picture Frame", "Laundry Basket"),
            *("Wall Clock", "Doormat", "Vase", "Cushion"),
        ),
    ),
    (
        *("garden", 9, 390, 29_900),
        (
            *("Watering Can", "Pruning Shears", "Plant Pot", "Bird Feeder"),
            *("Hose Reel", "Trowel", "Lantern", "Seed Box"),
        ),
    ),
    (
        *("clothing", 20, 990, 17_900),
        (*("Rain Jacket", "Wool Scarf", "Linen Shirt", "Socks"), *("Cardigan", "Belt", "Beanie", "Overshirt")),
    ),
    (
        *("sports", 11, 590, 49_900),
        (
            *("Yoga Mat", "Running Belt", "Trail Shoes", "Water Bottle"),
            *("Kettlebell", "Headlamp", "Backpack", "Jump Rope"),
        ),
    ),
    (
        *("electronics", 10, 1_490, 129_900),
        (*("Headphones", "Desk Charger", "Keyboard", "Bedside Radio"), *("Webcam", "Power Bank", "Speaker", "Monitor")),
    ),
    (
        *("toys", 9, 490, 9_900),
        (
            *("Wooden Train", "Puzzle", "Building Blocks", "Kite"),
            *("Card Game", "Stuffed Bear", "Marble Run", "Spinning Top"),
        ),
    ),
    (
        *("books", 7, 590, 5_900),
        (*("Cookbook", "Atlas", "Field Guide", "Notebook"), *("Novel", "Sketchbook", "Calendar", "Diary")),
    ),
)
_MAKERS = (
    *(
        "Aldern",
        "Bregnholm",
        "Cobalt & Pine",
        "Dunmore",
        "Eikeland",
        "Fennwick",
        "Gaskell",
        "Halvard",
        "Ibis",
        "Jorvik",
    ),
    *("Kestrel", "Lindqvist", "Marlow", "Northgate", "Ostra", "Pellworm", "Quill", "Rosendal", "Søster", "Tamarack"),
    *("Umbra", "Valdemar", "Westerly", "Yarrow", "Zephyr"),
)
_STYLES = (
    *("Oak", "Slate", "Amber", "Moss", "Indigo", "Ivory", "Copper", "Graphite", "Coral", "Sand", "Birch", "Midnight"),
    *("Saffron", "Pearl", "Cedar", "Rust"),
)
_PRICE_KNOT_BITS = 8
_FACTOR_LOW, _FACTOR_RANGE = 850, 301  # a price moves between 85 and 115 % of the opening price


class Catalogue:
    """Products as numbered arrivals; each has a price that changes once a period, on its own day and second.

    A product's phase is (factor * product + offset) % period, so that the products whose price changes in a slot
    follow from the slot by the inverse. A change stands at the last microsecond of its slot and counts from the next.
    """

    def __init__(self, seed: int, origin_slot: int, options: EcommerceOptions) -> None:
        self._origin_slot = origin_slot
        self._period = options.price_period_days * DAY_SECONDS
        self.population = Population(
            origin_slot,
            options.products,
            options.product_growth_per_year,
            Stream(seed, "products.arrival"),
            HOUR_WEIGHTS,
        )
        self._quantiles = power_law_quantiles(options.products, Decimal(str(options.product_skew)))
        self._shuffle = Shuffle(options.products, Stream(seed, "products.shuffle"))
        self._product, self._version = Stream(seed, "products"), Stream(seed, "products.price")
        phase = Stream(seed, "products.phase")
        self._phase_factor = phase.word(0) % self._period
        while gcd(self._phase_factor, self._period) != 1:
            self._phase_factor = (self._phase_factor + 1) % self._period
        self._phase_offset = phase.word(1) % self._period
        self._base_cents, self._phases = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)

    def pick(self, words: Words, sizes: int | Integers) -> Integers:
        """A product for each word, from the upper 32 bits, out of so many."""
        return self._shuffle(skewed_rank(words, self._quantiles, sizes))

    def prices_cents(self, products: Integers, slots: Integers) -> Integers:
        """What each product costs at the start of each slot."""
        self._know(int(products.max(initial=-1)) + 1)
        versions = slots + entries(self._phases, products)
        versions -= 1
        versions //= self._period
        versions ^= products << 24
        cents = below(self._version.words(versions), _FACTOR_RANGE)
        cents += _FACTOR_LOW
        cents *= entries(self._base_cents, products)
        cents //= 10_000
        cents *= 10
        np.maximum(cents, 10, out=cents)
        cents += 9  # ends in 9: 1.09, 23.49
        return cents

    def rows(self, window: Window, slice: Slice) -> Iterator[tuple[Integers, Integers, Integers]]:
        """(products, slots, microseconds within the slot) in parts: the opening catalogue, if the origin is in the
        window, and then new products and price changes, by slot.
        """
        for opening in self.population.opening_within(window, slice):
            yield opening, np.full(len(opening), self._origin_slot), np.zeros(len(opening), dtype=np.int64)
        for day in batch_windows(window, DAY_SECONDS):
            arrived, arrival_slots = self.population.arrivals(day)
            changed, change_slots = self._changes(day)
            products, slots = np.concatenate([arrived, changed]), np.concatenate([arrival_slots, change_slots])
            micros = np.concatenate([1 + below(self._product.words(~arrived), 999_998), np.full(len(changed), 999_999)])
            mine = np.flatnonzero(products % slice.count == slice.index)
            order = mine[np.lexsort((products[mine], slots[mine]))]
            yield products[order], slots[order], micros[order]

    def batch(self, products: Integers, slots: Integers, micros: Integers) -> pa.RecordBatch:
        """The table rows of what `rows` gave."""
        times = arrow.times((slots + EPOCH_UNIX_SECONDS) * 1_000_000 + micros)
        words = self._product.words(products)
        category = choose(_CATEGORY_TABLE, words)
        goods = category.astype(np.int64) * 8 + choose(_EIGHT, words, 12)
        maker, style = choose(_MAKER_TABLE, words, 15), choose(_STYLE_TABLE, words, 23)
        parts = ((_MAKER_NAMES, maker), (_STYLE_NAMES, style), (_GOODS_NAMES, goods))
        # A row tells the price from its moment on: that of the next slot, but at the origin the one that stands.
        since = slots + (micros > 0)
        return pa.RecordBatch.from_arrays(
            [
                pa.array(products),
                times,
                times,
                arrow.joined(" ", *(arrow.named(names, places) for names, places in parts)),
                arrow.labels(category, _CATEGORY_NAMES),
                pa.array(self.prices_cents(products, since)),
            ],
            names=[column.name for column in PRODUCTS.columns],
        )

    def expected_rows(self, window: Window) -> float:
        opening = self.population.opening if window.first <= self._origin_slot < window.end else 0
        first = max(window.first, self._origin_slot)
        if first >= window.end:
            return 0.0
        size = float(self.population.sizes_at(np.array([first]))[0])
        span = Window(first, window.end)
        return opening + self.population.expected_arrivals(span) + size * span.seconds / self._period

    def _changes(self, window: Window) -> tuple[Integers, Integers]:
        """(products, slots) whose price changes in the window: (slot + phase) % period == 0."""
        slots = np.arange(max(window.first, self._origin_slot), window.end, dtype=np.int64)
        inverse = pow(self._phase_factor, -1, self._period)
        residues = (-slots - self._phase_offset) % self._period * inverse % self._period
        sizes = self.population.sizes_at(slots)
        each = (sizes - residues + self._period - 1) // self._period
        hit = np.flatnonzero(each > 0)
        rounds = np.concatenate([np.arange(count) for count in each[hit]]) if hit.size else np.empty(0, np.int64)
        return np.repeat(residues[hit], each[hit]) + rounds * self._period, np.repeat(slots[hit], each[hit])

    def _know(self, count: int) -> None:
        """Keep the opening price and the phase of the first products: they are asked for with every item."""
        known = len(self._base_cents)
        if count > known:
            # Grown by the half again, so that arrivals don't have it copied each time.
            more = np.arange(known, max(count, known + known // 2, self.population.opening), dtype=np.int64)
            phases = (more % self._period * self._phase_factor + self._phase_offset) % self._period
            self._phases = np.concatenate([self._phases, phases])
            self._base_cents = np.concatenate([self._base_cents, self._make_bases(more)])

    def _make_bases(self, products: Integers) -> Integers:
        words = self._product.words(products)
        category = choose(_CATEGORY_TABLE, words).astype(np.int64)
        place = below(words, 1 << 24)
        knot = place >> (24 - _PRICE_KNOT_BITS)
        between = place & ((1 << (24 - _PRICE_KNOT_BITS)) - 1)
        low, high = _PRICE_KNOTS[category, knot], _PRICE_KNOTS[category, knot + 1]
        bases: Integers = low + ((high - low) * between >> (24 - _PRICE_KNOT_BITS))
        return bases


def _price_knots() -> Integers:
    """Per category: prices at even steps of probability, spread evenly over their logarithm."""
    steps = 1 << _PRICE_KNOT_BITS
    rows = []
    with localcontext(EXACT):
        for _, _, low, high, _ in _CATEGORIES:
            span = (Decimal(high) / low).ln()
            rows.append([int(low * (span * step / steps).exp()) for step in range(steps + 1)])
    return np.array(rows, dtype=np.int64)


_PRICE_KNOTS = _price_knots()
_CATEGORY_TABLE = choice_table(tuple(share for _, share, *_ in _CATEGORIES))
_CATEGORY_NAMES = pa.array([name for name, *_ in _CATEGORIES])
_GOODS_NAMES = pa.array([good for *_, goods in _CATEGORIES for good in goods])
_EIGHT, _STYLE_TABLE = np.arange(8), np.arange(len(_STYLES))
_MAKER_TABLE = np.arange(256) * len(_MAKERS) >> 8
_MAKER_NAMES, _STYLE_NAMES = pa.array(_MAKERS), pa.array(_STYLES)
