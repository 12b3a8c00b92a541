"""Input that nobody meant: what a file, a variable, a flag, an argument or stored state may hold, at random.

Each function looks at so many cases. Hypothesis makes the same ones each time, and on a failure the smallest one.
"""

from __future__ import annotations

import json
import os
import unittest
from collections.abc import Callable, Mapping
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from emitter.cli.main import app
from emitter.config import EmitterConfig, load_config
from emitter.errors import EmitterError
from emitter.run.assembly import configured_writer
from emitter.settings.declaring import leaf_keys
from emitter.testing import ManualClock
from emitter.truth import inspection
from tests.support.case import tree
from tests.support.shop import run, shop
from tests.unit.watch.test_logs import restore_logging

ROOT = Path(__file__).parents[2]
CANARY = "canary0f9e8d7c6b"
REPORT_LENGTH_MAX = 12_000
KEYS = tuple(leaf_keys(EmitterConfig))
EXAMPLES = tuple(path.read_text("utf-8") for path in sorted((ROOT / "config").glob("*.yaml")))
SHARP = (  # what has cut somebody before
    "", " ", "~", "null", ".", "..", "../../x", "/", "//[", "a://[", "x" * 5000, "\0", "a\nb", "a\tb", "\u202e", "é",
    "\ufeff", "\u0663", "\uff11", "0x10", "1e999", "-1e999", ".nan", "9" * 99, "9" * 5000, "now", "max", "true",
    "file:///%00", "file:///a?b#c", "file://host/x", "file:///", "s3://", "s3://bucket/../x", "s3://bucket/./x",
    "http://[", "http://x:y", "sqlite:///", "sqlite://", "sqlite:///x?mode=ro", "postgresql://", "postgresql://h:x/d",
    "duckdb:x", "a:b:c", "http+x://h", "postgresql+x://h/d", "oracle://h/d", "'; DROP TABLE x; --", "$(id)", "`id`",
    "{METADATA_CATALOG}", "!!python/object/apply:os.system [id]", "&a [*a, *a]", "*a", "%YAML 9.9", "- - - -", "? a",
    "a: b: c", "<<: *a", "[", "{", "}", "0001-01-01", "9999-12-31T23:59:59+23:59", "2026-01-01T00:00:00.5Z",
    "2026-13-45", "Europe/../etc", "/etc/passwd",
)  # fmt: skip
SECRET = (
    f"postgresql://user:{CANARY}@host/d", f"https://user:{CANARY}@host", f"x?password={CANARY}&y", f"s3://{CANARY}@b/c",
    f"dbname=x password='a {CANARY}'", f"AWS_SECRET_ACCESS_KEY={CANARY}",
)  # fmt: skip
LEAVES = (
    st.sampled_from(SHARP)
    | st.sampled_from(SECRET)
    | st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, -(2**64), 10**400])
    | st.floats()
    | st.text(max_size=20)
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
TEXTS = st.sampled_from(SHARP) | st.sampled_from(SECRET) | st.text(max_size=30)


def few(count: int) -> Callable[[Any], Any]:
    return settings(
        max_examples=count, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )


@st.composite
def names(draw: Any) -> str:
    """A key, or what somebody may have typed for one."""
    name = str(draw(st.sampled_from(KEYS)))
    how = draw(st.integers(0, 9))
    if how > 2:
        return name
    at = draw(st.integers(0, len(name)))
    return (
        name[:at] + draw(st.sampled_from(["", "x", ".", "_", "=", " ", "\0", "é"])) + name[at + 1 :],
        draw(TEXTS),
        "",
    )[how]


@st.composite
def mappings(draw: Any) -> dict[str, Any]:
    """A configuration that is right but for some keys."""
    mapping: dict[str, Any] = {"output": {"uri": draw(st.sampled_from(["x", "s3://bucket/x", "file:///nowhere/x"]))}}
    for _ in range(draw(st.integers(0, 4))):
        *sections, name = (draw(names()) or "x").split(".")
        at: Any = mapping
        for section in sections:
            at = at.setdefault(section, {}) if isinstance(at, dict) else {}
        if isinstance(at, dict):
            at[name] = draw(VALUES)
    return mapping


@st.composite
def torn(draw: Any) -> str:
    """An example with some lines lost, doubled, moved or spoilt."""
    lines = str(draw(st.sampled_from(EXAMPLES))).splitlines()
    for _ in range(draw(st.integers(1, 4))):
        at, other = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        match draw(st.integers(0, 4)):
            case 0:
                lines[at] = lines[at].lstrip("# ")
            case 1:
                lines[at], lines[other] = lines[other], lines[at]
            case 2:
                lines.insert(at, " " * draw(st.integers(0, 5)) + lines[other].strip())
            case 3:
                lines[at] = lines[at].partition(":")[0] + ": " + draw(TEXTS)
            case _:
                lines[at] = lines[at][: len(lines[at]) // 2] + draw(TEXTS)
    return "\n".join(lines)


FILES = (
    mappings().map(lambda mapping: yaml.safe_dump(mapping, allow_unicode=True))
    | mappings().map(json.dumps)
    | torn()
    | st.text(alphabet="ab:-[]{}#&*!|>'\"%@`,? \n\t0123456789.\x00é\ud800=<~", max_size=60)
).map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=60)
VARIABLES = st.dictionaries(
    names().map(lambda name: "EMITTER_" + name.upper().replace(".", "__")), TEXTS | LEAVES.map(str), max_size=3
)
FLAGS = st.lists(st.tuples(names(), TEXTS | LEAVES.map(str)).map("=".join) | TEXTS, max_size=3)


