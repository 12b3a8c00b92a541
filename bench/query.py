"""What `query` takes for revenue by hour over so many order items, against making those items alone.

Each measurement is a process of its own, in turns: wall and processor time, and the most memory of it. A hundred orders
a second, so that an hour is about a million items.

    .venv/bin/python bench/query.py [--items 100000000] [--pairs 3]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys

import emitter
from emitter.clock import SystemClock, text_of
from emitter.model import Slice, Window
from emitter.truth.made import MadeTable
from emitter.truth.questions import Truth
from emitter.truth.reference import reference_query
from emitter.truth.rows import Segment, true_rows
from emitter.truth.sources import generated_source

START = "2026-03-02T00:00:00Z"


def measured(task: str, seconds: int) -> float:
    begin = SystemClock().monotonic_seconds()
    command = [sys.executable, __file__, "--task", task, "--seconds", str(seconds)]
    child = os.posix_spawn(sys.executable, command, os.environ)
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"{task}: exit code {os.waitstatus_to_exitcode(status)}")
    wall_seconds = SystemClock().monotonic_seconds() - begin
    print(
        f"{task}: {wall_seconds:.1f} s, {usage.ru_utime + usage.ru_stime:.1f} s of processors,"
        f" {usage.ru_maxrss / 1024:.0f} MiB at most",
        flush=True,
    )
    return wall_seconds


def shop(seconds: int) -> emitter.GeneratorBase:
    first = emitter.create_generator("ecommerce", start=START).origin_slot
    return emitter.create_generator(
        "ecommerce",
        start=START,
        end=text_of(first + seconds),
        customers=100_000,
        products=5_000,
        orders_per_second=100,
    )


def work(task: str, seconds: int) -> None:
    source = generated_source(shop(seconds), None, None, None).source
    if task == "make":
        pieces = MadeTable(source, source.generator.table("order_items")).scan(None, None).pieces
        parts = [Segment(Slice(), piece) for piece in pieces]
        rows = sum(made.num_rows for _, made in true_rows(source.generator, parts, ["order_items"], 86_400))
        print(f"{rows:,} items")
        return
    with Truth(source) as truth:
        answer = truth.ask(reference_query("revenue_by_hour").text)
        print(f"{sum(batch.num_rows for batch in answer.batches):,} rows of the answer")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=10_000_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--task", choices=("make", "query"))
    parser.add_argument("--seconds", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.task:
        work(arguments.task, arguments.seconds)
        return
    hour = shop(3600).expected_rows(Window(shop(3600).origin_slot, shop(3600).origin_slot + 86_400))["order_items"] / 24
    seconds = round(arguments.items / hour * 3600)
    ratios = []
    for _ in range(arguments.pairs):
        made, asked = measured("make", seconds), measured("query", seconds)
        ratios.append(asked / made)
    print(f"query / make: {statistics.median(ratios):.2f} (median of {len(ratios)})")


if __name__ == "__main__":
    main()
