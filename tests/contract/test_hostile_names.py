"""Names that mean something to SQL, to URIs, to shells and to globs are taken literally, or refused; and nothing is
written outside the output.
"""

from __future__ import annotations

import unittest
from pathlib import Path
from typing import Any
from urllib.parse import quote

from emitter.config import EmitterConfig
from emitter.errors import ConfigurationError, EmitterError, UsageError
from emitter.truth import oracle
from emitter.writers import create_writer
from tests.contract.beats import OPTIONS, RUN, TABLE, window, write
from tests.support import postgres
from tests.support.case import new_folder
from tests.support.foreign_readers import counts_by_readers
from tests.support.shop import run, shop

FORMATS = ("parquet", "delta", "iceberg", "ducklake")
FEW: dict[str, Any] = {"ecommerce.orders_per_second": 0.02, "ecommerce.customers": 5, "ecommerce.products": 5}
NAMES = (
    "it's'); DROP TABLE ducklake_metadata; --",
    'q"q #h ?k=v&x;y\\z',
    "{METADATA_CATALOG} {SNAPSHOT_ID} [*] $HOME $(id) `id` ~ ü -x",
    "a:b@c%20d%2e%2e%2fe" + "x" * 220,
)
UNFIT = {
    "parquet": "*?[\\",
    "delta": ' "#%<=>?\\`{}üï日本',
    "iceberg": "#?",
    "ducklake": "{}\\",  # only where they enclose a name
}
"""What usual readers, or the library itself, take for something else: refused by name."""
ANY = "".join(map(chr, range(32, 127))).replace("/", "") + "üï日本"


class LiterallyTest(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(new_folder()))

    def assert_whole(self, config: EmitterConfig) -> None:
        run(config, 60)
        verification = oracle.verify(config)
        self.assertTrue(verification.ok, verification)
        self.assertGreater(sum(table.rows_found for table in verification.tables), 9)

    def test_a_folder_is_called_as_it_is_called(self) -> None:
        for kind in FORMATS:
            for name in NAMES:
                with self.subTest(kind, name=name), new_folder() as folder:
                    config = shop(Path(folder) / name, {**FEW, "output.format": kind})
                    if set(UNFIT.get(kind, "")) & set(name):
                        with self.assertRaises((UsageError, ConfigurationError)):
                            run(config, 60)
                        self.assertEqual(list(Path(folder).iterdir()), [])
                        continue
                    self.assert_whole(config)
                    self.assertEqual([path.name for path in Path(folder).iterdir()], [name])

    def test_what_is_not_refused_can_be_opened_by_others_and_the_rest_is_named(self) -> None:
        for kind in FORMATS:
            unfit = UNFIT[kind] if kind != "ducklake" else "\\"
            name = "".join(character for character in ANY if character not in unfit)
            root = self.folder / kind / name
            writer = create_writer(kind, root, options=OPTIONS)
            writer.check()
            writer.open(RUN, TABLE)
            write(writer, window(0, 100), None)
            writer.close()
            for reader, counted in counts_by_readers(root, TABLE.name, kind).items():
                with self.subTest(kind, reader=reader):
                    self.assertEqual(counted(), 100)
            for character in unfit:
                with self.subTest(kind, character=character):
                    with self.assertRaises((UsageError, ConfigurationError)) as caught:
                        create_writer(kind, self.folder / f"a{character}b").check()
                    self.assertIn("a space" if character == " " else character, str(caught.exception))

    def test_an_output_that_was_begun_under_an_unfit_name_goes_on(self) -> None:
        for kind in ("parquet", "delta", "iceberg"):
            root = self.folder / kind / "a?b"
            (root / "_emitter/journal").mkdir(parents=True)
            (root / "_emitter/journal/0000000000.json").write_text("{}")
            create_writer(kind, root).check()

    def test_so_is_a_catalogue_in_a_file(self) -> None:
        for kind in ("iceberg", "ducklake"):
            for name in ("it's'); DROP TABLE x; --", '{METADATA_CATALOG} $(id) q"q'):
                with self.subTest(kind, name=name), new_folder() as folder:
                    uri = f"sqlite:///{folder}/{name}"
                    config = shop(Path(folder) / "out", {**FEW, "output.format": kind, "output.catalog.uri": uri})
                    self.assert_whole(config)
                    found = {path.name.removesuffix("-wal").removesuffix("-shm") for path in Path(folder).iterdir()}
                    self.assertEqual(found, {"out", name})

    def test_so_is_a_database(self) -> None:
        server, name = postgres.shared(), 'it\'s "x"; DROP {METADATA_CATALOG} \\ user=other'
        with server.connect("postgres") as connection:
            quoted = name.replace('"', '""')
            connection.execute(f'CREATE DATABASE "{quoted}"'.encode())
        for kind in ("iceberg", "ducklake"):
            with self.subTest(kind):
                uri = server.url(quote(name, safe=""))
                changes = {"output.format": kind, "output.catalog.uri": uri}
                self.assert_whole(shop(self.folder / kind, {**FEW, **changes}))

    def test_a_link_out_of_the_output_is_not_written_through_by_a_lock(self) -> None:
        target = self.folder / "precious"
        target.write_text("precious")
        (self.folder / "out/_emitter/locks").mkdir(parents=True)
        (self.folder / "out/_emitter/locks/0-of-1.lock").symlink_to(target)
        with self.assertRaises(EmitterError) as caught:
            run(shop(self.folder / "out", FEW), 60)
        self.assertIn("0-of-1.lock", caught.exception.problem)
        self.assertEqual(target.read_text(), "precious")

    def test_no_file_is_written_through_a_link(self) -> None:
        config = shop(self.folder / "out", {**FEW, "ecommerce.orders_per_second": 0.5})
        run(config, 60)
        target = self.folder / "precious"
        path = self.folder / "out/_emitter/progress/orders/0-of-1.json"
        before = path.read_bytes()
        target.write_bytes(before)
        path.unlink()
        path.symlink_to(target)
        run(config, 120)
        self.assertEqual(target.read_bytes(), before)
        self.assertFalse(path.is_symlink())


if __name__ == "__main__":
    unittest.main()
