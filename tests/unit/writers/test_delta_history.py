"""Finding out that a Delta table was set back, over logs of all kinds."""

from __future__ import annotations

import json
import unittest

from emitter.errors import DamagedStateError
from emitter.writers.delta.history import LoggedCommit, decode, find_rollback, joined, moved_files, removed_paths

OTHER = LoggedCommit()


def ours(made_from: int) -> LoggedCommit:
    return LoggedCommit(made_from=made_from)


def restore(version: int) -> LoggedCommit:
    return LoggedCommit(restored=version)


class FindRollbackTest(unittest.TestCase):
    def look(self, *log: LoggedCommit | None, looked_at: int = -1) -> tuple[int | None, list[int]]:
        """(what is found in a log that begins with version 0, the versions that were read)"""
        read: list[int] = []

        def commit(version: int) -> LoggedCommit | None:
            read.append(version)
            return log[version]

        return find_rollback(commit, len(log) - 1, looked_at), read

    def test_only_what_is_new_is_read(self):
        log = [OTHER, ours(0), OTHER, OTHER, ours(3), OTHER]
        self.assertEqual(self.look(*log, looked_at=5), (None, []))
        self.assertEqual(self.look(*log, looked_at=4), (None, [5]))
        self.assertEqual(self.look(*log, looked_at=2), (None, [5, 4]))

    def test_a_commit_of_ours_speaks_for_all_before_it(self):
        log = [OTHER, ours(0), restore(0), *[OTHER] * 9, ours(11)]
        self.assertEqual(self.look(*log), (None, [12]))

    def test_but_not_for_what_came_while_it_was_made(self):
        log = [OTHER, ours(0), ours(1), restore(1), ours(2)]
        self.assertEqual(self.look(*log)[0], 3)

    def test_a_restore_to_before_a_commit_of_ours_is_found(self):
        self.assertEqual(self.look(OTHER, ours(0), restore(0))[0], 2)
        self.assertEqual(self.look(OTHER, ours(0), OTHER, restore(0), OTHER, OTHER)[0], 3)

    def test_a_restore_of_what_is_all_there_is_harmless(self):
        self.assertIsNone(self.look(OTHER, ours(0), OTHER, restore(1), OTHER)[0])

    def test_a_restore_that_undoes_another_is_harmless(self):
        self.assertIsNone(self.look(OTHER, ours(0), ours(1), restore(0), restore(2))[0])
        self.assertIsNone(self.look(OTHER, ours(0), restore(0), OTHER, restore(0), restore(1))[0])
        self.assertEqual(self.look(OTHER, ours(0), ours(1), restore(0), restore(1))[0], 4)
        self.assertEqual(self.look(OTHER, ours(0), restore(0), OTHER, restore(2))[0], 2)

    def test_a_restore_that_does_not_tell_to_where_is_taken_for_the_worst(self):
        self.assertEqual(self.look(OTHER, ours(0), OTHER, restore(-1))[0], 3)
        self.assertIsNone(self.look(OTHER, OTHER, restore(-1))[0])

    def test_a_log_that_was_cleaned_up_ends_the_search_and_excuses_no_restore(self):
        self.assertEqual(self.look(None, None, OTHER, OTHER), (None, [3, 2, 1]))
        self.assertEqual(self.look(None, None, OTHER, restore(0))[0], 3)

    def test_the_search_has_an_end(self):
        self.assertEqual(len(self.look(*[OTHER] * 12_000)[1]), 10_000)


