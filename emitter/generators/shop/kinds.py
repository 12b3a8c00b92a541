"""The kinds of products: the leaves of the category tree, which of them are bought when and by whom, and with what."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from emitter.generators.kit.choices import choice_rows
from emitter.generators.kit.data import Labels, data_file
from emitter.randomness import Integers, Stream

PACKAGE = "emitter.generators.ecommerce"
MONTHS = 12
COMPLEMENTS = 4
_CHOICE_BITS = 14
_SEASON_UNIT = 1_000
# How much of a season's peak is left so many months away from it, in hundredths.
_SEASON_SHAPE = (100, 70, 25, -10, -40, -55, -60)


@dataclass(frozen=True, slots=True, eq=False)
class Kinds:
    """By kind, in the order of categories.csv: where it stands in the tree, what it is like. `weights` are its shares
    of the catalogue, `seasons` how much is sold by month (rows), in thousandths of the mean month.
    """

    names: tuple[str, ...]
    departments: Labels
    categories: Labels
    weights: Integers
    medians_cents: Integers
    spreads_percent: Integers
    weights_grams: Integers
    has_colour: NDArray[np.bool_]
    size_systems: tuple[str, ...]
    material_groups: tuple[str, ...]
    returns_bp: Integers
    seasons: Integers

    def __len__(self) -> int:
        return len(self.names)

    def rows_by_month(self, present: NDArray[np.bool_]) -> NDArray[np.int16]:
        """Which kind is bought in a month (rows), out of those that are present: tables for `choose_by`."""
        shares = self.seasons * np.where(present, self.weights, 0)
        return choice_rows([tuple(row) for row in shares.tolist()], _CHOICE_BITS)

    def rows_by_department(self, present: NDArray[np.bool_]) -> NDArray[np.int16]:
        """Which kind is bought by whoever likes a department (rows); any, where none of its kinds is present."""
        weights = np.where(present, self.weights, 0)
        rows = []
        for department in range(len(self.departments.names)):
            own = np.where(self.departments.codes == department, weights, 0)
            rows.append(tuple((own if own.any() else weights).tolist()))
        return choice_rows(rows, _CHOICE_BITS)

    def complements(self, present: NDArray[np.bool_]) -> Integers:
        """By kind: `COMPLEMENTS` others that are bought with it, of its department where there are any."""
        stream = Stream(0, "shop.complements")  # of the tree alone: not of the seed
        everywhere = np.flatnonzero(present)
        found = np.empty((len(self), COMPLEMENTS), dtype=np.int64)
        for kind in range(len(self)):
            own = np.flatnonzero(present & (self.departments.codes == self.departments.codes[kind]))
            others = own[own != kind] if (own != kind).any() else everywhere
            order = np.argsort(stream.words((kind << 16) | others), kind="stable")
            found[kind] = np.resize(others[order], COMPLEMENTS)
        return found


@lru_cache(maxsize=1)
def kinds() -> Kinds:
    """All of them, read once."""
    file, departments = data_file(PACKAGE, "categories.csv"), data_file(PACKAGE, "departments.csv")
    of_department = file.places("department", departments, "department")
    pairs = list(zip(file.texts("department"), file.texts("category"), strict=True))
    places = {pair: place for place, pair in enumerate(dict.fromkeys(pairs))}
    of_category = np.array([places[pair] for pair in pairs])
    permille = departments.integers("share_permille")[of_department]
    shares = file.integers("share")
    # A department's share is dealt evenly to its categories, and that of a category to its kinds.
    category_totals = np.bincount(of_category, weights=shares)[of_category]
    category_counts = np.bincount(of_department[np.unique(of_category, return_index=True)[1]])[of_department]
    weights = np.rint(permille * 1_000 * shares / (category_totals * category_counts)).astype(np.int64)
    months = np.abs((np.arange(MONTHS)[:, np.newaxis] - (file.integers("season_month") - 1) + 6) % MONTHS - 6)
    shape = np.array(_SEASON_SHAPE, dtype=np.int64)[months]
    sold = np.maximum(_SEASON_UNIT + shape * file.integers("season_percent") * _SEASON_UNIT // 10_000, 50)
    return Kinds(
        names=file.texts("kind"),
        departments=Labels(of_department.astype(np.int16), departments.labels("title").names),
        categories=file.labels("category"),
        weights=weights,
        medians_cents=file.integers("price_median_cents"),
        spreads_percent=file.integers("price_spread_percent"),
        weights_grams=file.integers("weight_grams"),
        has_colour=file.integers("has_colour") == 1,
        size_systems=file.texts("size_system"),
        material_groups=file.texts("material_group"),
        returns_bp=file.integers("return_bp"),
        seasons=sold * _SEASON_UNIT * MONTHS // sold.sum(axis=0),
    )
