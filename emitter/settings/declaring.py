"""Settings: frozen dataclasses read from mappings, with every fault at once.

A field is `Annotated[type, rule, Field(description=...)] = default`: the rule says in words what is allowed
and checks it through pydantic. A field whose type is itself a dataclass is a section. `CHECKS` of a class
holds rules over several keys. Each key is read by itself, so that no wrong one hides its neighbours' faults.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from itertools import islice
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from emitter.errors import ConfigurationError, Fault, publishable
from emitter.settings.rules import Rule, one_of

_FAULTS_PER_VALUE_MAX = 20  # to look for the nearest of 600 time zones takes a while
_TEXT_LENGTH_MAX = 80  # of a value or a name shown in a fault
_SECRET_NAME = re.compile(r"(?i)pass_?word|passwd|passphrase|secret|token|access_?key|api_?key|private_?key|credential")
SECRET_HINT = "secrets come from the environment, such as AWS_SECRET_ACCESS_KEY, and never from here"


@dataclass(frozen=True)
class Check:
    """A rule over several keys of one class, asked only when each of them is right by itself.

    `faults` gets their values and yields (value, what is allowed, hint); a fault is shown at the first key.
    """

    keys: tuple[str, ...]
    faults: Callable[..., Iterable[tuple[Any, str, str]]]


@dataclass(frozen=True)
class Key:
    """One field of a settings class. `is_input`: it may change on the way, by an entry of the journal."""

    name: str
    doc: str
    default: Any
    is_input: bool
    rule: Rule | None  # None: a section
    section: type[Any] | None
    adapter: TypeAdapter[Any] | None = field(repr=False)


def section_keys(settings_type: type[Any]) -> dict[str, Key]:
    """The fields of one settings class, in order."""
    hashable: Any = settings_type  # every class is, but mypy does not believe it of a dataclass
    return _section_keys(hashable)


@cache
def _section_keys(settings_type: Any) -> dict[str, Key]:
    hints = get_type_hints(settings_type, include_extras=True)
    return {f.name: _key(f, hints[f.name]) for f in dataclasses.fields(settings_type)}


def leaf_keys(settings_type: type[Any], prefix: str = "") -> dict[str, Key]:
    """Path -> key for all that can be set, sections opened."""
    found: dict[str, Key] = {}
    for name, key in section_keys(settings_type).items():
        if key.section:
            found |= leaf_keys(key.section, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = key
    return found


def flatten(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Path -> value, in types that JSON has: times as text, mappings as dicts, all of which reads back."""
    flat: dict[str, Any] = {}
    for name, key in section_keys(type(settings)).items():
        value = getattr(settings, name)
        if key.section:
            flat |= flatten(value, f"{prefix}{name}.")
        elif key.rule and key.rule.parts:
            flat[f"{prefix}{name}"] = dict(value)
        elif isinstance(value, datetime):
            flat[f"{prefix}{name}"] = value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        else:
            flat[f"{prefix}{name}"] = list(value) if isinstance(value, tuple) else value
    return flat


def validate_options[T](options_type: type[T], mapping: Mapping[str, Any], prefix: str) -> T:
    """The options from a mapping; ConfigurationError with every fault, each path below `prefix`."""
    faults: list[Fault] = []
    options = read_settings(options_type, mapping, prefix, faults)
    if options is None:
        raise ConfigurationError(faults)
    return options


def read_settings[T](settings_type: type[T], mapping: Any, path: str, faults: list[Fault]) -> T | None:
    """The settings, or None with what is wrong added to `faults`. An empty section is all defaults."""
    if not isinstance(mapping, Mapping):
        names = ", ".join(section_keys(settings_type))
        faults.append(Fault(path or "the configuration", shown(path, mapping), f"a section with keys: {names}"))
        return None
    before = len(faults)
    keys = section_keys(settings_type)
    faults += [_unknown_key(path, name, value, keys) for name, value in mapping.items() if name not in keys]
    values: dict[str, Any] = {}
    for key in keys.values():
        _read_key(key, mapping, path, values, faults)
    for check in getattr(settings_type, "CHECKS", ()):
        if all(name in values for name in check.keys):
            found = check.faults(*(values[name] for name in check.keys))
            for value, allowed, hint in islice(found, _FAULTS_PER_VALUE_MAX):
                at = joined(path, check.keys[0])
                faults.append(Fault(at, shown(at, value), allowed, hint))
    return settings_type(**values) if len(faults) == before else None


