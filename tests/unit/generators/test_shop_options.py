"""The shop's options: rates and curves that fit the ids, and what may change on the way."""

from __future__ import annotations

import unittest
from decimal import Decimal

import numpy as np

from emitter.config import load_config
from emitter.errors import ConfigurationError
from emitter.generators.ecommerce import curve
from emitter.generators.ecommerce import options as shop
from emitter.generators.kit.picks import power_law_quantiles, skewed_rank
from emitter.randomness import Stream
from emitter.settings.declaring import leaf_keys, validate_options
from tests.unit.config_case import ROOT, ConfigTest, at, config


class TheShop(ConfigTest):
    def test_the_curves_have_a_mean_of_one_and_believable_peaks(self) -> None:
        for weights, count, peak_max in (
            (curve.HOUR_WEIGHTS, 24, 2000),
            (curve.WEEKDAY_WEIGHTS, 7, 1250),
            (curve.SEASON_WEIGHTS, 12, 1450),
        ):
            self.assertEqual((len(weights), sum(weights)), (count, 1000 * count))
            self.assertLessEqual(max(weights), peak_max)
        self.assertEqual(curve.HOUR_WEIGHTS.index(min(curve.HOUR_WEIGHTS)), 4)
        self.assertEqual(curve.HOUR_WEIGHTS.index(max(curve.HOUR_WEIGHTS)), 20)
        self.assertEqual({m for m, w in enumerate(curve.SEASON_WEIGHTS, 1) if w > 1300}, {11, 12})

    def test_the_peak_is_the_product_of_all_that_can_come_together(self) -> None:
        options = validate_options(
            shop.EcommerceOptions,
            {
                "orders_per_second": 10,
                "promotions": {"2026-11-27": 3, "2026-11-28": 2},
                "order_growth_per_year": 1,
            },
            "ecommerce",
        )
        self.assertAlmostEqual(shop.peak_rate_per_second(options), 10 * curve.CURVE_PEAK * 3 * 2**10)
        quiet = validate_options(
            shop.EcommerceOptions, {"promotions": {"2026-11-27": 0.5}, "order_growth_per_year": 0}, ""
        )
        self.assertAlmostEqual(shop.peak_rate_per_second(quiet), 10 * curve.CURVE_PEAK)

    def test_only_the_rate_and_what_shapes_it_may_change_on_the_way(self) -> None:
        inputs = {path for path, key in leaf_keys(shop.EcommerceOptions).items() if key.is_input}
        self.assertEqual(
            inputs,
            {"orders_per_second", "promotions", "curve", "arrivals", "hour_weights", "weekday_weights"}
            | {"month_weights"},
        )

    def test_a_flat_rate_may_be_as_high_as_the_ids_reach(self) -> None:
        for options, most in (
            ({"curve": "flat"}, 2.0**18 - 5120),
            ({"curve": "flat", "arrivals": "even"}, 2.0**18 - 1),
            ({"curve": "flat", "arrivals": "even", "promotions": {"2026-11-27": 2}}, 2**17 - 0.5),
        ):
            with self.subTest(options=options):
                config(ecommerce={"orders_per_second": most, **options})
                more = at("ecommerce", {"orders_per_second": most + 0.01, **options})
                self.assertIn(f"at most {most} ", self.faults_of(more)["ecommerce.orders_per_second"].allowed)

    def test_weights_of_ones_own_count_for_the_peak(self) -> None:
        one_hour = {"hour_weights": [0] * 23 + [5]}
        options = config(ecommerce={"order_growth_per_year": 0, **one_hour}).ecommerce
        self.assertAlmostEqual(shop.peak_rate_per_second(options) / (10 * 24 * 1.17 * 1.4), 1, delta=0.01)
        self.assertIn(
            "ecommerce.orders_per_second", self.faults_of(at("ecommerce", {"orders_per_second": 9000, **one_hour}))
        )
        same = config(ecommerce={"hour_weights": [w / 7 for w in curve.HOUR_WEIGHTS], "order_growth_per_year": 0})
        self.assertAlmostEqual(shop.peak_rate_per_second(same.ecommerce) / (10 * curve.CURVE_PEAK), 1, delta=0.01)

    def test_what_says_nothing_to_a_curve_is_refused(self) -> None:
        for options, key, told in (
            (
                {"arrivals": "even"},
                "arrivals",
                "poisson, as the curve is shop; set curve to flat for arrivals that are even",
            ),
            (
                {"curve": "flat", "hour_weights": [1] * 24, "month_weights": [1] * 12},
                "curve",
                "shop, as hour_weights, month_weights shape a curve; leave them out for a constant rate",
            ),
        ):
            fault = self.faults_of(at("ecommerce", options))[f"ecommerce.{key}"]
            self.assertEqual(f"{fault.allowed}; {fault.hint}", told)

    def test_weights_must_be_as_many_as_there_are_hours_weekdays_or_months(self) -> None:
        for wrong in ([1] * 6, [0] * 7, [1, 1, 1, 1, 1, 1, -1], [1, 1, 1, 1, 1, 1, "1"], {"Mon": 1}, 7, [[1]] * 7):
            with self.subTest(wrong=wrong):
                fault = self.faults_of(at("ecommerce.weekday_weights", wrong))["ecommerce.weekday_weights"]
                self.assertTrue(fault.allowed.startswith("7 numbers from 0 to 1000000, not all 0"))

    def test_options_are_validated_alone_with_paths_below_their_prefix(self) -> None:
        with self.assertRaises(ConfigurationError) as caught:
            validate_options(shop.EcommerceOptions, {"customers": 0, "product": 1}, "ecommerce")
        self.assertEqual([f.path for f in caught.exception.faults], ["ecommerce.product", "ecommerce.customers"])

    def test_more_orders_than_customers_would_have_are_warned_of(self) -> None:
        (told,) = shop.EcommerceOptions(customers=20_000, orders_per_second=20.0).warnings()
        self.assertIn("20 over 20,000 customers with a skew of 0.8 are 86.4 orders a day of each, and 41,", told)
        (told,) = shop.EcommerceOptions(customers=100_000, orders_per_second=0.3).warnings()  # the busiest alone
        self.assertIn("are 0.3 orders a day of each, and 428 of the busiest", told)
        self.assertEqual(
            shop.EcommerceOptions(customers=100_000, orders_per_second=0.3, customer_skew=0.5).warnings(), []
        )

    def test_the_busiest_customer_is_drawn_as_often_as_the_warning_says(self) -> None:
        for skew in (0.5, 0.8, 1.0):
            words = Stream(1, "test").words(np.arange(1_000_000))
            ranks = skewed_rank(words, power_law_quantiles(1000, Decimal(str(skew))), 1000)
            self.assertAlmostEqual(int((ranks == 0).sum()) / 1e6 / shop._busiest_share(1000, skew), 1, delta=0.03)

    def test_no_file_that_is_shipped_is_warned_of(self) -> None:
        shipped = [*ROOT.glob("config/*.yaml"), *ROOT.glob("deploy/**/emitter.yaml")]
        self.assertEqual(len(shipped), 14)
        for path in shipped:
            self.assertEqual(load_config(path).options.warnings(), [], path)


if __name__ == "__main__":
    unittest.main()
