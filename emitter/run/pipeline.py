"""The road of a batch up to the commit: frames from the generator, files from the encoder, staged by the writer.

The generator works in the calling thread; encoding and staging go on beside it in a few threads, which is where the
libraries release the interpreter. How many files are under way is limited, and with it the memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import NamedTuple

from emitter.clock import Clock
from emitter.encoder import Chunk, Encoder
from emitter.errors import StorageError
from emitter.generators.base import GeneratorBase
from emitter.model import Frame, Slice, StagedFile, Window
from emitter.writers.base import TableWriter

ENCODER_THREADS = 2
FILES_UNDER_WAY_MAX = 4
FILES_AHEAD_MAX = 2  # of the next window

OnRows = Callable[[str, int], None]
"""Told of a table, and of how many of its rows were staged."""


@dataclass(slots=True)
class StagedBatch:
    """What a window came to: rows and staged files by table, and the seconds each stage took (`encode` and `store` are
    summed over threads).
    """

    window: Window
    rows: dict[str, int] = field(default_factory=dict)
    files: dict[str, list[StagedFile]] = field(default_factory=dict)
    stage_seconds: dict[str, float] = field(default_factory=lambda: {"generate": 0.0, "encode": 0.0, "store": 0.0})

    def check(self) -> None:
        """See that the staged files hold every row that was made: what is committed then is never made again. Raises
        StorageError.
        """
        staged = {table: sum(file.rows for file in files) for table, files in self.files.items()}
        if staged != self.rows:
            raise StorageError("stage", f"{self.rows} rows", f"the files hold {staged}")


class Request(NamedTuple):
    """The rows to stage: of these tables, in this window, for this slice."""

    slice: Slice
    window: Window
    tables: tuple[str, ...]


class Stager(ABC):
    """Whoever makes and stages batches."""

    @abstractmethod
    def follow(self, generator: GeneratorBase) -> None:
        """Make rows with this generator from now on."""

    @abstractmethod
    def stage(self, request: Request, following: Iterator[Window], on_rows: OnRows) -> StagedBatch:
        """Stage what is asked for; `following` are windows of the same slice and tables that will probably be asked for
        next, and may be begun. `on_rows` is called in this thread as rows are staged. Raises what the writer raises;
        what was staged then stays for `recover` to drop.
        """

    @abstractmethod
    def reset(self) -> None:
        """Forget what was staged ahead, and wait until nobody stages any more: staged files are about to be dropped."""

    @abstractmethod
    def close(self) -> None:
        """End; nothing is staged any more."""


class _Making:
    """A batch in the making: frames still to come, files under way, files done."""

    def __init__(self, generator: GeneratorBase, writer: TableWriter, request: Request) -> None:
        self.request = request
        self.encoder = Encoder([generator.table(table) for table in request.tables], writer.options)
        self.frames: Iterator[Frame] | None = generator.rows(request.window, request.slice, request.tables)
        self.batch = StagedBatch(request.window)
        self.under_way: deque[Future[tuple[StagedFile, float, float]]] = deque()

    def take(self, on_rows: OnRows) -> None:
        """Wait for the file that has been under way the longest."""
        staged, encode_seconds, store_seconds = self.under_way.popleft().result()
        self.batch.files.setdefault(staged.table, []).append(staged)
        self.batch.stage_seconds["encode"] += encode_seconds
        self.batch.stage_seconds["store"] += store_seconds
        on_rows(staged.table, staged.rows)


class LocalStager(Stager):
    """Stages in this process. While the last files of a window are encoded, the next one is begun."""

    def __init__(self, writer: TableWriter, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._pool = ThreadPoolExecutor(ENCODER_THREADS, thread_name_prefix="encode")
        self._generator: GeneratorBase | None = None
        self._ahead: _Making | None = None

    def follow(self, generator: GeneratorBase) -> None:
        if generator is not self._generator:
            self.reset()
            self._generator = generator

    def stage(self, request: Request, following: Iterator[Window], on_rows: OnRows) -> StagedBatch:
        if self._ahead is None or self._ahead.request != request:
            self.reset()
        making, self._ahead = self._ahead or self._begin(request), None
        try:
            self._finish(making, following, on_rows)
        except BaseException:
            # Nothing half-made may be gone on with, and nobody may still write when staged files are dropped.
            self._drop(making)
            self.reset()
            raise
        return making.batch

    def _finish(self, making: _Making, following: Iterator[Window], on_rows: OnRows) -> None:
        while making.frames is not None:
            if len(making.under_way) >= FILES_UNDER_WAY_MAX:
                making.take(on_rows)
            self._advance(making)
        next_window = next(following, None)
        if next_window is not None:
            self._ahead = self._begin(making.request._replace(window=next_window))
        while making.under_way:
            ahead = self._ahead
            if ahead and ahead.frames and not making.under_way[0].done() and len(ahead.under_way) < FILES_AHEAD_MAX:
                self._advance(ahead)
            else:
                making.take(on_rows)

    def reset(self) -> None:
        if self._ahead is not None:
            self._drop(self._ahead)
            self._ahead = None

    def close(self) -> None:
        self.reset()
        self._pool.shutdown()

    def _begin(self, request: Request) -> _Making:
        assert self._generator is not None
        return _Making(self._generator, self._writer, request)

    def _advance(self, making: _Making) -> None:
        """Make one frame, or if there are no more, let the rest be encoded."""
        assert making.frames is not None
        begin = self._clock.monotonic_seconds()
        frame = next(making.frames, None)
        making.batch.stage_seconds["generate"] += self._clock.monotonic_seconds() - begin
        if frame is None:
            making.frames = None
            chunks = making.encoder.finish()
        else:
            making.batch.rows[frame.table] = making.batch.rows.get(frame.table, 0) + frame.rows.num_rows
            chunks = making.encoder.add(frame)
        for chunk in chunks:
            making.under_way.append(self._pool.submit(self._encode_and_store, making.encoder, making.request, chunk))

    def _drop(self, making: _Making) -> None:
        """Wait until nothing of a batch is written any more: its staged files are about to be dropped."""
        for future in making.under_way:
            future.cancel()
        wait(making.under_way)

    def _encode_and_store(self, encoder: Encoder, request: Request, chunk: Chunk) -> tuple[StagedFile, float, float]:
        begin = self._clock.monotonic_seconds()
        encoded = encoder.encode(chunk)
        middle = self._clock.monotonic_seconds()
        staged = self._writer.stage(request.slice, request.window, encoded)
        return staged, middle - begin, self._clock.monotonic_seconds() - middle
