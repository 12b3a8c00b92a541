"""What a query names, as far as tests have to know: its series, and the labels that it selects by."""

from __future__ import annotations

import re

_SELECTOR = re.compile(r"\b((?:emitter|process|python)_\w+|up)\b(?:\{([^}]*)\})?")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
TARGET_LABELS = {"job", "instance", "bounded"}


def unknown_names(expression: str, known: dict[str, set[str]]) -> list[str]:
    """The series of emitter and its process that are not among those known, and labels they do not have."""
    found = []
    for name, matchers in _SELECTOR.findall(_without_ranges(expression)):
        if name == "up":
            labels: set[str] = set()
        elif name in known:
            labels = known[name]
        else:
            found.append(name)
            continue
        found += [f"{name}{{{label}}}" for label in _MATCHER.findall(matchers) if label not in labels | TARGET_LABELS]
    return found


def _without_ranges(expression: str) -> str:
    """Without what stands in brackets after a selector, and in `by (...)` before it."""
    return re.sub(r"\[[^\]]*\]|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", expression)
