"""Plain YAML: what a person writes into a configuration, and nothing that turns into something else.

No tags, anchors, aliases or doubled keys; bounded in depth. Only `true`, `false`, `null` and decimal numbers
are more than text: `no`, `010`, `1:30` and dates stay what they are.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

DEPTH_MAX = 20


class NotPlainYamlError(ValueError):
    """The text is not plain YAML. Correct it at `where`; `problem` shows no value of it."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}")
        self.where = where
        self.problem = problem


def read_document(text: str) -> Any:
    """The one document in the text; None where there is nothing but comments. Raises NotPlainYamlError."""
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise NotPlainYamlError(where, _in_words(error.problem or error.context or "a mistake")) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise NotPlainYamlError(f"line {line}", "a character that YAML forbids") from error


def read_value(text: str) -> Any:
    """One value, as behind a key. Unless it opens a list, a mapping or a quote, all of it is one scalar.

    So a path may hold `: ` or ` #`, or begin with `@`. Raises NotPlainYamlError.
    """
    text = text.strip()
    if text[:1] in ("[", "{", '"', "'"):
        return read_document(text)
    loader = _Loader("")
    try:
        tag = loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        return loader.construct_object(yaml.ScalarNode(tag, text))
    finally:
        loader.dispose()


_WORDS = (  # what PyYAML says, and what it means
    (r"found character '\\t' that cannot start any token", "a tab where only spaces may stand"),
    (r"found character '(.)' that cannot start any token", r"a value that begins with \1 and is not quoted"),
    (r"but found another document", "a second document (---)"),
    (r"expected ',' or '\]', but got '<stream end>'", "a list that is not closed"),
    (r"expected ',' or '\}', but got '<stream end>'", "a mapping that is not closed"),
    (r"expected ',' or '(.)', but got '(.+)'", r"\2 where a comma or \1 should be"),
    (r"found unexpected end of stream", "a quote that is not closed"),
    (r"expected <block end>, but found .*", "what does not fit the lines above: indented otherwise, or behind a quote"),
    (r"mapping values are not allowed here", "a colon where no key can end"),
    (r"could not find expected ':'", "a key without a colon"),
    (r"sequence entries are not allowed here", "a dash where no list can begin"),
    (r"found unknown escape character '(.)'", r"\\\1 in double quotes, which stands for nothing"),
    (r"expected escape sequence of .*", "a number in double quotes that is cut short"),
    (r"expected the node content, but found '(.+)'", r"\1 where a value should be"),
    (r"found unhashable key", "a list or a mapping as a key"),
    (r"expected '<document start>', but found .*", "text behind the end of the document (...)"),
)


def _in_words(problem: str) -> str:
    """A problem as a noun, as a fault has it."""
    for pattern, words in _WORDS:
        if match := re.fullmatch(pattern, problem, re.DOTALL):
            return match.expand(words)
    is_ours = problem.startswith(("a ", "an ", "the ", "more "))
    return problem if is_ours else f"what is no YAML ({problem})"


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the name is yaml's; its own are not wanted
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        problem = None
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            problem = "an anchor or an alias (& or *)"  # a few lines of them can stand for gigabytes
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
                    problem = f"the key {key!r:.80} a second time"
                    raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
                seen.add(key)
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9_]{0,99})", list("-+0123456789")),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})\\Z"), _first)
