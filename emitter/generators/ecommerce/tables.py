"""The shop's tables: columns, keys and parents, parents first."""

from __future__ import annotations

from emitter.model import Column, Table

_EVENT_TIME = Column("event_time", "timestamp", "when it happened")

CUSTOMERS = Table(
    "customers",
    (
        Column("customer_id", "int64", "dense number; in order of sign-up, but for the opening population"),
        _EVENT_TIME,
        Column("signed_up_at", "timestamp", "sign-up; before the origin for the opening population"),
        Column("name", "string", "first and last name"),
        Column("email", "string", "unique address at a reserved example domain"),
        Column("country", "string", "ISO 3166 code of the customer's country, whatever ecommerce.time_zones says"),
        Column("segment", "string", "consumer, business or student"),
    ),
    ("customer_id",),
    (),
    "the population at the origin, then sign-ups",
)

PRODUCTS = Table(
    "products",
    (
        Column("product_id", "int64", "dense number, in order of listing"),
        Column("valid_from", "timestamp", "since when the price holds"),
        _EVENT_TIME,
        Column("name", "string", "what it is"),
        Column("category", "string", "department of the shop"),
        Column("price", "money", "unit price from valid_from on"),
    ),
    ("product_id", "valid_from"),
    (),
    "the catalogue at the origin, then new products and a row per price change",
)

ORDERS = Table(
    "orders",
    (
        Column("order_id", "int64", "31 bits of slot, 18 of sequence, 4 of zero"),
        _EVENT_TIME,
        Column("customer_id", "int64", "who ordered"),
        Column("channel", "string", "web, app, marketplace or store"),
        Column("currency", "string", "the shop's currency"),
        Column("item_count", "int32", "number of order_items"),
        Column("amount", "money", "sum of the items' amounts"),
    ),
    ("order_id",),
    ("customers",),
    "orders as placed",
)

ORDER_ITEMS = Table(
    "order_items",
    (
        Column("order_item_id", "int64", "order_id plus the line, 1 to 15: a payment may have the same number"),
        Column("order_id", "int64", "the order it belongs to"),
        _EVENT_TIME,
        Column("line", "int32", "place in the order, from 1"),
        Column("product_id", "int64", "what was ordered; several lines of an order may name the same"),
        Column("quantity", "int32", "how many"),
        Column("unit_price", "money", "the product's price at that moment"),
        Column("amount", "money", "quantity times unit_price"),
    ),
    ("order_item_id",),
    ("orders", "products"),
    "the lines of the orders",
)

PAYMENTS = Table(
    "payments",
    (
        Column("payment_id", "int64", "order_id plus the step, 1 to 15: an order item may have the same number"),
        Column("order_id", "int64", "the order it pays"),
        _EVENT_TIME,
        Column("attempt", "int32", "1, or 2 after a decline"),
        Column("status", "string", "attempted, declined or captured"),
        Column("method", "string", "card, wallet, transfer or invoice"),
        Column("amount", "money", "the order's amount"),
    ),
    ("payment_id",),
    ("orders",),
    "attempts, declines and captures, seconds to minutes after the order",
)

TABLES = (CUSTOMERS, PRODUCTS, ORDERS, ORDER_ITEMS, PAYMENTS)
