"""Errors say what to do, end with the right code, carry no secret and survive a process border."""

from __future__ import annotations

import ast
import errno
import inspect
import pickle
import re
import traceback
import unittest
from pathlib import Path
from urllib.parse import quote

from emitter import errors
from emitter.errors import (
    CommitConflictError,
    CommitUnknownError,
    ConfigurationError,
    DamagedStateError,
    EmitterError,
    Fault,
    ForeignTableError,
    IdentityMismatchError,
    MissingExtraError,
    MissingJournalError,
    OvertakenError,
    RolledBackError,
    SliceLockedError,
    StateError,
    StorageError,
    StorageGaveUpError,
    StorageNotFoundError,
    UsageError,
    redacted,
)

FULL_DISK = OSError(errno.ENOSPC, "No space left on device", "/data/x")
EXAMPLES: list[tuple[EmitterError, int]] = [
    (ConfigurationError([Fault("clock.speed", "0", "a number above 0")]), 2),
    (UsageError("--to lies before --from", hint="give a later --to"), 2),
    (MissingExtraError("delta", needed_for="output.format delta"), 2),
    (StateError("stored and asked differ", hint="look"), 2),
    (IdentityMismatchError("./data", [("seed", "1", "2"), ("domain", "a", "b")]), 2),
    (DamagedStateError("progress.json is cut short", hint="restore it"), 2),
    (MissingJournalError("no journal in ./data", hint="restore it"), 2),
    (ForeignTableError("./data/orders holds files of others", hint="move them"), 2),
    (RolledBackError("orders was set back behind its progress", hint="restore it"), 2),
    (SliceLockedError("slice 0 of 1 is locked", hint="stop the other"), 3),
    (OvertakenError("slice 0 of 1 moved on", hint="stop the other"), 3),
    (StorageError("rename", "/data/x", FULL_DISK), 4),
    (
        StorageNotFoundError("read", "/data/x", FileNotFoundError(errno.ENOENT, "No such file or directory")),
        4,
    ),
    (StorageGaveUpError("write", "/data/x", FULL_DISK, attempts=9), 4),
    (CommitConflictError("orders moved from 5 to 7", hint="try again"), 4),
    (CommitUnknownError("no reply for orders 5..7", hint="read back"), 4),
]


def _all_errors() -> set[type[EmitterError]]:
    return {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, EmitterError)}


class TheErrorTree(unittest.TestCase):
    def test_every_error_has_an_example_with_its_exit_code(self) -> None:
        self.assertEqual(_all_errors() - {EmitterError}, {type(error) for error, _ in EXAMPLES})
        for error, code in EXAMPLES:
            with self.subTest(type(error).__name__):
                self.assertEqual(error.exit_code, code)

    def test_the_tree_at_the_top_of_the_module_is_the_real_one(self) -> None:
        drawn: dict[int, str] = {}
        for indent, name in re.findall(r"^([ |`-]*)(\w+Error)\b", errors.__doc__ or "", re.MULTILINE):
            depth = len(indent) // 4
            drawn[depth] = name
            parent = drawn.get(depth - 1, "Exception")
            with self.subTest(name):
                self.assertEqual(getattr(errors, name).__base__.__name__, parent)
        names = set(re.findall(r"\w+Error\b", errors.__doc__ or ""))
        self.assertEqual(names, {kind.__name__ for kind in _all_errors()})

    def test_every_docstring_says_what_to_do_in_sentences(self) -> None:
        for kind in _all_errors():
            with self.subTest(kind.__name__):
                self.assertRegex((kind.__doc__ or "").partition("\n\n")[0], r"^[A-Z].*[.:] .*\.$")

    def test_an_error_is_the_same_after_crossing_a_process_border(self) -> None:
        for error, _ in EXAMPLES:
            with self.subTest(type(error).__name__):
                copy = pickle.loads(pickle.dumps(error))
                self.assertIs(type(copy), type(error))
                self.assertEqual(copy.report(), error.report())
                self.assertEqual(str(copy), str(error))
                self.assertEqual(copy.__dict__.keys(), error.__dict__.keys())


class WhatTheySay(unittest.TestCase):
    def test_problem_and_hint_are_printed_as_error_and_try(self) -> None:
        error = UsageError("--to lies before --from", hint="give a later --to")
        self.assertEqual(error.report(), "Error: --to lies before --from\nTry: give a later --to")

    def test_the_text_holds_the_way_out_wherever_it_is_shown(self) -> None:
        for error, _ in EXAMPLES:
            self.assertEqual(str(error), f"{error.problem}\nTry: {error.hint}")
            shown = "".join(traceback.format_exception(error))
            self.assertEqual((shown.count("Try: "), shown.count(error.problem)), (1, 1))

    def test_the_cause_of_another_error_keeps_its_own_hint(self) -> None:
        inner = UsageError("that was wrong", hint="do this")
        self.assertEqual(StorageError("read", "x", inner).problem, "could not read x: that was wrong")

    def test_a_configuration_error_shows_every_fault(self) -> None:
        error = ConfigurationError(
            [
                Fault("clock.sped", "4", "a known key", "did you mean clock.speed?"),
                Fault("seed", "-1", "0 or more"),
            ]
        )
        self.assertEqual(
            error.problem,
            "the configuration has 2 faults:\n"
            "  clock.sped: got 4, expected a known key; did you mean clock.speed?\n"
            "  seed: got -1, expected 0 or more",
        )

    def test_a_missing_extra_gives_the_exact_command(self) -> None:
        self.assertEqual(MissingExtraError("delta", needed_for="x").hint, "pip install 'emitter[delta]'")

    def test_an_identity_mismatch_names_each_difference(self) -> None:
        error = IdentityMismatchError("./data", [("seed", "1", "2"), ("partition", "day", "hour")])
        self.assertIn("seed: stored 1, asked for 2", str(error))
        self.assertIn("partition: stored day, asked for hour", str(error))

    def test_a_storage_error_names_operation_path_reason_and_a_hint_that_fits(self) -> None:
        error = StorageError("rename", "/data/x", FULL_DISK)
        self.assertEqual(error.problem, "could not rename /data/x: No space left on device")
        self.assertIn("free some space", error.hint)
        self.assertIs(error.cause, FULL_DISK)
        self.assertIn("move it away", StorageError("list", "/x", NotADirectoryError(errno.ENOTDIR, "Not")).hint)
        gave_up = StorageGaveUpError("write", "/data/x", "timed out", attempts=9)
        self.assertIn("9 attempts", str(gave_up))
        self.assertEqual(gave_up.operation, "write")


