"""Where people live: countries and cities, and what follows from that: region, time zone, language, currency, tax."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emitter.generators.kit.choices import choose, choose_by, member_rows
from emitter.generators.kit.data import DataFile, Labels, Texts, data_file
from emitter.randomness import Integers, Stream, Words, entries

_PACKAGE = "emitter.generators.kit"
_COUNTRY_BITS = _CITY_BITS = 16  # of a word that a choice takes


@dataclass(frozen=True, slots=True, eq=False)
class Countries:
    """The countries, each by its place in the arrays."""

    codes: tuple[str, ...]  # ISO 3166
    names: Texts
    languages: Labels
    currencies: Labels  # ISO 4217
    rounding_cents: Integers  # amounts are multiples of it
    units_per_eur_micros: Integers
    tax_bp: Integers
    mail_domains: Labels
    customers_bp: Integers
    _table: NDArray[np.int16] = field(repr=False)

    def pick(self, words: Words, shift: int = 0) -> Integers:
        """A country for each word by its share of the customers, from the 16 bits from `shift` on."""
        return choose(self._table, words, shift).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Cities:
    """The cities of all countries, each by its place in the arrays."""

    names: Labels
    regions: Labels
    time_zones: Labels  # IANA
    countries: Integers
    latitudes_1e4: Integers
    longitudes_1e4: Integers
    populations: Integers
    _table: NDArray[np.int16] = field(repr=False)
    _postal_codes: PostalCodes = field(repr=False)

    def pick(self, countries: Integers, words: Words, shift: int = 0) -> Integers:
        """A city in each country by its population, from the 16 bits of the word from `shift` on."""
        return choose_by(self._table, countries, words, shift).astype(np.int64)

    def postal_codes(self, cities: Integers, words: Words) -> Texts:
        """A postal code for each word, in the form that the country gives them. It is invented: it need not be
        assigned, and where it is, to another place. Only that a city's codes begin alike is as in life.
        """
        return self._postal_codes.drawn(self.countries[cities], cities, words)


class PostalCodes:
    """Postal codes by the patterns of the countries: 9 a digit, 1 a digit but 0, A a letter, all else itself."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        literals = "".join(sorted(set("".join(patterns)) - set(_BOUNDS)))
        self._symbols = np.frombuffer((_DIGITS + _LETTERS + literals).encode("ascii"), dtype=np.uint8)
        shape = max(map(len, patterns)), len(patterns)
        self._firsts, self._bounds = np.zeros(shape, np.int64), np.zeros(shape, np.uint64)
        for row, pattern in enumerate(patterns):
            for place, sign in enumerate(pattern):
                self._firsts[place, row], self._bounds[place, row] = _BOUNDS.get(
                    sign, (len(_DIGITS + _LETTERS) + literals.find(sign), 1)
                )

    def drawn(self, countries: Integers, cities: Integers, words: Words) -> Texts:
        """A code for each row: the first signs follow from the city, the others from the word."""
        width = len(self._bounds)
        signs, is_sign = np.empty((len(words), width), np.uint8), np.empty((len(words), width), np.bool_)
        of_cities = _CITY_WORDS.words(cities)
        for place in range(width):
            # Six bits for each sign.
            bits = ((of_cities if place < _CITY_SIGNS else words) >> np.uint64(6 * place)) & np.uint64(63)
            bounds = entries(self._bounds[place], countries)
            bits *= bounds
            bits >>= np.uint64(6)
            signs[:, place] = entries(self._symbols, entries(self._firsts[place], countries) + bits.view(np.int64))
            is_sign[:, place] = bounds > 0
        ends = np.concatenate([[0], np.cumsum(is_sign.sum(axis=1))]).astype(np.int32)
        return pa.StringArray.from_buffers(len(words), pa.py_buffer(ends), pa.py_buffer(signs[is_sign]))


_DIGITS = "0123456789"
_LETTERS = "ABEGHJLNPRSTWXYZ"  # those that no country leaves out
_BOUNDS = {"9": (0, 10), "1": (1, 9), "A": (len(_DIGITS), len(_LETTERS))}
_CITY_SIGNS = 2
_CITY_WORDS = Stream(0, "places.postal_codes")  # of the city alone: not of the seed


def countries_file() -> DataFile:
    """The countries as they are written down."""
    return data_file(_PACKAGE, "countries.csv")


@lru_cache(maxsize=1)
def countries() -> Countries:
    """The countries, read once."""
    file = countries_file()
    shares = file.integers("customers_bp")
    return Countries(
        codes=file.texts("country"),
        names=pa.array(file.texts("name")),
        languages=file.labels("language"),
        currencies=file.labels("currency"),
        rounding_cents=file.integers("rounding_cents"),
        units_per_eur_micros=file.integers("units_per_eur_micros"),
        tax_bp=file.integers("tax_bp"),
        mail_domains=file.labels("mail_domain"),
        customers_bp=shares,
        _table=member_rows(np.zeros(len(file), np.int64), shares, _COUNTRY_BITS)[0],
    )


@lru_cache(maxsize=1)
def cities() -> Cities:
    """The cities, read once."""
    file = data_file(_PACKAGE, "cities.csv")
    of_countries, populations = file.places("country", countries_file(), "country"), file.integers("population")
    return Cities(
        names=file.labels("city"),
        regions=file.labels("region"),
        time_zones=file.labels("time_zone"),
        countries=of_countries,
        latitudes_1e4=file.integers("latitude_1e4"),
        longitudes_1e4=file.integers("longitude_1e4"),
        populations=populations,
        _table=member_rows(of_countries, populations, _CITY_BITS),
        _postal_codes=PostalCodes(countries_file().texts("postal_code")),
    )
