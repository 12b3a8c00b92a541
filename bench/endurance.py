"""Whether a daemon ages: the time of each batch over thousands, and what it leaves behind, with upkeep and without.

A real `emitter run` at speed max writes batches of some 200 rows over five tables, its upkeep in a process beside it.
Told are, per format and catalogue: a batch at the beginning and at the end (medians and 99th percentiles, and their
ratios), data files, bytes of rows and of all that stands beside them, memory, the share of a core that upkeep took, a
start of the daemon on what is there then, and what readers take for a count and for an hour, against the same rows
written in one go.

    .venv/bin/python bench/endurance.py [--batches 10000] [--cases parquet,delta,...] [--without] [--folder FOLDER]

At speed max 10,000 batches, a day and more of a shop, pass in minutes. So upkeep is told to keep what was replaced for
a quarter of a minute, where it is an hour, 360 batches, by default: hundreds of batches here too, in Delta more than a
thousand. `--without`: no upkeep.
A JSON file per case stays in FOLDER, from which `bench/_endurance_plot.py` draws.
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
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import psycopg

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the tests' Postgres and REST catalogue

from bench._readers import READERS, ratios
from emitter.clock import text_of
from emitter.config import load_config
from emitter.run.assembly import configured_generator, configured_writer
from tests.support import postgres

CASES = {
    "parquet": ("parquet", None),
    "delta": ("delta", None),
    "iceberg": ("iceberg", None),
    "iceberg-postgres": ("iceberg", "postgres"),
    "ducklake": ("ducklake", None),
    "ducklake-postgres": ("ducklake", "postgres"),
}
TABLES = ("customers", "products", "orders", "order_items", "payments")
EMITTER = Path(sys.executable).with_name("emitter")
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
KEPT_SECONDS = 15
CATALOGS: dict[Path, str] = {}  # configuration -> where its catalogue is, which holds a password
EDGE = 100  # batches at each end
FIRST_DAY = (2026, 3, 2)


@dataclass
class Run:
    """What was seen of one case."""

    case: str
    upkeep: bool
    seconds: list[float] = field(default_factory=list)  # of each batch
    memory_mib: list[float] = field(default_factory=list)  # of the daemon, at each batch
    wall_seconds: float = 0.0
    upkeep_processor_seconds: float = 0.0
    upkeep_memory_mib: float = 0.0
    sizes: dict[str, Any] = field(default_factory=dict)
    start_seconds: float = 0.0
    # Reader -> query -> seconds over those of one go; as the run has left it, and after one more round.
    readers: dict[str, dict[str, float]] = field(default_factory=dict)
    readers_tended: dict[str, dict[str, float]] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)  # that readers find, by table
    files_tended: dict[str, int] = field(default_factory=dict)
    files_closed: dict[str, int] = field(default_factory=dict)  # of those, in the first partition, which is closed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=10_000)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--without", action="store_true", help="no upkeep")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="emitter-bench-"))
    for case in arguments.cases.split(","):
        run = measured(folder, case, arguments.batches, upkeep=not arguments.without)
        (folder / f"{case}{'' if run.upkeep else '-without'}.json").write_text(json.dumps(asdict(run)))
        print(told(run), flush=True)
    if not arguments.folder:
        shutil.rmtree(folder)


def measured(folder: Path, case: str, batches: int, *, upkeep: bool) -> Run:
    run = Run(case, upkeep)
    out = folder / f"{case}{'' if upkeep else '-without'}"
    config = written_config(out, case, upkeep=upkeep)
    follow(config, batches, run)
    run.sizes = sizes(out, CATALOGS.get(config))
    run.start_seconds = statistics.median(seconds_to_first_batch(config) for _ in range(3))
    once = folder / f"{out.name}-once"
    again = written_config(once, case, upkeep=False)
    end = reached(config)
    call("generate", "-c", again, "--to", end, "--jobs", "1", "--set", "clock.batch_seconds=86400")
    outputs = [described(config), described(again)]
    readers = READERS[CASES[case][0]]
    run.files = {table["table"]: table["files"] for table in status(config)}
    run.readers = {reader: ratios(reader, outputs) for reader in readers}
    if upkeep:
        call("maintain", "-c", config)
        run.files_tended = {table["table"]: table["files"] for table in status(config)}
        run.files_closed = files_of_first_day(config)
        run.readers_tended = {reader: ratios(reader, outputs) for reader in readers}
    call("verify", "-c", config)
    return run


def written_config(out: Path, case: str, *, upkeep: bool) -> Path:
    name, server = CASES[case]
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    path = out.with_suffix(".config.json")
    if server == "postgres":
        shared = postgres.shared()
        CATALOGS[path] = shared.url(shared.new_database())
    content = {
        "clock": {"start": "2026-03-02T00:00:00Z", "speed": "max", "batch_seconds": 10},
        "ecommerce": {"orders_per_second": 4.0, "customers": 20_000, "products": 500},
        "output": {"format": name, "uri": str(out)},
        "maintenance": {
            "enabled": upkeep,
            "interval_seconds": 60,
            "interval_batches": 200,
            "read_seconds_max": KEPT_SECONDS,
            "keep_seconds": KEPT_SECONDS,
        },
        "server": {"port": 0},
        "log": {"format": "json"},
    }
    path.write_text(json.dumps(content))
    return path


def described(config: Path) -> dict[str, Any]:
    """The output of a configuration, with its catalogue."""
    output: dict[str, Any] = json.loads(config.read_text())["output"]
    return {**output, "catalog": CATALOGS.get(config)}


def follow(config: Path, batches: int, run: Run) -> None:
    """Run the daemon, and watch it and its children."""
    began = perf_counter()
    command = [str(EMITTER), "run", "-c", str(config), "--batches", str(batches), "--no-live"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment(config)) as process:
        ended = threading.Event()
        watcher = threading.Thread(target=watch_children, args=(process.pid, run, ended))
        watcher.start()
        assert process.stderr is not None
        for line in process.stderr:
            entry = json.loads(line)
            if entry["action"] == "batch":
                run.seconds.append(entry["seconds"])
                run.memory_mib.append(memory_mib(process.pid))
                if len(run.seconds) % 500 == 0:
                    print(f"{run.case}: {len(run.seconds)} batches, {perf_counter() - began:.0f} s", file=sys.stderr)
            elif entry["level"] not in ("info", "debug"):
                print(line.rstrip(), file=sys.stderr)
        ended.set()
        watcher.join()
    if process.returncode:
        raise SystemExit(f"the daemon of {run.case} ended with {process.returncode}")
    run.wall_seconds = perf_counter() - began


def watch_children(pid: int, run: Run, ended: threading.Event) -> None:
    """What the processes beside the daemon use, seen twice a second: one that ends takes its last half second along."""
    used: dict[str, float] = {}
    while not ended.wait(0.5):
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in _read(path).split():
                numbers = _read(Path(f"/proc/{child}/stat")).rpartition(")")[2].split()
                if numbers:
                    used[child] = (int(numbers[11]) + int(numbers[12])) / TICKS
                    run.upkeep_memory_mib = max(run.upkeep_memory_mib, memory_mib(int(child)))
    run.upkeep_processor_seconds = sum(used.values())


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has ended
        return ""


def memory_mib(pid: int) -> float:
    pages = _read(Path(f"/proc/{pid}/statm")).split()
    return int(pages[1]) * PAGE_BYTES / 2**20 if pages else 0.0


def sizes(out: Path, catalog: str | None) -> dict[str, Any]:
    """Files and bytes: of rows, and of all beside them, a catalogue in a server too."""
    rows = files = 0
    beside = catalog_bytes(catalog) if catalog else 0
    for path in out.rglob("*"):
        if path.is_file():
            is_data = path.suffix == ".parquet" and "_delta_log" not in path.parts
            files += is_data
            rows, beside = (rows + path.stat().st_size, beside) if is_data else (rows, beside + path.stat().st_size)
    return {"files_on_disk": files, "row_bytes_on_disk": rows, "other_bytes": beside}


def catalog_bytes(uri: str) -> int:
    """Of a database; one that nobody has written to has some 7.5 MB."""
    with psycopg.connect(uri) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    assert row is not None
    return int(row[0])


def seconds_to_first_batch(config: Path) -> float:
    began = perf_counter()
    command = [str(EMITTER), "run", "-c", str(config), "--batches", "1", "--no-live"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment(config)) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if json.loads(line)["action"] == "batch":
                passed = perf_counter() - began
                process.stderr.read()
                return passed
    raise SystemExit(f"{config} was not started")


def status(config: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(call("status", "-c", config, "--json"))
    return found


def files_of_first_day(config: Path) -> dict[str, int]:
    """Data files of each table in the first partition, which is closed."""
    settings, found = load_config(config, environ=environment(config)), {}
    writer, generator = configured_writer(settings), configured_generator(settings)
    for name in generator.tables():
        with writer.contents(generator.table(name)) as parts:
            found[name] = sum(part.partition == FIRST_DAY for part in parts)
    writer.close()
    return found


def reached(config: Path) -> str:
    return text_of(max(table["slot"] for table in status(config)))


def call(*arguments: Any) -> str:
    command, config = [str(EMITTER), *map(str, arguments)], arguments[2]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(config))
    if done.returncode:
        raise SystemExit(f"emitter {arguments[0]} ended with {done.returncode}: {done.stderr}{done.stdout}")
    return done.stdout


def environment(config: Path) -> dict[str, str]:
    uri = CATALOGS.get(config)
    return {**os.environ, **({"EMITTER_OUTPUT__CATALOG__URI": uri} if uri else {})}


def told(run: Run) -> str:
    first, last = run.seconds[:EDGE], run.seconds[-EDGE:]
    pieces = [
        f"{run.case}, {len(run.seconds):,} batches in {run.wall_seconds:.0f} s, upkeep {'on' if run.upkeep else 'off'}"
    ]
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        begin, end = quantile(first, share), quantile(last, share)
        pieces.append(
            f"  {name} of {EDGE}: first {begin * 1000:.1f} ms, last {end * 1000:.1f} ms, ratio {end / begin:.2f}"
        )
    thousand = min(1_000, len(run.memory_mib) // 2)
    early, late = (statistics.median(part) for part in (run.memory_mib[:thousand], run.memory_mib[-thousand:]))
    pieces.append(f"  memory: {early:.0f} MiB in the first {thousand}, {late:.0f} MiB in the last")
    used_seconds = run.upkeep_processor_seconds
    pieces.append(
        f"  upkeep: {used_seconds:.0f} s of processors, {used_seconds / run.wall_seconds:.1%} of a core,"
        f" at most {run.upkeep_memory_mib:.0f} MiB"
    )
    pieces.append(
        f"  on disk: {run.sizes['files_on_disk']:,} data files of {run.sizes['row_bytes_on_disk'] / 1e6:.1f} MB,"
        f" and {run.sizes['other_bytes'] / 1e6:.1f} MB beside them"
    )
    pieces.append(f"  start to the first batch: {run.start_seconds:.2f} s")
    for when, files, readers in (
        ("as it was left", run.files, run.readers),
        ("after one more round", run.files_tended, run.readers_tended),
    ):
        if files:
            pieces.append(f"  {when}: data files {', '.join(f'{name} {count}' for name, count in files.items())}")
        for reader, queries in readers.items():
            listed = ", ".join(f"{query} {ratio:.2f}" for query, ratio in queries.items())
            pieces.append(f"    {reader}, over the same rows in one go: {listed}")
    if run.files_closed:
        pieces.append(
            f"  data files of the first day then: {', '.join(f'{n} {c}' for n, c in run.files_closed.items())}"
        )
    return "\n".join(pieces)


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, round(share * len(values)))]


if __name__ == "__main__":
    main()
