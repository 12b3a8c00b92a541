"""Where a configuration comes from: flags, variables and files; what is secret in them, what a reload may change, and
the file that shows every key.
"""

from __future__ import annotations

import re
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emitter.config import Reload, load_config, reload_differences, validate
from emitter.errors import ConfigurationError
from emitter.settings.declaring import flatten, looks_secret
from emitter.settings.yaml_text import read_document
from tests.unit.config_case import KEYS, ROOT, ConfigTest, config

EXAMPLE = ROOT / "config" / "emitter.yaml"
SECRET = "hunter2"


class Sources(ConfigTest):
    FILE = "output: {uri: ./data}\nclock: {speed: 2, batch_seconds: 3}\n"

    def test_a_flag_beats_a_variable_which_beats_the_file(self) -> None:
        self.assertEqual(self.load(self.FILE).clock.speed, 2)
        self.assertEqual(self.load(self.FILE, EMITTER_CLOCK__SPEED="60").clock.speed, 60)
        loaded = self.load(self.FILE, ("clock.speed=5", "clock.speed=max"), EMITTER_CLOCK__SPEED="60")
        self.assertEqual((loaded.clock.speed, loaded.clock.batch_seconds), ("max", 3))

    def test_no_file_is_needed_where_the_rest_says_enough(self) -> None:
        self.assertEqual(load_config(None, ["output.uri=./data"]), config())
        self.assertEqual(load_config(None, [], {"EMITTER_OUTPUT__URI": "./data", "PATH": "/bin"}), config())

    def test_values_of_flags_and_variables_are_yaml(self) -> None:
        for text, path, value in (
            ("tables=[customers, orders]", "tables", ["customers", "orders"]),
            ("tables=null", "tables", None),
            ("clock.on_restart=", "clock.on_restart", None),
            ("clock.speed=1e3", "clock.speed", 1000),
            ("output.uri=/tmp/a: b #c", "output.uri", "/tmp/a: b #c"),
            ("output.uri=@a=b", "output.uri", "@a=b"),
            ('output.uri="2026"', "output.uri", "2026"),
            ("clock.start=2026-01-01", "clock.start", "2026-01-01T00:00:00Z"),
            ("ecommerce.promotions={2026-11-27: 2}", "ecommerce.promotions", {"2026-11-27": 2}),
            ("ecommerce.time_zones.Asia/Tokyo=3", "ecommerce.time_zones", {"Asia/Tokyo": 3}),
        ):
            with self.subTest(text):
                self.assertEqual(flatten(self.load(self.FILE, (text,)))[path], value)

    def test_faults_of_all_sources_are_told_at_once_with_where_they_come_from(self) -> None:
        faults = self.load_faults(
            "outptu: {uri: ./data}",
            ("clock.speed=0", "nonsense", "=5", "a..b=1", "seed=[1"),
            EMITTER_SERVER__PORT="x",
            EMITTER_CLOCK__SPED="1",
        )
        told = {(f.path, f.value_text): f.hint for f in faults}
        self.assertEqual(
            told,
            {
                ("EMITTER_CLOCK__SPED", "'1'"): "did you mean EMITTER_CLOCK__SPEED?",
                ("--set", "'nonsense'"): "",
                ("--set", "'=5'"): "",
                ("--set", "'a..b=1'"): "",
                ("--set seed", "'[1'"): "quote it if it is text",
                ("outptu", "a mapping"): "did you mean output?",
                ("output.uri", "nothing"): "this key must be given",
                ("server.port", "'x'"): "it comes from EMITTER_SERVER__PORT",
                ("clock.speed", "0"): "it comes from --set clock.speed",
            },
        )

    def test_files_that_cannot_be_read(self) -> None:
        bomb = "a: &a [x]\n" + "".join(f"{n}: &{n} [*{m}, *{m}]\n" for m, n in zip("abcdefgh", "bcdefghi", strict=True))
        deep = "\n".join(" " * n + "a:" for n in range(100))
        tab = "a tab where only spaces may stand"
        unfit = "what does not fit the lines above: indented otherwise, or behind a quote"
        twice = "the key '%s' a second time"
        for name, content, path_end, problem in (
            ("syntax", "a: 1\nb: [1, 2\nc: 3", ":3:2", ": where a comma or ] should be"),
            ("tab", "clock:\n\tspeed: 1", ":2:1", tab),
            ("list", "- a\n- b", "", "a list"),
            ("scalar", SECRET, "", "one value"),
            ("doubled key", "seed: 1\nclock: {}\n'seed': 2", ":3:1", twice % "seed"),
            ("doubled below", "clock: {speed: 1, speed: 2}", ":1:19", twice % "speed"),
            ("aliases", bomb, ":1:4", "an anchor or an alias (& or *)"),
            ("tag", "seed: !!python/object:os.system 1", ":1:7", "a tag (!)"),
            ("depth", "a: " + "[" * 5000, ":1:23", "more than 20 levels"),
            ("deep block", deep, ":20:20", "more than 20 levels"),
            ("two documents", "a: 1\n---\nb: 2", ":2:1", "a second document (---)"),
            ("not closed", "a: [1", ":1:6", "a list that is not closed"),
            ("not closed either", "a: {b: 1", ":1:9", "a mapping that is not closed"),
            ("quote", "a: 'x", ":1:6", "a quote that is not closed"),
            ("sign", "a: @x", ":1:4", "a value that begins with @ and is not quoted"),
            ("colon", "a: b: c", ":1:5", "a colon where no key can end"),
            ("dash", "a: - b", ":1:4", "a dash where no list can begin"),
            ("escape", 'a: "\\q"', ":1:6", "\\q in double quotes, which stands for nothing"),
            ("indent", "a:\n  - b\n c: 1", ":3:2", unfit),
            ("control character", "a: 1\nb: \x07", ":2", "a character that YAML forbids"),
            ("not UTF-8", b"a: \xff", "", "a file that is not UTF-8, at byte 3"),
            ("large", b"#" * (2**20 + 1), "", "a larger file"),
            ("mapping as key", "{a: 1}: 2", ":1:1", "a list or a mapping as a key"),
        ):  # fmt: skip
            with self.subTest(name):
                (fault,) = self.load_faults(content)
                self.assertEqual(fault.value_text, problem)
                where = fault.path.partition("shop.yaml")[2]
                self.assertEqual(where.replace(", line ", ":").replace(", column ", ":"), path_end)
        for path, problem in (
            (Path("no/such/file.yaml"), "no such file"),
            (ROOT, "a folder"),
            (EXAMPLE / "x", "not a directory"),
            (Path("a\0b"), "a name that no file can have"),
        ):
            with self.subTest(problem), self.assertRaises(ConfigurationError) as caught:
                load_config(path, ["nonsense"])
            self.assertEqual([f.value_text for f in caught.exception.faults], [problem, "'nonsense'"])

    def test_a_file_of_faults_is_refused_before_each_is_looked_into(self) -> None:
        entries = "".join(f"\n    Europe/B{number}: 1" for number in range(2_000))
        with self.assertRaises(ConfigurationError) as caught:
            self.load(f"output: {{uri: x}}\necommerce:\n  time_zones:{entries}")
        self.assertEqual(len(caught.exception.faults), 20)
        with self.assertRaises(ConfigurationError) as caught:
            self.load(f"output: {{uri: x}}\ntables: [{', '.join(f't{number}' for number in range(2_000))}]")
        self.assertEqual(len(caught.exception.faults), 20)

    def test_nothing_in_a_file_is_a_value_in_disguise(self) -> None:
        for text in ("no", "on", "010", "0x10", "1:30", "2026-01-01", "<<", "=", "1_0:0", ".inf", "9" * 101):
            with self.subTest(text):
                self.assertEqual(read_document(f"a: {text}"), {"a": text})
        self.assertEqual(read_document("a: [true, False, null, ~, 1_000, -1, 1e3, 1.5, .5, 0]"), {
            "a": [True, False, None, None, 1000, -1, 1000.0, 1.5, 0.5, 0]
        })  # fmt: skip
        self.assertEqual(self.load("\ufeff# only a comment\n", ("output.uri=./data",)), config())


