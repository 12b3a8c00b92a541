"""Staging in several processes: workers make and stage windows ahead, one process commits them in order."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from emitter.clock import Clock, text_of
from emitter.errors import StorageError
from emitter.generators.base import GeneratorBase
from emitter.model import Epoch, Window
from emitter.run.children import begin_nursery, deaf_to, end_with_parent
from emitter.run.pipeline import LocalStager, OnRows, Request, StagedBatch, Stager
from emitter.writers.base import TableWriter

_AHEAD_PER_WORKER = 2


class WorkerStager(Stager):
    """Stages windows in `jobs` processes, some windows ahead.

    `make_generator(origin_slot, epochs)`, `make_writer()`, `clock` and `begin`, which each worker calls first, go to
    the workers, so they must be picklable.
    """

    def __init__(
        self,
        make_generator: Callable[[int, tuple[Epoch, ...]], GeneratorBase],
        make_writer: Callable[[], TableWriter],
        clock: Clock,
        jobs: int,
        begin: Callable[[], None] | None = None,
    ) -> None:
        self._parts = (make_generator, make_writer, clock, begin)
        self._jobs = jobs
        self._pool: ProcessPoolExecutor | None = None
        self._ahead: deque[tuple[Request, Future[StagedBatch]]] = deque()
        self._inputs: tuple[int, tuple[Epoch, ...]] | None = None

    def follow(self, generator: GeneratorBase) -> None:
        inputs = (generator.origin_slot, generator.epochs)
        if inputs != self._inputs:
            self.reset()
            self._inputs = inputs

    def stage(self, request: Request, following: Iterator[Window], on_rows: OnRows) -> StagedBatch:
        try:
            batch = self._next_batch(request, following).result()
        except BrokenProcessPool as error:
            self._end_pool()  # all of it: nobody may still stage when what was staged is dropped
            raise _ended_early(request) from error
        for table, rows in batch.rows.items():
            on_rows(table, rows)
        return batch

    def _next_batch(self, request: Request, following: Iterator[Window]) -> Future[StagedBatch]:
        if not self._ahead or self._ahead[0][0] != request:
            self.reset()  # something else came than was expected
            self._submit(request)
        last = self._ahead[-1][0].window
        for ahead in following:
            if len(self._ahead) > self._jobs * _AHEAD_PER_WORKER:
                break
            if ahead.first >= last.end:
                self._submit(request._replace(window=ahead))
        _, future = self._ahead.popleft()
        return future

    def reset(self) -> None:
        futures = [future for _, future in self._ahead]
        self._ahead.clear()
        for future in futures:
            future.cancel()
        wait(futures)

    def close(self) -> None:
        self.reset()
        self._end_pool()

    def _end_pool(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _submit(self, request: Request) -> None:
        if self._pool is None:
            parts = (dict(os.environ), *self._parts)  # the nursery may be older than what stands there now
            self._pool = ProcessPoolExecutor(self._jobs, begin_nursery(), initializer=_begin, initargs=parts)
        assert self._inputs is not None
        try:
            with deaf_to(signal.SIGINT):
                future = self._pool.submit(_stage, self._inputs, request)
        except (EOFError, ConnectionError) as error:  # the nursery was killed at this moment
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
            raise _ended_early(request) from error
        self._ahead.append((request, future))


def _ended_early(request: Request) -> StorageError:
    return StorageError(
        "stage files of",
        f"{text_of(request.window.first)} to {text_of(request.window.end)}",
        "a worker process ended early",
        hint="see whether memory ran out; use fewer --jobs or clock.history_jobs, or a smaller clock.batch_rows_max",
    )


class _Worker:
    """What a worker process keeps from one window to the next."""

    def __init__(
        self,
        make_generator: Callable[[int, tuple[Epoch, ...]], GeneratorBase],
        make_writer: Callable[[], TableWriter],
        clock: Clock,
    ) -> None:
        self._make_generator, self._writer = make_generator, make_writer()
        self._stager = LocalStager(self._writer, clock)
        self._inputs: tuple[int, tuple[Epoch, ...]] | None = None

    def stage(self, inputs: tuple[int, tuple[Epoch, ...]], request: Request) -> StagedBatch:
        if inputs != self._inputs:
            self._stager.follow(self._make_generator(*inputs))
            self._inputs = inputs
        return self._stager.stage(request, iter(()), _not_told)


_worker: _Worker | None = None


def _begin(
    environ: Mapping[str, str],
    make_generator: Callable[[int, tuple[Epoch, ...]], GeneratorBase],
    make_writer: Callable[[], TableWriter],
    clock: Clock,
    begin: Callable[[], None] | None,
) -> None:
    os.environ.clear()
    os.environ.update(environ)
    if begin:
        begin()
    end_with_parent()  # nobody would ever commit its files
    global _worker  # noqa: PLW0603 (a pool's initializer has no other way to hand something to its tasks)
    _worker = _Worker(make_generator, make_writer, clock)


def _stage(inputs: tuple[int, tuple[Epoch, ...]], request: Request) -> StagedBatch:
    assert _worker is not None
    return _worker.stage(inputs, request)


def _not_told(table: str, rows: int) -> None:
    """The committing process tells the observer."""
