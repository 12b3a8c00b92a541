"""The stories of orders: a script a lane, from the visit that ends in the order to its last refund.

What a story says agrees by construction: who was never paid is not shipped, what is refunded was captured, what comes
back was delivered. Most steps follow the order itself, as ranges of delay that do not overlap need no chain; where
they are days, they are whole ones but for two hours, so that people get parcels and complain in their own daytime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from emitter.generators.kit.chains import START, Delay
from emitter.generators.kit.data import data_file
from emitter.generators.kit.followers import Choice, Followers, Steps
from emitter.generators.kit.growth import DAY_SECONDS
from emitter.generators.kit.keys import SEQUENCE_MASK, SLOT_SHIFT
from emitter.generators.kit.limits import CHILD_BITS
from emitter.generators.kit.places import countries_file
from emitter.generators.kit.things import Things
from emitter.generators.shop.regions import regions
from emitter.model import Slice, Window
from emitter.randomness import Integers, Stream, entries

LANES = 128
ORDER = 0
"""Where in each script the order is placed."""

ORDERS, PAYMENTS, SHIPMENTS, RETURNS = "orders", "payments", "shipments", "returns"
NO_CANDIDATE, AT_ONCE, NEXT_DAY = range(-1, 2)
ANYWHERE = -1
ZONE_DAYS = (2, 3, 4, 6, 10)
"""Days from hand-over to delivery in each zone. A country's zone is the one nearest to its days."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a script. `number` is that of the payment within its order, or the parcel's. A step of a zone is there
    for orders that go there. Of a delivery's two candidates, NEXT_DAY is there if AT_ONCE is on a Sunday.
    """

    table: str
    status: str
    delay: Delay
    number: int = 0
    attempt: int = 0
    zone: int = ANYWHERE
    candidate: int = NO_CANDIDATE


@dataclass(frozen=True, slots=True)
class Lane:
    """What a lane's story turns on. Days are counted from the step that went before."""

    fate: str
    parcels: int  # at most: an order of one line goes in one
    late_days: int
    returns: bool
    request_days: int
    receive_days: int
    refund_days: int
    checkout: Delay
    created: Delay
    handed_over: Delay


def _dealt[T](counts: Sequence[tuple[T, int]], factor: int) -> list[T]:
    """A value for each lane, so many lanes each. Lanes go over the values in strides that differ from attribute to
    attribute, as points of a lattice do, so that any two attributes are all but independent and so are the parts of
    shards, which have every n-th lane.
    """
    edges = list(accumulate(count for _, count in counts))
    if edges[-1] != LANES:
        raise ValueError(f"{LANES} lanes need a value each, not {edges[-1]}")
    values = [value for value, count in counts for _ in range(count)]
    return [values[lane * factor % LANES] for lane in range(LANES)]


# 4 first attempts in 128 are declined, and half of those are tried again. The last parcel of a lost one never comes.
_FATES = (
    ("abandoned", 2),
    ("declined_twice", 1),
    ("paid_later", 1),
    ("cancelled", 3),
    ("lost", 1),
    ("charged_back", 1),
    ("delivered", 119),
)
_PAID_FATES = ("paid_later", "lost", "charged_back", "delivered")
_RETURNING_FATES = ("paid_later", "delivered")
_LOST_DAYS, _LOST_REFUND_DAYS = 30, 33
_CHARGEBACK_DAYS = 41


def _lanes() -> list[Lane]:
    attributes = zip(
        _dealt(_FATES, 1),
        _dealt(((2, 20), (1, 108)), 61),
        _dealt(((-1, 20), (0, 62), (1, 27), (2, 11), (4, 6), (8, 2)), 41),
        _dealt(((True, 76), (False, 52)), 43),
        _dealt(((2, 18), (3, 17), (4, 15), (5, 13), (7, 17), (9, 13), (12, 14), (16, 11), (22, 7), (28, 3)), 47),
        _dealt(((3, 20), (4, 32), (5, 30), (6, 18), (8, 15), (11, 9), (16, 4)), 121),
        _dealt(((1, 58), (2, 42), (3, 20), (5, 8)), 103),
        _dealt([(Delay(seconds, after=START), 32) for seconds in (60, 150, 300, 600)], 9),
        _dealt([(Delay(seconds, 2, after=ORDER), 64) for seconds in (3600, 7200)], 69),
        _dealt([(Delay(14_400, 3, after=ORDER), 64), (Delay(28_800, 2, after=ORDER), 64)], 117),
        strict=True,
    )
    return [
        # The last parcel of a lost order is another one than the first wherever there are two lines.
        Lane(fate, 2 if fate == "lost" else parcels, late, returns and fate in _RETURNING_FATES, *rest)
        for fate, parcels, late, returns, *rest in attributes
    ]


