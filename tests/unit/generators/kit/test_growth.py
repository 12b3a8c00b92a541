from __future__ import annotations

import unittest
from decimal import Decimal

from emitter.generators.kit.growth import YEAR_SECONDS, Growth
from emitter.generators.kit.limits import GROWTH_YEARS

ORIGIN = 189_412_200  # 2026-01-01T06:30:00Z


class GrowthTests(unittest.TestCase):
    def test_it_is_exact_at_the_years_and_straight_between(self) -> None:
        growth = Growth(ORIGIN, 0.2)
        for year in range(GROWTH_YEARS + 1):
            exact = int(Decimal("1.2") ** year * 1_000_000)
            self.assertEqual(growth.millionths(ORIGIN + year * YEAR_SECONDS), exact)
        self.assertEqual(growth.millionths(ORIGIN + YEAR_SECONDS // 2), 1_100_000)
        self.assertEqual(growth.millionths(ORIGIN - 5), 1_000_000)
        self.assertEqual(growth.millionths(ORIGIN + 15 * YEAR_SECONDS), growth.millionths(ORIGIN + 10 * YEAR_SECONDS))


if __name__ == "__main__":
    unittest.main()
