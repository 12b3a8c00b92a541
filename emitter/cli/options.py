"""What several verbs are told in the same way: the configuration, and a period of time. Light: every start loads it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emitter.errors import UsageError

if TYPE_CHECKING:
    from emitter.config import EmitterConfig

ConfigFile = Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The configuration, a YAML file.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set one key, such as clock.speed=60. May be given again."),
]
_TIME_HINT = "ISO 8601, such as 2026-01-31 or 2026-01-31T12:00:00Z; UTC unless it says otherwise; or now"
From = Annotated[str | None, typer.Option("--from", metavar="TIME", help="From here on. Default: the origin.")]
To = Annotated[str, typer.Option("--to", metavar="TIME", help="Up to here, exclusive; ISO 8601, UTC; or now.")]
OptionalTo = Annotated[
    str | None,
    typer.Option("--to", metavar="TIME", help="Up to here, exclusive. Default: all there is."),
]


def begin_log(*, logging: bool) -> None:
    """Before anything heavy is loaded, as libraries warn when they are: until the configuration says how to log, as
    whoever watches has it. What a verb that writes no log has to say is for people.
    """
    from emitter.clock import SystemClock
    from emitter.watch import logs

    if logs.is_json() is None:
        logs.configure("info", "auto" if logging else "console", SystemClock())


def load(path: Path, sets: list[str] | None, *, logging: bool = False) -> EmitterConfig:
    """The configuration, and from then on lines of libraries as it says: by themselves they print."""
    begin_log(logging=logging)
    from emitter.clock import SystemClock
    from emitter.config import LogConfig, load_config
    from emitter.watch import logs

    def configure(log: LogConfig) -> None:
        logs.configure(log.level, "console" if log.format == "auto" and not logging else log.format, SystemClock())

    return load_config(path, sets or (), os.environ, on_log=configure)


def slot(option: str, text: str) -> int:
    """The slot that an option names. Raises UsageError."""
    from emitter.clock import SystemClock, parse_time, slot_of
    from emitter.run.opening import slot_now

    if text == "now":
        return slot_now(SystemClock())
    try:
        return slot_of(parse_time(text))
    except ValueError as error:
        raise UsageError(
            f"{option} {text!r} is not a time that can be used: {error}", hint=f"give it in {_TIME_HINT}"
        ) from error


def from_slot(text: str | None) -> int | None:
    """The slot that `--from` names; None where it is not given."""
    return None if text is None else slot("--from", text)
