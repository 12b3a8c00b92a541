"""The shop: its tables made together, window by window."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emitter.generators.base import FRAME_ROWS_MAX, GeneratorBase, options_in_force
from emitter.generators.ecommerce.catalogue import Catalogue
from emitter.generators.ecommerce.options import EcommerceOptions
from emitter.generators.ecommerce.orders import MEAN_ITEMS, Orders
from emitter.generators.ecommerce.payments import MEAN_STEPS, Payments
from emitter.generators.ecommerce.people import People
from emitter.generators.ecommerce.rates import curve_of
from emitter.generators.ecommerce.tables import TABLES
from emitter.generators.kit.counts import Counts
from emitter.model import Epoch, Frame, Slice, Window
from emitter.randomness import Stream

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK_ORDERS = 32_768  # orders made at a time: enough to outweigh the calls, few enough to stay in the cache
_CHUNK_SECONDS_MAX = 3600
_OF_ORDERS = {"orders", "order_items", "payments"}


class EcommerceGenerator(GeneratorBase):
    """A shop with customers, products, orders, order items and payments."""

    name = "ecommerce"
    content_version = 1
    options_type = EcommerceOptions
    table_declarations = TABLES

    options: EcommerceOptions

    def __init__(self, *, seed: int, origin_slot: int, options: Any, epochs: Sequence[Epoch] = (), **rest: Any) -> None:
        super().__init__(seed=seed, origin_slot=origin_slot, options=options, epochs=epochs, **rest)
        curves = [
            (epoch.from_slot, curve_of(origin_slot, options_in_force(options, epoch.inputs))) for epoch in epochs
        ] or [(origin_slot, curve_of(origin_slot, options))]
        self._counts = Counts(origin_slot, curves, Stream(seed, "orders.count"))
        self._people = People(seed, origin_slot, options)
        self._catalogue = Catalogue(seed, origin_slot, options)
        self._orders = Orders(seed, self._counts, self._people, self._catalogue)
        self._payments = Payments(seed, self._orders)

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
        if not _OF_ORDERS.isdisjoint(tables):
            for chunk in self._chunks(window):
                yield from self._chunk_rows(chunk, slice, tables)

    def expected_rows(self, window: Window) -> Mapping[str, float]:
        orders = self._counts.expected(window)
        return {
            "customers": self._people.expected_rows(window),
            "products": self._catalogue.expected_rows(window),
            "orders": orders,
            "order_items": orders * MEAN_ITEMS,
            "payments": orders * MEAN_STEPS,
        }

    def _chunks(self, window: Window) -> Iterator[Window]:
        first = window.first
        while first < window.end:
            rate = self._counts.expected(Window(first, first + 1))
            seconds = min(_CHUNK_SECONDS_MAX, max(1, int(CHUNK_ORDERS / rate))) if rate else _CHUNK_SECONDS_MAX
            end = min(window.end, first + seconds)
            yield Window(first, end)
            first = end

    def _chunk_rows(self, chunk: Window, slice: Slice, tables: Collection[str]) -> Iterator[Frame]:
        if "orders" in tables or "order_items" in tables:
            dealt = self._orders.things.dealt(chunk.first, chunk.end, slice)
            if len(dealt.ids):
                items = self._orders.items(dealt.ids)
                self._payments.note(dealt, items.order_cents)
                if "orders" in tables:
                    yield from _frames("orders", self._orders.order_batch(dealt, items))
                if "order_items" in tables:
                    yield from _frames("order_items", self._orders.item_batch(dealt, items))
        if "payments" in tables and (payments := self._payments.batch(chunk, slice)) is not None:
            yield from _frames("payments", payments)


def _frames(table: str, batch: pa.RecordBatch) -> Iterator[Frame]:
    """A part's rows in frames of the size allowed: one, unless a single slot held too many; none for no rows."""
    for begin in range(0, batch.num_rows, FRAME_ROWS_MAX):
        yield Frame(table, batch.slice(begin, FRAME_ROWS_MAX))


GENERATOR = EcommerceGenerator
