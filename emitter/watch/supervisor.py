"""What whoever started a run is told: that it is ready, how it stands, that it reloads or stops, that it is alive.

The protocol is sd_notify's: lines of `KEY=value` in a datagram to the socket that NOTIFY_SOCKET names. Without one,
nothing is sent.

Signs of life come from the daemon's thread alone, where a part of a step has ended or none is due. So a commit that
hangs gives none, and is noticed; a wait before another attempt is announced with its length, and is not. They feed the
watchdog of systemd, and `why_silent` tells the same to whoever asks at /livez.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import override

from emitter.clock import Clock, duration_text, text_of
from emitter.errors import EmitterError
from emitter.model import ChoreReport, CommitReport, Slice, StepReport
from emitter.watch import logs
from emitter.watch.observer import DaemonStatus, Observer

FEEDS_PER_TIMEOUT = 4
STATUS_SECONDS_MIN = 1.0
SILENT_SECONDS_MAX = 900.0  # calls to a storage that does not answer fail by themselves, within ten minutes at most
_SEND_SECONDS_MAX = 1.0


class Supervisor(Observer):
    """Whoever started this process, if it is to be told."""

    def __init__(self, environ: MutableMapping[str, str], clock: Clock) -> None:
        """Takes what it needs out of the environment: child processes have nothing to tell."""
        self._clock = clock
        self._address = environ.pop("NOTIFY_SOCKET", "")
        self._watchdog_seconds = _watchdog_seconds(environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", ""))
        self._is_watched = False  # from READY to STOPPING
        self._is_waiting = False
        self._is_heard = True
        self._alive_seconds = self._fed_seconds = self._told_seconds = clock.monotonic_seconds()
        self._rows = 0

    def why_silent(self) -> str:
        """Empty unless the last sign of life is too long ago. May be called from any thread."""
        silent_seconds = self._clock.monotonic_seconds() - self._alive_seconds
        limit_seconds = self._watchdog_seconds or SILENT_SECONDS_MAX
        if silent_seconds <= limit_seconds:
            return ""
        silent, limit = duration_text(silent_seconds), duration_text(limit_seconds)
        return f"no part of a step has ended for {silent}, {limit} are allowed: a call hangs"

    def alive(self) -> None:
        """To be called by the daemon's thread, and only while it gets on or has nothing to do."""
        self._alive_seconds = now_seconds = self._clock.monotonic_seconds()
        is_due = now_seconds - self._fed_seconds >= self._watchdog_seconds / FEEDS_PER_TIMEOUT
        if self._is_watched and (is_due or self._is_waiting):
            self._fed_seconds = now_seconds
            self._send(_microseconds("WATCHDOG_USEC", self._watchdog_seconds) if self._is_waiting else "WATCHDOG=1")
            self._is_waiting = False

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """While the configuration is read again; ready at the end, whatever came of it."""
        self._send("RELOADING=1", _microseconds("MONOTONIC_USEC", self._clock.monotonic_seconds()))
        try:
            yield
        finally:
            self._send("READY=1")

    def stopping(self) -> None:
        """A stop was asked for; the step under way still finishes. May be called from any thread."""
        self._is_watched = False
        self._send("STOPPING=1")

    @override
    def standing_by(self, slice: Slice) -> None:
        self._is_watched = self._watchdog_seconds > 0
        self._send("READY=1", f"STATUS=Standby: another process writes slice {slice}")

    @override
    def started(self, status: DaemonStatus) -> None:
        self._is_watched = self._watchdog_seconds > 0
        self._alive_seconds = self._fed_seconds = self._told_seconds = self._clock.monotonic_seconds()
        self._send("READY=1", f"STATUS=At {text_of(status.reached_slot)}, recovered")

    @override
    def generated(self, table: str, rows: int) -> None:
        self.alive()

    @override
    def committed(self, report: CommitReport) -> None:
        self.alive()

    @override
    def maintained(self, report: ChoreReport) -> None:
        self.alive()

    @override
    def stepped(self, report: StepReport, status: DaemonStatus) -> None:
        self.alive()
        self._rows += sum(report.rows.values())
        now_seconds = self._clock.monotonic_seconds()
        seconds = now_seconds - self._told_seconds
        if seconds >= STATUS_SECONDS_MIN:
            rate = self._rows / seconds
            self._send(f"STATUS=At {text_of(status.reached_slot)}, lag {status.lag_seconds:.0f} s, {rate:,.0f} rows/s")
            self._told_seconds, self._rows = now_seconds, 0

    @override
    def waiting_to_retry(self, error: EmitterError, attempt: int, attempts_max: int, wait_seconds: float) -> None:
        self._alive_seconds = self._clock.monotonic_seconds() + wait_seconds
        self._send(f"STATUS=Waiting to try again ({attempt} of {attempts_max} attempts failed): {error.problem}")
        if self._is_watched:
            self._is_waiting = True
            self._send(_microseconds("WATCHDOG_USEC", wait_seconds + self._watchdog_seconds))

    @override
    def stopped(self, reason: str) -> None:
        self._send("STOPPING=1", f"STATUS=Stopped: {reason}")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        message = "\n".join(" ".join(line.split()) for line in lines)  # a line break in an error is no new line here
        path = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(_SEND_SECONDS_MAX)
                sender.sendto(message.encode(), path)
            self._is_heard = True
        except OSError as error:  # no reason to end a run
            if self._is_heard:
                logs.log("warning", "notify", error=f"could not tell the supervisor: {error.strerror or error}")
            self._is_heard = False


def _watchdog_seconds(microseconds: str, pid: str) -> float:
    """After how long without a sign of life this process is killed; 0 where nobody watches it."""
    if not microseconds.isdecimal() or pid not in ("", str(os.getpid())):
        return 0.0
    return int(microseconds) / 1e6


def _microseconds(key: str, seconds: float) -> str:
    return f"{key}={seconds * 1e6:.0f}"
