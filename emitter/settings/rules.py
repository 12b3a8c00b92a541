"""Rules: what may stand at a key of the configuration, in words and as a check.

The words are ours and the same everywhere; the checks are pydantic's. Strict throughout: `true` is no number
and `"5"` is not 5.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import CoreSchema, core_schema

_WEIGHT_MAX = 1_000_000


@dataclass(frozen=True)
class Rule:
    """What may stand at a key: in words, as names to choose from if it is a choice, as pydantic's schema."""

    allowed: str
    schema: CoreSchema = field(repr=False)
    choices: tuple[str, ...] = ()
    parts: tuple[Rule, Rule] | None = None  # of a mapping: for its keys, for its values

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> CoreSchema:
        return self.schema


def whole(low: int, high: int) -> Rule:
    """A whole number; true and "5" are none."""
    return Rule(f"a whole number from {low} to {high}", core_schema.int_schema(strict=True, ge=low, le=high))


def number(low: float, high: float, *, above: bool = False) -> Rule:
    """A finite number from `low`, or only above it, up to `high`."""
    schema = core_schema.float_schema(
        strict=True, allow_inf_nan=False, gt=low if above else None, ge=None if above else low, le=high
    )
    low_words = f"above {_plain(low)} up" if above else f"from {_plain(low)}"
    return Rule(f"a number {low_words} to {_plain(high)}", schema)


yes_or_no = Rule("true or false", core_schema.bool_schema(strict=True), ("true", "false"))


def one_of(names: Iterable[str]) -> Rule:
    """One of these names."""
    choices = tuple(names)
    return Rule(f"one of: {', '.join(choices)}", core_schema.literal_schema(list(choices)), choices)


def checked(allowed: str, read: Callable[[Any], Any], choices: Sequence[str] = ()) -> Rule:
    """Whatever `read` returns; what it raises ValueError for is refused."""

    def read_checked(value: Any) -> Any:
        try:
            return read(value)
        except OverflowError as error:
            raise ValueError("out of range") from error

    return Rule(allowed, core_schema.no_info_plain_validator_function(read_checked), tuple(choices))


def text(allowed: str, pattern: str) -> Rule:
    """Text that the pattern matches from end to end."""

    def read(value: Any) -> str:
        if not (isinstance(value, str) and value.isprintable() and re.fullmatch(pattern, value)):
            raise ValueError("not such a text")
        return value

    return checked(allowed, read)


def optional(rule: Rule) -> Rule:
    """The same, or nothing."""
    return dataclasses.replace(rule, schema=core_schema.nullable_schema(rule.schema))


def or_name(name: str, rule: Rule) -> Rule:
    """The name, or what the rule allows."""
    schema = core_schema.union_schema([core_schema.literal_schema([name]), rule.schema])
    return Rule(f"{name}, or {rule.allowed}", schema, (name,))


def pairs(allowed: str, keys: Rule, values: Rule, *, count_min: int = 0) -> Rule:
    """A mapping, kept as a sorted tuple of pairs: hashable, and the same in whatever order it is written."""

    def read(value: Any, read_mapping: Callable[[Any], dict[Any, Any]]) -> tuple[tuple[Any, Any], ...]:
        if isinstance(value, list | tuple) and all(isinstance(p, list | tuple) and len(p) == 2 for p in value):
            value = _mapping_of(value)
        result = read_mapping(value)
        if not count_min <= len(result) == len(value):
            raise ValueError("too few, or one twice")
        return tuple(sorted(result.items()))

    mapping = core_schema.dict_schema(keys.schema, values.schema)
    schema = core_schema.no_info_wrap_validator_function(read, mapping)
    return Rule(allowed, schema, parts=(keys, values))


def weights(count: int, of_what: str) -> Rule:
    """So many numbers from 0 up, not all of them 0."""
    numbers = core_schema.list_schema(
        core_schema.float_schema(strict=True, allow_inf_nan=False, ge=0, le=_WEIGHT_MAX),
        min_length=count,
        max_length=count,
    )

    def read(value: Any, read_list: Callable[[Any], list[float]]) -> tuple[float, ...]:
        found = tuple(read_list(list(value) if isinstance(value, tuple) else value))
        if not any(found):
            raise ValueError("all are 0")
        return found

    allowed = f"{count} numbers from 0 to {_WEIGHT_MAX}, not all 0: weights {of_what}"
    return Rule(allowed, core_schema.no_info_wrap_validator_function(read, numbers))


def _mapping_of(items: Sequence[Any]) -> dict[Any, Any]:
    try:
        mapping = dict(items)
    except TypeError as error:
        raise ValueError("not a mapping") from error
    if len(mapping) < len(items):
        raise ValueError("one twice")
    return mapping


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)
