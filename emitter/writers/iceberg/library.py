"""pyiceberg's own configuration file, which must not end a run.

pyiceberg looks for `.pyiceberg.yaml` when it is imported, and again at every load and commit of a table: in
PYICEBERG_HOME, the home and the working folder. It raises what it finds wrong. Here a file that cannot be read counts
as none: where a catalogue is asked for it is told in words, and a run that is at work goes on.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import strictyaml
from pyiceberg.utils.config import PYICEBERG_HOME, PYICEBERG_YML, Config

from emitter.errors import Fault

_HINT = "pyiceberg reads it from PYICEBERG_HOME, the home and the working folder: correct it, or move it away"


def configuration_faults() -> tuple[Fault, ...]:
    """What is wrong with the file, if there is one and something is."""
    return _read()[1]


def _read() -> tuple[dict[str, Any], tuple[Fault, ...]]:
    """The first file that says something."""
    for folder in (os.environ.get(PYICEBERG_HOME), os.path.expanduser("~"), "."):  # noqa: PTH111 (there may be none)
        path = Path(folder or ".") / PYICEBERG_YML
        try:
            known = strictyaml.load(path.read_text("utf-8")).data if folder and path.is_file() else {}
        except strictyaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f"{path}, line {mark.line + 1}" if mark else str(path)
            return {}, (Fault(where, "what is no plain YAML", "a mapping in block style", _HINT),)
        except (OSError, UnicodeDecodeError) as error:
            problem = error.strerror if isinstance(error, OSError) and error.strerror else "a file that is not UTF-8"
            return {}, (Fault(str(path), problem.lower(), "a file that can be read", _HINT),)
        if not isinstance(known, dict):
            return {}, (Fault(str(path), "a text or a list", "a mapping in block style", _HINT),)
        if known:
            return _lowered(known), ()
    return {}, ()


def _lowered(known: dict[str, Any]) -> dict[str, Any]:
    return {key.lower(): _lowered(value) if isinstance(value, dict) else value for key, value in known.items()}


Config._from_configuration_files = staticmethod(lambda: _read()[0])  # type: ignore[method-assign]
