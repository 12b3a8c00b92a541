"""The secrets that come from the environment, and are never to be shown by any process of a command."""

from __future__ import annotations

import os

from emitter.errors import conceal

_VARIABLES = (
    *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PGPASSWORD"),
    *(f"PYICEBERG_CATALOG__EMITTER__{name}" for name in ("TOKEN", "CREDENTIAL")),
)


def conceal_environment() -> None:
    """From now on show none of them in any text of this process."""
    conceal(*(value for name, value in os.environ.items() if name.startswith(_VARIABLES)))
