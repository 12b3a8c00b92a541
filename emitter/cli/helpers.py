"""The processes that help `generate`: how many, and that they are on their way early.

Loads next to nothing itself: it comes before the command loads its own libraries.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from emitter.generators import DOMAINS
from emitter.run.children import begin_nursery
from emitter.writers import FORMATS

if TYPE_CHECKING:
    from emitter.config import EmitterConfig


def default_jobs() -> int:
    """One for every two cores, as each makes rows in a thread and encodes in two."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // 2)


def begin(settings: EmitterConfig) -> None:
    """Let them load what they need while this process loads what it needs itself."""
    begin_nursery(
        (
            *("emitter.cli.progresslog", "emitter.run.bounded"),
            *(f"{DOMAINS[settings.domain]}.generator", FORMATS[settings.output.format]),
        )
    )
