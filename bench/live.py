"""How fresh a live table is: from the end of a second of the shop to when a reader sees its rows, in every table.

For each format, on a disk and on the tests' S3 server, and for each rate, a daemon of its own in real time, with a
batch a second over all five tables and upkeep as by default. Told are milliseconds from when a second was due to when
its batch was committed in all tables and logged, by the wall clock; of a batch that spans several seconds, as it came
late, each counts.

    .venv/bin/python bench/live.py [--seconds 15] [--rates 10,100,1000,10000] [--formats parquet] [--places disk,S3]
    .venv/bin/python bench/live.py --hold 60 [--rates 20000,30000,40000]

With `--hold` the rates are tried upwards for so many seconds each, up to the first that is not held: a rate is held if
no second came later than one batch after it was due. The S3 server is moto, and shares the machine with the daemon.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from _daemon import Event, running, written_config

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the tests' S3 server

from tests.support import s3_server

FORMATS = ("parquet", "delta", "iceberg", "ducklake")
PLACES = ("disk", "S3")
RATES, HOLD_RATES = "10,100,1000,10000", "10000,20000,30000,40000,60000,80000"
WARM_UP_SECONDS = 5  # after the first batch, which brings the opening population


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--rates", help=f"orders a second; by default {RATES}, with --hold {HOLD_RATES}")
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--places", default=",".join(PLACES))
    parser.add_argument("--hold", type=int, metavar="SECONDS")
    arguments = parser.parse_args()
    rates = list(map(float, (arguments.rates or (HOLD_RATES if arguments.hold else RATES)).split(",")))
    print(f"{os.cpu_count()} cores, load of the last minute {os.getloadavg()[0]:.1f}")
    print(f"{'format':9} {'place':5} {'orders/s':>8} {'rows/s':>8} {'p50 ms':>7} {'p99 ms':>7} {'most':>7}  held")
    for name in arguments.formats.split(","):
        for place in arguments.places.split(","):
            for rate in rates:
                late, rows = lateness(name, place, rate, arguments.hold or arguments.seconds)
                cuts = statistics.quantiles(late, n=100, method="inclusive")
                is_held = max(late) < 1000
                print(
                    f"{name:9} {place:5} {rate:8,.0f} {rows:8,.0f} {cuts[49]:7.0f} {cuts[98]:7.0f} {max(late):7.0f}"
                    f"  {'yes' if is_held else 'no'}",
                    flush=True,
                )
                if arguments.hold and not is_held:
                    break


def lateness(format: str, place: str, rate: float, seconds: int) -> tuple[list[float], float]:
    """Milliseconds by which each second of the shop was late, and its rows on average."""
    folder = Path(tempfile.mkdtemp(prefix="emitter-bench-"))
    try:
        with placed(folder, format, place) as (output, environ):
            config = written_config(folder / "emitter.json", format, rate, output)
            with running(config, environ) as (_, events):
                return seen(events, seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def seen(events: Iterator[Event], seconds: int) -> tuple[list[float], float]:
    late: list[float] = []
    rows, first = 0, None
    for wall_seconds, event in events:
        if event["action"] != "batch":
            continue
        begin, end = (datetime.fromisoformat(event[key]).timestamp() for key in ("first", "end"))
        first = first or end
        if begin < first + WARM_UP_SECONDS:
            continue
        rows += sum(event["rows"].values())
        late += [1000 * (wall_seconds - due) for due in range(int(begin) + 1, int(end) + 1)]
        if len(late) >= seconds:
            return late, rows / len(late)
    raise SystemExit("the daemon ended early")


@contextmanager
def placed(folder: Path, format: str, place: str) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """Where an output of a format goes, and what the daemon's environment must have for it."""
    if place == "disk":
        yield {"uri": str(folder / "shop")}, {}
        return
    server = s3_server.shared()
    output = {
        "uri": f"s3://{server.new_bucket()}/shop",
        "s3": {"endpoint_url": server.endpoint_url, "region": server.region},
    }
    if format in ("iceberg", "ducklake"):
        output["catalog"] = {"uri": f"sqlite:///{folder}/catalog.sqlite"}
    yield output, server.environ()


if __name__ == "__main__":
    main()
