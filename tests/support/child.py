"""A server in a process of its own that ends with the one that started it, however that ends.

The bond is a pipe to the child's stdin. `ServerProcess.stop` says goodbye through it; where the test process is killed,
the pipe ends without a word, and the child ends by itself. (Linux' "death signal" would not do: it comes
as soon as the *thread* that started the child ends, and is lost where the child changes its user.)

The child is a module that is run with `-m`. It begins to serve, says where with `ready(...)`, and calls
`until_parent_ends`.
"""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
START_SECONDS = 60.0
STOP_SECONDS = 20.0
GOODBYE = b"goodbye\n"


class ServerProcess:
    """`python -m MODULE ARGUMENTS...`, once it has said that it is ready; `answer` is what it said."""

    def __init__(self, module: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
        with tempfile.TemporaryFile() as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # Ctrl-C is for the tests, and they end their servers
            )
            self.pid = self._process.pid
            line = self._first_line()
            if not line:
                self.kill()
                errors.seek(0)
                raise RuntimeError(f"{module} did not start: {errors.read().decode(errors='replace')}")
        self.answer: dict[str, Any] = json.loads(line)

    def _first_line(self) -> bytes:
        """What the child says first, or nothing if it ends or is silent for too long."""
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(START_SECONDS):
                return b""
        return self._process.stdout.readline()

    def stop(self) -> None:
        """Let it end in peace; kill it if it does not."""
        with suppress(BrokenPipeError, subprocess.TimeoutExpired):
            self._process.communicate(GOODBYE, timeout=STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


def ready(**answer: object) -> None:
    """In the child: say that it serves, and where."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def until_parent_ends() -> bool:
    """In the child: wait until it has to end. False if the parent is gone, and can't clean up any more."""
    return sys.stdin.buffer.readline() == GOODBYE


def serve_until_parent_ends(serve: Callable[[], None], **answer: object) -> None:
    """In the child: run `serve`, which never returns, beside all that."""
    threading.Thread(target=serve, daemon=True).start()
    ready(**answer)
    until_parent_ends()
