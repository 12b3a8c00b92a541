"""How fast other generators are beside this one, on one disk, in zstd Parquet: each tool a command, in turns.

Two tasks. `own`: what each makes by itself, by TPC-H of a scale factor and the shop; of unlike schemas, so that only
cells compare, and those poorly. `matched`: one table of id, time, money, category, name, e-mail and a text of 40
characters, made by each that can (`_peer.py`, `_matched.py`); tpchgen-cli and dbgen cannot, as their tables are fixed.

Told are rows, millions of cells and MB of the files, a second on the clock and of the processor: user and system, of
all processes from the command's start to its end, so that what a tool takes to start counts (Spark: some seconds).
Ours syncs its files to the disk, the others do not.

    .venv/bin/python bench/peers.py [--rounds 3] [--rows 4000000] [--scale 1] [--tools ours,duckdb_sql] [--venv FOLDER]

The others are put into an environment of their own, as `peers-requirements.txt` says (600 MB, once if a folder is
named). dbldatagen also needs Java, and is left out where there is none.
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
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
from _processes import adopt_orphans, run

HERE = Path(__file__).parent
OWN_PYTHON = Path(sys.executable)
SHARES = {"dbldatagen": 0.05, "mimesis": 0.005, "faker": 0.005}  # of the rows that the others make: a loop takes long
SHOP_SECONDS, SHOP_ORDERS = 1200, 1000.0  # 7.2 million rows; TPC-H of factor 1 has 8.7
SHOP_START = "2026-03-02T12:00:00+00:00"


class Tool(NamedTuple):
    """A task of a tool. `words`: its command, of FOLDER."""

    task: str
    name: str
    words: tuple[str | Path, ...]


class Made(NamedTuple):
    """What a run has made, and what it took."""

    rows: int
    cells: int
    size_bytes: int
    seconds: float
    processor_seconds: float


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=4_000_000, help="of the matched table")
    parser.add_argument("--scale", type=float, default=1.0, help="TPC-H's factor; the shop's period follows it")
    parser.add_argument("--tools", help="only these, with commas between")
    parser.add_argument("--venv", type=Path, help="where the other tools are, or are put and kept")
    arguments = parser.parse_args()
    adopt_orphans()
    base = Path(tempfile.mkdtemp(prefix="emitter-bench-"))
    try:
        venv = installed((arguments.venv or base / "venv").resolve())
        tools = [
            tool
            for tool in tools_of(venv, base / "shop.json", arguments.rows, arguments.scale)
            if not arguments.tools or tool.name in arguments.tools.split(",")
        ]
        made: dict[Tool, list[Made]] = {tool: [] for tool in tools}
        for turn in range(arguments.rounds):
            for tool in tools if turn % 2 == 0 else reversed(tools):
                made[tool].append(measured(tool, base))
                print(f"round {turn + 1}: {tool.task} {tool.name} {made[tool][-1].seconds:.1f} s", file=sys.stderr)
        tell(made, arguments.rounds)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def installed(venv: Path) -> Path:
    """The folder of the other tools' commands."""
    commands = venv / "bin"
    if not (commands / "tpchgen-cli").exists():
        subprocess.run([OWN_PYTHON, "-m", "venv", "--clear", venv], check=True)
        pip = [commands / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", HERE / "peers-requirements.txt"], check=True, stderr=subprocess.DEVNULL)
    return commands


def tools_of(commands: Path, config: Path, rows: int, scale: float) -> list[Tool]:
    settings = {
        "clock": {"start": SHOP_START},
        "ecommerce": {"orders_per_second": SHOP_ORDERS},
        "output": {"format": "parquet", "uri": "FOLDER"},
    }
    config.write_text(json.dumps(settings))
    end = (datetime.fromisoformat(SHOP_START) + timedelta(seconds=round(SHOP_SECONDS * scale))).isoformat()
    shop = (OWN_PYTHON.with_name("emitter"), "generate", "-c", config, "--set", "output.uri=FOLDER", "--to", end)
    tpchgen = (
        commands / "tpchgen-cli",
        "parquet",
        "-s",
        str(scale),
        "--compression",
        "ZSTD(1)",
        "--output-dir",
        "FOLDER",
    )
    matched = ("duckdb_sql", "mimesis", "faker", *(["dbldatagen"] if shutil.which("java") else []))
    return [
        Tool("own", "ours", shop),
        Tool("own", "tpchgen-cli", tpchgen),
        Tool("own", "dbgen", (commands / "python", HERE / "_peer.py", "dbgen", str(scale), "FOLDER")),
        Tool("matched", "ours", (OWN_PYTHON, HERE / "_matched.py", str(rows), "FOLDER")),
        *(
            Tool("matched", name, (commands / "python", HERE / "_peer.py", name, str(sized(name, rows)), "FOLDER"))
            for name in matched
        ),
    ]


def sized(name: str, rows: int) -> int:
    return round(rows * SHARES.get(name, 1.0))


def measured(tool: Tool, base: Path) -> Made:
    """One run into a folder that is new, and removed again."""
    folder = base / "out"
    folder.mkdir()
    words = [str(word).replace("FOLDER", str(folder)) for word in tool.words]
    used = run(words, base / "told.txt", {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"})
    files = [path for path in folder.rglob("*.parquet") if path.is_file()]
    footers = [pq.read_metadata(path) for path in files]
    rows = sum(footer.num_rows for footer in footers)
    cells = sum(footer.num_rows * footer.num_columns for footer in footers)
    size = sum(path.stat().st_size for path in files)
    shutil.rmtree(folder)
    return Made(rows, cells, size, *used)


def tell(made: dict[Tool, list[Made]], rounds: int) -> None:
    print(f"medians of {rounds} rounds, in turns; of cells a second of the processor the quartiles in brackets")
    print(f"{'':21} {'':>11}   {'a second on the clock':^27}   {'a second of the processor':^27}")
    heads = f"{'rows':>11} {'M cells':>8} {'MB':>6}"
    print(f"{'task':8} {'tool':12} {'rows':>11}   {heads}   {heads}")
    for tool, runs in made.items():
        cells = [
            f"{middle(each.rows / of(each) for each in runs):11,.0f}"
            f" {middle(each.cells / of(each) / 1e6 for each in runs):8.3f}"
            f" {middle(each.size_bytes / of(each) / 1e6 for each in runs):6.1f}"
            for of in (lambda each: each.seconds, lambda each: each.processor_seconds)
        ]
        low, high = quartiles([each.cells / each.processor_seconds / 1e6 for each in runs])
        print(f"{tool.task:8} {tool.name:12} {runs[0].rows:11,}   {'   '.join(cells)}  ({low:.3f} to {high:.3f})")


def middle(values) -> float:
    return statistics.median(values)


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else [*values] * 3
    return low, high


if __name__ == "__main__":
    main()