def _read_key(key: Key, mapping: Mapping[str, Any], path: str, values: dict[str, Any], faults: list[Fault]) -> None:
    at = joined(path, key.name)
    value = mapping.get(key.name, dataclasses.MISSING)
    if value is None and (key.section or (key.rule and key.rule.parts)):
        value = dataclasses.MISSING  # all its lines are comments
    if key.section:
        section = read_settings(key.section, {} if value is dataclasses.MISSING else value, at, faults)
        if section is not None:
            values[key.name] = section
    elif value is not dataclasses.MISSING:
        assert key.adapter and key.rule
        try:
            values[key.name] = key.adapter.validate_python(value)
        except ValidationError as error:
            faults += _faults_of(error, key.rule, at, value)
    elif key.default is dataclasses.MISSING:
        assert key.rule
        faults.append(Fault(at, "nothing", key.rule.allowed, "this key must be given"))
    else:
        values[key.name] = key.default


def joined(path: str, name: object) -> str:
    """`path.name`, with a strange name quoted and a long one shortened."""
    plain = name if isinstance(name, str) and name.isprintable() and name else _quoted(name)
    return f"{path}.{shortened(plain)}" if path else shortened(plain)


def shown(path: str, value: Any) -> str:
    """A value for a fault: short, printable, and hidden where the name tells of a secret."""
    return "a value that is not shown" if looks_secret(path) else shortened(publishable(_quoted(value)))


def shortened(long_text: str) -> str:
    """At most 80 characters."""
    return long_text if len(long_text) <= _TEXT_LENGTH_MAX else f"{long_text[: _TEXT_LENGTH_MAX - 3]}..."


def looks_secret(name: object) -> bool:
    """Whether a name promises a secret."""
    return isinstance(name, str) and bool(_SECRET_NAME.search(name))


def nearest(name: object, names: Iterable[str], path: str = "") -> str:
    """`did you mean path.x?`, or nothing where no name is near."""
    if not isinstance(name, str) or len(name) > _TEXT_LENGTH_MAX:  # difflib takes the square of a length
        return ""
    lower = {known.lower(): known for known in names}
    near = difflib.get_close_matches(name.lower(), lower, n=1)
    return f"did you mean {joined(path, lower[near[0]])}?" if near else ""


def _key(f: dataclasses.Field[Any], annotation: Any) -> Key:
    default = f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
    is_input = bool(f.metadata.get("input", False))
    if dataclasses.is_dataclass(annotation):
        assert isinstance(annotation, type)
        return Key(f.name, "", default, is_input, None, annotation, None)
    kind, *notes = get_args(annotation)
    doc = next(note.description or "" for note in notes if isinstance(note, FieldInfo))
    rule = next((note for note in notes if isinstance(note, Rule)), None) or _rule_of_literal(kind)
    return Key(f.name, doc, default, is_input, rule, None, TypeAdapter(annotation))


def _rule_of_literal(kind: Any) -> Rule:
    literals = [kind] if get_origin(kind) is Literal else [k for k in get_args(kind) if get_origin(k) is Literal]
    return one_of(name for literal in literals for name in get_args(literal))


def _unknown_key(path: str, name: object, value: Any, keys: Mapping[str, Key]) -> Fault:
    at = joined(path, name)
    hint = SECRET_HINT if looks_secret(name) else nearest(name, keys, path)
    return Fault(at, shown(at, value), f"a known key: {', '.join(keys)}", hint)


def _faults_of(error: ValidationError, rule: Rule, path: str, value: Any) -> list[Fault]:
    found: dict[str, Fault] = {}  # by path: a union reports one fault per member
    for detail in error.errors(include_url=False, include_context=False, include_input=True):
        if len(found) == _FAULTS_PER_VALUE_MAX:
            break
        where = detail["loc"]
        if rule.parts and where and isinstance(value, Mapping | list | tuple):
            is_key = where[-1] == "[key]"
            part, wrong, at = rule.parts[not is_key], detail["input"], joined(path, where[0])
        else:
            part, wrong, at = rule, value, path
        found.setdefault(at, Fault(at, shown(at, wrong), part.allowed, nearest(wrong, part.choices)))
    return list(found.values())


def _quoted(value: Any) -> str:
    """A value as YAML would have it, near enough. A mapping is not opened: it may hold a secret."""
    match value:
        case None:
            quoted = "nothing"
        case bool():
            quoted = str(value).lower()
        case int() if value.bit_length() >= 256:  # Python refuses to print very long ones
            quoted = "a number of many digits"
        case int() | float():
            quoted = str(value)
        case str():
            quoted = repr(value)  # not as it is: it may hold what a terminal would obey
        case date():
            quoted = value.isoformat()
        case list() | tuple() if all(isinstance(part, str | int | float) for part in value):
            quoted = f"[{', '.join(map(_quoted, value[:20]))}]"
        case list() | tuple():
            quoted = "a list"
        case Mapping():
            quoted = "a mapping"
        case _:
            quoted = f"a {type(value).__name__}"
    return quoted
