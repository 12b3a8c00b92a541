"""The shop's tables: columns, keys and parents, parents first."""

from __future__ import annotations

from emitter.model import Column, Table

_EVENT_TIME = Column("event_time", "timestamp", "when it happened")

CUSTOMERS = Table(
    "customers",
    (
        Column("customer_id", "int64", "dense number, in order of sign-up but for the opening population"),
        _EVENT_TIME,
        Column("signed_up_at", "timestamp", "sign-up; before the origin for the opening population"),
        Column("name", "string", "first and last name, as they are written in the country"),
        Column("email", "string", "unique address at a reserved example domain, from the name"),
        Column("birth_year", "int32", "year of birth"),
        Column("language", "string", "ISO 639-1 code of the language"),
        Column("country", "string", "ISO 3166-1 code of the country"),
        Column("region", "string", "first-order division of the country"),
        Column("city", "string", "city, with the likelihood of its population"),
        Column("postal_code", "string", "of the country's form; no real assignment"),
        Column("time_zone", "string", "IANA time zone of the city"),
        Column("sign_up_channel", "string", "how they came: search, social, referral, direct, marketplace or store"),
        Column("tier", "string", "bronze, silver, gold or platinum: who orders often stands high"),
        Column("marketing_consent", "bool", "whether advertisements may be sent"),
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
        Column("name", "string", "brand, what distinguishes it, and what it is"),
        Column("brand", "string", "maker"),
        Column("department", "string", "first level of the category tree"),
        Column("category", "string", "second level"),
        Column("kind", "string", "third level: what it is"),
        Column("colour", "string", "where the kind has one", nullable=True),
        Column("size", "string", "where the kind has one", nullable=True),
        Column("material", "string", "where the kind has one", nullable=True),
        Column("price", "money", "list price in euro from valid_from on, without tax"),
        Column("cost", "money", "what the shop pays for it, in euro"),
        Column("weight_grams", "int32", "weight with its box"),
        Column("rating", "float64", "mean of its stars elsewhere, with one decimal place"),
        Column("listed_at", "timestamp", "when it was listed; before the origin for the opening catalogue"),
        Column("ends_at", "timestamp", "end of sale; null where none is planned", nullable=True),
    ),
    ("product_id", "valid_from"),
    (),
    "the catalogue at the origin, then new products and a row per price change",
)

EXCHANGE_RATES = Table(
    "exchange_rates",
    (
        Column("currency", "string", "ISO 4217 code"),
        _EVENT_TIME,
        Column("rate", "float64", "units of the currency for a euro, with six decimal places, for the day (UTC)"),
    ),
    ("currency", "event_time"),
    (),
    "the rate of each currency, at the origin and at the beginning of each day",
)

ORDERS = Table(
    "orders",
    (
        Column("order_id", "int64", "31 bits of slot, 18 of sequence, 4 of zero"),
        _EVENT_TIME,
        Column("customer_id", "int64", "who ordered"),
        Column("channel", "string", "web, app, marketplace or store"),
        Column("country", "string", "ISO 3166-1 code of where it is shipped to"),
        Column("currency", "string", "ISO 4217 code: all amounts of the order are in it"),
        Column("item_count", "int32", "number of order_items"),
        Column("discount_code", "string", "code that was given, if one was", nullable=True),
        Column("subtotal", "money", "sum of quantity times unit_price of the items"),
        Column("discount", "money", "sum of the items' discounts"),
        Column("tax", "money", "sum of the items' taxes"),
        Column("shipping", "money", "what delivery costs, tax included"),
        Column("total", "money", "subtotal less discount, plus tax and shipping"),
    ),
    ("order_id",),
    ("customers", "exchange_rates"),
    "orders as placed",
)

ORDER_ITEMS = Table(
    "order_items",
    (
        Column("order_item_id", "int64", "order_id plus the line, 1 to 15"),
        Column("order_id", "int64", "the order it belongs to"),
        _EVENT_TIME,
        Column("line", "int32", "place in the order, from 1"),
        Column("product_id", "int64", "what was ordered, once in an order"),
        Column("quantity", "int32", "how many"),
        Column("unit_price", "money", "the product's price at that moment, in the order's currency"),
        Column("discount", "money", "this line's share of the discount"),
        Column("tax", "money", "tax on quantity times unit_price less discount, at the country's rate"),
        Column("amount", "money", "quantity times unit_price, less discount, plus tax"),
    ),
    ("order_item_id",),
    ("orders", "products"),
    "the lines of the orders",
)

TABLES = (CUSTOMERS, PRODUCTS, EXCHANGE_RATES, ORDERS, ORDER_ITEMS)
