"""What a product is: its brand, what distinguishes it, and what it costs at first, from its number and kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from emitter import arrow
from emitter.arrow import Values
from emitter.generators.kit.choices import choice_table, choose, choose_by, member_rows
from emitter.generators.kit.data import DataFile, data_file
from emitter.generators.kit.quantiles import lognormal, normal
from emitter.generators.shop.kinds import PACKAGE, kinds
from emitter.randomness import Integers, Stream, Words, entries

_NONE = "none"
_UNIT = 1_000_000
_RATING_MEAN_TENTHS, _RATING_DEVIATION_TENTHS = 42, 4
_COST_PERMILLE_LOW, _COST_PERMILLE_BITS = 420, 8  # up to 675


@dataclass(frozen=True, slots=True, eq=False)
class ArticleBatch:
    """By product: `texts` are its name, brand, department, category, kind, colour, size and material."""

    texts: tuple[Values, ...]
    weights_grams: Integers
    ratings_tenths: Integers
    cost_permille: Integers


class Articles:
    """See the module."""

    def __init__(self, seed: int) -> None:
        self._article, self._price = Stream(seed, "products"), Stream(seed, "products.base")
        self._rating = Stream(seed, "products.rating")
        departments = data_file(PACKAGE, "departments.csv")
        brands, homes = data_file(PACKAGE, "brands.csv"), data_file(PACKAGE, "brand_departments.csv")
        colours, sizes = data_file(PACKAGE, "colours.csv"), data_file(PACKAGE, "sizes.csv")
        materials = data_file(PACKAGE, "materials.csv")
        home_brands = homes.places("brand", brands, "brand")
        rows = member_rows(homes.places("department", departments, "department"), brands.integers("share")[home_brands])
        self._brand_rows = home_brands.astype(np.int16)[rows]
        self._brands, self._brand_percent = pa.array(brands.texts("brand")), brands.integers("price_percent")
        self._colours = pa.array(colours.texts("colour"))
        self._colour_table = choice_table(tuple(colours.integers("share").tolist()))
        self._sizes, self._size_of, self._size_rows = _by_group(sizes, "size_system", "size", "percent")
        self._materials, self._material_of, self._material_rows = _by_group(
            materials, "material_group", "material", "share"
        )
        self._material_percent = materials.integers("price_percent")
        found = kinds()
        self._spreads = sorted(set(found.spreads_percent.tolist()))
        self._spread_of = np.searchsorted(self._spreads, found.spreads_percent)
        self._has_size = np.array([system != _NONE for system in found.size_systems])
        self._has_material = np.array([group != _NONE for group in found.material_groups])
        self._names = pa.array(found.names)

    def prices_cents(self, products: Integers, of_kinds: Integers) -> Integers:
        """What each product costs when it is listed, in euro cents."""
        words, found = self._price.words(products), kinds()
        spread = np.empty(len(products), dtype=np.int64)
        for place, percent in enumerate(self._spreads):
            own = np.flatnonzero(self._spread_of[of_kinds] == place)
            spread[own] = lognormal(float(_UNIT), percent / 100).draw(words[own])
        cents = entries(found.medians_cents, of_kinds) * spread // _UNIT
        cents *= entries(self._brand_percent, self._brand(self._article.words(products), of_kinds))
        cents //= 100
        prices: Integers = np.maximum(cents, 99)
        return prices

    def batch(self, products: Integers, of_kinds: Integers) -> ArticleBatch:
        """What the table tells of each product, but for prices and times."""
        words, found = self._article.words(products), kinds()
        brand = self._brand(words, of_kinds)
        colour = choose(self._colour_table, words, 12).astype(np.int64)
        size = self._size(words, of_kinds)
        material = self._material(words, of_kinds)
        coloured, sized, made = found.has_colour[of_kinds], self._has_size[of_kinds], self._has_material[of_kinds]
        kind_names = arrow.named(self._names, of_kinds)
        # "Fennwick Merino Wool Jumper, Navy": a size belongs to what is ordered, not to its name.
        told = arrow.joined(" ", arrow.named(self._brands, brand), kind_names)
        if made.any():
            of_material = arrow.joined(
                " ", arrow.named(self._brands, brand), arrow.named(self._materials, material), kind_names
            )
            told = _chosen(made, of_material, told)
        if coloured.any():
            told = _chosen(coloured, arrow.joined(", ", told, arrow.named(self._colours, colour)), told)
        ratings = normal(_RATING_MEAN_TENTHS, _RATING_DEVIATION_TENTHS).draw(self._rating.words(products))
        texts = (
            told,
            arrow.labels(brand.astype(np.int16), self._brands),
            arrow.labels(found.departments.codes[of_kinds], found.departments.names),
            arrow.labels(found.categories.codes[of_kinds], found.categories.names),
            arrow.labels(of_kinds.astype(np.int16), self._names),
            _where(coloured, colour, self._colours),
            _where(sized, size, self._sizes),
            _where(made, material, self._materials),
        )
        cost = _COST_PERMILLE_LOW + (words >> np.uint64(64 - _COST_PERMILLE_BITS)).view(np.int64)
        return ArticleBatch(texts, found.weights_grams[of_kinds], np.clip(ratings, 25, 50), cost)

    def _brand(self, words: Words, of_kinds: Integers) -> Integers:
        return choose_by(self._brand_rows, kinds().departments.codes[of_kinds].astype(np.int64), words).astype(np.int64)

    def _size(self, words: Words, of_kinds: Integers) -> Integers:
        return choose_by(self._size_rows, entries(self._size_of, of_kinds), words, 24).astype(np.int64)

    def _material(self, words: Words, of_kinds: Integers) -> Integers:
        return choose_by(self._material_rows, entries(self._material_of, of_kinds), words, 36).astype(np.int64)


def _by_group(file: DataFile, group: str, text: str, weight: str) -> tuple[Values, Integers, NDArray[np.int16]]:
    """The texts, each once; by kind, which group it draws from (any where it has none); and the groups' rows."""
    groups = file.labels(group)
    labels = file.labels(text)
    rows = labels.codes[member_rows(groups.codes.astype(np.int64), file.integers(weight))].astype(np.int16)
    places = {name: place for place, name in enumerate(groups.names.to_pylist())}
    own = kinds().size_systems if group == "size_system" else kinds().material_groups
    return labels.names, np.array([places.get(name, 0) for name in own], dtype=np.int64), rows


def _chosen(where: NDArray[np.bool_], yes: Values, no: Values) -> Values:
    chosen: Values = pc.if_else(pa.array(where), yes, no)
    return chosen


def _where(there: NDArray[np.bool_], codes: Integers, names: Values) -> Values:
    """The labels of those that have one."""
    return arrow.optional_labels(np.where(there, codes, -1).astype(np.int16), names)