def _days(days: int, hours: int = 0) -> Delay:
    """So long after the order, two hours more or less."""
    return Delay(7200, (24 * days + hours) // 2, after=ORDER)


class _Script:
    """A script as it grows."""

    def __init__(self, lane: Lane) -> None:
        self.steps: list[Step] = []
        self._lane = lane
        self._payments = 0
        self.add(Step(ORDERS, "placed", lane.checkout))
        attempts = self._attempts()
        if lane.fate == "cancelled":
            self._pay("voided", Delay(1200, 2, after=ORDER), attempts)
        if lane.fate in _PAID_FATES:
            handed_over = self._send()
            self._pay("captured", Delay(30, after=handed_over), attempts)
            self._end(attempts)

    def add(self, step: Step) -> int:
        self.steps.append(step)
        return len(self.steps) - 1

    def _pay(self, status: str, delay: Delay, attempt: int, zone: int = ANYWHERE) -> int:
        if zone <= 0:  # of the refunds of all zones an order has one, which is the same payment in all of them
            self._payments += 1
        return self.add(Step(PAYMENTS, status, delay, self._payments, attempt, zone))

    def _attempts(self) -> int:
        """How many there are."""
        fate, to_reply = self._lane.fate, Delay(20, after=ORDER)
        if fate not in ("abandoned", "declined_twice", "paid_later"):
            self._pay("authorised", to_reply, 1)
            return 1
        declined = self._pay("declined", to_reply, 1)
        if fate == "abandoned":
            return 1
        self._pay("authorised" if fate == "paid_later" else "declined", Delay(150, 2, after=declined), 2)
        return 2

    def _send(self) -> int:
        """The parcels' ways. Gives the place of the first hand-over."""
        lane, handed_over = self._lane, 0
        for parcel in range(1, lane.parcels + 1):
            first = parcel == 1
            created = lane.created if first else replace(lane.created, blocks=lane.created.blocks + 1)
            self.add(Step(SHIPMENTS, "created", created, parcel))
            over = self.add(
                Step(SHIPMENTS, "handed_over", lane.handed_over if first else Delay(21_600, 6, after=ORDER), parcel)
            )
            handed_over = over if first else handed_over
            self.add(Step(SHIPMENTS, "in_transit", Delay(14_400, 8 if first else 13, after=ORDER), parcel))
            if lane.fate == "lost" and not first:
                continue
            for zone in range(len(ZONE_DAYS)):
                days = self._delivery_days(zone) + parcel - 1
                step = Step(SHIPMENTS, "delivered", _days(days, -4), parcel, 0, zone, AT_ONCE)
                self.add(replace(step, delay=Delay(1, DAY_SECONDS, after=self.add(step)), candidate=NEXT_DAY))
        return handed_over

    def _end(self, attempt: int) -> None:
        lane = self._lane
        if lane.fate == "lost":
            self.add(Step(SHIPMENTS, "lost", _days(_LOST_DAYS), 2))
            self._pay("refunded", _days(_LOST_REFUND_DAYS), attempt)
        if lane.fate == "charged_back":
            self._pay("charged_back", _days(_CHARGEBACK_DAYS), attempt)
        if lane.returns:
            for zone in range(len(ZONE_DAYS)):
                requested = self._delivery_days(zone) + lane.parcels - 1 + lane.request_days
                received = requested + lane.receive_days
                self.add(Step(RETURNS, "requested", _days(requested), zone=zone))
                self.add(Step(RETURNS, "received", _days(received), zone=zone))
                self._pay("refunded", _days(received + lane.refund_days), attempt, zone)

    def _delivery_days(self, zone: int) -> int:
        """From the order to the delivery of the first parcel: a day goes by until it is handed over."""
        far = ZONE_DAYS[zone] > 5
        return 1 + ZONE_DAYS[zone] + self._lane.late_days * (2 if far else 1)


LANE_STORIES = tuple(_lanes())
SCRIPTS = tuple(tuple(_Script(lane).steps) for lane in LANE_STORIES)
DELIVERED_LANES = sum(lane.fate in ("charged_back", *_RETURNING_FATES) for lane in LANE_STORIES)
LOST_LANES = [place for place, lane in enumerate(LANE_STORIES) if lane.fate == "lost"]
RETURNING_LANES = sum(lane.returns for lane in LANE_STORIES)


def zones() -> Integers:
    """The zone of each country (of `kit.places`)."""
    shipping = data_file("emitter.generators.shop", "shipping.csv")
    days = shipping.integers("days")[countries_file().places("country", shipping, "country")]
    found: Integers = np.abs(days[:, np.newaxis] - np.array(ZONE_DAYS)).argmin(axis=1)
    return found


def zone_weights(stories: Stories) -> NDArray[np.float64]:
    """By pair: the share of the orders whose zone is the step's."""
    of_zone = np.bincount(zones()[regions().countries], weights=regions().shares, minlength=len(ZONE_DAYS))
    shares = np.append(of_zone / of_zone.sum(), 1.0)  # the last for steps that are there in any zone
    found: NDArray[np.float64] = shares[stories.zones]
    return found


class Stories:
    """The steps of all orders in any window. `things` are the buyers, those of before the origin included."""

    def __init__(self, seed: int, things: Things, origin_slot: int) -> None:
        self._things, self._origin_slot = things, origin_slot
        self._followers = Followers(things, [[step.delay for step in script] for script in SCRIPTS], _stream(seed))
        chains = self._followers.chains
        self.steps = tuple(SCRIPTS[pair.lane][pair.step] for pair in chains.pairs)
        """By pair, as all arrays of this class that are not by row."""
        self.numbers = np.array([step.number for step in self.steps], dtype=np.int64)
        self.attempts = np.array([step.attempt for step in self.steps], dtype=np.int64)
        self.zones = np.array([step.zone for step in self.steps], dtype=np.int64)
        self.candidates = np.array([step.candidate for step in self.steps], dtype=np.int64)
        self.lane_parcels = np.array([lane.parcels for lane in LANE_STORIES], dtype=np.int64)
        self.lanes = chains.lanes

    def choose(self, table: str) -> Choice:
        """The steps that make a table's rows."""
        return self._followers.choose(np.flatnonzero([step.table == table for step in self.steps]))

    def expected(self, window: Window, choice: Choice, weights: NDArray[np.float64]) -> float:
        """The mean number of a choice's steps in a window, of which each is there with the weight of its pair: by the
        rate of orders at the mean delays of some groups of steps.
        """
        found = 0.0
        for group, delay_seconds in self._groups(choice):
            first = max(window.first - delay_seconds, self._origin_slot)
            end = max(window.end - delay_seconds, first)
            found += self._things.expected(Window(first, end)) * float(weights[group].sum()) / LANES
        return found

    def _groups(self, choice: Choice) -> list[tuple[Integers, int]]:
        """The pairs of a choice in groups of like delay, and the mean delay from the order of each."""
        chains = self._followers.chains
        delays = np.array([_mean_seconds(chains.pairs[pair].delays) for pair in choice.pairs])
        edges = np.searchsorted(_GROUP_EDGES, delays)
        return [
            (choice.pairs[edges == edge], _rounded(float(delays[edges == edge].mean()))) for edge in np.unique(edges)
        ]

    def statuses(self, names: Sequence[str]) -> Integers:
        """The place of each step's status among these names, -1 where it is another."""
        return np.array([names.index(step.status) if step.status in names else -1 for step in self.steps])

    def due(self, window: Window, slice: Slice, choice: Choice) -> Steps:
        """The steps of a choice in a window, of orders that exist: that were placed at the origin or later."""
        due = self._followers.due(window, slice, choice)
        if window.first - choice.longest_seconds >= self._origin_slot or not len(due.ids):
            return due
        exist = np.flatnonzero(self.placed(due.ids) >= self._origin_slot)
        return Steps(due.ids[exist], due.pairs[exist], due.slots[exist])

    def placed(self, ids: Integers) -> Integers:
        """The slot in which each of these orders is placed."""
        slots = ids >> SLOT_SHIFT
        lanes = (((ids >> CHILD_BITS) & SEQUENCE_MASK) + self._things.offsets(slots)) % LANES
        chains = self._followers.chains
        return chains.targets(slots, entries(chains.lane_columns, lanes) + ORDER)


_GROUP_EDGES = np.array(
    [
        *(hours * 3600 for hours in (1, 4, 8, 12)),
        *(days * DAY_SECONDS for days in (1, 2, 3, 4, 6, 8, 11, 15, 20, 26, 33, 41)),
    ]
)


def _rounded(delay_seconds: float) -> int:
    """What takes days follows the hours of the day that it began at."""
    days = round(delay_seconds / DAY_SECONDS)
    return days * DAY_SECONDS if days else int(delay_seconds)


def _mean_seconds(delays: Sequence[Delay]) -> int:
    return sum(delay.blocks * delay.block_seconds for delay in delays)


def _stream(seed: int) -> Stream:
    return Stream(seed, "stories")
