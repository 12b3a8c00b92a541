"""How a command ends: what is told of an error, and the exit code that says which kind it was.

Where the log is JSON, so is this: one document a line, to the end. The verbs that write a log do so in JSON where
nobody watches, also before the configuration has said anything; and of who asks for a result as JSON, so is the error.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer

from emitter.cli import streams
from emitter.clock import SystemClock
from emitter.errors import ConfigurationError, EmitterError, IdentityMismatchError, redacted

DIFFERENCE_EXIT_CODE = 1
UNWRITTEN_EXIT_CODE = 5
INTERNAL_EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h
LOGGING_VERBS = ("run", "generate", "verify", "maintain")
_FAULT = "this is a fault in emitter, not in what you asked for"
_FAULT_HINT = "start it again: no row is lost"
_UNWRITTEN_HINT = "give it a file or a pipe that takes it; what else the command did is done"


_json_asked = False


def begin(arguments: Sequence[str]) -> None:
    """How errors are to be told follows from the arguments, also where these are wrong themselves."""
    global _json_asked  # noqa: PLW0603 (of the one command that a process is)
    _json_asked = "--json" in arguments


def tell_error(problem: str, hint: str, exit_code: int, verb: str | None, **more: Any) -> None:
    """An error with its way out. `verb`: None where it is not known. `more` is told where it is told as JSON."""
    if is_json(verb):
        from emitter.watch import logs

        logs.log("error", "error", error=problem, hint=hint, exit_code=exit_code, **more)
        return
    typer.echo(f"{typer.style('Error:', fg='red', bold=True)} {problem}", err=True)
    if hint:
        typer.echo(f"{typer.style('Try:', bold=True)} {hint}", err=True)


def tell(error: EmitterError, verb: str | None) -> None:
    """An error that was raised on purpose, in JSON with its single faults."""
    tell_error(error.problem, error.hint, error.exit_code, verb, faults=_faults(error) or None)


def _faults(error: EmitterError) -> list[dict[str, str]]:
    """What is wrong one by one: where, what stands there, what is allowed, and a hint."""
    if isinstance(error, ConfigurationError):
        return [
            {"where": fault.path, "what": fault.value_text, "allowed": fault.allowed, "hint": fault.hint}
            for fault in error.faults
        ]
    if isinstance(error, IdentityMismatchError):
        return [
            {"where": key, "what": asked, "allowed": stored, "hint": error.hint}
            for key, stored, asked in error.differences
        ]
    return []


def tell_fault(error: BaseException, verb: str | None) -> None:
    """One that was not: with a traceback, as whoever mends it needs one."""
    if is_json(verb):
        from emitter.watch import logs

        logs.log("error", "error", error=_FAULT, hint=_FAULT_HINT, exit_code=INTERNAL_EXIT_CODE, exc_info=error)
        return
    typer.echo(redacted("".join(traceback.format_exception(error))), err=True, nl=False)
    tell_error(_FAULT, _FAULT_HINT, INTERNAL_EXIT_CODE, verb)


def final_code(code: int, verb: str | None) -> int:
    """The exit code, once it is known whether the result could be written. A verdict or an error goes first."""
    error = streams.result_error()
    if error is None or code != 0:
        return code
    tell_error(
        f"could not write the result to standard output: {error.strerror}", _UNWRITTEN_HINT, UNWRITTEN_EXIT_CODE, verb
    )
    return UNWRITTEN_EXIT_CODE


def is_json(verb: str | None) -> bool:
    """Whether errors of a verb are told as JSON."""
    if _json_asked:
        from emitter.watch import logs

        logs.configure("info", "json", SystemClock())
        return True
    if "emitter.watch.logs" not in sys.modules and (verb not in LOGGING_VERBS or sys.stderr.isatty()):
        return False  # without loading what logs
    from emitter.watch import logs

    if logs.is_json() is None:
        logs.configure("info", "auto" if verb in LOGGING_VERBS else "console", SystemClock())
    return bool(logs.is_json())
