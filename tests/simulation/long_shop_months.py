"""The month of many shops: the same, for other seeds."""

from __future__ import annotations

import unittest

from tests.simulation import test_shop_month
from tests.support.effort import new_seed, some

SEEDS = (0, 1, 7, 1234, 2**31, 2**63 - 1)


def load_tests(loader: unittest.TestLoader, tests: unittest.TestSuite, pattern: str | None) -> unittest.TestSuite:
    for seed in some(SEEDS, new_seed()):
        shop = type(f"ShopMonthOfSeed{seed}Tests", (test_shop_month.ShopMonthTests,), {"seed": seed})
        tests.addTests(loader.loadTestsFromTestCase(shop))
    return tests
