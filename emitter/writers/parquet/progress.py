"""The progress object of a Parquet table: what it says of one slice, the commit under way, and who may commit next.

It is only ever replaced by compare-and-set: who has not seen what stands there changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emitter.clock import SLOT_END, text_of
from emitter.errors import DamagedStateError, StorageNotFoundError
from emitter.model import Slice, TableProgress
from emitter.storage.base import Storage

FOLDER = "_emitter/progress"
STAGING = "_emitter/staging"
EARLIER_FOLDER = "_progress"  # in the folder of the table
EARLIER_STAGING = "_staging"


@dataclass(frozen=True, slots=True)
class Intent:
    """A commit that must be finished: where it leads to, and the (staged, final) paths of its files."""

    progress: TableProgress
    moves: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ProgressObject:
    """What a table says of one slice; no progress before its first commit is done. `holder` is whoever took the slice
    last, where storage has no locks.
    """

    run_id: str
    slice: Slice
    progress: TableProgress | None = None
    intent: Intent | None = None
    holder: str | None = None

    @property
    def furthest_slot(self) -> int:
        """Where the commit under way leads to, or else where the slice is; -1 before the first."""
        known = self.intent.progress if self.intent else self.progress
        return known.slot if known else -1

    def encode(self) -> bytes:
        """Canonical JSON and a newline: one text for one state."""
        value = {
            "run_id": self.run_id,
            "slice": str(self.slice),
            **_numbers(self.progress),
            "time": text_of(self.progress.slot) if self.progress else None,  # for people
            "intent": self.intent
            and {**_numbers(self.intent.progress), "moves": [list(move) for move in self.intent.moves]},
            **({"holder": self.holder} if self.holder else {}),
        }
        return (json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n").encode()


class ProgressObjects:
    """The progress objects of an output."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def slices(self, table: str) -> list[Slice]:
        """The slices that there is one of."""
        names = (entry.name for entry in self._storage.list(f"{FOLDER}/{table}"))
        return [slice for slice in map(slice_of, names) if slice]

    def read(self, table: str, slice: Slice) -> tuple[ProgressObject, str] | None:
        """One of them and its version; None if it is absent. Raises DamagedStateError."""
        path = path_of(table, slice)
        try:
            data, version = self._storage.read_version(path)
        except StorageNotFoundError:
            return None
        return decode(data, path, table, slice), version

    def write(self, table: str, known: ProgressObject, version: str | None) -> str:
        """Put it in the place of that version (None: of nothing). Raises CommitConflictError."""
        return self._storage.replace_version(path_of(table, known.slice), known.encode(), version)


def path_of(table: str, slice: Slice) -> str:
    """Where a slice's progress object is."""
    return f"{FOLDER}/{table}/{slice}.json"


def staging_of(table: str, slice: Slice) -> str:
    """Where a slice's files are staged."""
    return f"{STAGING}/{table}/{slice}"


def earlier_staging_of(table: str, slice: Slice) -> str:
    """Where earlier releases staged them."""
    return f"{table}/{EARLIER_STAGING}/{slice}"


def slice_of(name: str) -> Slice | None:
    """The slice that a file of the progress folder is about; None if it is no progress object."""
    index, of, count = name.removesuffix(".json").partition("-of-")
    if not (name.endswith(".json") and of and index.isdecimal() and count.isdecimal()):
        return None
    return Slice(int(index), int(count))


def decode(data: bytes, path: str, table: str, slice: Slice) -> ProgressObject:
    """Raises DamagedStateError for what `encode` never made, or made for another slice."""
    try:
        value = json.loads(data)
        intent = value["intent"]
        read = ProgressObject(
            str(value["run_id"]),
            slice,
            None if value["slot"] is None else _progress(value),
            intent and Intent(_progress(intent), tuple(_move(move, table, slice) for move in intent["moves"])),
            _holder(value.get("holder")),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _damaged(path, f"it cannot be understood ({type(error).__name__}: {error})") from error
    if value.get("slice") != str(slice):
        raise _damaged(path, f"it is about slice {value.get('slice')}, as if it had been copied")
    return read


def _numbers(progress: TableProgress | None) -> dict[str, int | None]:
    return {
        "slot": progress.slot if progress else None,
        "rows": progress.rows if progress else 0,
        "files": progress.files if progress else 0,
        "bytes": progress.bytes if progress else 0,
    }


def _progress(value: Mapping[str, Any]) -> TableProgress:
    slot, *counts = (_count(value[key]) for key in ("slot", "rows", "files", "bytes"))
    if slot > SLOT_END:
        raise ValueError(f"{slot} is no slot")
    return TableProgress(slot, *counts)


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{value!r:.40} is no count")
    return value


def _move(value: Any, table: str, slice: Slice) -> tuple[str, str]:
    """A pair of paths, from where the slice's files are staged, or were by earlier releases, to somewhere in the table:
    recovery moves what these say, so whoever may write a progress object must not reach beyond the table by it.
    """
    staged, final = value
    folders = (staging_of(table, slice), earlier_staging_of(table, slice))
    if not (any(_is_below(folder, staged) for folder in folders) and _is_below(table, final)):
        raise ValueError(f"{value!r} leads out of the table")
    return staged, final


def _is_below(folder: str, path: Any) -> bool:
    below = path.removeprefix(f"{folder}/") if isinstance(path, str) else path
    return below != path and "\0" not in below and not {"", ".", ".."} & set(below.split("/"))


def _holder(value: Any) -> str | None:
    if not (value is None or (isinstance(value, str) and value)):
        raise ValueError(f"{value!r} is no holder")
    return value


def _damaged(path: str, why: str) -> DamagedStateError:
    return DamagedStateError(
        f"{path} is damaged: {why}",
        hint="restore it from a backup; without it nobody can say which files of the table are complete: otherwise "
        "move the folder of the table and that of its progress away, and it is made anew",
    )
