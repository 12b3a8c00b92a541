"""Where configuration comes from: a YAML file, the environment and flags, laid over each other.

Only plain YAML is read: no tags, anchors, aliases or doubled keys, bounded in size and depth. Only `true`,
`false`, `null` and decimal numbers are more than text: `no`, `010` and `1:30` are nothing else in disguise.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from emitter.errors import Fault, redacted
from emitter.settings import SECRET_HINT, joined, looks_secret, nearest, shown

FILE_BYTES_MAX = 2**20
DEPTH_MAX = 20
ENVIRONMENT_PREFIX = "EMITTER_"

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
        origin = next(
            (o for path, o in self.origins.items() if f"{fault.path}.".startswith(f"{path}.")), None
        )
        if origin is None:
            return fault
        return dataclasses.replace(
            fault, hint=f"{fault.hint}{'; ' if fault.hint else ''}it comes from {origin}"
        )


def read_sources(
    path: Path | None, sets: Sequence[str], environ: Mapping[str, str], known: Collection[str]
) -> Sources:
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
        else:
            allowed = "KEY=VALUE, such as --set clock.speed=60"
            sources.faults.append(Fault("--set", shown(flag, flag), allowed))
    return sources


def _read_text(name: str, path: str, text: str, origin: str, sources: Sources) -> None:
    try:
        value = yaml_value(text)
    except yaml.YAMLError:
        allowed = "one value, or a list or mapping in one line of YAML"
        sources.faults.append(Fault(joined("", name), shown(name, text), allowed, "quote it if it is text"))
    else:
        sources.assign(path, value, origin)


def _read_file(path: Path, sources: Sources) -> None:
    content = _file_text(path, sources.faults)
    sources.complete = False
    if content is not None:
        try:
            loaded = _load(content)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
            problem = error.problem or error.context or "a mistake"
            sources.faults.append(
                Fault(_printable(where), problem, "plain YAML", "indent with spaces, quote text")
            )
        except yaml.reader.ReaderError as error:
            where = f"{path}, line {content.count(chr(10), 0, error.position) + 1}"
            sources.faults.append(Fault(_printable(where), "a character that YAML forbids", "plain YAML"))
        else:
            _take(path, loaded, sources)


def _take(path: Path, loaded: Any, sources: Sources) -> None:
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
            return data.decode("utf-8-sig")
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
    if isinstance(value, str) and redacted(value) != value:
        variable = ENVIRONMENT_PREFIX + path.upper().replace(".", "__")
        hint = f"secrets come from the environment: put the whole value into {variable}"
        return [Fault(path, "a value that is not shown", "a value without a password", hint)]
    return []


def _printable(name: str) -> str:
    return name if name.isprintable() else repr(name)


class _Loader(yaml.SafeLoader):
    """Plain YAML, and nothing that expands, nests without end or is read as something else."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the name is yaml's; its own are not wanted
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        problem = None
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            problem = "an anchor or an alias (& or *)"
        elif getattr(event, "tag", None) is not None:
            problem = "a tag (!)"
        elif self.depth >= DEPTH_MAX:
            problem = f"more than {DEPTH_MAX} levels"
        if problem:
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                key = self.construct_object(key_node)
                if key in seen:
                    problem = f"the key {shown('', key)} a second time"
                    raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
                seen.add(key)
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9_]{0,99})", list("-+0123456789")),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), _first)


def yaml_value(text: str) -> Any:
    """A value as on a line of YAML. Unless it opens a list, a mapping or a quote, all of it is one scalar.

    So a path may hold `: ` or ` #` or begin with `@`. Raises yaml.YAMLError.
    """
    text = text.strip()
    if text[:1] in ("[", "{", '"', "'"):
        return _load(text)
    loader = _Loader("")
    try:
        tag = loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        return loader.construct_object(yaml.ScalarNode(tag, text))
    finally:
        loader.dispose()


def _load(text: str) -> Any:
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()
