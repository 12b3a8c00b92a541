"""A command from its start to its end, and what it and all that it began took of the clock and of the processor."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

PR_SET_CHILD_SUBREAPER = 36


class Used(NamedTuple):
    """Seconds on the clock, and of the processor: user and system, of all processes of a command."""

    seconds: float
    processor_seconds: float


def adopt_orphans() -> None:
    """A helper that outlives its command becomes a child of this process, which so learns what it took."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run(words: Sequence[str | Path], told: Path, environ: Mapping[str, str] = os.environ) -> Used:
    """What a command took; what it said is in the file `told`. Nothing else of this process's may run meanwhile. Raises
    SystemExit where it failed.
    """
    command = list(map(str, words))
    with told.open("wb") as file:
        begin = perf_counter()
        actions = [(os.POSIX_SPAWN_DUP2, file.fileno(), descriptor) for descriptor in (1, 2)]
        process = os.posix_spawn(command[0], command, environ, file_actions=actions)
        seconds, processor_seconds = 0.0, 0.0
        while True:
            try:
                ended, status, used = os.wait4(-1, 0)
            except ChildProcessError:
                return Used(seconds, processor_seconds)
            processor_seconds += used.ru_utime + used.ru_stime
            if ended == process:
                seconds = perf_counter() - begin
                if status:
                    raise SystemExit(f"{' '.join(command)} ended with {status}:\n{told.read_text()}")
