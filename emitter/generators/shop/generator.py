"""The whole shop: its tables made together, window by window."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emitter.generators.base import FRAME_ROWS_MAX, GeneratorBase, options_in_force
from emitter.generators.ecommerce.curve import HOUR_WEIGHTS, weights_of
from emitter.generators.ecommerce.options import EcommerceOptions
from emitter.generators.kit.counts import Counts
from emitter.generators.kit.dealing import Dealer
from emitter.generators.kit.mixes import Mix
from emitter.generators.kit.populations import Population
from emitter.generators.kit.rates import Curve, FlatCurve, LocalWeights, RateCurve
from emitter.generators.kit.things import Things
from emitter.generators.shop.baskets import MEAN_ITEMS, Baskets
from emitter.generators.shop.catalogue import Catalogue
from emitter.generators.shop.coming_back import ComingBack
from emitter.generators.shop.currencies import Currencies
from emitter.generators.shop.habits import Habits
from emitter.generators.shop.lives_tables import TABLES as OF_LIVES
from emitter.generators.shop.money import Tills
from emitter.generators.shop.orders import Orders
from emitter.generators.shop.payments import Payments
from emitter.generators.shop.people import People
from emitter.generators.shop.regions import regions
from emitter.generators.shop.returns import Returns
from emitter.generators.shop.shipments import Shipments
from emitter.generators.shop.stories import Stories
from emitter.generators.shop.tables import TABLES
from emitter.model import Epoch, Frame, Slice, Window
from emitter.randomness import Stream

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK_ORDERS = 32_768  # orders made at a time: enough to outweigh the calls, few enough to stay in the cache
_CHUNK_SECONDS_MAX = 86_400  # of a day as a whole, steps of weeks are found in a fraction of the time
_BEFORE_SECONDS = 1_200  # visits that begin so long before the origin end in orders after it


class ShopGenerator(GeneratorBase):
    """A shop with customers, products, exchange rates, orders, their items, payments, shipments and returns."""

    name = "shop"
    content_version = 1
    options_type = EcommerceOptions
    table_declarations = (*TABLES, *OF_LIVES)

    options: EcommerceOptions

    def __init__(self, *, seed: int, origin_slot: int, options: Any, epochs: Sequence[Epoch] = (), **rest: Any) -> None:
        super().__init__(seed=seed, origin_slot=origin_slot, options=options, epochs=epochs, **rest)
        in_force = [(epoch.from_slot, options_in_force(options, epoch.inputs)) for epoch in epochs]
        first = in_force[0][1] if in_force else options
        curves = [(slot, _curve(origin_slot, each)) for slot, each in in_force or [(origin_slot, options)]]
        curves[0] = (origin_slot - _BEFORE_SECONDS, curves[0][1])
        self._counts = Counts(origin_slot - _BEFORE_SECONDS, curves, Stream(seed, "orders.count"))
        things = Things(self._counts, Dealer(Stream(seed, "orders.deal")))
        stories = Stories(seed, things, origin_slot)
        customers = Population(
            origin_slot,
            options.customers,
            options.customer_growth_per_year,
            Stream(seed, "customers.arrival"),
            HOUR_WEIGHTS,
        )
        products = Population(
            origin_slot,
            options.products,
            options.product_growth_per_year,
            Stream(seed, "products.arrival"),
            HOUR_WEIGHTS,
        )
        habits = Habits(seed, regions(), Mix(_local_weights(first)), customers, first.orders_per_second)
        self._currencies = Currencies(seed, origin_slot)
        self._people = People(seed, origin_slot, customers, habits)
        self._catalogue = Catalogue(seed, origin_slot, products, options.product_skew, options.price_period_days)
        baskets = Baskets(seed, self._catalogue)
        self._orders = Orders(seed, stories, habits, self._catalogue, baskets, Tills(self._currencies))
        coming_back = ComingBack(seed)
        self._lives: Mapping[str, Payments | Shipments | Returns] = {
            "payments": Payments(seed, stories, self._orders, coming_back),
            "shipments": Shipments(seed, stories, self._orders),
            "returns": Returns(seed, stories, self._orders, coming_back),
        }

    def rows(self, window: Window, slice: Slice, tables: Collection[str]) -> Iterator[Frame]:
        window = Window(max(window.first, self.origin_slot), max(window.end, self.origin_slot))
        if not window.seconds:
            return
        if "customers" in tables:
            for people in self._people.rows(window, slice):
                yield from _frames("customers", self._people.batch(*people))
        if "products" in tables:
            for products in self._catalogue.rows(window, slice):
                yield from _frames("products", self._catalogue.batch(*products))
        if "exchange_rates" in tables and (rates := self._currencies.rows(window, slice)) is not None:
            yield from _frames("exchange_rates", rates)
        of_orders = [table for table in ("orders", "order_items", *self._lives) if table in tables]
        for chunk in self._chunks(window) if of_orders else ():
            yield from self._order_rows(chunk, slice, tables)
            for table in of_orders:
                if table in self._lives and (rows := self._lives[table].rows(chunk, slice)) is not None:
                    yield from _frames(table, rows)

    def expected_rows(self, window: Window) -> Mapping[str, float]:
        orders = self._counts.expected(Window(max(window.first, self.origin_slot), max(window.end, self.origin_slot)))
        return {
            "customers": self._people.expected_rows(window),
            "products": self._catalogue.expected_rows(window),
            "exchange_rates": self._currencies.expected_rows(window),
            "orders": orders,
            "order_items": orders * MEAN_ITEMS,
            **{table: life.expected_rows(window) for table, life in self._lives.items()},
        }

    def _chunks(self, window: Window) -> Iterator[Window]:
        first = window.first
        while first < window.end:
            rate = self._counts.expected(Window(first, first + 1))
            seconds = min(_CHUNK_SECONDS_MAX, max(1, int(CHUNK_ORDERS / rate))) if rate else _CHUNK_SECONDS_MAX
            end = min(window.end, first + seconds)
            yield Window(first, end)
            first = end

    def _order_rows(self, chunk: Window, slice: Slice, tables: Collection[str]) -> Iterator[Frame]:
        if "orders" not in tables and "order_items" not in tables:
            return
        placed = self._orders.due(chunk, slice)
        if placed is not None and "orders" in tables:
            yield from _frames("orders", self._orders.order_batch(placed))
        if placed is not None and "order_items" in tables:
            yield from _frames("order_items", self._orders.item_batch(placed))


def _local_weights(options: EcommerceOptions) -> LocalWeights:
    """What hour, weekday and month weigh in each region: nothing where the curve is flat."""
    if options.curve == "flat":
        weights = weights_of((1.0,) * 24, (1.0,) * 7, (1.0,) * 12)
    else:
        weights = weights_of(options.hour_weights, options.weekday_weights, options.month_weights)
    return LocalWeights(weights, _zones())


def _curve(origin_slot: int, options: EcommerceOptions) -> Curve:
    if options.curve == "flat":
        return FlatCurve(options.orders_per_second, options.promotions, is_even=options.arrivals == "even")
    return RateCurve(
        origin_slot,
        options.orders_per_second,
        weights_of(options.hour_weights, options.weekday_weights, options.month_weights),
        _zones(),
        options.order_growth_per_year,
        options.promotions,
    )


def _zones() -> list[tuple[str, float]]:
    found = regions()
    return [(zone, share / sum(found.shares)) for zone, share in zip(found.time_zones, found.shares, strict=True)]


def _frames(table: str, batch: pa.RecordBatch) -> Iterator[Frame]:
    """A part's rows in frames of the size allowed: one, unless a single slot held too many; none for no rows."""
    for begin in range(0, batch.num_rows, FRAME_ROWS_MAX):
        yield Frame(table, batch.slice(begin, FRAME_ROWS_MAX))


GENERATOR = ShopGenerator
