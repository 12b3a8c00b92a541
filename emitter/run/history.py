"""What lies far behind is staged in several processes, what is due now in this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import override

from emitter.generators.base import GeneratorBase
from emitter.model import Window
from emitter.run.pipeline import OnRows, Request, StagedBatch, Stager

_BATCHES_MIN, _SECONDS_MIN = 3, 60  # a window of more is behind


class HistoryStager(Stager):
    """Leaves windows of several batches to `far`, all others to `near`, one at a time. `batch_seconds` tells how long a
    batch is now.
    """

    def __init__(self, near: Stager, far: Stager, batch_seconds: Callable[[], int]) -> None:
        self._near, self._far, self._batch_seconds = near, far, batch_seconds
        self._last = near

    @override
    def follow(self, generator: GeneratorBase) -> None:
        self._near.follow(generator)
        self._far.follow(generator)

    @override
    def stage(self, request: Request, following: Iterator[Window], on_rows: OnRows) -> StagedBatch:
        is_behind = request.window.seconds > max(_BATCHES_MIN * self._batch_seconds(), _SECONDS_MIN)
        stager = self._far if is_behind else self._near
        if stager is not self._last:
            self._last.reset()
            if stager is self._near:
                self._far.close()  # which gives its memory back; it begins again where there is more
            self._last = stager
        return stager.stage(request, following, on_rows)

    @override
    def reset(self) -> None:
        self._last.reset()

    @override
    def close(self) -> None:
        self._near.close()
        self._far.close()
