"""Every error emitter raises on purpose, and the exit code it ends the command with.

    EmitterError
    |-- ConfigurationError        2  holds every fault at once
    |-- UsageError                2
    |-- MissingExtraError         2  names the install command
    |-- StateError                2  what is stored contradicts what is asked
    |   |-- IdentityMismatchError     another seed, domain, origin...
    |   |-- DamagedStateError         an object of ours is cut short or unreadable
    |   |-- MissingJournalError       progress without a journal
    |   |-- ForeignTableError         a table or folder that is not ours
    |   `-- RolledBackError           a table was set back behind what it says of itself
    |-- SliceLockedError          3  another live process holds the slice
    |-- OvertakenError            3  another writer moved the progress
    |-- StorageError              4  an operation on storage failed
    |   |-- StorageNotFoundError      the only one that means "absent"
    |   `-- StorageGaveUpError        after bounded retries
    |-- CommitConflictError       4  the table had moved: retried by the daemon
    `-- CommitUnknownError        4  the reply was lost: read back, never retried blind

Each says what was tried, on what, and what to do next; the command line prints `Error: ...` and `Try: ...`.
All text passes through `redacted`, so that no error can carry a password.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote

_URI_USER = re.compile(r"://(?:[^\s:/@]*:\S*|[^\s/@]+)@")
_URI_QUERY = re.compile(r"(://[^\s?#]*)[?#]\S*")
_KEY_VALUE = re.compile(
    r"(?i)((?:password|passwd|pwd|secret|token|access_key\w*|credential\w*)\s*=\s*)"
    r"(?:'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\"|[^\s&]+)"
)
_TEXT_LENGTH_MAX = 10_000  # what a server or a file has said may be of any length
_VALUE_LENGTH_MAX = 80
_FAULTS_SHOWN_MAX = 20
_SECRETS_MAX = 64
_SECRET_LENGTH_MIN = 8  # a shorter one may be a word of any text
_secrets: dict[str, None] = {}  # in the order they came: those of hours ago have expired


def conceal(*secrets: str | None) -> None:
    """From now on show none of these in any text. For what patterns can't tell: a library may quote a secret bare."""
    for secret in secrets:
        if secret and len(secret) >= _SECRET_LENGTH_MIN:
            _secrets[secret] = _secrets[quote(secret, safe="")] = None
    for oldest in list(_secrets)[:-_SECRETS_MAX]:
        _secrets.pop(oldest, None)


def without_passwords(text: str) -> str:
    """`text` without the user part of URIs and without the values of `password=...` and its like."""
    return _KEY_VALUE.sub(r"\1***", _URI_USER.sub("://***@", text))


def redacted(text: str) -> str:
    """`text` without what looks like a password, and without the secrets that are known."""
    for secret in tuple(_secrets):
        text = text.replace(secret, "***")
    return without_passwords(text)


def publishable(text: str) -> str:
    """`redacted`, and without the queries of URIs: for what anyone on the network may open."""
    return _URI_QUERY.sub(r"\1?***", redacted(text))


class EmitterError(Exception):
    """Something emitter was asked for cannot be done. Read the hint: it names the next step.

    >>> import emitter
    >>> try:
    ...     emitter.create_writer("deltalake", "data/shop")
    ... except emitter.EmitterError as error:
    ...     print(error)
    there is no format 'deltalake'
    Try: did you mean delta? choose one of: delta, ducklake, iceberg, parquet
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, problem: str, *, hint: str) -> None:
        """`problem`: what was tried, on what, and what happened. `hint`: what the reader can do now."""
        self.problem = _harmless(redacted(problem))
        self.hint = _harmless(redacted(hint))
        super().__init__(self.problem)

    def __str__(self) -> str:
        """Both parts: wherever an error is shown, in a notebook or a log, it shows the way out too."""
        return f"{self.problem}\nTry: {self.hint}"

    def report(self) -> str:
        """The two parts as the command line prints them."""
        return f"Error: {self}"

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process borders (`generate --jobs`), and the default would call __init__ with
        # `problem` alone: it fails there, and the pool then reports a broken worker instead of the error.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[EmitterError], args: tuple[Any, ...], state: dict[str, Any]) -> EmitterError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a configuration: where, what stood there, and what may stand there."""

    path: str
    value_text: str
    allowed: str
    hint: str = ""

    def __str__(self) -> str:
        """One line, such as `clock.speed: got 0, expected "max" or a number above 0`."""
        tail = f"; {self.hint}" if self.hint else ""
        return redacted(f"{self.path}: got {self.value_text}, expected {self.allowed}{tail}")


