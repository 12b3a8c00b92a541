"""Where the command begins. What has to stand before anything heavy is loaded stands here: streams, and signals."""

from __future__ import annotations

import sys

from emitter.cli import signals, streams


def main() -> None:
    """The entry point of the command `emitter`."""
    streams.secure()  # first: what is opened while one of the first three descriptors is closed gets its number
    signals.listen(sys.argv[1:])
    from emitter.cli.main import main

    main()
