"""The products: what each is, what it costs when, and when it can be ordered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from math import gcd

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emitter import arrow
from emitter.clock import EPOCH_UNIX_SECONDS
from emitter.generators.base import batch_windows
from emitter.generators.kit.growth import DAY_SECONDS, YEAR_SECONDS
from emitter.generators.kit.picks import power_law_quantiles, skewed_rank
from emitter.generators.kit.populations import Population
from emitter.generators.kit.strata import Strata
from emitter.generators.shop.articles import Articles
from emitter.generators.shop.kinds import kinds
from emitter.generators.shop.tables import PRODUCTS
from emitter.model import Slice, Window
from emitter.randomness import Integers, Stream, Words, below, below_low, entries

_FACTOR_LOW, _FACTOR_RANGE = 880, 221  # a price moves between 88 and 110 % of the opening price
_RANKED_MAX = 1 << 20  # opening products up to which each kind's have an order of their own
_OUTAGE_SECONDS, _OUTAGE_PERCENT = 3 * DAY_SECONDS, 3
_ENDING_PERCENT = 60
_SALE_SECONDS_MIN = 60 * DAY_SECONDS
_HISTORY_SECONDS = 4 * YEAR_SECONDS  # the opening catalogue was listed within so long before the origin
_NEVER = np.int64(2**40)
_COLUMN_NAMES = [column.name for column in PRODUCTS.columns]


@dataclass(slots=True)
class _Known:
    """What is asked for with every item, by product: kept for the first so many."""

    base_cents: Integers
    phases: Integers
    ends: Integers  # slots
    kinds: NDArray[np.int16]


class Catalogue:
    """Products as numbered arrivals, dealt to the kinds. Each has a price that changes once a period, on its own day
    and second, until its sale ends.

    A product's phase is (factor * product + offset) % period, so that the products whose price changes in a slot
    follow from the slot by the inverse. A change stands at the last microsecond of its slot and counts from the next.
    The first product of a kind by rank is never out of stock, and its sale does not end.
    """

    def __init__(
        self, seed: int, origin_slot: int, population: Population, skew: float, price_period_days: int
    ) -> None:
        self._origin_slot, self._population = origin_slot, population
        self._period = price_period_days * DAY_SECONDS
        self._articles = Articles(seed)
        self._strata = Strata(kinds().weights.tolist(), Stream(seed, "products.kinds"))
        self._version, self._outage = Stream(seed, "products.price"), Stream(seed, "products.outages")
        self._listing = Stream(seed, "products.listing")
        phase = Stream(seed, "products.phase")
        self._phase_factor = phase.word(0) % self._period
        while gcd(self._phase_factor, self._period) != 1:
            self._phase_factor = (self._phase_factor + 1) % self._period
        self._phase_offset = phase.word(1) % self._period
        # Of the opening stock, by kind: how many there are, and where they begin in `_ranked`, the best sellers first.
        opening = population.opening
        of_kind = self._strata.group_of(np.arange(min(opening, _RANKED_MAX)))
        self._opening = self._strata.count(np.arange(len(kinds())), np.full(len(kinds()), opening))
        self._ranked = np.lexsort((Stream(seed, "products.ranks").words(np.arange(len(of_kind))), of_kind))
        self._ranked_counts = np.bincount(of_kind, minlength=len(kinds()))
        self._ranked_starts = np.cumsum(self._ranked_counts) - self._ranked_counts
        self.present: NDArray[np.bool_] = self._ranked_counts > 0  # kinds of which there are any from the origin on
        self._quantiles = power_law_quantiles(max(1, opening // int(self.present.sum())), Decimal(str(skew)))
        best = self._ranked[self._ranked_starts[self.present]]
        self._is_best = np.zeros(len(of_kind) + 1, dtype=np.bool_)  # one more, for all that come later
        self._is_best[best] = True
        empty = np.empty(0, np.int64)
        self._known = _Known(empty, empty, empty, np.empty(0, np.int16))

    def kinds_of(self, products: Integers) -> Integers:
        """The kind of each product."""
        return self._look_up(products).kinds.take(products).astype(np.int64)

    def pick(self, words: Words, of_kinds: Integers, slots: Integers) -> Integers:
        """A product of each kind that can be ordered at the start of the slot, from the upper 32 bits of the word. The
        kinds are ones that are present.
        """
        sizes = self._sizes(of_kinds, slots)
        ranks = skewed_rank(words, self._quantiles, sizes)
        products = self._at_rank(of_kinds, ranks)
        for halving in (1, 1, 62):  # who finds one gone takes a better known one, at last the best
            gone = np.flatnonzero(~self.is_available(products, slots))
            if not gone.size:
                break
            ranks[gone] >>= halving
            products[gone] = self._at_rank(of_kinds[gone], ranks[gone])
        return products

    def is_available(self, products: Integers, slots: Integers) -> NDArray[np.bool_]:
        """Whether each product can be ordered at the start of each slot: its sale has not ended, and it is in stock."""
        ends = entries(self._look_up(products).ends, products)
        periods = slots // _OUTAGE_SECONDS
        periods ^= products << 24
        out = below(self._outage.words(periods), 100) < _OUTAGE_PERCENT
        best = self._is_best[np.minimum(products, len(self._is_best) - 1)]
        available: NDArray[np.bool_] = ((slots <= ends) & ~out) | best
        return available

    def prices_cents(self, products: Integers, slots: Integers) -> Integers:
        """What each product costs at the start of each slot, in euro cents."""
        known = self._look_up(products)
        versions = slots + entries(known.phases, products)
        versions -= 1
        versions //= self._period
        versions ^= products << 24
        cents = below(self._version.words(versions), _FACTOR_RANGE)
        cents += _FACTOR_LOW
        cents *= entries(known.base_cents, products)
        cents //= 10_000
        cents *= 10
        np.maximum(cents, 10, out=cents)
        cents += 9  # ends in 9: 1.09, 23.49
        return cents

    def rows(self, window: Window, slice: Slice) -> Iterator[tuple[Integers, Integers, Integers]]:
        """(products, slots, microseconds within the slot) in parts: the opening catalogue, if the origin is in the
        window, and then new products and price changes, by slot.
        """
        for opening in self._population.opening_within(window, slice):
            yield opening, np.full(len(opening), self._origin_slot), np.zeros(len(opening), dtype=np.int64)
        for day in batch_windows(window, DAY_SECONDS):
            arrived, arrival_slots = self._population.arrivals(day)
            changed, change_slots = self._changes(day)
            products, slots = np.concatenate([arrived, changed]), np.concatenate([arrival_slots, change_slots])
            micros = np.concatenate([self._listed_micros(arrived), np.full(len(changed), 999_999)])
            mine = np.flatnonzero(products % slice.count == slice.index)
            order = mine[np.lexsort((products[mine], slots[mine]))]
            yield products[order], slots[order], micros[order]

    def batch(self, products: Integers, slots: Integers, micros: Integers) -> pa.RecordBatch:
        """The table rows of what `rows` gave."""
        known, times = self._look_up(products), (slots + EPOCH_UNIX_SECONDS) * 1_000_000 + micros
        articles = self._articles.batch(products, entries(known.kinds, products).astype(np.int64))
        # A row tells the price from its moment on: that of the next slot, but at the origin the one that stands.
        prices = self.prices_cents(products, slots + (micros > 0))
        costs = entries(known.base_cents, products) * articles.cost_permille // 1_000
        ends = entries(known.ends, products)
        ending = pa.array((ends + EPOCH_UNIX_SECONDS) * 1_000_000, pa.int64(), mask=ends == _NEVER)
        return pa.RecordBatch.from_arrays(
            [
                pa.array(products),
                arrow.times(times),
                arrow.times(times),
                *articles.texts,
                pa.array(prices),
                pa.array(np.maximum(costs, 1)),
                pa.array(articles.weights_grams.astype(np.int32)),
                pa.array(articles.ratings_tenths / 10),
                arrow.times(self._listed_times(products, times)),
                ending.view(arrow.TIME_TYPE),
            ],
            names=_COLUMN_NAMES,
        )

    def expected_rows(self, window: Window) -> float:
        opening = self._population.opening if window.first <= self._origin_slot < window.end else 0
        first = max(window.first, self._origin_slot)
        if first >= window.end:
            return 0.0
        size = float(self._population.sizes_at(np.array([first, window.end])).mean())  # the few that end left out
        span = Window(first, window.end)
        return opening + self._population.expected_arrivals(span) + size * span.seconds / self._period

    def _sizes(self, of_kinds: Integers, slots: Integers) -> Integers:
        """How many there are of each kind at the start of each slot."""
        populations = self._population.sizes_within(slots)
        if isinstance(populations, int):
            counts = self._strata.count(np.arange(len(kinds())), np.full(len(kinds()), populations))
            return np.maximum(entries(counts, of_kinds), 1)
        return np.maximum(self._strata.count(of_kinds, populations), 1)

    def _at_rank(self, of_kinds: Integers, ranks: Integers) -> Integers:
        """The best seller of the opening stock first; what was listed later keeps its place."""
        places = entries(self._ranked_starts, of_kinds) + ranks
        inside = ranks < entries(self._ranked_counts, of_kinds)
        if inside.all():
            return entries(self._ranked, places)
        products = self._strata.number_of(of_kinds, ranks)
        products[inside] = entries(self._ranked, places[inside])
        return products

    def _changes(self, window: Window) -> tuple[Integers, Integers]:
        """(products, slots) whose price changes in the window: (slot + phase) % period == 0."""
        slots = np.arange(max(window.first, self._origin_slot), window.end, dtype=np.int64)
        inverse = pow(self._phase_factor, -1, self._period)
        residues = (-slots - self._phase_offset) % self._period * inverse % self._period
        sizes = self._population.sizes_at(slots)
        each = (sizes - residues + self._period - 1) // self._period
        hit = np.flatnonzero(each > 0)
        rounds = np.concatenate([np.arange(count) for count in each[hit]]) if hit.size else np.empty(0, np.int64)
        products = np.repeat(residues[hit], each[hit]) + rounds * self._period
        moments = np.repeat(slots[hit], each[hit])
        on_sale = moments < entries(self._look_up(products).ends, products)
        return products[on_sale], moments[on_sale]

    def _listed_micros(self, products: Integers) -> Integers:
        return 1 + below(self._listing.words(~products), 999_998)

    def _listed_times(self, products: Integers, times: Integers) -> Integers:
        """When each product was listed; `times` are those of rows at or after it."""
        words = self._listing.words(products)
        before = 1 + below(words, _HISTORY_SECONDS) * 1_000_000 + below_low(words, 999_999)
        origin = (self._origin_slot + EPOCH_UNIX_SECONDS) * 1_000_000
        listed = origin - before
        if (later := np.flatnonzero(products >= self._population.opening)).size:
            slots = self._population.slots_of(products[later])
            listed[later] = (slots + EPOCH_UNIX_SECONDS) * 1_000_000 + self._listed_micros(products[later])
        found: Integers = np.minimum(listed, times)
        return found

    def _look_up(self, products: Integers) -> _Known:
        """What is known of at least these."""
        count, known = int(products.max(initial=-1)) + 1, self._known
        have = len(known.base_cents)
        if count > have:
            # Grown by the half again, so that arrivals don't have it copied each time.
            more = np.arange(have, max(count, have + have // 2, self._population.opening), dtype=np.int64)
            of_kind = self._strata.group_of(more)
            self._known = _Known(
                np.concatenate([known.base_cents, self._articles.prices_cents(more, of_kind)]),
                np.concatenate(
                    [known.phases, (more % self._period * self._phase_factor + self._phase_offset) % self._period]
                ),
                np.concatenate([known.ends, self._ends(more)]),
                np.concatenate([known.kinds, of_kind.astype(np.int16)]),
            )
        return self._known

    def _ends(self, products: Integers) -> Integers:
        """The slot in which each product's sale ends: within four years of the origin or its listing, if at all."""
        words = self._listing.words(products)
        begins = np.full(len(products), self._origin_slot)
        if (later := np.flatnonzero(products >= self._population.opening)).size:
            begins[later] = self._population.slots_of(products[later])
        ends = begins + _SALE_SECONDS_MIN + below_low(words, _HISTORY_SECONDS)
        ends[(words & np.uint64(127)).view(np.int64) * 100 >= _ENDING_PERCENT * 128] = _NEVER
        ends[self._is_best[np.minimum(products, len(self._is_best) - 1)]] = _NEVER
        return ends
