from __future__ import annotations

import unittest
from decimal import Decimal, localcontext
from itertools import pairwise

from emitter.generators.kit.poisson import poisson_thresholds


class PoissonTests(unittest.TestCase):
    RATES_MICRO = (1, 10, 1000, 500_000, 999_999, 3_000_000, 1_000_000_000, 30_000_000_000, 262_000_000_000)

    def test_thresholds_are_the_exact_probabilities(self) -> None:
        """A word is below threshold i with the probability of a count of at most first + i."""
        for rate_micro in self.RATES_MICRO[:-1]:
            first, thresholds = poisson_thresholds(rate_micro)
            with localcontext() as context:
                context.prec = 40
                rate = Decimal(rate_micro) / 1_000_000
                mass = (-rate).exp()
                exact, passed = [], Decimal(0)
                for count in range(first + len(thresholds) + 1):
                    passed += mass
                    if count >= first:
                        exact.append(passed)
                    mass = mass * rate / (count + 1)
                self.assertLess(float(1 - exact.pop()), 1e-14, "what is left out")
                worst = max(abs(Decimal(int(t)) / 2**64 - p) for t, p in zip(thresholds, exact, strict=True))
            with self.subTest(rate_micro=rate_micro):
                self.assertLess(float(worst), 2e-13)

    def test_mean_and_variance_are_the_rate(self) -> None:
        for rate_micro in self.RATES_MICRO:
            first, thresholds = poisson_thresholds(rate_micro)
            edges = [0, *(int(threshold) for threshold in thresholds), 2**64]
            masses = [Decimal(high - low) / 2**64 for low, high in pairwise(edges)]
            mean = sum(mass * (first + place) for place, mass in enumerate(masses))
            variance = sum(mass * (first + place - mean) ** 2 for place, mass in enumerate(masses))
            with self.subTest(rate_micro=rate_micro):
                self.assertAlmostEqual(float(mean) / (rate_micro / 1e6), 1, delta=1e-9)
                self.assertAlmostEqual(float(variance) / (rate_micro / 1e6), 1, delta=1e-9)

    def test_thresholds_rise(self) -> None:
        for rate_micro in self.RATES_MICRO:
            _, thresholds = poisson_thresholds(rate_micro)
            self.assertTrue((thresholds[1:] >= thresholds[:-1]).all())

    def test_a_rate_of_nothing_has_no_thresholds(self) -> None:
        first, thresholds = poisson_thresholds(0)
        self.assertEqual((first, len(thresholds)), (0, 0))


if __name__ == "__main__":
    unittest.main()