class Secrets(ConfigTest):
    def test_a_secret_is_refused_and_never_echoed(self) -> None:
        for name, text, sets, environ in (
            ("key", f"output: {{uri: x, s3: {{secret_access_key: {SECRET}}}}}", (), {}),
            ("access key", f"output: {{uri: x, s3: {{access_key_id: {SECRET}}}}}", (), {}),
            ("token", f"output: {{uri: x}}\ntoken: [{SECRET}]", (), {}),
            ("below a secret key", f"output: {{uri: x}}\npassword: {{a: {SECRET}}}", (), {}),
            ("in an unknown mapping", f"output: {{uri: x}}\nfoo: {{password: {SECRET}}}", (), {}),
            ("in an unknown list", f"output: {{uri: x}}\nfoo: [{{password: {SECRET}}}]", (), {}),
            ("as a zone", f"output: {{uri: x}}\necommerce: {{time_zones: {{password: {SECRET}}}}}", (), {}),
            ("URI in the file", f"output: {{uri: x, catalog: {{uri: 'postgres://u:{SECRET}@h/d'}}}}", (), {}),
            (
                "DSN in the file",
                f"output: {{uri: x, catalog: {{uri: 'dbname=x password={SECRET}'}}}}",
                (),
                {},
            ),
            ("query of a URI", f"output: {{uri: x, catalog: {{uri: 'postgresql://u@h/d?password={SECRET}'}}}}", (), {}),
            ("two at signs", f"output: {{uri: x, catalog: {{uri: 'postgresql://u@{SECRET}@h/d'}}}}", (), {}),
            ("a token", f"output: {{uri: x, catalog: {{uri: 'https://{SECRET}@h/d'}}}}", (), {}),
            ("wrong URI", f"output: {{uri: 'https://u:{SECRET}@h/d'}}", (), {}),
            (
                "endpoint",
                "output: {uri: x}",
                (),
                {"EMITTER_OUTPUT__S3__ENDPOINT_URL": f"http://u:{SECRET}@h"},
            ),
            ("flag", "output: {uri: x}", (f"output.s3.secret={SECRET}",), {}),
            ("URI in a flag", "output: {uri: x}", (f"output.catalog.uri=postgresql://u:{SECRET}@h/d",), {}),
            (
                "query of the endpoint",
                "output: {uri: x}",
                (),
                {"EMITTER_OUTPUT__S3__ENDPOINT_URL": f"http://h/?sig={SECRET}"},
            ),
            ("wrong flag", "output: {uri: x}", (f"password:{SECRET}",), {}),
            ("variable", "output: {uri: x}", (), {"EMITTER_S3_SECRET": SECRET}),
            ("broken YAML", f"output: {{uri: x}}\npassword: [{SECRET}", (), {}),
            ("alias", f"output: {{uri: x}}\npassword: *{SECRET}", (), {}),
            ("tag", f"output: {{uri: x}}\npassword: !{SECRET}", (), {}),
            ("block", f"output: {{uri: x}}\npassword: |{SECRET}", (), {}),
            ("directive", f"%{SECRET}\noutput: {{uri: x}}", (), {}),
        ):
            with self.subTest(name), self.assertRaises(ConfigurationError) as caught:
                self.load(text, sets, **environ)
            self.assertNotIn(SECRET, caught.exception.report())
            self.assertNotIn(SECRET, repr(caught.exception.faults))

    def test_a_catalogue_may_have_its_password_from_the_environment_and_does_not_print_it(self) -> None:
        loaded = self.load("output: {uri: x}", EMITTER_OUTPUT__CATALOG__URI=f"postgres://u:{SECRET}@h/d")
        self.assertIn(SECRET, loaded.output.catalog.uri or "")
        self.assertNotIn(SECRET, repr(loaded))

    def test_a_user_alone_is_no_secret(self) -> None:
        for uri in (
            "postgresql://me@host/db",
            "postgres://me@host:5432/db?connect_timeout=3",
            "postgresql+psycopg://me@h/d",
        ):
            text = f"output: {{uri: x, catalog: {{uri: '{uri}'}}}}"
            self.assertEqual(self.load(text).output.catalog.uri, uri)
            self.assertEqual(self.load("output: {uri: x}", [f"output.catalog.uri={uri}"]).output.catalog.uri, uri)

    def test_no_key_of_ours_looks_like_a_secret(self) -> None:
        self.assertEqual([path for path in KEYS if looks_secret(path)], [])


