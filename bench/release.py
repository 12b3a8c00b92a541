"""How fast `emitter generate` is beside the release of 2026-11-23, on a disk: rows a second, and a second of processor.

The release is installed from its commit, in a folder of its own with its own libraries (a minute, once). Then both
write the same period in turns, each as a command of its own from its start to its end, by its own defaults. Seconds of
the processor are those of all its processes, user and system.

    .venv/bin/python bench/release.py [--period 600] [--rounds 5] [--formats parquet] [--jobs 2] [--release FOLDER]

The recorded run is of an hour (`--period 3600`). `--release` is where the release lies, or is put and kept.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from _processes import adopt_orphans, run

COMMIT = "740de98"
FORMATS = ("parquet", "delta", "iceberg", "ducklake")
ORDERS_PER_SECOND = 1000.0
START = datetime(2026, 3, 2, 12, tzinfo=UTC)
REPOSITORY = Path(__file__).parents[1]


class Run(NamedTuple):
    """What a command made, and what it took."""

    rows: int
    seconds: float
    processor_seconds: float


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--period", type=int, default=600, help="seconds of simulated time")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--jobs", type=int, help="processes; default: the command's, one per core")
    parser.add_argument("--release", type=Path, help="a folder for the release")
    arguments = parser.parse_args()
    adopt_orphans()
    base = Path(tempfile.mkdtemp(prefix="emitter-bench-"))
    release = arguments.release or base / "release"
    try:
        commands = {"release": installed(release), "this": Path(sys.executable).with_name("emitter")}
        print(f"{arguments.period} s at {ORDERS_PER_SECOND:,.0f} orders a second, {arguments.rounds} rounds, in turns;")
        print("medians, in brackets the quartiles of the pairs' ratios")
        print(f"{'format':9} {'rows':>12} {'a second':>22} {'':20} {'a second of processor':>22}")
        for name in arguments.formats.split(","):
            pairs = []
            for number in range(arguments.rounds):
                order = list(commands) if number % 2 == 0 else list(reversed(commands))
                pairs.append({one: generate(commands[one], base, name, arguments) for one in order})
            print(row(name, pairs), flush=True)
    finally:
        if not arguments.release and release.exists():
            git("worktree", "remove", "--force", str(release))
        shutil.rmtree(base, ignore_errors=True)


def installed(folder: Path) -> Path:
    """The release's command, from its own commit and lock file."""
    if not folder.exists():
        git("worktree", "add", "--detach", str(folder), COMMIT)
    subprocess.run(["make", "setup"], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder.resolve() / ".venv/bin/emitter"


def git(*words: str) -> None:
    subprocess.run(["git", "-C", str(REPOSITORY), *words], check=True, capture_output=True)


def generate(command: Path, base: Path, name: str, arguments: argparse.Namespace) -> Run:
    """A command's run into an output that is new, and removed again."""
    folder = base / "out"
    folder.mkdir()
    config = folder / "emitter.json"
    settings = {
        "clock": {"start": START.isoformat()},
        "ecommerce": {"orders_per_second": ORDERS_PER_SECOND},
        "output": {"format": name, "uri": str(folder / "shop")},
    }
    config.write_text(json.dumps(settings))
    end = (START + timedelta(seconds=arguments.period)).isoformat()
    jobs = ["--jobs", str(arguments.jobs)] if arguments.jobs else []
    words = [str(command), "generate", "-c", str(config), "--to", end, *jobs]
    used = run(words, folder / "told.txt")
    found = re.search(r"in all\s+([\d,]+)", (folder / "told.txt").read_text())
    assert found, (folder / "told.txt").read_text()
    shutil.rmtree(folder)
    return Run(int(found[1].replace(",", "")), *used)


def row(name: str, pairs: list[Mapping[str, Run]]) -> str:
    (rows,) = {run.rows for pair in pairs for run in pair.values()}
    cells = [f"{name:9} {rows:12,}"]
    for taken in (lambda run: run.seconds, lambda run: run.processor_seconds):
        before, now = (statistics.median(rows / taken(pair[one]) for pair in pairs) for one in ("release", "this"))
        ratios = [taken(pair["release"]) / taken(pair["this"]) for pair in pairs]
        low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        cells.append(f"{before / 1e6:8.2f} to {now / 1e6:5.2f} million, {middle:.2f} times ({low:.2f} to {high:.2f})")
    return "  ".join(cells)


if __name__ == "__main__":
    main()
