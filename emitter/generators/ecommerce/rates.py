"""The rate of orders that the options ask for."""

from __future__ import annotations

from emitter.generators.ecommerce.curve import weights_of
from emitter.generators.ecommerce.options import EcommerceOptions
from emitter.generators.kit.rates import Curve, FlatCurve, RateCurve


def curve_of(origin_slot: int, options: EcommerceOptions) -> Curve:
    """The curve of these options."""
    if options.curve == "flat":
        return FlatCurve(options.orders_per_second, options.promotions, is_even=options.arrivals == "even")
    return RateCurve(
        origin_slot,
        options.orders_per_second,
        weights_of(options.hour_weights, options.weekday_weights, options.month_weights),
        options.time_zones,
        options.order_growth_per_year,
        options.promotions,
    )
