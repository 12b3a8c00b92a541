"""`python -m tests.unit.upkeep.hanging OUTPUT`: has a round of upkeep done that never ends."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from emitter.clock import SystemClock
from emitter.upkeep.child import Order
from emitter.upkeep.process import UpkeepProcess
from tests.support.scripted_upkeep import scripted_writer
from tests.support.shop import shop

if __name__ == "__main__":
    process = UpkeepProcess(partial(scripted_writer, "hang"), SystemClock(), None)
    process.run(Order(shop(Path(sys.argv[1]))), lambda _: None, lambda: None)
