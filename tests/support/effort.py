"""How much the long tests do: a share of the full counts that a seed chooses, and all of them in `make soak`.

`TEST_SEED` gives a seed again that failed; each test tells its own in what it says of a failure.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from math import ceil
from random import Random, SystemRandom

IS_SOAK = bool(os.environ.get("SOAK"))
SHARE = 1.0 if IS_SOAK else 0.3


def new_seed() -> int:
    """The seed that was given, or another one at each call."""
    return int(os.environ.get("TEST_SEED") or SystemRandom().randrange(2**32))


def count(full: int) -> int:
    """So many of the full count."""
    return ceil(full * SHARE)


def some[T](items: Iterable[T], seed: int) -> list[T]:
    """The share of them that a seed chooses, in their order."""
    known = list(items)
    chosen = sorted(Random(seed).sample(range(len(known)), count(len(known))))
    return [known[place] for place in chosen]
