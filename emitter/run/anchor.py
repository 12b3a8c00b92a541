"""Where simulated time stood when: kept beside the journal, so that downtime can be told from standing still."""

from __future__ import annotations

import json

from emitter.clock import Anchor
from emitter.errors import DamagedStateError, StorageNotFoundError
from emitter.storage.base import Storage

PATH = "_emitter/anchor.json"


def load_anchor(storage: Storage) -> Anchor | None:
    """The stored anchor; None if there is none."""
    try:
        data = storage.read(PATH)
    except StorageNotFoundError:
        return None
    try:
        return Anchor.from_json(json.loads(data))
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise DamagedStateError(
            f"{PATH} cannot be understood ({error})",
            hint="delete it: simulated time then goes on from what the tables hold, and no row is lost",
        ) from error


def store_anchor(storage: Storage, anchor: Anchor) -> None:
    """Keep an anchor, in place of the one before."""
    storage.replace(PATH, (json.dumps(anchor.to_json()) + "\n").encode())