class Reloading(ConfigTest):
    def test_safe_keys_and_refused_keys_are_named(self) -> None:
        old = config()
        self.assertEqual(reload_differences(old, config()), Reload(safe=(), refused=()))
        new = validate(
            {
                "seed": 1,
                "clock": {"speed": 2, "batch_seconds": 3, "batch_rows_max": 4, "start": "2026-01-01"},
                "output": {"uri": "./other", "file_rows_target": 5, "compression": "none"},
                "log": {"level": "debug", "format": "json"},
                "ecommerce": {"orders_per_second": 6},
            }
        )
        change = reload_differences(old, new)
        self.assertEqual(
            set(change.safe),
            {"clock.speed", "clock.batch_seconds", "clock.batch_rows_max", "output.file_rows_target"}
            | {"output.compression", "log.level", "log.format"},
        )
        self.assertEqual(set(change.refused), {"seed", "clock.start", "output.uri", "ecommerce.orders_per_second"})


class TheExampleFile(ConfigTest):
    def test_it_is_valid_and_makes_no_flood_of_files(self) -> None:
        loaded = load_config(EXAMPLE)
        self.assertEqual((loaded.output.uri, loaded.clock.start, loaded.clock.speed), ("./data/shop", "now", 1))
        self.assertGreaterEqual(loaded.clock.batch_seconds, 60)

    def test_it_shows_every_key_and_each_commented_one_at_its_default(self) -> None:
        text = EXAMPLE.read_text("utf-8")
        active, everything = read_document(text), read_document(re.sub(r"(?m)^(\s*)#(?=[a-z])", r"\1", text))
        shown, defaults = dict(_leaves(everything)), flatten(config())
        self.assertEqual(shown.keys(), KEYS.keys())
        self.assertEqual(flatten(validate(everything)), flatten(validate(active)))
        commented = shown.keys() - dict(_leaves(active)).keys()
        self.assertEqual({p: shown[p] for p in commented}, {p: defaults[p] for p in commented})

    def test_every_key_has_a_description_in_a_sentence(self) -> None:
        for path, key in KEYS.items():
            with self.subTest(path):
                self.assertRegex(key.doc, r"^[A-Z`].*[.)]$")
                self.assertNotIn("\n", key.doc)


def _leaves(mapping: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in mapping.items():
        path = f"{prefix}{name}"
        if path in KEYS:
            yield path, value
        elif value is not None:
            yield from _leaves(value, f"{path}.")


if __name__ == "__main__":
    unittest.main()
