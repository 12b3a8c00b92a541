"""What `verify` and `status` take on an output of many small files: wall and processor time, and the most memory.

A daemon at speed max makes batches of ten simulated seconds, of which each leaves a file in three of the five tables.

    .venv/bin/python bench/verify.py [--batches 1000] [--format parquet] [--folder FOLDER]

FOLDER is kept, and gone on with where it is there: to make the 30,000 files of 10,000 batches takes minutes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from emitter.clock import SystemClock
from emitter.config import EmitterConfig, load_config
from emitter.run.assembly import configured_daemon
from emitter.run.factory import create_generator

START = "2026-03-02T00:00:00Z"
BATCH_SECONDS = 10
CONFIGURATION = f"""\
clock: {{start: {START}, speed: max, batch_seconds: {BATCH_SECONDS}}}
ecommerce: {{orders_per_second: 4, customers: 20000, products: 500}}
log: {{level: warning}}
"""


def make(config: EmitterConfig, batches: int) -> None:
    until = create_generator("ecommerce", start=START).origin_slot + batches * BATCH_SECONDS
    with configured_daemon(config, clock=SystemClock(), until_slot=until) as daemon:
        while not daemon.finished:
            daemon.step()


def measure(verb: str, path: Path) -> None:
    begin = SystemClock().monotonic_seconds()
    command = [sys.executable, "-m", "emitter", verb, "-c", str(path)]
    child = os.posix_spawn(sys.executable, command, os.environ)
    _, status, usage = os.wait4(child, 0)
    seconds = SystemClock().monotonic_seconds() - begin
    print(
        f"{verb}: exit code {os.waitstatus_to_exitcode(status)}, {seconds:.1f} s,"
        f" {usage.ru_utime + usage.ru_stime:.1f} s of processors, {usage.ru_maxrss / 1024:.0f} MiB at most",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batches", type=int, default=1_000)
    parser.add_argument("--format", default="parquet")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="emitter-bench-"))
    try:
        folder.mkdir(exist_ok=True)
        path = folder / "emitter.yaml"
        path.write_text(f"output: {{uri: {folder}/shop, format: {arguments.format}}}\n{CONFIGURATION}")
        make(load_config(path, (), {}), arguments.batches)
        print(f"{sum(1 for _ in folder.glob('shop/*/year=*/**/*.parquet')):,} files", flush=True)
        for verb in ("verify", "status", "status"):
            measure(verb, path)
    finally:
        if not arguments.folder:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