class ConfigurationError(EmitterError):
    """The configuration has faults. Correct each line that is listed: all of them are.

    >>> import emitter
    >>> try:
    ...     emitter.create_generator("ecommerce", customers=0)
    ... except emitter.ConfigurationError as error:
    ...     [fault.path for fault in error.faults]
    ['ecommerce.customers']
    """

    def __init__(
        self,
        faults: Sequence[Fault],
        *,
        hint: str = "correct what is listed, then run `emitter check -c FILE` to see that nothing is left",
    ) -> None:
        """`faults`: at least one, in the order of the configuration."""
        self.faults = tuple(faults)
        count = "a fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        lines = "".join(f"\n  {fault}" for fault in self.faults[:_FAULTS_SHOWN_MAX])
        more = f"\n  and {len(self.faults) - _FAULTS_SHOWN_MAX} more" if len(self.faults) > _FAULTS_SHOWN_MAX else ""
        super().__init__(f"the configuration has {count}:{lines}{more}", hint=hint)


class UsageError(EmitterError):
    """A command or a function was called in a way that cannot work. Call it as the hint says.

    >>> import emitter
    >>> try:
    ...     emitter.WriterOptions(compression="gzipp")
    ... except emitter.UsageError as error:
    ...     print(error.hint)
    give one of: zstd, snappy, lz4, gzip, none
    """


def wrong_type(what: str, value: object, *, hint: str) -> UsageError:
    """The error for an argument of a type that cannot work. `what`: the argument, such as "the writer"."""
    shown = repr(value)
    shown = shown if len(shown) <= _VALUE_LENGTH_MAX else f"{shown[:_VALUE_LENGTH_MAX]}..."
    return UsageError(f"{what} cannot be {shown}, of type {type(value).__name__}", hint=hint)


class MissingExtraError(EmitterError):
    """A package of an optional extra is not installed. Install the extra with the command in the hint."""

    def __init__(self, extra: str, *, needed_for: str) -> None:
        """`extra`: its name in pyproject.toml, such as "delta". `needed_for`: such as "output.format delta"."""
        self.extra = extra
        super().__init__(
            f"{needed_for} needs the extra `{extra}`, which is not installed",
            hint=f"pip install 'emitter[{extra}]'",
        )


class StateError(EmitterError):
    """What is stored contradicts what is asked. Nothing was changed: follow the hint, or use another output."""


class IdentityMismatchError(StateError):
    """The output belongs to a run of another identity. Restore the listed keys, or choose an empty output.uri."""

    def __init__(self, where: str, differences: Sequence[tuple[str, str, str]]) -> None:
        """`where`: the output or object. `differences`: (key, stored, asked) each, at least one."""
        self.differences = tuple(differences)
        lines = "".join(f"\n  {key}: stored {stored}, asked for {asked}" for key, stored, asked in self.differences)
        super().__init__(
            f"{where} belongs to another run than this configuration describes:{lines}",
            hint="set these keys back to what is stored, or choose another output.uri for a new run",
        )


class DamagedStateError(StateError):
    """An object of ours is cut short or unreadable. Restore it from a copy, or do as the hint says."""


class MissingJournalError(StateError):
    """There is progress, but no journal to tell what made it. Restore the journal, or use another output."""


class ForeignTableError(StateError):
    """A table or folder is not ours, so nothing is written to it. Choose another output.uri, or move it away."""


class RolledBackError(StateError):
    """A table was set back to an older state, but not its progress: rows are missing. Restore the newer state."""


class SliceLockedError(EmitterError):
    """Another live process writes this slice. Stop it first, or give this one another shard.index."""

    exit_code: ClassVar[int] = 3