class DecodeTest(unittest.TestCase):
    def decoded(self, *actions: object) -> LoggedCommit:
        data = b"\n".join(json.dumps(action).encode() for action in actions) + b"\n"
        return decode(data, "log", "emitter:run:orders:")

    def test_commits_are_told_apart_by_their_application_transactions(self):
        info = {"commitInfo": {"operation": "WRITE", "readVersion": 7}}
        add = {"add": {"path": "x", "stats": "{}"}}
        for name, made_from in (
            ("emitter:run:orders:0-of-1", 7),
            ("emitter:run:orders2:0-of-1", None),
            ("emitter:run2:orders:0-of-1", None),
            ("somebody", None),
        ):
            found = self.decoded(info, add, {"txn": {"appId": name, "version": 3}})
            self.assertEqual(found, LoggedCommit(made_from, moved={name: 3}))

    def test_what_does_more_than_add_and_remove_files_is_told(self):
        info = {"commitInfo": {"operation": "OPTIMIZE"}}
        plain = {"add": {"path": "x"}}, {"remove": {"path": "y"}}, {"cdc": {"path": "z"}}
        self.assertTrue(self.decoded(info, *plain).is_plain)
        for kind in ("metaData", "protocol", "domainMetadata", "of the future"):
            self.assertFalse(self.decoded(info, *plain, {kind: {}}).is_plain)

    def test_the_files_that_a_commit_takes_away_are_found_in_any_layout(self):
        data = b'{"add":{"path":"a \\"remove\\""}}\n{ "remove": {"path":"b"}}\n{"remove":{"path":"c"}}\n'
        self.assertEqual(removed_paths(data), {"b", "c"})

    def test_a_restore_tells_its_version_as_a_number_or_a_text_or_not_at_all(self):
        for parameters, version in (
            ({"version": "4"}, 4),
            ({"version": 4, "timestamp": None}, 4),
            ({"version": None, "timestamp": "2026-01-01"}, -1),
            ({"datetime": "1795386016028"}, -1),
        ):
            info = {"commitInfo": {"operation": "RESTORE", "operationParameters": parameters}}
            self.assertEqual(self.decoded(info), LoggedCommit(restored=version, is_plain=False))

    def test_what_is_no_log_entry_is_damage(self):
        for data in (
            b"{",
            b"3",
            b'{"txn": {}}',
            b'{"commitInfo": {"operation": "RESTORE", "operationParameters": 3}}',
        ):
            with self.subTest(data), self.assertRaises(DamagedStateError):
                decode(data, "log", "emitter:")


class JoinedTest(unittest.TestCase):
    def joined(self, *entries: list[dict]) -> list[dict] | None:
        data = ["\n".join(map(json.dumps, entry)).encode() for entry in entries]
        entry = joined(data, "path")
        return None if entry is None else [json.loads(line) for line in entry.splitlines()]

    def test_what_came_last_counts(self):
        found = self.joined(
            [{"commitInfo": {}}, {"add": {"path": "a"}}, {"txn": {"appId": "x", "version": 1}}],
            [{"add": {"path": "b"}}, {"txn": {"appId": "y", "version": 7}}],
            [{"remove": {"path": "a"}}, {"add": {"path": "c"}}, {"txn": {"appId": "x", "version": 2}}],
            [{"remove": {"path": "d"}}],
            [{"add": {"path": "d"}}],
        )
        expected = [{"add": {"path": name}} for name in "bcd"] + [{"remove": {"path": "a"}}]
        expected += [{"txn": {"appId": "x", "version": 2}}, {"txn": {"appId": "y", "version": 7}}]
        self.assertEqual(sorted(map(json.dumps, found or [])), sorted(map(json.dumps, expected)))

    def test_of_what_the_table_is_the_last_word_stands(self):
        first, last = ([{name: {"id": number}} for name in ("metaData", "protocol")] for number in (1, 2))
        self.assertEqual(self.joined([*first, {"add": {"path": "a"}}], last), [*last, {"add": {"path": "a"}}])

    def test_what_does_more_is_not_joined(self):
        plain = [{"add": {"path": "a"}}]
        for more in (
            {"domainMetadata": {"domain": "x"}},
            {"commitInfo": {"operation": "RESTORE"}},
            {"add": {"path": "a%20b"}},
            {"remove": {"path": "s3://elsewhere/a"}},
        ):
            with self.subTest(more):
                self.assertIsNone(self.joined(plain, [more]))

    def test_what_cannot_be_understood_is_told_of(self):
        for line in (b"{", b'{"add": {}}', b'{"txn": {"version": 1}}', b"[]"):
            with self.subTest(line), self.assertRaisesRegex(DamagedStateError, "path cannot be understood"):
                joined([line], "path")


class MovedFilesTest(unittest.TestCase):
    def test_files_come_with_their_rows_and_go_with_their_time(self):
        add = {"path": "b", "size": 7, "stats": json.dumps({"numRecords": 3})}
        lines = [{"add": add}, {"add": {"path": "c", "size": 8}}, {"remove": {"path": "a", "deletionTimestamp": 2_500}}]
        found = moved_files("\n".join(map(json.dumps, lines)).encode(), "path")
        self.assertEqual(found, ({"b": (7, 3), "c": (8, None)}, {"a": 2.5}))

    def test_a_file_of_which_only_some_rows_count_is_left_to_the_library(self):
        add = {"path": "b", "size": 7, "deletionVector": {"storageType": "u"}}
        self.assertIsNone(moved_files(json.dumps({"add": add}).encode(), "path"))


if __name__ == "__main__":
    unittest.main()
