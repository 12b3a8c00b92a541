"""What an order comes to: prices in its currency, discounts, taxes and shipping, each rounded once, where it arises."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from emitter.generators.kit.choices import choice_rows, choose_by
from emitter.generators.kit.data import DataFile, data_file
from emitter.generators.kit.places import countries, countries_file
from emitter.generators.shop.calendar import months
from emitter.generators.shop.currencies import Currencies
from emitter.randomness import Integers, Words, entries

_PACKAGE = "emitter.generators.shop"
_BASIS = 10_000
_FREE_FROM_CENTS = 7_500  # in euro: what is ordered for more is shipped for nothing
_MONTHS = 12


@dataclass(frozen=True, slots=True)
class Amounts:
    """In hundredths of each order's currency; `codes` are places in the names of the discount codes, -1 for none. What
    begins with `order_` is by order, the rest by item.
    """

    unit_prices: Integers
    discounts: Integers
    taxes: Integers
    order_codes: Integers
    order_subtotals: Integers
    order_discounts: Integers
    order_taxes: Integers
    order_shipping: Integers

    @property
    def order_totals(self) -> Integers:
        return self.order_subtotals - self.order_discounts + self.order_taxes + self.order_shipping


class Tills:
    """Where orders are added up, by country (of `kit.places`)."""

    def __init__(self, currencies: Currencies) -> None:
        self._currencies = currencies
        lands = countries()
        self._currency_of = lands.currencies.codes.astype(np.int64)
        self._tax_bp = lands.tax_bp
        shipping = data_file(_PACKAGE, "shipping.csv")
        self._shipping_cents = shipping.integers("shipping_cents")[
            countries_file().places("country", shipping, "country")
        ]
        discounts = data_file(_PACKAGE, "discounts.csv")
        self.code_names = pa.array(discounts.texts("code"))
        self._discount_bp = np.append(discounts.integers("discount_bp"), 0)  # the last: none
        self._codes = choice_rows([_shares(discounts, month) for month in range(1, _MONTHS + 1)])

    def amounts(
        self,
        words: Words,
        slots: Integers,
        lands: Integers,
        order: Integers,
        quantities: Integers,
        prices_cents: Integers,
    ) -> Amounts:
        """What orders come to that were placed in these slots by customers of these countries; `words` have twelve bits
        for the code from the lowest on. The items are given with the place of their order and their price in euro
        cents, in the order of the orders, each of which has one at least.
        """
        starts = np.searchsorted(order, np.arange(len(slots)))
        currencies = entries(self._currency_of, lands)
        item_currencies = entries(currencies, order)
        unit_prices = self._currencies.amounts(prices_cents, item_currencies, entries(slots, order))
        lines = unit_prices * quantities
        codes = choose_by(self._codes, months(slots), words).astype(np.int64)
        rounded = self._currencies.rounded
        discounts = rounded(_part(lines, entries(entries(self._discount_bp, codes), order)), item_currencies)
        taxes = rounded(_part(lines - discounts, entries(entries(self._tax_bp, lands), order)), item_currencies)
        subtotals, off = np.add.reduceat(lines, starts), np.add.reduceat(discounts, starts)
        free_from = self._currencies.amounts(np.full(len(slots), _FREE_FROM_CENTS), currencies, slots)
        shipping = self._currencies.amounts(entries(self._shipping_cents, lands), currencies, slots)
        shipping[subtotals - off >= free_from] = 0
        codes[codes == len(self._discount_bp) - 1] = -1
        return Amounts(unit_prices, discounts, taxes, codes, subtotals, off, np.add.reduceat(taxes, starts), shipping)


def _shares(discounts: DataFile, month: int) -> tuple[int, ...]:
    """Of all orders of a month: by code, and at last those without one."""
    bounds = zip(discounts.integers("from_month").tolist(), discounts.integers("to_month").tolist(), strict=True)
    usable = [first <= month <= last for first, last in bounds]
    shares = [share * ok for share, ok in zip(discounts.integers("share_bp").tolist(), usable, strict=True)]
    return (*shares, _BASIS - sum(shares))


def _part(amounts: Integers, basis_points: Integers) -> Integers:
    """So many hundredths of a percent of amounts, half up."""
    parts = amounts * basis_points
    parts += _BASIS // 2
    parts //= _BASIS
    return parts
