"""The command `run`: a daemon and all that surrounds it, from the first signal to the last log line."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Self

from emitter.cli import progresslog
from emitter.cli.helpers import default_jobs
from emitter.cli.liveview import LiveView, terminal
from emitter.cli.signals import Signals
from emitter.clock import Clock, SystemClock
from emitter.config import EmitterConfig
from emitter.errors import ConfigurationError, EmitterError
from emitter.run.assembly import configured_daemon, reload, start_warning, worker_stager
from emitter.run.daemon import Daemon
from emitter.run.pipeline import Stager
from emitter.run.schedule import Enough, StopReason, run_daemon, stand_by
from emitter.upkeep.schedule import UpkeepSchedule
from emitter.verification.schedule import VerificationSchedule
from emitter.watch import logs
from emitter.watch.board import Board
from emitter.watch.cgroup import memory_limit_bytes
from emitter.watch.health import Health
from emitter.watch.metrics import Metrics
from emitter.watch.observer import Observer, Observers, Tally
from emitter.watch.server import Server, application
from emitter.watch.supervisor import Supervisor

_JOB_MEMORY_BYTES = 2**31  # that a limit must leave for each process of a history, with room for all else


def run(
    load: Callable[[], EmitterConfig],
    *,
    version: str,
    enough: Enough,
    until_slot: int | None,
    live: bool,
    take_over: bool,
) -> None:
    """Run a daemon until it is done or told to stop. `load` reads the configuration, and again on SIGHUP. Where storage
    has no locks and another process writes the slice, this one waits until that stands still, unless it is to
    `take_over`.
    """
    config, clock = load(), SystemClock()
    logs.configure(config.log.level, config.log.format, clock)
    metrics = Metrics(version=version, clock=clock, memory_limit_bytes=memory_limit_bytes())
    health, board = Health(clock), Board(clock)
    metrics.watch_health(health.why_not_ready)
    supervisor = Supervisor(os.environ, clock)
    health.watch_life(supervisor.why_silent)
    tally = Tally()
    begin = partial(progresslog.begin_worker, config.log, clock)
    helpers = _Helpers(config, clock, metrics, begin)
    observer = Observers(metrics, health, board, supervisor, tally, helpers.upkeep)
    daemon = configured_daemon(
        config,
        clock=clock,
        observer=observer,
        until_slot=until_slot,
        history_stager=_history_stager(config, clock, begin),
    )
    stop, reload_asked = threading.Event(), threading.Event()

    def on_stop() -> None:
        supervisor.stopping()
        stop.set()
        helpers.end()
        daemon.request_stop()

    def between_steps() -> None:
        nonlocal config
        supervisor.alive()
        helpers.pass_on(observer)
        if reload_asked.is_set():
            reload_asked.clear()
            with supervisor.reloading():
                config = _reloaded(load, daemon, config, observer, clock)
            helpers.follow(config)

    with ExitStack() as stack:
        # First, as storage may take long, and a container's first process does not end by a signal without a handler.
        stack.enter_context(Signals(on_stop=on_stop, on_reload=reload_asked.set))
        # Ahead of the port: who starts a slice twice is to hear that, and not that the port is taken.
        is_ours = daemon.take(by_force=take_over)
        app = application(metrics, health, board, version=version)
        server = stack.enter_context(Server(app, config.server.host, config.server.port))
        view = _view(stack, board, server.url) if live and config.log.format == "auto" else None
        observer.add(logs.LogLines(is_watched=view is not None))
        logs.log("info", "serve", url=server.url)
        if warning := start_warning(config, clock):
            logs.log("warning", "start_ahead", message=warning)
        try:
            reason: StopReason = "signal"
            if is_ours or stand_by(daemon, clock=clock, stop=stop, observer=observer, between_looks=supervisor.alive):
                with daemon, helpers:
                    for watcher in (metrics, health, board):
                        watcher.watch(daemon.status)
                    reason = run_daemon(
                        daemon, clock=clock, stop=stop, enough=enough, tally=tally, between_steps=between_steps
                    )
            observer.stopped(reason)
        except EmitterError as error:
            observer.stopped(f"error: {error.problem}")
            raise


class _Helpers(ExitStack):
    """What works beside the daemon while the context lasts: upkeep, and verification."""

    def __init__(self, config: EmitterConfig, clock: Clock, metrics: Metrics, begin: Callable[[], None]) -> None:
        super().__init__()
        self._metrics = metrics
        self.upkeep = UpkeepSchedule(config, clock, begin)
        self._verification = VerificationSchedule(config, clock, begin)
        self._tell_intervals(config)

    def __enter__(self) -> Self:
        self.enter_context(self.upkeep)
        self.enter_context(self._verification)
        return self

    def end(self) -> None:
        self.upkeep.end()
        self._verification.end()

    def pass_on(self, observer: Observer) -> None:
        self.upkeep.pass_on(observer)
        self._verification.pass_on(observer)

    def follow(self, config: EmitterConfig) -> None:
        self.upkeep.follow(config)
        self._verification.follow(config)
        self._tell_intervals(config)

    def _tell_intervals(self, config: EmitterConfig) -> None:
        self._metrics.upkeep_is_due_every(config.maintenance.due_seconds)
        self._metrics.verification_is_due_every(config.verification.due_seconds)


def _view(stack: ExitStack, board: Board, url: str) -> LiveView | None:
    """The live view, where somebody watches."""
    console = terminal()
    return stack.enter_context(LiveView(board, console, url=url)) if console else None


def _history_stager(config: EmitterConfig, clock: Clock, begin_worker: Callable[[], None]) -> Stager | None:
    """The processes that help with what is far behind; None where this one does it alone."""
    limit_bytes = memory_limit_bytes()
    affordable = default_jobs() if limit_bytes is None else limit_bytes // _JOB_MEMORY_BYTES
    jobs = config.clock.history_jobs or max(1, min(default_jobs(), affordable))
    return worker_stager(config, clock, jobs, begin_worker) if config.clock.history and jobs > 1 else None


def _reloaded(
    load: Callable[[], EmitterConfig], daemon: Daemon, running: EmitterConfig, observer: Observer, clock: Clock
) -> EmitterConfig:
    """The configuration that runs from now on."""
    try:
        config, changes = reload(daemon, running, load())
    except ConfigurationError as error:  # nothing was changed
        logs.configure(running.log.level, running.log.format, clock)
        logs.log("error", "reload", error=error.problem, hint="correct it and send SIGHUP again")
        return running
    logs.configure(config.log.level, config.log.format, clock)
    observer.reloaded(changes.safe, changes.refused)
    return config
