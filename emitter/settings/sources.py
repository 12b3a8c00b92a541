"""Where configuration comes from: a YAML file, the environment and flags, laid over each other."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emitter.errors import Fault, without_passwords
from emitter.settings.declaring import SECRET_HINT, joined, looks_secret, nearest, shown
from emitter.settings.yaml_text import NotPlainYamlError, read_document, read_value

FILE_BYTES_MAX = 2**20
ENVIRONMENT_PREFIX = "EMITTER_"

# A user of a database is no secret; a token before the @ of another URI may be.
_USER_ALONE = re.compile(r"\bpostgres(?:ql)?(?:\+\w+)?://[^\s:/@?#]+@")
_SET = re.compile(r"([^\s=.]+(?:\.[^\s=.]+)*)=(.*)", re.DOTALL)


@dataclass
class Sources:
    """What was read. Not `complete` where the file could not be: then no key can be called missing."""

    mapping: dict[str, Any] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)  # path -> the variable or flag that set it
    complete: bool = True

    def assign(self, path: str, value: Any, origin: str) -> None:
        """Lay one value over what is there."""
        *sections, name = path.split(".")
        at: Any = self.mapping
        for section in sections:
            if at.get(section) is None:
                at[section] = {}
            at = at[section]
            if not isinstance(at, dict):
                return  # a value where a section should be: that is a fault of its own
        at[name] = value
        self.origins[path] = origin

    def with_origin(self, fault: Fault) -> Fault:
        """The fault, saying also which variable or flag set the value, if one did."""
        origin = next((o for path, o in self.origins.items() if f"{fault.path}.".startswith(f"{path}.")), None)
        if origin is None:
            return fault
        return dataclasses.replace(fault, hint=f"{fault.hint}{'; ' if fault.hint else ''}it comes from {origin}")


def read_sources(path: Path | None, sets: Sequence[str], environ: Mapping[str, str], known: Collection[str]) -> Sources:
    """File, then `EMITTER_...` variables for the `known` paths, then flags. Collects faults, raises none."""
    sources = Sources()
    if path is not None:
        _read_file(path, sources)
    variables = {ENVIRONMENT_PREFIX + key.upper().replace(".", "__"): key for key in known}
    for name in sorted(name for name in environ if name.startswith(ENVIRONMENT_PREFIX)):
        if name in variables:
            _read_text(name, variables[name], environ[name], name, sources)
        else:
            hint = SECRET_HINT if looks_secret(name) else nearest(name, variables)
            allowed = f"a variable named after a key, such as {ENVIRONMENT_PREFIX}CLOCK__SPEED"
            sources.faults.append(Fault(joined("", name), shown(name, environ[name]), allowed, hint))
    for flag in sets:
        match = _SET.fullmatch(flag)
        if match:
            _read_text(f"--set {match[1]}", match[1], match[2], f"--set {match[1]}", sources)
            sources.faults += _passwords(joined("", match[1]), match[2])  # a process's flags are no secret
        else:
            allowed = "KEY=VALUE, such as --set clock.speed=60"
            sources.faults.append(Fault("--set", shown(flag, flag), allowed))
    return sources


def _read_text(name: str, path: str, text: str, origin: str, sources: Sources) -> None:
    try:
        value = read_value(text)
    except NotPlainYamlError:
        allowed = "one value, or a list or mapping in one line of YAML"
        sources.faults.append(Fault(joined("", name), shown(name, text), allowed, "quote it if it is text"))
    else:
        sources.assign(path, value, origin)


def _read_file(path: Path, sources: Sources) -> None:
    content = _file_text(path, sources.faults)
    sources.complete = False
    if content is None:
        return
    try:
        loaded = read_document(content)
    except NotPlainYamlError as error:
        where = f"{path}, {error.where}" if error.where else str(path)
        sources.faults.append(Fault(_printable(where), error.problem, "plain YAML, indented with spaces"))
        return
    sources.complete = isinstance(loaded, dict | None)
    if isinstance(loaded, dict):
        sources.mapping = loaded
        sources.faults += _passwords("", loaded)
    elif loaded is not None:  # a file of comments only says nothing, and that is fine
        kind = "a list" if isinstance(loaded, list) else "one value"
        hint = "begin as config/emitter.yaml does"
        sources.faults.append(Fault(_printable(str(path)), kind, "a mapping of keys to values", hint))


def _file_text(path: Path, faults: list[Fault]) -> str | None:
    allowed = f"a readable YAML file of at most {FILE_BYTES_MAX} bytes, in UTF-8"
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
        if len(data) <= FILE_BYTES_MAX:
            return data.decode("utf-8")
        problem = "a larger file"
    except FileNotFoundError:
        problem = "no such file"
    except IsADirectoryError:
        problem = "a folder"
    except UnicodeDecodeError as error:
        problem = f"a file that is not UTF-8, at byte {error.start}"
    except OSError as error:
        problem = (error.strerror or type(error).__name__).lower()
    except ValueError:  # a NUL in the name
        problem = "a name that no file can have"
    faults.append(Fault(_printable(str(path)), problem, allowed))
    return None


def _passwords(path: str, value: Any) -> list[Fault]:
    if isinstance(value, dict):
        return [fault for name, inner in value.items() for fault in _passwords(joined(path, name), inner)]
    text = _USER_ALONE.sub("postgresql://", value) if isinstance(value, str) else ""
    if without_passwords(text) != text:
        variable = ENVIRONMENT_PREFIX + path.upper().replace(".", "__")
        hint = f"secrets come from the environment: put the whole value into {variable}"
        return [Fault(path, "a value that is not shown", "a value without a password", hint)]
    return []


def _printable(name: str) -> str:
    return name if name.isprintable() else repr(name)
