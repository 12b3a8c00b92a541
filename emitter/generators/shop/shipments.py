"""Shipments: parcels that are created, handed over, on their way, and delivered or lost."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emitter import arrow
from emitter.generators.kit.choices import choice_rows, choose_by
from emitter.generators.kit.data import data_file
from emitter.generators.kit.growth import DAY_SECONDS
from emitter.generators.kit.keys import times_micros
from emitter.generators.shop.baskets import SEVERAL_LINES
from emitter.generators.shop.books import OrderBook
from emitter.generators.shop.lives_tables import SHIPMENTS
from emitter.generators.shop.stories import ANYWHERE, AT_ONCE, LOST_LANES, NEXT_DAY, Stories, zone_weights, zones
from emitter.generators.shop.stories import SHIPMENTS as STEPS
from emitter.model import Slice, Window
from emitter.randomness import Integers, Stream, entries

_STATUSES = ("created", "handed_over", "in_transit", "delivered", "lost")
_DELIVERED, _LOST = _STATUSES.index("delivered"), _STATUSES.index("lost")
_ZONE_NAMES = ("near", "middle", "far", "overseas", "remote")
_STATUS_BITS = 3
_SUNDAY = 4  # the first slot is on a Wednesday
_STATUS_NAMES = pa.array(_STATUSES)
_COLUMN_NAMES = [column.name for column in SHIPMENTS.columns]


class Shipments:
    """The rows of any window."""

    def __init__(self, seed: int, stories: Stories, book: OrderBook) -> None:
        self._stories, self._book = stories, book
        self._choice = stories.choose(STEPS)
        self._status = stories.statuses(_STATUSES)
        self._of_lost = np.isin(stories.lanes, LOST_LANES)
        self._zones = zones()
        self._weights = zone_weights(stories) * _days_share(stories.candidates)
        self._weights *= np.where(stories.numbers == 2, SEVERAL_LINES, 1.0)
        self._moments, self._carrier_words = Stream(seed, "shipments"), Stream(seed, "shipments.carrier")
        file = data_file(__package__, "carriers.csv")
        carriers, weights = file.labels("carrier"), file.integers("weight")
        by_zone = np.zeros((len(_ZONE_NAMES), len(carriers.names)), np.int64)
        by_zone[[_ZONE_NAMES.index(zone) for zone in file.texts("zone")], carriers.codes] = weights
        self._carriers, self._carrier_table = carriers.names, choice_rows([tuple(row) for row in by_zone.tolist()])

    def rows(self, window: Window, slice: Slice) -> pa.RecordBatch | None:
        """The table's rows of a window and a slice; None where there are none."""
        due = self._stories.due(window, slice, self._choice)
        days = np.flatnonzero(_on_its_day(due.slots, entries(self._stories.candidates, due.pairs)))
        ids, pairs, slots = due.ids[days], due.pairs[days], due.slots[days]
        own_zones = entries(self._zones, self._book.countries(ids))
        step_zones = entries(self._stories.zones, pairs)
        counts, status = self._book.item_counts(ids), entries(self._status, pairs)
        parcels = np.where(counts > 1, entries(self._stories.lane_parcels, entries(self._stories.lanes, pairs)), 1)
        parcel = entries(self._stories.numbers, pairs)
        parcel = np.where(status == _LOST, parcels, parcel)  # the last one
        never = (status == _DELIVERED) & entries(self._of_lost, pairs) & (parcel == parcels)
        there = np.flatnonzero(
            ((step_zones == ANYWHERE) | (step_zones == own_zones)) & (parcel <= parcels) & np.logical_not(never)
        )
        if not len(there):
            return None
        ids, status, parcel, parcels, counts = ids[there], status[there], parcel[there], parcels[there], counts[there]
        shipment_ids = ids + parcel
        carriers = choose_by(self._carrier_table, own_zones[there], self._carrier_words.words(shipment_ids))
        return pa.RecordBatch.from_arrays(
            [
                pa.array(shipment_ids),
                arrow.labels(status.astype(np.int8), _STATUS_NAMES),
                pa.array(ids),
                arrow.times(times_micros(slots[there], self._moments.words((shipment_ids << _STATUS_BITS) + status))),
                pa.array(parcel.astype(np.int32)),
                pa.array(parcels.astype(np.int32)),
                arrow.labels(carriers, self._carriers),
                # Odd lines go in the first parcel, even ones in the second.
                pa.array(((counts + parcels - parcel) // parcels).astype(np.int32)),
            ],
            names=_COLUMN_NAMES,
        )

    def expected_rows(self, window: Window) -> float:
        """The mean number of rows in a window, all slices together."""
        return self._stories.expected(window, self._choice, self._weights)


def _days_share(candidates: Integers) -> NDArray[np.float64]:
    """How often a step's day is its own."""
    return np.select([candidates == AT_ONCE, candidates == NEXT_DAY], [6 / 7, 1 / 7], 1.0)


def _on_its_day(slots: Integers, candidates: Integers) -> NDArray[np.bool_]:
    """Not the delivery on a Sunday, but then its other candidate, on the Monday after it."""
    weekdays = slots // DAY_SECONDS % 7
    found: NDArray[np.bool_] = np.where(
        candidates == AT_ONCE, weekdays != _SUNDAY, (candidates != NEXT_DAY) | (weekdays == _SUNDAY + 1)
    )
    return found
