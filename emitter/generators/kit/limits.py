"""How far keys, populations and growth reach: light, so that checking a file loads no numpy."""

from __future__ import annotations

SEQUENCE_BITS, CHILD_BITS = 18, 4

SLOT_THINGS_MAX = 1 << SEQUENCE_BITS
"""A key has 18 bits for a thing's number within its second: so many may start in one."""

CHILD_MAX = (1 << CHILD_BITS) - 1
"""A thing has at most so many children of one kind, numbered from 1."""

POPULATION_MAX = 1 << 30
"""A member of a population is drawn from 64-bit words in a way that reaches so many."""

GROWTH_YEARS = 10
"""Growth goes on for so many years after the origin, then the level stays."""
