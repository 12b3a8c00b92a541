"""`emitter sql`: where its statements come from, an argument, a stream or a prompt, and what becomes of each."""

from __future__ import annotations

import sqlite3
import sys
from dataclasses import dataclass

from emitter.cli import ending, signals
from emitter.cli.printing import Paper
from emitter.cli.results import print_result
from emitter.errors import EmitterError, UsageError
from emitter.sql.session import Interrupted, Session

_ENDS = ("exit", "quit")


@dataclass(frozen=True, slots=True)
class Asking:
    """A session, and how its results are printed."""

    session: Session
    form: str
    rows_max: int

    def answer(self, text: str) -> None:
        """Print the result of every statement of a text, an empty line between two. Raises UsageError, StorageError and
        Interrupted.
        """
        for number, statement in enumerate(self.session.statements(text)):
            if number and self.form == "table":
                sys.stdout.write("\n")
            result = self.session.run(statement)
            print_result(result.schema, result.batches, self.form, self.rows_max)

    def answer_all(self, text: str) -> None:
        """As `answer`, for a text in which there has to be a statement."""
        if not self.session.statements(text):
            raise UsageError("there is no SQL to run", hint="such as `SELECT count(*) FROM orders`")
        self.answer(text)

    def prompt(self) -> None:
        """Answer what is typed, statement by statement, until Ctrl-D. What is wrong with one is told, no more."""
        import readline  # noqa: F401 (by being there it lets lines be edited)

        paper = Paper()
        paper.print(f"Tables: {', '.join(self.session.tables)}. Times are UTC.", soft_wrap=True)
        paper.print("A statement ends with `;`. Ctrl-C cancels it, Ctrl-D ends all.", style="dim")
        typed = ""
        with signals.at_prompt(self.session.interrupt):
            while True:
                try:
                    line = input("   ...> " if typed else "emitter> ")
                    typed = f"{typed}\n{line}" if typed else line
                    if typed.strip().rstrip(";").strip().lower() in _ENDS:
                        return
                    if not typed.strip():
                        typed = ""
                    elif sqlite3.complete_statement(typed):  # it knows of quotes and comments
                        asked, typed = typed, ""
                        self.answer(asked)
                except EOFError:
                    sys.stdout.write("\n")
                    return
                except (KeyboardInterrupt, Interrupted):
                    typed = ""
                    sys.stdout.write("\n")
                except EmitterError as error:
                    ending.tell(error, None)


def is_terminal() -> bool:
    """Whether somebody sits at standard input, and sees what is printed."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def read_stdin() -> str:
    """The SQL that comes in. Raises UsageError for what is no text."""
    try:
        return sys.stdin.read() if sys.stdin else ""
    except UnicodeDecodeError as error:
        raise UsageError(f"what came in is no text: {error}", hint="send the SQL as UTF-8") from None
