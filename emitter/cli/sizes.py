"""Amounts of bytes as people write them: `10GB`, `1.5 GiB`, `500000`."""

from __future__ import annotations

import re
from decimal import Decimal

from emitter.errors import UsageError

_UNITS = {
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate(("k", "M", "G", "T"), 1)},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate(("K", "M", "G", "T"), 1)},
}
_SIZE = re.compile(r"(\d{1,30}(?:\.\d{1,30})?) ?([A-Za-z]*)", re.ASCII)
_BY_NAME = {name.lower(): size for name, size in _UNITS.items()} | {"": 1}


def read_size(option: str, text: str) -> int:
    """The bytes that the text of an option stands for, at least one. Raises UsageError."""
    match = _SIZE.fullmatch(text.strip())
    unit = _BY_NAME.get(match[2].lower()) if match else None
    size = int(Decimal(match[1]) * unit) if match and unit else 0
    if not size:
        raise UsageError(
            f"{option} {text!r} is not an amount of bytes above 0",
            hint=f"give a number and a unit, such as 10GB; units are {', '.join(_UNITS)}",
        )
    return size
