"""The objects of a journal: its entries, numbered from 0, and beside them an index now and then.

    _emitter/journal/0000000512.json          an entry, put only if absent
    _emitter/journal/index-0000000512.json    which entries up to that one a start has to read

A run of a year at speed 1 has fifty thousand entries, and nearly all are seals that later seals outdo. An index names
the changes among the entries up to a seal; with them and that seal, a start knows what all of those entries say. An
index is never the truth: it counts only where the seal is the very one that it was made for and what it names as
changes is that. Without it, all entries are read; releases that know of no indexes pass over them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import batched
from typing import Any

from emitter.errors import DamagedStateError, StorageNotFoundError
from emitter.storage.base import Storage

RUN_FOLDER = "_emitter"  # what the run keeps beside its tables
FOLDER = f"{RUN_FOLDER}/journal"
INDEX_ENTRIES = 256  # how many more there are at least from one index to the next
_INDEX_FORMAT = 1
_INDEX = "index-"
_AT_ONCE = 16
_READ_AHEAD = 1024

type JournalEntry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Index:
    """The last entry that it covers, which is a seal, and the numbers of the changes before that."""

    last: int
    changes: tuple[int, ...] = ()


class Entries:
    """The objects of the journal of one output."""

    def __init__(self, storage: Storage) -> None:
        self._storage, self.uri = storage, storage.uri

    def read(self, number: int) -> JournalEntry | None:
        """One entry; None if there is none. Raises DamagedStateError."""
        data = self._bytes(path_of(number))
        return None if data is None else _decode(number, data)

    def read_all(self, numbers: Sequence[int]) -> Iterator[JournalEntry]:
        """Entries that must be there, in order. Raises DamagedStateError."""
        for number, data in zip(numbers, self._side_by_side([path_of(number) for number in numbers]), strict=True):
            if data is None:
                raise damaged(number, "it is gone, though later entries are there")
            yield _decode(number, data)

    def count(self, known: int = 0) -> int:
        """One more than the highest number of an entry that is there; those below `known` are not looked at."""
        listed = self._storage.list(FOLDER, after=_name(known - 1) if known else "")
        names = (entry.name.removesuffix(".json") for entry in listed)
        return max((int(name) + 1 for name in names if name.isdecimal()), default=known)

    def put(self, number: int, entry: Mapping[str, Any]) -> bool:
        """Put an entry, if there is none of that number yet; whether it is there now, and this one."""
        return self._storage.put_if_absent(path_of(number), encode(entry))

    def newest_index(self) -> tuple[Index, list[JournalEntry]] | None:
        """The newest index that holds, with the entries that it names: the changes, then the seal."""
        names = [entry.name for entry in self._storage.list(FOLDER, after=_INDEX) if entry.name.startswith(_INDEX)]
        for name in reversed(names):
            if found := self._indexed(name):
                return found
        return None

    def put_index(self, index: Index) -> None:
        """Keep an index. One that is there of a log that was set back since is replaced."""
        last = self._bytes(path_of(index.last))
        if last is None:
            return
        path, value = f"{FOLDER}/{_INDEX}{_name(index.last)}", {"index_format": _INDEX_FORMAT, "last": index.last}
        data = encode({**value, "last_digest": _digest(last), "changes": list(index.changes)})
        if not self._storage.put_if_absent(path, data) and self._bytes(path) != data:
            self._storage.replace(path, data)

    def _indexed(self, name: str) -> tuple[Index, list[JournalEntry]] | None:
        try:
            value = json.loads(self._bytes(f"{FOLDER}/{name}") or b"")
            index = Index(int(value["last"]), tuple(map(int, value["changes"])))
            if value["index_format"] != _INDEX_FORMAT or name != f"{_INDEX}{_name(index.last)}":
                return None
            numbers = [*index.changes, index.last]
            found = list(self._side_by_side([path_of(number) for number in numbers]))
            if None in found or _digest(found[-1] or b"") != value["last_digest"]:
                return None
            entries = [_decode(number, data or b"") for number, data in zip(numbers, found, strict=True)]
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
            return None  # not of ours: what the entries say is read from themselves
        kinds = [entry.get("kind") for entry in entries]
        return (index, entries) if kinds == ["change"] * len(index.changes) + ["seal"] else None

    def _side_by_side(self, paths: Sequence[str]) -> Iterator[bytes | None]:
        """What the objects hold, None where there is none. On a disk in turn, as it does not wait."""
        if self._storage.has_locks or len(paths) < 2:
            yield from map(self._bytes, paths)
            return
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="journal") as pool:
            for some in batched(paths, _READ_AHEAD):
                yield from pool.map(self._bytes, some)

    def _bytes(self, path: str) -> bytes | None:
        try:
            return self._storage.read(path)
        except StorageNotFoundError:
            return None


def canonical_json(value: Any) -> str:
    """One text for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def encode(entry: Mapping[str, Any]) -> bytes:
    """As it is stored."""
    return (canonical_json(entry) + "\n").encode()


def path_of(number: int) -> str:
    """Where an entry is."""
    return f"{FOLDER}/{_name(number)}"


def damaged(number: int, why: str) -> DamagedStateError:
    """What is raised for an entry that cannot be gone on from."""
    return DamagedStateError(
        f"journal entry {number} ({path_of(number)}) is damaged: {why}",
        hint="restore the journal from a backup; without it nobody can say what the tables should hold",
    )


def _name(number: int) -> str:
    return f"{number:010d}.json"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _decode(number: int, data: bytes) -> JournalEntry:
    try:
        entry = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise damaged(number, "it is not JSON") from error
    if not isinstance(entry, dict):
        raise damaged(number, "it is not a JSON object")
    return entry
