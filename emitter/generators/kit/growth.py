"""Growth over the years, as a factor."""

from __future__ import annotations

from decimal import Decimal, localcontext

from emitter.generators.kit.limits import GROWTH_YEARS
from emitter.randomness import EXACT

DAY_SECONDS = 86_400
YEAR_SECONDS = 365 * DAY_SECONDS
UNIT = 1_000_000  # growth factors are integers in millionths


class Growth:
    """A factor that grows by a share each year after the origin, straight within a year, for `GROWTH_YEARS`."""

    def __init__(self, origin_slot: int, share_per_year: float) -> None:
        share = Decimal(str(share_per_year))
        self._origin_slot = origin_slot
        with localcontext(EXACT):
            self._factors = [int(UNIT * (1 + share) ** year) for year in range(GROWTH_YEARS + 1)]

    def millionths(self, slot: int) -> int:
        """The factor at a slot, in millionths."""
        year, rest = divmod(max(0, slot - self._origin_slot), YEAR_SECONDS)
        if year >= GROWTH_YEARS:
            return self._factors[-1]
        low, high = self._factors[year], self._factors[year + 1]
        return low + (high - low) * rest // YEAR_SECONDS
