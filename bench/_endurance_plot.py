"""Draws what `endurance.py` has left in a folder: the time of each batch, over the batches, a panel a format.

uv sync --locked --all-extras --group plots
.venv/bin/python bench/_endurance_plot.py FOLDER docs/images/endurance.svg
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

NAMES = {
    "parquet": "Parquet",
    "delta": "Delta Lake",
    "iceberg": "Iceberg, SQLite",
    "iceberg-postgres": "Iceberg, Postgres",
    "ducklake": "DuckLake, SQLite",
    "ducklake-postgres": "DuckLake, Postgres",
}
COLOURS = {True: "#1a7f37", False: "#b35900"}
WINDOW = 100  # batches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("image", type=Path)
    arguments = parser.parse_args()
    runs = [
        json.loads(path.read_text()) for path in sorted(arguments.folder.glob("*.json")) if "config" not in path.name
    ]
    cases = [case for case in NAMES if any(run["case"] == case for run in runs)]
    columns = min(3, len(cases))
    rows = -(-len(cases) // columns)
    plt.rcParams.update(
        {"font.size": 9, "svg.hashsalt": "emitter", "axes.spines.top": False, "axes.spines.right": False}
    )
    figure, panels = plt.subplots(rows, columns, figsize=(3.4 * columns, 2.5 * rows), sharex=True, squeeze=False)
    for panel, case in zip(panels.flat, cases, strict=False):
        for run in (run for run in runs if run["case"] == case):
            draw(panel, run)
        panel.set_title(NAMES[case], loc="left", fontsize=10)
        panel.set_ylim(bottom=0)
        panel.grid(axis="y", alpha=0.25)
    for panel in list(panels.flat)[len(cases) :]:
        panel.set_visible(False)
    for row in panels:
        row[0].set_ylabel("ms a batch")
    for panel in panels[-1]:
        panel.set_xlabel("batches written")
    panels.flat[0].legend(frameon=False, loc="upper left")
    figure.tight_layout()
    figure.savefig(arguments.image, metadata={"Date": None})


def draw(panel: Any, run: dict[str, Any]) -> None:
    """The median of each hundred batches, and the band in which nine of ten lie."""
    parts = [run["seconds"][first : first + WINDOW] for first in range(0, len(run["seconds"]), WINDOW)]
    parts = [part for part in parts if len(part) >= WINDOW / 2]
    middle = [WINDOW * (place + 0.5) for place in range(len(parts))]
    low, high = ([1000 * statistics.quantiles(part, n=20)[edge] for part in parts] for edge in (0, -1))
    colour = COLOURS[run["upkeep"]]
    panel.fill_between(middle, low, high, color=colour, alpha=0.15, linewidth=0)
    label = "with upkeep" if run["upkeep"] else "without"
    panel.plot(middle, [1000 * statistics.median(part) for part in parts], color=colour, label=label, linewidth=1.4)


if __name__ == "__main__":
    main()
