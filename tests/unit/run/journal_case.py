"""What the tests of the journal share: an identity, inputs, and a journal that has begun."""

from __future__ import annotations

from emitter.model import Inputs
from emitter.run.entries import FOLDER
from emitter.run.journal import Journal, make_identity
from emitter.testing import MemoryStorage

ORIGIN = 189_388_800
IDENTITY = make_identity(
    seed=7,
    domain="ecommerce",
    content_version=1,
    origin_slot=ORIGIN,
    partition="day",
    options={"customers": 50, "time_zones": [["Europe/Berlin", 1.0]]},
)


def inputs(rate: float = 1.0, shard_count: int = 1, tables: tuple[str, ...] = ("customers", "orders")) -> Inputs:
    return Inputs({"orders_per_second": rate}, shard_count, tables)


def entry_path(number: int) -> str:
    return f"{FOLDER}/{number:010d}.json"


def begun(storage: MemoryStorage) -> Journal:
    journal = Journal.create(storage, IDENTITY)
    journal.change(inputs())
    return journal


def loaded(storage: MemoryStorage) -> Journal:
    journal = Journal.load(storage)
    assert journal is not None
    return journal
