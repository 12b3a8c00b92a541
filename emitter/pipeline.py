"""The road of a batch up to the commit: frames from the generator, files from the encoder, staged by the writer.

The generator works in the calling thread; encoding and staging go on beside it in a few threads, which is where the
libraries release the interpreter. How many files are under way is limited, and with it the memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from emitter.clock import Clock
from emitter.encoder import Chunk, Encoder
from emitter.generators.base import GeneratorBase
from emitter.model import Slice, StagedFile, Window
from emitter.writers.base import TableWriter

ENCODER_THREADS = 2
FILES_UNDER_WAY_MAX = 4


@dataclass(slots=True)
class StagedBatch:
    """What a window came to: rows and staged files by table, and the seconds each stage took (`encode` and `store` are
    summed over threads).
    """

    window: Window
    rows: dict[str, int] = field(default_factory=dict)
    files: dict[str, list[StagedFile]] = field(default_factory=dict)
    stage_seconds: dict[str, float] = field(default_factory=lambda: {"generate": 0.0, "encode": 0.0, "store": 0.0})


class Stager(ABC):
    """Whoever makes and stages batches."""

    @abstractmethod
    def follow(self, generator: GeneratorBase) -> None:
        """Make rows with this generator from now on."""

    @abstractmethod
    def stage(
        self,
        slice: Slice,
        window: Window,
        tables: tuple[str, ...],
        following: Iterator[Window],
        on_frame: Callable[[str, int], None],
    ) -> StagedBatch:
        """Stage the rows of a window; `following` are windows that will probably be asked for next. Raises what the
        writer raises; what was staged then stays for `recover` to drop.
        """

    @abstractmethod
    def reset(self) -> None:
        """Forget what was staged ahead, and wait until nobody stages any more: staged files are about to be dropped."""

    @abstractmethod
    def close(self) -> None:
        """End; nothing is staged any more."""


class LocalStager(Stager):
    """Stages in this process, one window at a time."""

    def __init__(self, writer: TableWriter, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._pool = ThreadPoolExecutor(ENCODER_THREADS, thread_name_prefix="encode")
        self._generator: GeneratorBase

    def follow(self, generator: GeneratorBase) -> None:
        self._generator = generator

    def reset(self) -> None:
        """Nothing is staged ahead."""

    def close(self) -> None:
        self._pool.shutdown()

    def stage(
        self,
        slice: Slice,
        window: Window,
        tables: tuple[str, ...],
        following: Iterator[Window],
        on_frame: Callable[[str, int], None],
    ) -> StagedBatch:
        batch = StagedBatch(window)
        encoder = Encoder([self._generator.table(table) for table in tables], self._writer.options)
        under_way: list[Future[tuple[StagedFile, float, float]]] = []

        def submit(chunk: Chunk) -> None:
            if len(under_way) >= FILES_UNDER_WAY_MAX:
                self._take(batch, under_way.pop(0).result())
            under_way.append(self._pool.submit(self._encode_and_store, encoder, slice, window, chunk))

        try:
            mark = self._clock.monotonic_seconds()
            for frame in self._generator.rows(window, slice, tables):
                batch.stage_seconds["generate"] += self._clock.monotonic_seconds() - mark
                on_frame(frame.table, frame.rows.num_rows)
                batch.rows[frame.table] = batch.rows.get(frame.table, 0) + frame.rows.num_rows
                for chunk in encoder.add(frame):
                    submit(chunk)
                mark = self._clock.monotonic_seconds()
            batch.stage_seconds["generate"] += self._clock.monotonic_seconds() - mark
            for chunk in encoder.finish():
                submit(chunk)
            while under_way:
                self._take(batch, under_way.pop(0).result())
        except BaseException:
            for future in under_way:
                future.cancel()
            wait(under_way)  # nothing of this batch may still be written when its staged files are dropped
            raise
        return batch

    def _encode_and_store(
        self, encoder: Encoder, slice: Slice, window: Window, chunk: Chunk
    ) -> tuple[StagedFile, float, float]:
        begin = self._clock.monotonic_seconds()
        encoded = encoder.encode(chunk)
        middle = self._clock.monotonic_seconds()
        staged = self._writer.stage(slice, window, encoded)
        return staged, middle - begin, self._clock.monotonic_seconds() - middle

    def _take(self, batch: StagedBatch, done: tuple[StagedFile, float, float]) -> None:
        staged, encode_seconds, store_seconds = done
        batch.files.setdefault(staged.table, []).append(staged)
        batch.stage_seconds["encode"] += encode_seconds
        batch.stage_seconds["store"] += store_seconds