class OvertakenError(EmitterError):
    """Another writer moved the progress, or another shard count is in force. Stop the one that is not wanted."""

    exit_code: ClassVar[int] = 3


_STORAGE_HINTS = {
    errno.ENOSPC: "free some space on that disk: nothing is lost, the same call goes on where it stopped",
    errno.EDQUOT: "raise the quota or free some space: nothing is lost, the same call goes on where it stopped",
    errno.EACCES: "give the user that runs emitter the right to read and write there, or choose another output.uri",
    errno.EPERM: "give the user that runs emitter the right to read and write there, or choose another output.uri",
    errno.EROFS: "mount that file system writable, or choose another output.uri",
    errno.ENOTDIR: "a file stands where a folder should be: move it away, or choose another output.uri",
    errno.EEXIST: "a file stands where a folder should be: move it away, or choose another output.uri",
    errno.EISDIR: "a folder stands where a file should be: move it away, or choose another output.uri",
    errno.EOPNOTSUPP: "choose an output.uri on a file system with hard links, such as ext4 or XFS, or on S3",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.ENFILE: "the whole machine has too many files open: end what needs them, or raise fs.file-max",
}
_STORAGE_HINT = "see that the storage is there and writable, then repeat the call: it goes on where it stopped"


class StorageError(EmitterError):
    """An operation on storage failed. See to the storage, then repeat: work goes on where it stopped."""

    exit_code: ClassVar[int] = 4

    def __init__(self, operation: str, path: object, cause: BaseException | str, *, hint: str = "") -> None:
        """`operation`: a verb, such as "rename". `path`: the object. An empty `hint` follows from the errno."""
        self.operation = operation
        self.path = redacted(str(path))
        self.cause = cause
        code = cause.errno if isinstance(cause, OSError) else None
        super().__init__(
            f"could not {operation} {path}: {_reason(cause)}",
            hint=hint or _STORAGE_HINTS.get(code or 0, _STORAGE_HINT),
        )


class StorageNotFoundError(StorageError):
    """The object is not there. The only error that means absent: no other may be taken for it."""


class StorageGaveUpError(StorageError):
    """Storage kept failing until the retries ran out. See to the storage, then start again: no row is lost."""

    def __init__(
        self, operation: str, path: object, cause: BaseException | str, *, attempts: int, hint: str = ""
    ) -> None:
        """`attempts`: how often the operation was tried in all."""
        self.attempts = attempts
        super().__init__(f"(in {attempts} attempts) {operation}", path, cause, hint=hint)
        self.operation = operation


class CommitConflictError(EmitterError):
    """The table moved between reading and committing. The daemon reads again and retries; so can you."""

    exit_code: ClassVar[int] = 4


class CommitUnknownError(EmitterError):
    """The reply to a commit was lost: it may have landed. Read the progress back before anything else."""

    exit_code: ClassVar[int] = 4


def shortage(error: BaseException) -> StorageError | None:
    """What has failed for want of file descriptors, in whatever library and place, as an error of ours; None for any
    other failure. Libraries in Rust panic then, and say why in their text alone.
    """
    known: BaseException | None = error
    while known is not None:
        if isinstance(known, OSError) and known.errno in (errno.EMFILE, errno.ENFILE):
            return StorageError("open", known.filename or "a file or a connection", known)
        if not isinstance(known, Exception) and f"code: {errno.EMFILE}," in str(known):
            return StorageError("open", "a file or a connection", OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
        known = known.__cause__ or known.__context__
    return None


def _harmless(text: str) -> str:
    """Not too long, and nothing that a terminal would obey."""
    short = text if len(text) <= _TEXT_LENGTH_MAX else f"{text[:_TEXT_LENGTH_MAX]}..."
    if short.isprintable():  # nearly all, and a start tells a hundred times of what is not there
        return short
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in short)


def _reason(cause: BaseException | str) -> str:
    if isinstance(cause, EmitterError):
        return cause.problem  # its hint may not be ours
    # An OSError's own text repeats the path, which the problem names already.
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return (str(cause) or type(cause).__name__) if isinstance(cause, BaseException) else cause
