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
