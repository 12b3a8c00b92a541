"""How resident memory grows from batch to batch: the slope over batches 200 to 2,000 of one size.

A daemon at speed max steps through batches of ten simulated seconds with about 1,000 rows; the size is read after each.

    .venv/bin/python bench/memory.py [--batches 2000]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
from pathlib import Path

from emitter import create_generator, create_writer
from emitter.clock import SystemClock
from emitter.model import Slice
from emitter.run.daemon import Daemon
from emitter.run.opening import Settings

FIRST_BATCH = 200
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batches", type=int, default=2000)
    arguments = parser.parse_args()
    shop = create_generator("ecommerce", start="2026-03-02T12:00:00Z", orders_per_second=18.0)
    folder = Path(tempfile.mkdtemp(prefix="emitter-bench-"))
    settings = Settings(Slice(), shop.tables(), batch_seconds=10)
    sizes: list[int] = []
    try:
        with Daemon(shop, create_writer("parquet", str(folder)), settings, clock=SystemClock()) as daemon:
            for _ in range(arguments.batches):
                daemon.step()
                sizes.append(resident_bytes())
    finally:
        shutil.rmtree(folder)
    batches = range(FIRST_BATCH, arguments.batches)
    fit = statistics.linear_regression(batches, sizes[FIRST_BATCH:])
    first, last = sizes[FIRST_BATCH] / 1e6, sizes[-1] / 1e6
    print(f"resident after batch {FIRST_BATCH}: {first:.1f} MB, after {len(sizes)}: {last:.1f} MB")
    print(f"slope over batches {FIRST_BATCH} to {len(sizes)}: {fit.slope / 1024:.2f} KiB a batch")


if __name__ == "__main__":
    main()
