"""The keys of things: 31 bits of slot, 18 of sequence within it, 4 of child. And the moment that a word names."""

from __future__ import annotations

from emitter.clock import EPOCH_UNIX_SECONDS
from emitter.generators.kit.limits import CHILD_BITS, SEQUENCE_BITS
from emitter.randomness import Integers, Words, below

SLOT_SHIFT = SEQUENCE_BITS + CHILD_BITS
SEQUENCE_MASK = (1 << SEQUENCE_BITS) - 1


def times_micros(slots: Integers, words: Words) -> Integers:
    """A moment within each slot from the upper 32 bits, as Unix microseconds. Never the last microsecond of the slot:
    what counts from the next slot on stands there.
    """
    micros = slots + EPOCH_UNIX_SECONDS
    micros *= 1_000_000
    micros += below(words, 999_999)
    return micros
