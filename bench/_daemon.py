"""A live daemon as a process of its own, followed by its log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

EMITTER = Path(sys.executable).with_name("emitter")
END_SECONDS_MAX = 120

Event = tuple[float, dict[str, Any]]
"""When a line of the log came, by the wall clock, and what it says."""


def written_config(path: Path, format: str, orders_per_second: float, output: Mapping[str, Any]) -> Path:
    """A configuration of a shop from now on, in real time, with a batch a second."""
    settings = {
        "clock": {"start": "now", "speed": 1, "batch_seconds": 1},
        "ecommerce": {"orders_per_second": orders_per_second},
        "output": {"format": format, **output},
        "server": {"port": 0},
        "log": {"format": "json"},
    }
    path.write_text(json.dumps(settings))
    return path


@contextmanager
def running(config: Path, environ: Mapping[str, str] | None = None) -> Iterator[tuple[int, Iterator[Event]]]:
    """The number of a process `emitter run`, and what it logs. It is told to end with the context."""
    command = [str(EMITTER), "run", "-c", str(config), "--no-live"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environ or {})}) as process:
        assert process.stderr is not None
        try:
            yield process.pid, ((time.time(), json.loads(line)) for line in process.stderr)
        finally:
            process.send_signal(signal.SIGTERM)
            process.stderr.read()
            process.wait(END_SECONDS_MAX)
