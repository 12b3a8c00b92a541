"""How fast rows are made and written, beside writing the same rows when they are made already.

Both ways go through the daemon at speed max, into fresh folders, with the same settings and threads; they differ only
in where the frames come from. An hour of simulated time at 1,000 orders a second, pair by pair in turn.

    .venv/bin/python bench/throughput.py [--pairs 10] [--seconds 3600]
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from emitter import create_generator, create_writer
from emitter.clock import SystemClock
from emitter.generators.base import GeneratorBase
from emitter.model import Frame, Slice, Window
from emitter.run.daemon import Daemon
from emitter.run.opening import Settings

ORDERS_PER_SECOND = 1000.0
WARM_UP_SECONDS = 60  # of simulated time, before the measured hour: the opening population is no steady state


class Recorder:
    """A generator whose frames are kept by window, or played back from there."""

    def __init__(self, inner: GeneratorBase) -> None:
        self.inner = inner
        self.kept: dict[Window, list[Frame]] = {}
        self.mode = "make"
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def rebuilt(self, origin_slot: int, epochs: Any = ()) -> Recorder:
        self.inner = self.inner.rebuilt(origin_slot, epochs)
        return self

    def rows(self, window: Window, slice: Slice, tables: Collection[str]) -> Iterator[Frame]:
        if self.mode == "play":
            yield from self.kept[window]
            return
        frames = self.inner.rows(window, slice, tables)
        if self.mode == "keep":
            self.kept[window] = list(frames)
            frames = iter(self.kept[window])
        yield from frames


def write(recorder: Recorder, mode: str, folder: Path, seconds: int) -> float:
    """Real seconds to write the hour after the warm-up; the folder is removed."""
    recorder.mode = mode
    settings = Settings(Slice(), recorder.inner.tables(), batch_seconds=3600)
    origin = recorder.inner.origin_slot
    writer = create_writer("parquet", str(folder))
    try:
        with Daemon(recorder, writer, settings, clock=SystemClock(), until_slot=origin + WARM_UP_SECONDS) as daemon:  # type: ignore[arg-type]
            while not daemon.finished:
                daemon.step()
        with Daemon(recorder, writer, settings, clock=SystemClock(), until_slot=origin + seconds) as daemon:  # type: ignore[arg-type]
            begin = time.perf_counter()
            while not daemon.finished:
                daemon.step()
            return time.perf_counter() - begin
    finally:
        shutil.rmtree(folder)


def generate(generator: GeneratorBase, windows: Collection[Window]) -> float:
    """Real seconds to make the rows alone, in the windows that the daemon used."""
    begin = time.perf_counter()
    for window in windows:
        for _ in generator.rows(window, Slice(), generator.tables()):
            pass
    return time.perf_counter() - begin


def quartiles(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"median {middle:.3f}, quartiles {low:.3f} and {high:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=3600)
    arguments = parser.parse_args()
    shop = create_generator("ecommerce", start="2026-03-02T12:00:00Z", orders_per_second=ORDERS_PER_SECOND)
    recorder = Recorder(shop)
    base = Path(tempfile.mkdtemp(prefix="emitter-bench-"))
    try:
        write(recorder, "keep", base / "keep", arguments.seconds)
        windows = [window for window in recorder.kept if window.first >= shop.origin_slot + WARM_UP_SECONDS]
        rows: Mapping[str, int] = {
            table: sum(
                frame.rows.num_rows for window in windows for frame in recorder.kept[window] if frame.table == table
            )
            for table in shop.tables()
        }
        total = sum(rows.values())
        by_table = ", ".join(f"{name} {count:,}" for name, count in rows.items())
        print(f"rows: {total:,} in {len(windows)} windows ({by_table})")
        whole, ratios, alone = [], [], []
        for pair in range(arguments.pairs):
            order = ("make", "play") if pair % 2 == 0 else ("play", "make")
            seconds = {mode: write(recorder, mode, base / mode, arguments.seconds) for mode in order}
            alone.append(generate(recorder.inner, windows) / seconds["play"])
            whole.append(seconds["make"])
            ratios.append(seconds["play"] / seconds["make"])
            print(
                f"pair {pair + 1}: made and written {seconds['make']:.2f} s, written alone {seconds['play']:.2f} s,"
                f" ratio {ratios[-1]:.3f}",
                flush=True,
            )
        print(f"throughput ratio (made and written against written alone): {quartiles(ratios)}")
        print(f"time to make the rows alone, against writing them alone: {quartiles(alone)}")
        print(f"million rows a second, made and written: {quartiles([total / seconds / 1e6 for seconds in whole])}")
        print(f"python {sys.version.split()[0]}")
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
