"""Standard output and standard error, made such that no write to them ever fails.

What is said beside the work decides nothing: a line of a log that finds its disk full, its reader gone or no stream at
all is dropped, and the work goes on. A result that could not be written is remembered instead, and told by an exit
code at the end. It is the raw stream that forgives, so that every library above it (logging, Rich, tracebacks, the
interpreter's own last flush) is spared at once.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys
from typing import TextIO

STALL_SECONDS_MAX = 10.0  # so long a reader that stands still holds up who logs; then lines are dropped until it reads
_PLAIN = {"✓": "+", "…": "~", "━": "-", "→": "->", "✗": "x"}  # for who has no such sign
_ERRORS = "emitter.plain"


class _Stream(io.RawIOBase):
    """A file descriptor to write to. Whatever happens, all was written."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._torn = False  # of the last line only a part was written
        self.error: OSError | None = None
        """The first that a write ended in."""

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: bytes | memoryview, /) -> int:  # type: ignore[override]
        whole = bytes(data)
        rest = b"\n" + whole if self._torn else whole
        try:
            while rest:
                rest = rest[self._write_some(rest) :]
            self._torn = False
        except OSError as error:
            self.error = self.error or error
            self._torn = len(rest) < len(whole) or self._torn
        return len(whole)

    def _write_some(self, data: bytes) -> int:
        return os.write(self._descriptor, data)


class _Log(_Stream):
    """Standard error: also a reader that is there and does not read holds up nobody for long."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self._stall_milliseconds = int(STALL_SECONDS_MAX * 1000)

    def _write_some(self, data: bytes) -> int:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        if not poll.poll(self._stall_milliseconds):
            self._stall_milliseconds = 0  # it has had its time, until it reads again
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self._stall_milliseconds = int(STALL_SECONDS_MAX * 1000)
        return os.write(self._descriptor, data[: select.PIPE_BUF])  # so much fits where anything does


class _Result(_Stream):
    """Standard output: who reads it has all the time there is."""

    def __init__(self, descriptor: int, *, is_open: bool) -> None:
        super().__init__(descriptor)
        self._is_open = is_open

    def _write_some(self, data: bytes) -> int:
        if not self._is_open:
            raise OSError(errno.EBADF, "it is closed")
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:  # someone else has made the pipe so
            poll = select.poll()
            poll.register(self._descriptor, select.POLLOUT)
            poll.poll()
            return 0


def secure() -> None:
    """Replace sys.stdout and sys.stderr. To be called before anything is opened: what is closed of the first three
    descriptors is taken, or the next file would be, and get what a library prints.
    """
    codecs.register_error(_ERRORS, _plain)
    has_output = _is_open(1)
    for descriptor in range(3):
        if not _is_open(descriptor):
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free
    out, err = _Result(1, is_open=has_output), _Log(2)
    sys.stdout = _text(out, sys.stdout, line_buffering=out.isatty())
    sys.stderr = _text(err, sys.stderr, line_buffering=True)


def result_error() -> OSError | None:
    """Why the result could not be written, if something was to be. A reader that went away has seen enough."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    error = raw.error if isinstance(raw, _Result) else None
    return None if error is None or error.errno == errno.EPIPE else error


def reader_is_gone() -> bool:
    """Whether what is written to standard output comes to nobody any more, as was noticed when some was."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(raw, _Result) and raw.error is not None


def _text(raw: io.RawIOBase, before: TextIO | None, *, line_buffering: bool) -> io.TextIOWrapper:
    encoding = before.encoding if before else "utf-8"
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors=_ERRORS, newline="\n", line_buffering=line_buffering
    )


def _plain(error: UnicodeError) -> tuple[str, int]:
    """A sign that the encoding has not, as a plain one, or as its number."""
    assert isinstance(error, UnicodeEncodeError)
    signs = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in signs), error.end


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
