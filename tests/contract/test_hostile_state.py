"""What an output or a catalogue says of paths and names, when somebody else wrote it: nothing is moved, removed, read
or run beyond the output.
"""

from __future__ import annotations

import json
import sqlite3
import unittest
from pathlib import Path
from typing import Any

from emitter.errors import DamagedStateError, EmitterError, ForeignTableError, StorageError
from emitter.model import Slice
from emitter.storage.local import LocalStorage
from emitter.truth import oracle
from emitter.writers.iceberg.io import Place
from emitter.writers.parquet.progress import ProgressObjects
from tests.support.case import new_folder
from tests.support.shop import run, shop

FEW: dict[str, Any] = {"ecommerce.orders_per_second": 0.02, "ecommerce.customers": 5, "ecommerce.products": 5}


class HostileStateTest(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(new_folder()))
        self.output = self.folder / "out"
        self.config = shop(self.output, FEW)

    def rewrite(self, name: str, changed: dict[str, Any]) -> None:
        path = self.output / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))

    def test_an_intent_moves_nothing_into_or_out_of_the_table(self) -> None:
        run(self.config, 60)
        precious = self.folder / "precious"
        precious.write_text("precious")
        (visible,) = (self.output / "customers").glob("year=*/*/*/*.parquet")
        inside, name = str(visible.relative_to(self.output)), "_emitter/staging/customers/0-of-1/a.parquet.staged"
        (self.output / name).parent.mkdir(exist_ok=True, parents=True)
        (self.output / name).write_text("staged")
        for staged, final in (
            ("_emitter/staging/customers/0-of-1/../../../../precious", "customers/year=2026/x.parquet"),
            (str(precious), "customers/year=2026/x.parquet"),
            (name, "customers/../../stolen"),
            (name, str(self.folder / "stolen")),
            (name, "orders/year=2026/x.parquet"),
            (name, "customers/x\0y"),
            (name, "customers//x"),
            (name, "customers"),
            (name, 7),
            (inside, "customers/year=2026/x.parquet"),
            ("_emitter/staging/customers/1-of-2/a", "customers/year=2026/x.parquet"),
        ):
            with self.subTest(staged=staged, final=final):
                intent = {"slot": 1, "rows": 1, "files": 1, "bytes": 1, "moves": [[staged, final]]}
                self.rewrite("_emitter/progress/customers/0-of-1.json", {"intent": intent})
                with self.assertRaises(DamagedStateError) as caught:
                    run(self.config, 120)
                self.assertIn("leads out of the table", caught.exception.problem)
                self.assertEqual(precious.read_text(), "precious")
                self.assertTrue(visible.exists())
                self.assertEqual({path.name for path in self.folder.iterdir()}, {"out", "precious"})

    def test_state_that_is_nested_too_deep_or_counts_too_high_is_damaged(self) -> None:
        run(self.config, 60)
        whole = {path: path.read_bytes() for path in self.output.rglob("*.json")}
        deep, huge = b"[" * 100_000, b'{"slot": 1e999, "to_slot": 1e999, "wall_seconds": 1, "speed": 1}'
        for path, before in whole.items():
            for text in (deep, huge, b'{"slot": ' + b"9" * 5000 + b"}", b"\xff", b"null", b"[]", b"{}", b"7"):
                with self.subTest(path=path.name, text=text[:40]):
                    path.write_bytes(text)
                    with self.assertRaises(EmitterError) as caught:
                        run(self.config, 120)
                    self.assertEqual(caught.exception.exit_code, 2)
                    path.write_bytes(before)

    def test_icebergs_files_are_those_of_the_output(self) -> None:
        place = Place(LocalStorage(self.output))
        self.assertEqual(place.path(f"file://{self.output}/orders/metadata/a.json"), "orders/metadata/a.json")
        for location in (
            f"file://{self.output}/../precious.metadata.json",
            f"{self.output}/orders/../../precious.metadata.json",
            f"file://{self.folder}/precious.metadata.json",
            "s3://other/precious.metadata.json",
        ):
            with self.subTest(location), self.assertRaises(ForeignTableError):
                place.path(location)

    def test_a_name_in_ducklakes_catalogue_is_no_statement(self) -> None:
        config = shop(self.output, {**FEW, "output.format": "ducklake"})
        run(config, 60)
        stolen = self.folder / "stolen"
        name = f"ducklake_table; COPY (SELECT 42) TO '{stolen}'; --"
        with sqlite3.connect(self.output / "ducklake.sqlite") as catalog:
            catalog.execute(
                "INSERT INTO ducklake_inlined_data_tables SELECT table_id, ?, 1 FROM ducklake_table", [name]
            )
        with self.assertRaises(StorageError):
            oracle.verify(config)
        self.assertFalse(stolen.exists())

    def test_names_of_progress_objects_that_are_none_are_passed_over(self) -> None:
        run(self.config, 60)
        folder = self.output / "_emitter/progress/customers"
        for name in (
            "..-of-1.json",
            "0-of-.json",
            "0-of-1.json.bak",
            "-1-of-2.json",
            "\u0660-of-x.json",
            "\n-of-1.json",
        ):
            (folder / name).write_text("{}")
        self.assertEqual(ProgressObjects(LocalStorage(self.output)).slices("customers"), [Slice(0, 1)])
        run(self.config, 120)


if __name__ == "__main__":
    unittest.main()
