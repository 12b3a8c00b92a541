"""Objects on a local disk, and a lock that only a live process holds.

Every object is written under a hidden name of its own, synced, and then renamed (or given a new name, where it must not
replace another), so that no reader ever sees a part of one. A crash in between leaves a file like
`.0-of-1.json.4711-...tmp`: nothing looks for it; the writer's recovery drops those of its slice, and upkeep the rest
(`leftovers`).

A file's name is durable once its folder was synced, and the folder's own name once its parent was. The
storage remembers which folders' names it knows to be durable, and syncs the parents of all others.

Paths of objects are plain text here: pathlib interns every part of every path for as long as the process lives, and
a daemon makes names for weeks.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import os
import re
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

from emitter.errors import SliceLockedError, StorageError, StorageNotFoundError, UsageError
from emitter.storage.base import Entry, Storage, StoredFile, moved
from emitter.storage.new_names import give_new_name

_FLOCK = "hhqqi4x"  # struct flock: kind, from where on, first byte, how many, whose
_TEMPORARY = re.compile(r"\..+\.\d+-\d+-\d+\.tmp(\.new)?")  # what `_write_temporary` and `_try_object` make
_DURABLE_FOLDERS_MAX = 4096  # remembered; beyond it they are only synced once more

_TRIED = b"what emitter check writes, reads and removes\n"

_numbers = itertools.count()  # of temporary names, one series per process
_held: dict[tuple[int, int], int] = {}  # (device, inode) of a lock file -> the process that holds it
_held_guard = threading.Lock()


class LocalStorage(Storage):
    """A folder on a local disk, which is made when it is first written to. The methods whose names begin with
    `_` and a verb are the only system calls that change anything: `testing.FaultyStorage` makes them fail.
    """

    def __init__(self, uri: str | os.PathLike[str]) -> None:
        """A path, or a `file://` URI. Raises UsageError for any other URI."""
        self.uri = os.fspath(uri)
        self.root = _local_path(self.uri)
        with _failures("write, read and remove an object in", self.root):
            existing = (folder for folder in (self.root, *self.root.parents) if folder.exists())
            self._base = str(next(existing))  # the names from here up are not ours to sync
        self._durable: set[str] = set()

    def _path(self, path: str) -> str:
        return os.path.join(self.root, path)

    @property
    def folder(self) -> str:
        return str(self.root)

    def check(self) -> None:
        with _failures("write, read and remove an object in", self.root):
            existing = next(folder for folder in (self.root, *self.root.parents) if folder.exists())
            if not existing.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(existing))
            if not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(existing))
            own = self.root / "_emitter"  # with rights of its own, perhaps
            for folder in (existing, *((own,) if own.is_dir() else ())):
                self._try_object(os.path.join(folder, "emitter-check"))

    def _try_object(self, target: str) -> None:
        """See that a file can be written, read and removed, and that the file system can do what `put_if_absent` stands
        on: rights alone do not tell.
        """
        temporary = self._write_temporary(target, _TRIED)
        try:
            self._link(temporary, f"{temporary}.new")
            with open(f"{temporary}.new", "rb") as file:
                if file.read() != _TRIED:
                    raise OSError(errno.EIO, "what was written is not what is read", target)
        finally:
            self._discard(temporary)
            self._discard(f"{temporary}.new")
        if os.path.lexists(f"{temporary}.new"):
            raise OSError(errno.EPERM, "a file can be written there, and not removed", target)

    def read(self, path: str) -> bytes:
        target = self._path(path)
        with _failures("read", target, absent=target), open(target, "rb") as file:
            return file.read()

    def size(self, path: str) -> int:
        target = self._path(path)
        with _failures("measure", target, absent=target):
            if os.path.isdir(target):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
            return os.stat(target).st_size

    def written_wall_seconds(self, path: str) -> float:
        target = self._path(path)
        with _failures("measure", target, absent=target):
            return os.stat(target).st_mtime

    def open_file(self, path: str) -> BinaryIO:
        target = self._path(path)
        with _failures("open", target, absent=target):
            return open(target, "rb")

    def write(self, path: str, data: Any) -> None:
        target = self._path(path)
        with _failures("write", target):
            self._put(target, data)

    def replace(self, path: str, data: bytes) -> None:
        target = self._path(path)
        with _failures("write", target):
            self._put(target, data)
            self._sync({os.path.dirname(target)})

    def put_if_absent(self, path: str, data: Any) -> bool:
        target = self._path(path)
        with _failures("write", target):
            temporary = self._write_temporary(target, data)
            try:
                self._link(temporary, target)
                won = True
            except FileExistsError:
                if not os.path.isfile(target):
                    raise
                won = False
            finally:
                self._discard(temporary)
            # The loser syncs too: it goes on to rely on what the winner may not have synced yet.
            self._sync({os.path.dirname(target)})
            return won

    def read_version(self, path: str) -> tuple[bytes, str]:
        data = self.read(path)
        return data, _digest(data)

    def replace_version(self, path: str, data: bytes, version: str | None) -> str:
        """A disk has no compare-and-set: nobody else may come between the look and the rename. The lock of the slice
        sees to that.
        """
        try:
            found = _digest(self.read(path))
        except StorageNotFoundError:
            found = None
        if found != version:
            raise moved(path)
        self.replace(path, data)
        return _digest(data)

    def _entries(self, folder: str, after: str) -> list[Entry]:
        target = self._path(folder)
        with _failures("list", target, absent=target), os.scandir(target) as found:
            return [entry for entry in map(_entry, (each for each in found if each.name > after)) if entry]

    def list(self, folder: str, after: str = "") -> list[Entry]:
        try:
            entries = self._entries(folder, after)
        except StorageNotFoundError:
            return []
        except StorageError as error:
            if not isinstance(error.cause, FileNotFoundError):
                raise
            entries = self._entries(folder, after)  # somebody made the folder just after it was not there
        return sorted(entries, key=lambda entry: entry.name)

    def leftovers(self, folder: str, *, below: bool = True) -> Iterator[StoredFile]:
        """Goes through names alone, and into no folder that is a link: what it leads to may be anybody's."""
        top, found = self._path(folder), list[StoredFile]()
        with _failures("list", top):
            for parent, folders, names in os.walk(top, onerror=_unless_gone):
                for path in (os.path.join(parent, name) for name in names if _TEMPORARY.fullmatch(name)):
                    with suppress(FileNotFoundError):
                        status = os.lstat(path)
                        found.append(StoredFile(os.path.relpath(path, self.root), status.st_size, status.st_mtime))
                if not below:
                    folders.clear()
        return iter(found)

    def remove(self, path: str) -> None:
        target = self._path(path)
        with _failures("remove", target), suppress(FileNotFoundError):
            self._remove(target)

    def rename(self, source: str, target: str) -> None:
        old, new = self._path(source), self._path(target)
        with _failures("rename", old, absent=old):
            self._make_folders(os.path.dirname(new))
            try:
                self._rename(old, new)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                self._copy_over(old, new)

    def sync_folders(self, folders: set[str]) -> None:
        with _failures("sync folders in", self.root):
            self._sync({self._path(folder) for folder in folders})

    @contextmanager
    def lock(self, path: str) -> Iterator[None]:
        """A POSIX record lock, which the kernel drops at any death of the process and no child inherits. As
        it does not keep two holders within one process apart, and closing *any* descriptor of the file drops
        it, a registry of this process is asked first. The lock file holds the holder's process id, and is
        never removed.
        """
        target = self._path(path)
        with _held_guard, _failures("lock", target):
            descriptor, key = self._take(target)
        try:
            yield
        finally:
            with _held_guard:
                os.close(descriptor)
                del _held[key]

    def is_locked(self, path: str) -> bool:
        target = self._path(path)
        with _held_guard, _failures("look at the lock", target):
            try:
                if _held.get(_key(os.stat(target))) == os.getpid():
                    return True  # and to close a descriptor of it would drop it
                descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                return False
            try:
                if sys.platform != "linux":  # the question's layout differs
                    return False
                asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
                (kind, *_) = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
                return bool(kind != fcntl.F_UNLCK)
            finally:
                os.close(descriptor)

    def _take(self, target: str) -> tuple[int, tuple[int, int]]:
        self._make_folders(os.path.dirname(target))
        with suppress(FileNotFoundError):
            if _held.get(_key(os.stat(target))) == os.getpid():
                raise _locked(target, f"{os.getpid()} (this very one)")
        descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError) as error:
                holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
                raise _locked(target, holder or "?") from error
            try:
                os.pwrite(descriptor, b"%19d\n" % os.getpid(), 0)  # of fixed width: no moment without a holder
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):  # what makes room has to have a lock
                    raise
        except BaseException:
            os.close(descriptor)
            raise
        key = _key(os.fstat(descriptor))
        _held[key] = os.getpid()
        return descriptor, key

    def _put(self, target: str, data: Any) -> None:
        temporary = self._write_temporary(target, data)
        try:
            self._rename(temporary, target)
        except BaseException:
            self._discard(temporary)
            raise

    def _write_temporary(self, target: str, data: Any) -> str:
        self._make_folders(os.path.dirname(target))
        folder, name = os.path.split(target)
        while True:
            unique = f".{name}.{os.getpid()}-{threading.get_native_id()}-{next(_numbers)}.tmp"
            temporary = os.path.join(folder, unique)
            # Another machine or container may have the same numbers: a name that is taken is passed over.
            with suppress(FileExistsError):
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
                break
        try:
            try:
                self._write(descriptor, data)
                self._fsync_file(descriptor)
            finally:
                os.close(descriptor)
        except BaseException:
            self._discard(temporary)
            raise
        return temporary

    def _copy_over(self, source: str, target: str) -> None:
        """A rename between two disks, where a folder of the output is a link. Repeated after a crash, it finishes."""
        with open(source, "rb") as file:
            self._put(target, file.read())
        self._sync({os.path.dirname(target)})
        self._remove(source)

    def _discard(self, temporary: str) -> None:
        with suppress(OSError):  # what matters was decided before; a leftover is harmless
            self._remove(temporary)

    def _make_folders(self, folder: str) -> None:
        """The only place where folders are made: a new one's name is not durable yet, whatever was known of
        it.
        """
        if not os.path.isdir(folder):
            self._durable.difference_update(new for new in _upwards(folder) if not os.path.isdir(new))
            self._make_folder(folder)

    def _sync(self, folders: set[str]) -> None:
        needed, named = set(folders), set[str]()
        for folder in folders:
            for part in _upwards(folder):
                if part == self._base or part in named or part in self._durable:
                    break
                named.add(part)
                needed.add(os.path.dirname(part))
        for folder in sorted(needed):
            self._fsync_folder(folder)
        if len(self._durable) > _DURABLE_FOLDERS_MAX:
            self._durable.clear()
        self._durable |= named  # never iterated over: other threads may add to it

    # The primitives.

    def _write(self, descriptor: int, data: Any) -> None:
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def _fsync_file(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def _fsync_folder(self, folder: str) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _rename(self, source: str, target: str) -> None:
        os.rename(source, target)

    def _link(self, source: str, target: str) -> None:
        give_new_name(source, target)

    def _make_folder(self, folder: str) -> None:
        os.makedirs(folder, exist_ok=True)

    def _remove(self, path: str) -> None:
        os.unlink(path)


@contextmanager
def _failures(operation: str, path: str | Path, *, absent: str | None = None) -> Iterator[None]:
    """Operating system errors as StorageErrors; StorageNotFoundError only if nothing is called `absent`."""
    try:
        yield
    except FileNotFoundError as error:
        gone = absent is not None and not os.path.lexists(absent)
        raise (StorageNotFoundError if gone else StorageError)(operation, path, error) from error
    except OSError as error:
        raise StorageError(operation, path, error) from error


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _upwards(folder: str) -> Iterator[str]:
    """A folder and all that it lies in."""
    while True:
        yield folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return
        folder = parent


def _local_path(uri: str) -> Path:
    is_uri = uri.startswith(("file:///", "file://localhost/"))
    path = unquote(uri.removeprefix("file://").removeprefix("localhost")) if is_uri else uri
    if ("://" in uri and not is_uri) or "\0" in path:
        raise UsageError(f"{uri!r} is not on a local disk", hint="give a path, or a URI like file:///data/shop")
    try:
        return Path(path).absolute()
    except FileNotFoundError as error:
        problem = f"{uri!r} begins in the working folder, which is gone"
        raise UsageError(problem, hint="begin in a folder that is there, or give the whole path") from error


def _entry(found: os.DirEntry[str]) -> Entry | None:
    try:
        if found.is_dir():
            return Entry(found.name, True, 0)
        status = found.stat()
        return Entry(found.name, False, status.st_size, status.st_mtime)
    except FileNotFoundError:  # removed since the folder was read
        return None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _key(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _locked(target: str, holder: str) -> SliceLockedError:
    return SliceLockedError(
        f"{target} is held by process {holder}",
        hint="another emitter writes this slice: stop it first, or give this one another shard.index",
    )
