"""How long a live batch takes from end to end on the local disk, and what it consists of.

A daemon at speed max steps through batches of one simulated second with about 1,000 rows over the five tables.

    .venv/bin/python bench/live_batch.py [--batches 500]
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from emitter import create_generator, create_writer
from emitter.clock import SystemClock
from emitter.model import Slice
from emitter.run.daemon import Daemon
from emitter.run.opening import Settings

ORDERS_PER_SECOND = 185.0  # with 2.7 items and 2.2 payment steps each: about 1,000 rows a second by day
WARM_UP_BATCHES = 20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batches", type=int, default=500)
    arguments = parser.parse_args()
    shop = create_generator("ecommerce", start="2026-03-02T12:00:00Z", orders_per_second=ORDERS_PER_SECOND)
    folder = Path(tempfile.mkdtemp(prefix="emitter-bench-"))
    settings = Settings(Slice(), shop.tables(), batch_seconds=1)
    totals: list[float] = []
    rows: list[int] = []
    stages: dict[str, list[float]] = {}
    try:
        with Daemon(shop, create_writer("parquet", str(folder)), settings, clock=SystemClock()) as daemon:
            for batch in range(WARM_UP_BATCHES + arguments.batches):
                begin = time.perf_counter()
                report = daemon.step()
                seconds = time.perf_counter() - begin
                if batch < WARM_UP_BATCHES or report is None:
                    continue
                totals.append(seconds * 1e3)
                rows.append(sum(report.rows.values()))
                for stage, value in report.stage_seconds.items():
                    stages.setdefault(stage, []).append(value * 1e3)
    finally:
        shutil.rmtree(folder)
    cuts = statistics.quantiles(totals, n=100)
    print(f"{len(totals)} batches of {statistics.mean(rows):.0f} rows on average, milliseconds each")
    print(f"end to end: p50 {cuts[49]:.1f}, p99 {cuts[98]:.1f}")
    for stage, values in stages.items():
        stage_cuts = statistics.quantiles(values, n=100)
        print(f"  {stage}: p50 {stage_cuts[49]:.1f}, p99 {stage_cuts[98]:.1f}")
    print("encode and store run in two threads and are summed over them; total is what the daemon itself measured")


if __name__ == "__main__":
    main()
