"""What the log of a Delta table says of a data file, so that readers can leave it out: Delta's per-file statistics.

They come from the footer that the encoder kept, so that no file is read back. A bound may be wider than the values,
never narrower: a reader drops every file that the bounds rule out.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyarrow.parquet import FileMetaData

_TEXT_LENGTH_MAX = 32  # characters; what other writers of Delta cut at, too
_HIGHEST_CHARACTER = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)  # code points that are no characters


def statistics_text(rows: int, metadata: FileMetaData | None) -> str:
    """The JSON of a file's `stats`: its rows, and as far as its footer has them the bounds and nulls of each column."""
    text: dict[str, Any] = {"numRecords": rows}
    if metadata is not None:
        lowest: dict[str, Any] = {}
        highest: dict[str, Any] = {}
        nulls: dict[str, int] = {}
        for place in range(metadata.num_columns):
            name = metadata.schema.column(place).name
            groups = map(metadata.row_group, range(metadata.num_row_groups))
            known: list[Any] = [group.column(place).statistics for group in groups]
            if not all(part is not None and part.has_null_count for part in known):
                continue
            nulls[name] = sum(part.null_count for part in known)
            bounded = [part for part in known if part.has_min_max]
            if bounded and all(part.has_min_max or not part.num_values for part in known):
                low, high = _low(min(part.min for part in bounded)), _high(max(part.max for part in bounded))
                lowest |= {} if low is None else {name: low}
                highest |= {} if high is None else {name: high}
        text |= {"minValues": lowest, "maxValues": highest, "nullCount": nulls}
    return json.dumps(text, separators=(",", ":"), allow_nan=False)


def _low(value: object) -> Any:
    """A lower bound in the form of the log; None for none."""
    match value:
        case datetime():
            return _milliseconds(value)
        case str():
            return value[:_TEXT_LENGTH_MAX]
        case float():
            return value if math.isfinite(value) else None
        case _:
            return _exact(value)


def _high(value: object) -> Any:
    match value:
        case datetime():  # the log holds milliseconds
            return _milliseconds(value + timedelta(microseconds=-value.microsecond % 1000))
        case str():
            return value if len(value) <= _TEXT_LENGTH_MAX else _after(value[:_TEXT_LENGTH_MAX])
        case float():  # a footer leaves NaN out of account, and readers hold it to be above all numbers
            return None
        case _:
            return _exact(value)


def _exact(value: object) -> int | float | None:
    if isinstance(value, Decimal):
        return float(value)  # of 15 digits at most, which a float keeps
    # Booleans get no bounds: two values hardly ever rule a file out.
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _milliseconds(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _after(prefix: str) -> str | None:
    """The least short text above all that begin with `prefix`, in the order of code points, which is that of UTF-8."""
    for end in range(len(prefix), 0, -1):
        following = ord(prefix[end - 1]) + 1
        if following in _SURROGATES:
            following = _SURROGATES.stop
        if following <= _HIGHEST_CHARACTER:
            return prefix[: end - 1] + chr(following)
    return None