class Harmless(unittest.TestCase):
    def test_no_text_is_endless(self) -> None:
        error = ConfigurationError([Fault(f"key{number}", "x" * 80, "y") for number in range(100_000)])
        self.assertLess(len(error.report()), 11_000)
        self.assertIn("the configuration has 100000 faults", error.problem)
        self.assertIn("more", error.problem)
        self.assertLess(len(StorageError("read", "x", "<html>" * 100_000).report()), 11_000)

    def test_no_text_drives_a_terminal(self) -> None:
        error = UsageError("a\x1b[2Jb\u202ec\r\x00\ud800\nd", hint="e\x07")
        self.assertEqual(error.report(), "Error: a\\x1b[2Jb\\u202ec\\r\\x00\\ud800\nd\nTry: e\\x07")


class Secrets(unittest.TestCase):
    def test_no_password_passes(self) -> None:
        for text in (
            "s3://user:hunter2@host/x",
            "postgres://u:hunter2/a@b@host:5432/db",
            "https://hunter2@host/x",
            "ducklake:postgres:dbname=x password=hunter2 host=y",
            "s3://bucket?secret=hunter2&region=x",
            "AWS_SECRET_ACCESS_KEY=hunter2",
            "dbname='x' password='it\\'s, hunter2; or' host='y'",
            'password="a hunter2"',
            "password=a,hunter2;b",
        ):
            with self.subTest(text):
                self.assertNotIn("hunter2", redacted(text))
                self.assertNotIn("hunter2", UsageError(text, hint=text).report())
                self.assertNotIn("hunter2", StorageError("read", text, text, hint=text).report())
                self.assertNotIn("hunter2", StorageError("read", text, text).path)
                self.assertNotIn("hunter2", str(Fault(text, text, text, text)))

    def test_a_secret_that_is_known_shows_nowhere_however_it_is_quoted(self) -> None:
        secret = f"hun/ter2 {id(self)}"
        errors.conceal(secret, "word", None)
        for text in (f"server said: {secret}!", f"?x={quote(secret, safe='')}", f"{{'a': '{secret}'}}"):
            self.assertNotIn("ter2", UsageError(text, hint=text).report())
        self.assertEqual(redacted("a word"), "a word")  # too short to be looked for

    def test_only_so_many_secrets_are_remembered(self) -> None:
        for number in range(1000):
            errors.conceal(f"secret-{number:04d}")
        self.assertNotIn("secret-0999", redacted("secret-0999"))
        self.assertIn("secret-0000", redacted("secret-0000"))

    def test_a_want_of_descriptors_is_told_from_other_failures(self) -> None:
        class Panic(BaseException):
            """As libraries in Rust end."""

        deep = RuntimeError("the pool is broken")
        deep.__cause__ = OSError(errno.EMFILE, "Too many open files")
        panic = Panic('no runtime: Os { code: 24, kind: Uncategorized, message: "Too many open files" }')
        for error in (deep, panic, OSError(errno.ENFILE, "Too many open files in system")):
            told = errors.shortage(error)
            assert told is not None
            self.assertEqual((told.exit_code, "open files" in told.problem, "open" in told.hint), (4, True, True))
        for other in (RuntimeError("code: 24,"), OSError(errno.ENOSPC, "full"), Panic("code: 2, or 240"), SystemExit()):
            self.assertIsNone(errors.shortage(other))

    def test_no_error_shows_a_slot_to_people(self) -> None:
        """A time is `text_of(slot)`."""
        found = [
            f"{path.name}:{node.lineno}: {ast.unparse(part.value)}"
            for path in Path(errors.__file__).parent.rglob("*.py")
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Call) and any(keyword.arg == "hint" for keyword in node.keywords)
            for part in ast.walk(node)
            if isinstance(part, ast.FormattedValue) and re.search(r"slot\b(?!.*\))", ast.unparse(part.value))
        ]
        self.assertEqual(found, [])

    def test_plain_paths_pass_unchanged(self) -> None:
        for text in ("./data/shop", "file:///data/a@b", "http://127.0.0.1:9000", "s3://bucket/a=1/b"):
            with self.subTest(text):
                self.assertEqual(redacted(text), text)


if __name__ == "__main__":
    unittest.main()
