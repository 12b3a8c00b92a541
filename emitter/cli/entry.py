"""Where the command begins. What has to stand before anything heavy is loaded stands here: signals."""

from __future__ import annotations

import sys

from emitter.cli import signals


def main() -> None:
    """The entry point of the command `emitter`."""
    signals.listen(sys.argv[1:])
    from emitter.cli.main import main

    main()
