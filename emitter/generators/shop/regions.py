"""Where customers live: regions, each a country or that part of it that has a clock of its own, and their cities."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from emitter.generators.kit.choices import choose_by, member_rows
from emitter.generators.kit.places import cities, countries
from emitter.randomness import Integers, Words

_SHARE_MIN = 4e-4  # of all customers: a smaller part of a country goes by the clock of its largest one
_SHARE_UNIT = 10_000_000
_CITY_BITS = 16  # of a word that a choice takes


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """By region: its country (of `kit.places`), its time zone, and its share of the customers in 10,000,000ths."""

    countries: Integers
    time_zones: tuple[str, ...]
    shares: tuple[int, ...]
    _cities: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.time_zones)

    def cities(self, regions: Integers, words: Words, shift: int = 0) -> Integers:
        """A city (of `kit.places`) in each region by its population, from 16 bits of the word from `shift` on."""
        return choose_by(self._cities, regions, words, shift).astype(np.int64)


@lru_cache(maxsize=1)
def regions() -> Regions:
    """All of them, the largest first in each country."""
    towns, lands = cities(), countries()
    zone_of_city, zone_names = towns.time_zones.codes, towns.time_zones.names.to_pylist()
    region_of_city = np.empty(len(towns.countries), dtype=np.int64)
    found_countries, zones, shares = list[int](), list[str](), list[int]()
    total_bp = int(lands.customers_bp.sum())
    for country, customers_bp in enumerate(lands.customers_bp.tolist()):
        members = np.flatnonzero(towns.countries == country)
        people = np.bincount(zone_of_city[members], weights=towns.populations[members], minlength=len(zone_names))
        parts = customers_bp / total_bp * people / people.sum()
        order = np.argsort(-parts, kind="stable")
        own = [zone for zone in order.tolist() if parts[zone] >= _SHARE_MIN] or [int(order[0])]
        parts[own[0]] += parts.sum() - parts[own].sum()
        region_of_zone = np.full(len(zone_names), len(zones))
        region_of_zone[own] = len(zones) + np.arange(len(own))
        region_of_city[members] = region_of_zone[zone_of_city[members]]
        found_countries += [country] * len(own)
        zones += [zone_names[zone] for zone in own]
        shares += [round(float(parts[zone]) * _SHARE_UNIT) for zone in own]
    return Regions(
        countries=np.array(found_countries, dtype=np.int64),
        time_zones=tuple(zones),
        shares=tuple(shares),
        _cities=member_rows(region_of_city, towns.populations, _CITY_BITS),
    )
