"""What a start costs up to its first commit, on an output that is new and on one that has been written to for long.

Makes an output of each format with one batch and one with many, then starts `emitter run` on them in turns. Told are
the seconds of the processor (of all threads, user and system) and those on the clock until the first batch is durable.

    .venv/bin/python bench/start.py [--starts 7] [--share 1.0] [--formats parquet,delta] [--folder FOLDER]

`--share 0.1` makes the old outputs of a tenth of the batches. They are in memory where there is /dev/shm: no disk is
measured. With a folder they are kept there, and those that are there are used: to make them takes minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from emitter.clock import SystemClock
from emitter.config import load_config
from emitter.run.assembly import configured_daemon

BATCHES = {"parquet": 10_000, "delta": 2_000, "iceberg": 500, "ducklake": 1_000}  # more of Iceberg takes long to make
EMITTER = Path(sys.executable).with_name("emitter")
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--starts", type=int, default=7)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--formats", default=",".join(BATCHES))
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    memory = Path("/dev/shm")
    folder = arguments.folder or Path(
        tempfile.mkdtemp(prefix="emitter-bench-", dir=memory if memory.exists() else None)
    )
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for name in arguments.formats.split(","):
            batches = max(2, round(BATCHES[name] * arguments.share))
            new, old = made(folder, name, 1), made(folder, name, batches)
            pairs = [(start(new), start(old)) for _ in range(arguments.starts)]
            print(f"{name}, {batches} batches")
            for place, unit in enumerate(("of the processor", "on the clock")):
                first, second = ([pair[side][place] for pair in pairs] for side in (0, 1))
                ratio = statistics.median(b / a for a, b in zip(first, second, strict=True))
                print(
                    f"  seconds {unit}: new {statistics.median(first):.2f}, old {statistics.median(second):.2f}"
                    f" (least {min(first):.2f} and {min(second):.2f}), old / new {ratio:.2f}",
                    flush=True,
                )
    finally:
        if not arguments.folder:
            shutil.rmtree(folder)


def made(folder: Path, name: str, batches: int) -> Path:
    """The configuration of an output with so many batches of ten seconds and some 130 rows each."""
    path = folder / f"{name}-{batches}.json"
    if path.exists():
        return path
    path.write_text(
        json.dumps(
            {
                "clock": {"start": "2026-03-02T12:00:00Z", "speed": "max", "batch_seconds": 10},
                "ecommerce": {"orders_per_second": 2.0},
                "output": {"format": name, "uri": str(path.with_suffix(""))},
                "server": {"port": 0},
                "log": {"format": "json"},
            }
        )
    )
    with configured_daemon(load_config(path), clock=SystemClock()) as daemon:
        for _ in range(batches):
            daemon.step()
    return path


def start(config: Path) -> tuple[float, float]:
    """Seconds of the processor, and on the clock, from the start of the process to its first batch."""
    began = perf_counter()
    command = [str(EMITTER), "run", "-c", str(config), "--batches", "1", "--no-live"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if json.loads(line)["action"] == "batch":
                passed = perf_counter() - began
                numbers = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
                used = (int(numbers[11]) + int(numbers[12])) / TICKS
                process.stderr.read()
                return used, passed
    raise SystemExit(f"{config} was not started")


if __name__ == "__main__":
    main()
