"""Where the command begins. What has to stand before anything heavy is loaded stands here: signals, and streams."""

from __future__ import annotations

import sys

from emitter.cli import signals, streams


def main() -> None:
    """The entry point of the command `emitter`."""
    signals.listen(sys.argv[1:])
    streams.secure()
    from emitter.cli.main import main

    main()
