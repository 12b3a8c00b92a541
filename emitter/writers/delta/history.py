"""Whether a Delta table was set back behind what it says of itself.

RESTORE brings back the files of an older version, but the application transactions stay as they are, and with them the
progress: the rows in between would be missing for ever. So every commit first looks at those since the version that
was looked at last, newest first. One that is ours ends the search: it tells which version it was made from, and its
writer had looked at all up to that one. Usually that is one small object to read.

A RESTORE is harmless where none of our commits is newer than what it brought back, for instance where it undoes another
RESTORE, or a compaction, ours too: that moves no progress, and every row is in both versions. All else that others do
(deletion, vacuum, a checkpoint) is theirs to answer for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from emitter.errors import DamagedStateError

_OF_FILES = (b'{"add":', b'{"remove":')  # a compaction has thousands of such lines, and nothing in them matters here
_PLAIN = {"commitInfo", "txn", "add", "remove", "cdc"}
_JOINED = _PLAIN | {"metaData", "protocol"}  # of which a later one takes the place of all before
_MARKS = "%:"  # in a path: of what is escaped, or elsewhere
_COMMITS_MAX = 10_000  # looked at; more come from others only after a long time


@dataclass(frozen=True, slots=True)
class LoggedCommit:
    """What matters here of one entry of the log."""

    made_from: int | None = None  # in ours: the version that its writer had looked at
    restored: int | None = None  # in a RESTORE: the version that it brought back, -1 if it does not tell
    moved: Mapping[str, int] = field(default_factory=dict)  # application transactions, with their new numbers
    is_plain: bool = True  # it only adds or removes files, and is no RESTORE: what is known of the table still holds


ReadCommit = Callable[[int], LoggedCommit | None]
"""The commit that made a version; None where the log was cleaned up."""


def decode(data: bytes, path: str, names: str) -> LoggedCommit:
    """An entry of the log. It is ours if it moves an application transaction whose name begins with `names`. Raises
    DamagedStateError.
    """
    with _understood(path):
        lines = (line for line in data.splitlines() if line.strip() and not line.startswith(_OF_FILES))
        actions: list[dict[str, Any]] = [json.loads(line) for line in lines]
        info: dict[str, Any] = next((action["commitInfo"] for action in actions if "commitInfo" in action), {})
        moved = {action["txn"]["appId"]: int(action["txn"]["version"]) for action in actions if "txn" in action}
        ours = any(name.startswith(names) for name in moved)
        is_plain = all(action.keys() <= _PLAIN for action in actions) and info.get("operation") != "RESTORE"
        restored = None
        if info.get("operation") == "RESTORE":
            target = info.get("operationParameters", {}).get("version")
            restored = -1 if target is None else int(target)
        return LoggedCommit(int(info.get("readVersion", -1)) if ours else None, restored, moved, is_plain)


def removed_paths(data: bytes) -> set[str]:
    """The files that an entry of the log takes out of the table, as it writes them."""
    lines = (line for line in data.splitlines() if b'"remove"' in line)
    return {action["remove"]["path"] for action in map(json.loads, lines) if "remove" in action}


class MovedFiles(NamedTuple):
    """What an entry of the log does to files, by their paths in the table: bytes and rows of those it adds, the unix
    time in seconds at which others were removed.
    """

    added: dict[str, tuple[int, int | None]]
    removed: dict[str, float]


def moved_files(data: bytes, path: str) -> MovedFiles | None:
    """Those of a plain entry; None where it takes more to know a file than its path as it is written. Raises
    DamagedStateError.
    """
    moved = MovedFiles({}, {})
    with _understood(path):
        for line in data.splitlines():
            if b'"add"' not in line and b'"remove"' not in line:
                continue
            action = json.loads(line)
            for name in ("add", "remove"):
                file: dict[str, Any] | None = action.get(name)
                if file is None:
                    continue
                if is_escaped(file["path"]) or file.get("deletionVector"):
                    return None
                if name == "add":
                    rows = json.loads(file.get("stats") or "{}").get("numRecords")
                    moved.added[file["path"]] = file["size"], rows
                else:
                    moved.removed[file["path"]] = (file.get("deletionTimestamp") or math.inf) / 1000
    return moved


def is_escaped(path: str) -> bool:
    """Whether the log may mean another path than it writes, or one elsewhere."""
    return any(mark in path for mark in _MARKS)


def joined(entries: Iterable[bytes], path: str) -> bytes | None:
    """One entry that does to a table what these do one after the other; None where they do more than to move files and
    transactions, and to say what the table is. `path` is where the last of them is. Raises DamagedStateError.
    """
    last: dict[tuple[str, str], bytes] = {}
    with _understood(path):
        for line in (line for data in entries for line in data.splitlines() if line.strip()):
            action = json.loads(line)
            if not action.keys() <= _JOINED or action.get("commitInfo", {}).get("operation") == "RESTORE":
                return None
            last |= {("table", name): line for name in ("protocol", "metaData") if name in action}
            if "txn" in action:
                last["txn", action["txn"]["appId"]] = line
            for file in (action[name] for name in ("add", "remove") if name in action):
                if is_escaped(file["path"]) or file.get("deletionVector"):
                    return None
                last["file", file["path"]] = line
    return b"\n".join(last.values()) + b"\n"


@contextmanager
def _understood(path: str) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedStateError(
            f"{path} cannot be understood ({type(error).__name__}: {error})",
            hint="every reader of the table fails on it: restore it from a backup",
        ) from error


def find_rollback(read: ReadCommit, newest: int, looked_at: int) -> int | None:
    """The version that a RESTORE made by which rows of ours were lost, if there is one between `looked_at` (not in it)
    and `newest` (in it).
    """
    version, end = newest, max(looked_at, newest - _COMMITS_MAX)
    while version > end:
        commit = read(version)
        if commit is None:  # the log was cleaned up: that takes the whole retention time, and says nothing
            return None
        if commit.made_from is not None:
            end = max(end, commit.made_from)
        if commit.restored is None:
            version -= 1
        elif _has_ours(read, commit.restored, version):
            return version
        else:
            version = commit.restored
    return None


def _has_ours(read: ReadCommit, after: int, before: int) -> bool:
    """Whether one of ours is between two versions. What cannot be read may be."""
    between = map(read, range(before - 1, after, -1))
    return any(commit is None or commit.made_from is not None for commit in between)
