"""What a daemon takes that has little to do: some 100 rows a second over all tables, in real time, a batch a second.

Told are seconds from the command's start to its first commit, which brings the opening population of 100,000; then of
a minute the share of a core that the daemon, its upkeep's process and all of its threads took, user and system, and the
resident memory of the daemon at its end, and of all its processes together where there are more.

    .venv/bin/python bench/idle.py [--seconds 60] [--formats parquet,delta]
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import time

from _daemon import running, written_config

FORMATS = ("parquet", "delta", "iceberg", "ducklake")
ORDERS_PER_SECOND = 18.5  # with 2.7 items and 2.2 payment steps each
WARM_UP_SECONDS = 10
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--formats", default=",".join(FORMATS))
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load of the last minute {os.getloadavg()[0]:.1f}")
    print(f"{'format':9} {'first commit s':>14} {'rows/s':>7} {'% of a core':>12} {'MB daemon':>10} {'MB in all':>10}")
    for name in arguments.formats.split(","):
        print(measured(name, arguments.seconds), flush=True)


def measured(format: str, seconds: int) -> str:
    folder = Path(tempfile.mkdtemp(prefix="emitter-bench-"))
    config = written_config(folder / "emitter.json", format, ORDERS_PER_SECOND, {"uri": str(folder / "shop")})
    began = time()
    first = since = used = None
    rows = 0
    try:
        with running(config) as (process, events):
            for wall_seconds, event in events:
                if event["action"] != "batch":
                    continue
                first = first or wall_seconds - began
                if since is None:
                    if wall_seconds - began > first + WARM_UP_SECONDS:
                        since, used = wall_seconds, processor_seconds(process)
                    continue
                rows += sum(event["rows"].values())
                passed = wall_seconds - since
                if passed >= seconds:
                    share = (processor_seconds(process) - used) / passed
                    daemon, together = resident_megabytes(process), sum(map(resident_megabytes, family(process)))
                    return (
                        f"{format:9} {first:14.2f} {rows / passed:7.0f} {100 * share:12.1f} {daemon:10.0f}"
                        f" {together:10.0f}"
                    )
        raise SystemExit("the daemon ended early")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def family(process: int) -> Iterator[int]:
    """A process and all that come of it."""
    yield process
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from family(int(child))


def processor_seconds(process: int) -> float:
    """What a process and all that come of it, also those that have ended, took so far."""
    total = 0
    for each in family(process):
        numbers = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += sum(map(int, numbers[11:15]))
    return total / TICKS


def resident_megabytes(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
