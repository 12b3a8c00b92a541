"""A process that writes to an output and ends at a crash point: `python -m tests.contract.crash_child OUT
POINT NTH`. Where S3 answers stands in its environment.
"""

from __future__ import annotations

import sys

from emitter.testing import exit_at
from emitter.writers import create_writer
from tests.contract.beats import OPTIONS, ORIGIN, RUN, TABLE, WHOLE, window, write


def main(out: str, point: str, nth: str) -> None:
    writer = create_writer("parquet", out, options=OPTIONS, crash_hook=exit_at(point, int(nth)))
    with writer.hold(WHOLE):
        writer.open(RUN, TABLE)
        writer.recover(WHOLE, TABLE.name)
        write(writer, window(0, 120), None)
        write(writer, window(120, 150), ORIGIN + 120)
        writer.finish_partitions([TABLE.name], ORIGIN, ORIGIN + 100)


if __name__ == "__main__":
    main(*sys.argv[1:])
