"""In which month a slot is."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from emitter.clock import EPOCH
from emitter.generators.kit.growth import DAY_SECONDS
from emitter.randomness import Integers


def months(slots: Integers) -> Integers:
    """The month (UTC) of each slot, from 0."""
    days, places = np.unique(slots // DAY_SECONDS, return_inverse=True)
    found = [(EPOCH + timedelta(days=day)).month - 1 for day in days.tolist()]
    of_slots: Integers = np.array(found, dtype=np.int64)[places]
    return of_slots