def configuration(case: unittest.TestCase, count: int) -> None:
    """Read so many configurations, and make the writers of those that are right: refused in order, or not at all."""
    folder = Path(case.enterContext(TemporaryDirectory()))
    path = folder / "x.yaml"
    case.enterContext(chdir(folder))

    @few(count)
    @given(FILES, FLAGS, VARIABLES)
    def read(text: bytes, flags: list[str], variables: Mapping[str, str]) -> None:
        path.write_bytes(text)
        try:
            configured_writer(load_config(path, flags, variables)).close()
        except EmitterError as error:
            case.assertEqual(error.exit_code, 2)
            assert_harmless(case, error.report())
        case.assertEqual(list(folder.iterdir()), [path])

    read()


def assert_harmless(case: unittest.TestCase, text: str) -> None:
    """It may be shown to anybody."""
    case.assertLess(len(text), REPORT_LENGTH_MAX)
    case.assertNotIn(CANARY, text)
    case.assertTrue(all(character.isprintable() or character == "\n" for character in text), repr(text))


VERBS = (
    "run",
    "generate",
    "verify",
    "expect",
    "status",
    "preview",
    "check",
    "list",
    "info",
    "",
    "--version",
    "nonsense",
)
OPTIONS = (
    *("--from", "--to", "--until", "--batches", "--rows", "--jobs", "--table", "--dry-run", "--json", "--live", "-h"),
    *("--set", "-c", "--config", "--", "-", "--nonsense", "--set=", "--to="),
)
MOMENTS = ("2026-01-01T00:01:00Z", "2026-01-01", "1999-01-01", "2026-01-01T00:00:30+00:00")
SMALL = """
clock: {start: 2026-01-01, speed: max}
output: {uri: out}
ecommerce: {customers: 5, products: 5, orders_per_second: 0.01}
"""
LOCAL = tuple(name for name in KEYS if not name.startswith(("output.", "ecommerce.", "log.")))


def arguments(case: unittest.TestCase, count: int) -> None:
    """Call the command line in so many ways: it does as it is told, or ends in 2, and never writes anything."""
    restore_logging(case)
    folder = Path(case.enterContext(TemporaryDirectory()))
    case.enterContext(chdir(folder))
    (folder / "x.yaml").write_text(SMALL)
    quiet = {name: None for name in os.environ if name.startswith("EMITTER_")}
    part = st.sampled_from(OPTIONS) | TEXTS | st.sampled_from(MOMENTS) | st.sampled_from(["1", "0", "-1", "orders"])
    flag = st.tuples(st.sampled_from(LOCAL), TEXTS).map("=".join).map(lambda text: ["--set", text])

    @few(count)
    @given(st.sampled_from(VERBS), st.booleans(), flag | st.just([]), st.lists(part, max_size=5))
    def call(verb: str, is_right: bool, flags: list[str], rest: list[str]) -> None:
        begin = ["-c", "x.yaml"] if is_right and verb in VERBS[:7] else []
        end = ["--set", "seed=x"] if verb in ("run", "generate") else []  # these would write
        result = CliRunner().invoke(app, [verb, *begin, *end, *flags, *rest], env=quiet)
        case.assertIn(type(result.exception), (type(None), SystemExit), result.exc_info)
        case.assertIn(result.exit_code, (0, 2), result.output)
        case.assertNotIn("Traceback", result.output)
        case.assertEqual([entry.name for entry in folder.iterdir()], ["x.yaml"])

    call()


def stored_state(case: unittest.TestCase, count: int) -> None:
    """Spoil what a run has stored in so many ways, one at a time: it is read as it is, or refused in order."""
    folder = Path(case.enterContext(TemporaryDirectory()))
    config = shop(folder, {"ecommerce.orders_per_second": 0.02, "clock.speed": 60, "clock.on_restart": "catch_up"})
    clock = ManualClock()
    run(shop(folder, {"ecommerce.orders_per_second": 0.02}), 60)
    (folder / "_emitter/anchor.json").write_text('{"slot": 189388620.0, "speed": 60.0, "wall_seconds": 1000.0}\n')
    whole = {name: data for name, data in tree(folder).items() if name.endswith(".json")}

    @few(count)
    @given(st.sampled_from(sorted(whole)), st.data())
    def look(name: str, data: Any) -> None:
        (folder / name).write_bytes(spoilt(whole[name], data))
        try:
            inspection.status(config, clock=clock)
        except EmitterError as error:
            case.assertEqual(error.exit_code, 2, error.report())
            assert_harmless(case, error.report())
        finally:
            (folder / name).write_bytes(whole[name])

    look()


def spoilt(data: bytes, cases: Any) -> bytes:
    """JSON with a value that is another, or bytes that are others."""
    at = cases.draw(st.integers(0, len(data)))
    if cases.draw(st.integers(0, 3)) == 0:
        return data[:at] + bytes(cases.draw(st.binary(max_size=3))) + data[at + 1 :]
    value = json.loads(data)
    inner: Any = value
    while True:
        keys = list(inner) if isinstance(inner, dict) else range(len(inner))
        key = cases.draw(st.sampled_from(keys))
        if not (isinstance(inner[key], dict | list) and inner[key]) or cases.draw(st.booleans()):
            break
        inner = inner[key]
    inner[key] = cases.draw(VALUES | st.sampled_from([1e999, -1, 0, 2**31, 2**70, 10**30, 0.5, [[0]] * 3, {"a": {}}]))
    return json.dumps(value).encode()
