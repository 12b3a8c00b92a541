"""Which lines come back, of the orders whose story has a return."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emitter.generators.shop.books import Lines
from emitter.generators.shop.stories import DELIVERED_LANES, RETURNING_LANES
from emitter.randomness import Stream, below

_BASIS = 10_000
MEAN_BACK, ANY_BACK = 0.49, 0.40
"""Of an order whose story has a return, with this catalogue: how many lines come back, and how often any does."""


class ComingBack:
    """By each line's own hash, at its category's rate over the share that such stories have of the delivered ones: no
    rate above that share, 58 %, can be met.
    """

    def __init__(self, seed: int) -> None:
        self._words = Stream(seed, "returns.lines")

    def of(self, lines: Lines) -> NDArray[np.bool_]:
        """Whether each line comes back."""
        found: NDArray[np.bool_] = (
            below(self._words.words(lines.ids), _BASIS * RETURNING_LANES) < lines.return_bp * DELIVERED_LANES
        )
        return found
