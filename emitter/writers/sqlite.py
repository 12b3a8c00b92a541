"""What a catalogue in a SQLite file says where its disk is full, in whatever library's error that comes."""

from __future__ import annotations

import re

_NO_ROOM = re.compile(r"disk I/O error|disk is full|No space left", re.IGNORECASE)
_HINT = "free some space on that disk: nothing is lost, the same call goes on where it stopped"


def room_hint(error: BaseException) -> str:
    """What to do about a full disk; nothing for other errors."""
    return _HINT if _NO_ROOM.search(str(error)) else ""
