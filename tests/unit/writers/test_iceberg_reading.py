"""Manifests and lists are read as the library reads them, though it works a schema out only once."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from unittest.mock import patch

from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import ManifestFile, read_manifest_list, write_manifest_list

from emitter.writers.iceberg import reading

FIRST_VERSION, SECOND_VERSION = 1, 2


class ReadingTest(unittest.TestCase):
    def setUp(self):
        reading._worked_out.cache_clear()
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.io = PyArrowFileIO()

    def written(self, name: str, version: int, count: int) -> str:
        path = str(self.folder / name)
        with write_manifest_list(version, self.io.new_output(path), 7, 6, 9, "deflate") as writer:
            writer.add_manifests([_manifest(f"{path}-{number}", number) for number in range(count)])
        return path

    def read(self, name: str) -> list[ManifestFile]:
        return list(read_manifest_list(self.io.new_input(name)))

    def test_each_schema_is_worked_out_once(self):
        names = [self.written(str(number), SECOND_VERSION, number + 1) for number in range(4)]
        with patch.object(reading, "resolve_reader", wraps=reading.resolve_reader) as resolve:
            for number, name in enumerate(names):
                self.assertEqual([each.existing_rows_count for each in self.read(name)], [*range(number + 1)])
        self.assertEqual(resolve.call_count, 1)

    def test_files_of_two_schemas_are_read_by_turns(self):
        first = self.written("first", FIRST_VERSION, 2)
        second = self.written("second", SECOND_VERSION, 3)
        for _ in range(2):
            self.assertEqual([each.min_sequence_number for each in self.read(first)], [0, 0])
            self.assertEqual([each.min_sequence_number for each in self.read(second)], [3, 3, 3])

    def test_a_file_that_does_not_say_its_schema_is_refused(self):
        name = self.written("plain", SECOND_VERSION, 1)
        Path(name).write_bytes(Path(name).read_bytes().replace(b"avro.schema", b"avro.schemb"))
        with self.assertRaises(ValueError):
            self.read(name)


def _manifest(path: str, number: int) -> ManifestFile:
    return ManifestFile.from_args(
        manifest_path=path,
        manifest_length=1,
        partition_spec_id=0,
        content=0,
        sequence_number=3,
        min_sequence_number=3,
        added_snapshot_id=5,
        added_files_count=0,
        existing_files_count=1,
        deleted_files_count=0,
        added_rows_count=0,
        existing_rows_count=number,
        deleted_rows_count=0,
        partitions=None,
        key_metadata=None,
    )


if __name__ == "__main__":
    unittest.main()
