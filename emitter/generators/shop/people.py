"""The customers: who they are, and where they live."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pyarrow as pa

from emitter import arrow
from emitter.clock import EPOCH, EPOCH_UNIX_SECONDS
from emitter.generators.base import batch_windows
from emitter.generators.kit.choices import choice_rows, choice_table, choose, choose_by
from emitter.generators.kit.data import data_file
from emitter.generators.kit.growth import DAY_SECONDS, YEAR_SECONDS
from emitter.generators.kit.names import NAME_BITS, names
from emitter.generators.kit.places import cities, countries
from emitter.generators.kit.populations import Population
from emitter.generators.kit.quantiles import normal
from emitter.generators.shop.habits import HABITS, Habits
from emitter.generators.shop.regions import regions
from emitter.generators.shop.tables import CUSTOMERS
from emitter.model import Slice, Window
from emitter.randomness import Integers, Stream, below, below_low

_HISTORY_SECONDS = 5 * YEAR_SECONDS  # the opening population signed up within so long before the origin
_AGE_MEAN, _AGE_DEVIATION, _AGE_MIN, _AGE_MAX = 41, 14, 18, 88
_TIERS = ("bronze", "silver", "gold", "platinum")
# By habit, from who orders most seldom: of 100 so many have each tier.
_TIER_WEIGHTS = (
    *((97, 3, 0, 0), (92, 7, 1, 0), (80, 17, 3, 0), (58, 34, 7, 1)),
    *((30, 48, 19, 3), (12, 40, 38, 10), (5, 20, 47, 28), (2, 8, 35, 55)),
)
_CONSENT_IN_64 = 40
assert len(_TIER_WEIGHTS) == HABITS
_COLUMN_NAMES = [column.name for column in CUSTOMERS.columns]


class People:
    """Customers as numbered arrivals."""

    def __init__(self, seed: int, origin_slot: int, population: Population, habits: Habits) -> None:
        self._origin_slot, self._population, self._habits = origin_slot, population, habits
        self._person, self._place = Stream(seed, "customers"), Stream(seed, "customers.places")
        self._history = Stream(seed, "customers.history")
        channels = data_file("emitter.generators.shop", "channels.csv")
        own = [place for place, of in enumerate(channels.texts("of")) if of == "sign_up"]
        self._channels = pa.array([channels.texts("channel")[place] for place in own])
        self._channel_table = choice_table(tuple(channels.integers("weight")[own].tolist()))
        self._tier_rows, self._ages = choice_rows(_TIER_WEIGHTS).astype(np.int8), normal(_AGE_MEAN, _AGE_DEVIATION)

    def rows(self, window: Window, slice: Slice) -> Iterator[tuple[Integers, Integers]]:
        """(numbers, slots) in parts: the opening population, if the origin is in the window, and then those who sign
        up, by slot.
        """
        for opening in self._population.opening_within(window, slice):
            yield opening, np.full(len(opening), self._origin_slot)
        for day in batch_windows(window, DAY_SECONDS):
            numbers, slots = self._population.arrivals(day)
            mine = np.flatnonzero(numbers % slice.count == slice.index)
            yield numbers[mine], slots[mine]

    def batch(self, numbers: Integers, slots: Integers) -> pa.RecordBatch:
        """The table rows of what `rows` gave."""
        words, places, history = (each.words(numbers) for each in (self._person, self._place, self._history))
        old = numbers < self._population.opening
        moments = (slots + EPOCH_UNIX_SECONDS) * 1_000_000 + np.where(old, 0, below(history, 999_999))
        before = 1 + (below(history, _HISTORY_SECONDS) * 1_000_000) + below_low(history, 999_999)
        of_region, towns, lands, known = self._habits.regions_of(numbers), cities(), countries(), names()
        land = regions().countries[of_region]
        town = regions().cities(of_region, places)
        person = known.pick(land, words)
        user = known.local_parts(person, words, numbers)
        return pa.RecordBatch.from_arrays(
            [
                pa.array(numbers),
                arrow.times(moments),
                arrow.times(np.where(old, moments - before, moments)),
                known.full(person),
                arrow.joined("@", user, arrow.named(lands.mail_domains.names, lands.mail_domains.codes[land])),
                pa.array((self._origin_year() - self._ages_of(places)).astype(np.int32)),
                arrow.labels(lands.languages.codes[land], lands.languages.names),
                arrow.labels(land.astype(np.int16), pa.array(lands.codes)),
                arrow.labels(towns.regions.codes[town], towns.regions.names),
                arrow.labels(towns.names.codes[town], towns.names.names),
                towns.postal_codes(town, places),
                arrow.labels(towns.time_zones.codes[town], towns.time_zones.names),
                arrow.labels(choose(self._channel_table, words, NAME_BITS), self._channels),
                arrow.labels(choose_by(self._tier_rows, self._habits.habits_of(numbers), history), pa.array(_TIERS)),
                pa.array((words >> np.uint64(58)).view(np.int64) < _CONSENT_IN_64),
            ],
            names=_COLUMN_NAMES,
        )

    def expected_rows(self, window: Window) -> float:
        opening = self._population.opening if window.first <= self._origin_slot < window.end else 0
        first = max(window.first, self._origin_slot)
        return opening + (self._population.expected_arrivals(Window(first, window.end)) if first < window.end else 0.0)

    def _ages_of(self, words: np.ndarray) -> Integers:
        return np.clip(self._ages.draw(words), _AGE_MIN, _AGE_MAX)

    def _origin_year(self) -> int:
        return (EPOCH + timedelta(seconds=self._origin_slot)).year
