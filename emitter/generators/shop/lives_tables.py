"""The tables that tell what became of orders: columns, keys and parents."""

from __future__ import annotations

from emitter.model import Column, Table

_EVENT_TIME = Column("event_time", "timestamp", "when it happened")

PAYMENTS = Table(
    "payments",
    (
        Column("payment_id", "int64", "order_id plus the number of the payment step, from 1"),
        Column("order_id", "int64", "the order that is paid"),
        _EVENT_TIME,
        Column("attempt", "int32", "which attempt to pay it belongs to, 1 or 2"),
        Column(
            "status",
            "string",
            "authorised, declined, voided, captured, partly_refunded, refunded (all, shipping too) or charged_back",
        ),
        Column("reason", "string", "why it was declined", nullable=True),
        Column("method", "string", "card, wallet, transfer or invoice"),
        Column("currency", "string", "ISO 4217 code, that of the order"),
        Column("amount", "money", "what this step is about: the order's total, or what is given back"),
    ),
    ("payment_id",),
    ("orders",),
    "attempts to pay, captures when the first parcel is handed over, and what is given back",
)

SHIPMENTS = Table(
    "shipments",
    (
        Column("shipment_id", "int64", "order_id plus the parcel"),
        Column("status", "string", "created, handed_over, in_transit, delivered or lost"),
        Column("order_id", "int64", "the order whose lines it carries"),
        _EVENT_TIME,
        Column("parcel", "int32", "which parcel of the order, 1 or 2"),
        Column(
            "parcels", "int32", "how many it goes in: of two, the first has the odd lines, the second the even ones"
        ),
        Column("carrier", "string", "who carries it"),
        Column("item_count", "int32", "how many order_items are in it"),
    ),
    ("shipment_id", "status"),
    ("orders",),
    "the way of each parcel; nothing is delivered on a Sunday (UTC)",
)

RETURNS = Table(
    "returns",
    (
        Column("return_id", "int64", "the order_item_id: nothing comes back twice"),
        Column("status", "string", "requested, then received"),
        Column("order_id", "int64", "the order it was part of"),
        Column("order_item_id", "int64", "what comes back, all of its quantity"),
        _EVENT_TIME,
        Column("reason", "string", "why, as the customer says"),
        Column(
            "condition", "string", "as_new, opened, used, defective or damaged; null until it is seen", nullable=True
        ),
        Column("currency", "string", "ISO 4217 code, that of the order"),
        Column("amount", "money", "what is to be given back for it"),
    ),
    ("return_id", "status"),
    ("order_items",),
    "lines of delivered orders that come back, days to weeks later",
)

TABLES = (PAYMENTS, SHIPMENTS, RETURNS)
