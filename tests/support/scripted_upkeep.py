"""Upkeep that does what its script says, for tests of what surrounds that of the formats, also in another process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from emitter.config import EmitterConfig
from emitter.errors import StorageError
from emitter.model import TableSize
from emitter.storage.local import LocalStorage
from emitter.writers.base import TableWriter, WriterOptions
from emitter.writers.parquet.writer import ParquetWriter
from emitter.writers.upkeep import Chore, Done, NoUpkeep, Task, Upkeep, UpkeepPolicy

SIZE = TableSize(7, 700)


class ScriptedUpkeep(Upkeep):
    """A compaction of each table, which ends as the script says."""

    tasks = ("compact", "vacuum")
    crash_points = ()

    def __init__(self, policy: UpkeepPolicy, script: str, begun: Path) -> None:
        super().__init__(policy)
        self._script, self._begun = script, begun
        self._done = 0

    def plan(self, task: Task, table: str) -> Sequence[Chore]:
        return [Chore(task, table, "year=2026", 60, 600, 1)] if task == "compact" else ()

    def apply(self, chore: Chore) -> Done:
        self._begun.write_text(str(os.getpid()))
        match self._script:
            case "count":
                self._done += 1
                return Done(files_removed=self._done)
            case "fail":
                raise StorageError("write", chore.table, "disk full")
            case "fault":
                raise ZeroDivisionError
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                time.sleep(120)
            case "eat":
                eaten = bytearray()
                while True:
                    eaten += os.urandom(2**24)
        return Done(60, 1, 600, 400)


class ScriptedWriter(ParquetWriter):
    """Of an output whose upkeep goes by a script: `work`, `none`, or how it fails."""

    script = "work"

    def upkeep(self, policy: UpkeepPolicy) -> Upkeep:
        if self.script == "none":
            return NoUpkeep(policy)
        assert self.storage.folder is not None
        return ScriptedUpkeep(policy, self.script, Path(self.storage.folder).with_suffix(".begun"))

    def size(self, table: str) -> TableSize:
        return SIZE


def scripted_writer(script: str, config: EmitterConfig) -> TableWriter:
    """Made in any process, where it is told what to do."""
    writer = ScriptedWriter(LocalStorage(config.output.uri), WriterOptions())
    writer.script = script
    return writer
