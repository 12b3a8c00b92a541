"""Fakes and faults for tests, public, and held to the same contracts as what they stand for.

`ManualClock` moves by hand. `MemoryStorage` and `MemoryWriter` keep everything in memory. `FaultyStorage` is
a disk whose n-th system call fails, `exit_at` ends the process at a crash point. `HeartbeatGenerator` is a
small domain.
"""

from emitter.testing.clock import ManualClock
from emitter.testing.faults import PRIMITIVES, FaultyStorage, SimulatedCrash, exit_at
from emitter.testing.heartbeat import HeartbeatGenerator, HeartbeatOptions
from emitter.testing.memory import MemoryStorage, MemoryWriter

__all__ = [
    "PRIMITIVES",
    "FaultyStorage",
    "HeartbeatGenerator",
    "HeartbeatOptions",
    "ManualClock",
    "MemoryStorage",
    "MemoryWriter",
    "SimulatedCrash",
    "exit_at",
]
