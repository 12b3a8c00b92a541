"""Where the command begins. What has to stand before anything heavy is loaded stands here: streams, and signals."""

from __future__ import annotations

import gc
import os
import sys

from emitter.cli import signals, streams


def main() -> None:
    """The entry point of the command `emitter`."""
    streams.secure()  # first: what is opened while one of the first three descriptors is closed gets its number
    signals.listen(sys.argv[1:])
    gc.set_threshold(20_000)  # loading makes objects that stay: to look through them every 700 is a tenth of a start
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # else numpy starts one for each core, which are never used
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # else each package is searched for some
    from emitter.cli.main import main

    main()
