"""The whole shop, in the making: what the next content version of `ecommerce` will be (docs/decisions/0034)."""
