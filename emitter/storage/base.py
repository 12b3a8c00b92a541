"""Where objects live. The journal, the progress objects and the Parquet files all go through a `Storage`.

Paths are relative to the output, with `/` between the parts. Every method that returns has made its effect
durable unless it says otherwise. Failures are `StorageError`s; only `StorageNotFoundError` means that
something is absent.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar, NamedTuple

from emitter.errors import CommitConflictError


@dataclass(frozen=True, slots=True)
class Entry:
    """What a folder holds: a file with its size and when it was written last (unix time; infinite where nobody knows),
    or a folder (size 0).
    """

    name: str
    is_folder: bool
    size_bytes: int
    written_wall_seconds: float = field(default=math.inf, compare=False)


class StoredFile(NamedTuple):
    """A file with its path; the rest as of an `Entry`."""

    path: str
    size_bytes: int
    written_wall_seconds: float


class Storage(ABC):
    """An output's storage. Safe to use from several threads on different paths."""

    uri: str

    reads_at_once: ClassVar[int] = 4
    """How many objects are best read at the same time."""

    has_locks: ClassVar[bool] = True
    """Whether `lock` keeps others away. Where it does not, only `put_if_absent` and `replace_version` do."""

    @property
    def folder(self) -> str | None:
        """Where on this machine it is, for other tools; None where it is elsewhere."""
        return None

    @abstractmethod
    def check(self) -> None:
        """See that objects can be read and written here, and that `put_if_absent` keeps what is there; without leaving
        anything. Raises StorageError.
        """

    def check_versions(self) -> None:  # noqa: B027 (it is so by construction, but where a server is asked)
        """See that `replace_version` replaces nothing but the version that was read. Raises StorageError."""

    @abstractmethod
    def read(self, path: str) -> bytes:
        """The whole object."""

    @abstractmethod
    def size(self, path: str) -> int:
        """How many bytes the object has."""

    @abstractmethod
    def written_wall_seconds(self, path: str) -> float:
        """When the object was written last, as an `Entry` has it."""

    @abstractmethod
    def open_file(self, path: str) -> BinaryIO:
        """The object, to be read from any place in it."""

    @abstractmethod
    def write(self, path: str, data: Any) -> None:
        """Write a file whole, folders included, from bytes or a buffer, over what was there. Its bytes are
        durable, its name only after `sync_folders`.
        """

    @abstractmethod
    def replace(self, path: str, data: bytes) -> None:
        """Write an object so that every reader sees the old or the new one, whole."""

    @abstractmethod
    def put_if_absent(self, path: str, data: Any) -> bool:
        """Write an object whole, unless there is one: then False, and it stays as it was. May be True as well where
        it is there with these very bytes: after a lost reply nobody knows whose they are.
        """

    @abstractmethod
    def read_version(self, path: str) -> tuple[bytes, str]:
        """The whole object, and which version of it this is. Equal bytes may be an equal version."""

    @abstractmethod
    def replace_version(self, path: str, data: bytes, version: str | None) -> str:
        """Replace an object if it is still that version (None: if there is none), and give the new one. Raises
        CommitConflictError where it is another or gone. With `has_locks`, only writers that hold the same lock are
        kept apart.
        """

    @abstractmethod
    def list(self, folder: str, after: str = "") -> list[Entry]:
        """What a folder holds, by name, of that only what comes after a name. Empty for a folder that is not there."""

    def walk(self, folder: str, first: str = "") -> Iterator[StoredFile]:
        """Every file below a folder; none where the folder is not there. `first`: a path below it, and nothing comes
        that sorts before it.
        """
        head, _, rest = first.partition("/")
        for entry in self.list(folder, after=head[:-1]):
            path = f"{folder}/{entry.name}"
            if entry.name < head:
                continue
            if entry.is_folder:
                yield from self.walk(path, rest if entry.name == head else "")
            else:
                yield StoredFile(path, entry.size_bytes, entry.written_wall_seconds)

    def leftovers(self, folder: str, *, below: bool = True) -> Iterator[StoredFile]:  # noqa: ARG002
        """What writes of ours that a kill cut short have left in a folder ("": the output's own), and below it, under
        names that nothing looks for. Nothing where a write leaves nothing.
        """
        return iter(())

    @abstractmethod
    def remove(self, path: str) -> None:
        """Remove a file; nothing happens where there is none. Not durable by itself."""

    @abstractmethod
    def rename(self, source: str, target: str) -> None:
        """Give a file its final name, target folders included. Durable only after `sync_folders`."""

    @abstractmethod
    def sync_folders(self, folders: set[str]) -> None:
        """Make the names in these folders durable, and those of folders that were new in their parents."""

    @abstractmethod
    def lock(self, path: str) -> AbstractContextManager[None]:
        """Hold a lock while the context lasts. A killed process never leaves it behind, a live one always
        holds it, child processes never inherit it. Raises SliceLockedError if another holds it. Does nothing
        where `has_locks` is False.
        """

    def is_locked(self, path: str) -> bool:  # noqa: ARG002 (the rest knows of no locks)
        """Whether a live process is known to hold a lock. Only looks."""
        return False


def moved(path: str) -> CommitConflictError:
    """What `replace_version` raises."""
    return CommitConflictError(
        f"could not replace {path}: it is not the version that was read before",
        hint="another writer moved it: read it again, then decide",
    )
