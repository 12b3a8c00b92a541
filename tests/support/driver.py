"""A process that runs the small shop and ends at a crash point, with no clean-up at all:
`python -m tests.support.driver CONFIG UNTIL POINT NTH`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from emitter.config import load_config
from emitter.testing import exit_at
from tests.support.shop import finish, shop_daemon


def main(config: str, until: str, point: str, nth: str) -> None:
    with shop_daemon(
        load_config(Path(config), environ=os.environ), until=int(until), hook=exit_at(point, int(nth))
    ) as daemon:
        finish(daemon)


if __name__ == "__main__":
    main(*sys.argv[1:])
