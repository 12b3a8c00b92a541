"""What people are called: first and last names as they are common in a country, and mail addresses that fit them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from emitter import arrow
from emitter.generators.kit.choices import choose_by, member_rows
from emitter.generators.kit.data import Texts, data_file
from emitter.generators.kit.places import countries_file
from emitter.randomness import Integers, Words, entries

_PACKAGE = "emitter.generators.kit"
GENDERS = ("female", "male")
FAMILY_FIRST = "family given"
# Where the choices lie in a person's word.
_GENDER_BIT, _FIRST_SHIFT, _LAST_SHIFT, _STYLE_SHIFT = 12, 13, 25, 40
NAME_BITS = 44  # of a word are taken, from the lowest on


@dataclass(frozen=True, slots=True, eq=False)
class FullNames:
    """Who people are: places in the lists of `Names`, of one length."""

    genders: Integers
    firsts: Integers
    lasts: Integers


@dataclass(frozen=True, slots=True, eq=False)
class Names:
    """All names, common ones more often. Last names stand there twice: as men bear them, and as women do."""

    firsts: Texts
    lasts: Texts
    _plain_fronts: Texts  # first names romanised, then their initials
    _plain_lasts: Texts
    _is_family_first: NDArray[np.bool_]  # of each first name
    _pool_rows: NDArray[np.int16] = field(repr=False)  # by country
    _first_rows: NDArray[np.int16] = field(repr=False)  # by pool and gender
    _last_rows: NDArray[np.int16] = field(repr=False)

    def pick(self, countries: Integers, words: Words) -> FullNames:
        """A name for someone in each country, from the lower `NAME_BITS` of the word."""
        pools = choose_by(self._pool_rows, countries, words).astype(np.int64)
        genders = ((words >> np.uint64(_GENDER_BIT)) & np.uint64(1)).view(np.int64)
        firsts = choose_by(self._first_rows, 2 * pools + genders, words, _FIRST_SHIFT).astype(np.int64)
        lasts = choose_by(self._last_rows, 2 * pools + genders, words, _LAST_SHIFT).astype(np.int64)
        return FullNames(genders, firsts, lasts)

    def full(self, people: FullNames) -> Texts:
        """First and last name, in the order and script of where the name comes from."""
        first, last = arrow.named(self.firsts, people.firsts), arrow.named(self.lasts, people.lasts)
        if (is_family_first := self._is_family_first[people.firsts]).any():
            turned = pa.array(is_family_first)
            first, last = pc.if_else(turned, last, first), pc.if_else(turned, first, last)
        return arrow.joined(" ", first, last)

    def local_parts(self, people: FullNames, words: Words, numbers: Integers) -> Texts:
        """What stands before the @ in a mail address: the romanised name in one of some styles, in ASCII letters, and
        the number, which alone makes it unique. The words are those that the names were picked by.
        """
        styles = ((words >> np.uint64(_STYLE_SHIFT)) & np.uint64(15)).view(np.int64)
        fronts = people.firsts + entries(_IS_INITIAL, styles) * len(self.firsts)
        return arrow.joined(
            "",
            arrow.named(self._plain_fronts, fronts),
            arrow.named(_SEPARATORS, entries(_SEPARATOR_OF, styles)),
            arrow.named(self._plain_lasts, people.lasts),
            pa.array(numbers).cast(pa.string()),
        )


# Sixteen styles, alike in frequency: anna.ekman7, annaekman7, anna_ekman7, a.ekman7, aekman7.
_SEPARATORS = pa.array([".", "", "_"])
_SEPARATOR_OF = np.array([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 0, 0, 1, 1], dtype=np.int64)
_IS_INITIAL = np.array([0] * 12 + [1] * 4, dtype=np.int64)


@lru_cache(maxsize=1)
def names() -> Names:
    """All names, read once."""
    pools = data_file(_PACKAGE, "name_pools.csv")
    shares = data_file(_PACKAGE, "name_shares.csv")
    first = data_file(_PACKAGE, "first_names.csv")
    last = data_file(_PACKAGE, "last_names.csv")
    of_first, of_last = first.places("pool", pools, "pool"), last.places("pool", pools, "pool")
    genders = np.array([GENDERS.index(gender) for gender in first.texts("gender")])
    share_rows = member_rows(shares.places("country", countries_file(), "country"), shares.integers("percent"))
    plain = first.texts("ascii")
    orders = pools.texts("order")
    return Names(
        firsts=pa.array(first.texts("name")),
        lasts=pa.array([*_women_forms(last.texts("name"), last.texts("female")), *last.texts("name")]),
        _plain_fronts=pa.array([*plain, *(name[0] for name in plain)]),
        _plain_lasts=pa.array([*_women_forms(last.texts("ascii"), last.texts("female_ascii")), *last.texts("ascii")]),
        _is_family_first=np.array([orders[pool] == FAMILY_FIRST for pool in of_first]),
        _pool_rows=shares.places("pool", pools, "pool").astype(np.int16)[share_rows],
        _first_rows=member_rows(2 * of_first + genders, first.integers("weight")),
        _last_rows=member_rows(
            np.concatenate([2 * of_last, 2 * of_last + 1]), np.tile(last.integers("weight"), len(GENDERS))
        ),
    )


def _women_forms(forms: tuple[str, ...], women: tuple[str, ...]) -> list[str]:
    return [woman or form for form, woman in zip(forms, women, strict=True)]
