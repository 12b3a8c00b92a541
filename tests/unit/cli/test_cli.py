"""The command line: each verb on a small run, each kind of error with its exit code, never a traceback."""

from __future__ import annotations

import importlib
import io
import json
import logging
import re
import resource
import socket
import sys
import tempfile
import unittest
import urllib.error
import urllib.request
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

from typer.testing import CliRunner

from emitter import __version__
from emitter.cli.main import app, main
from emitter.cli.printing import print_verification
from emitter.cli.sizes import read_size
from emitter.clock import parse_time, slot_of
from emitter.errors import OvertakenError, StorageError
from emitter.model import Slice
from emitter.run.bounded import GenerateReport
from emitter.run.daemon import Daemon
from emitter.truth.verdict import WRONG_ROWS, TableVerification, Verification
from emitter.watch.server import Server
from emitter.writers import FORMATS
from tests.unit.cli.cli_case import CONFIG, END, CliCase, config_file, invoke

VERBS = ("run", "generate", "verify", "expect", "status", "maintain", "sql", "preview", "check", "list", "info")


class UsageTest(CliCase):
    def test_every_verb_explains_itself(self) -> None:
        text = invoke("--help").stdout
        for verb in VERBS:
            with self.subTest(verb):
                self.assertRegex(text, rf"(?m)^. {verb} +[A-Z]")
                result = invoke(verb, "--help")
                self.assert_exit(0, result)
                self.assertLessEqual(max(map(len, result.stdout.splitlines())), 80)

    def test_the_version_is_that_of_the_package(self) -> None:
        self.assertEqual(invoke("--version").stdout, f"emitter {__version__}\n")

    def test_wrong_usage_ends_in_2_and_suggests(self) -> None:
        for arguments, said in (
            (("verfy",), "verify"),
            (("run", "--bathces", "3"), "--batches"),
            (("run",), "--config"),
            (("run", "-c", "x", "--batches", "0"), "greater than or equal to 1"),
            (("run", "-c", "x", "--batches", "three"), "valid integer"),
            (("generate", "-c", "x"), "--to"),
            (("info",), "DOMAIN"),
        ):
            with self.subTest(arguments):
                result = invoke(*arguments)
                self.assert_exit(2, result)
                self.assertIn(said, result.stderr)
                self.assertEqual(result.stdout, "")

    def test_a_time_that_is_none_says_what_is_one(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = config_file(folder)
            for arguments, said in (
                (("generate", "-c", path, "--to", "tomorrow"), "--to 'tomorrow' is not a time"),
                (("expect", "-c", path, "--from", "2026-02-30", "--to", END), "--from '2026-02-30'"),
                (("verify", "-c", path, "--to", "1999-01-01"), "--to '1999-01-01'"),
                (("run", "-c", path, "--until", "2026-01-01T00:00:00.5"), "whole second"),
            ):
                with self.subTest(arguments):
                    result = invoke(*arguments)
                    self.assert_exit(2, result)
                    self.assertIn(said, result.stderr)
                    self.assertIn("give it in ISO 8601, such as 2026-01-31", result.stderr)

    def test_all_faults_of_a_configuration_come_at_once(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = config_file(folder, "clock: {speed: 0}\nshard: {index: 3, count: 2}\nseeed: 1")
            for verb in ("run", "verify", "status", "preview", "check"):
                with self.subTest(verb):
                    result = invoke(verb, "-c", path, "--set", "server.port=-1")
                    self.assert_exit(2, result)
                    for key in ("clock.speed", "shard.index", "seeed", "server.port"):
                        self.assertIn(key, result.stderr)

    def test_who_asks_for_json_is_told_of_every_fault_in_json_and_of_nothing_else(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = config_file(folder, "clock: {speed: 0}\nshard: {index: 3, count: 2}\nseeed: 1")
            for verb in ("verify", "status", "maintain", "check"):
                with self.subTest(verb):
                    result = invoke(verb, "-c", path, "--json", "--set", "server.port=-1")
                    self.assert_exit(2, result)
                    self.assertEqual(result.stdout, "")
                    told = json.loads(result.stderr)
                    self.assertEqual((told["action"], told["exit_code"]), ("error", 2))
                    faults = {fault["where"].partition(" ")[0]: fault for fault in told["faults"]}
                    self.assertEqual(set(faults), {"clock.speed", "shard.index", "seeed", "server.port"})
                    self.assertEqual(set(faults["clock.speed"]), {"where", "what", "allowed", "hint"})
                    self.assertEqual(faults["clock.speed"]["what"], "0")

    def test_other_errors_of_who_asks_for_json_are_json_too(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = config_file(folder)
            for arguments, said in (
                (("status", "-c", path, "--json"), "no journal"),
                (("status", "--json"), "--config"),
                (("verify", "-c", path, "--json", "--bogus"), "--bogus"),
            ):
                with self.subTest(arguments):
                    result = invoke(*arguments)
                    self.assert_exit(2, result)
                    self.assertEqual(result.stdout, "")
                    told = json.loads(result.stderr)
                    self.assertIn(said, told["error"])
                    self.assertEqual((set(told) >= {"hint", "exit_code"}, "faults" in told), (True, False))
            self.assert_exit(0, invoke("check", "-c", path, "--json"))
            self.assertTrue(json.loads(invoke("check", "-c", path, "--json").stdout)["checked"])

    def test_what_contradicts_an_output_is_told_key_by_key(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = config_file(folder)
            self.assert_exit(0, invoke("run", "-c", path, "--batches", "1", "--set", "clock.speed=max"))
            result = invoke("status", "-c", path, "--json", "--set", "seed=7")
            self.assert_exit(2, result)
            (fault,) = json.loads(result.stderr)["faults"]
            self.assertEqual((fault["where"], fault["what"], fault["allowed"]), ("seed", "7", "42"))

    def test_a_flag_beats_the_environment_which_beats_the_file(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = config_file(folder)
            variables = {"EMITTER_SERVER__PORT": "not a port"}
            result = CliRunner().invoke(app, ("check", "-c", path), env=variables)
            self.assert_exit(2, result)
            self.assertIn("EMITTER_SERVER__PORT", result.stderr)
            result = CliRunner().invoke(app, ("check", "-c", path, "--set", "server.port=0"), env=variables)
            self.assert_exit(0, result)


class ErrorsTest(CliCase):
    def test_each_kind_of_error_has_its_exit_code_and_a_way_out(self) -> None:
        for error, code in (
            (OvertakenError("another writer came first", hint="stop one of them"), 3),
            (StorageError("write", "/data/x", OSError(28, "No space left on device")), 4),
        ):
            with self.subTest(code), tempfile.TemporaryDirectory() as folder:
                with mock.patch("emitter.truth.inspection.status", side_effect=error):
                    result = invoke("status", "-c", config_file(folder))
                self.assert_exit(code, result)
                self.assertEqual(result.stderr, f"Error: {error.problem}\nTry: {error.hint}\n")
                self.assertEqual(result.stdout, "")

    def test_what_a_library_warns_of_comes_as_a_line_without_secrets(self) -> None:
        def check(*_: object) -> list[str]:
            try:
                raise ValueError("postgresql://u:hunter2@h/d")
            except ValueError:
                logging.getLogger("library").warning("password=%s", "hunter2", exc_info=True)
            return []

        with tempfile.TemporaryDirectory() as folder, mock.patch("emitter.truth.inspection.check", check):
            result = invoke("check", "-c", config_file(folder))
        self.assert_exit(0, result)
        self.assertIn("password=***", result.stderr)
        self.assertIn("ValueError", result.stderr)
        self.assertNotIn("hunter2", result.stderr)

    def test_a_crash_leaves_no_image_of_the_memory(self) -> None:
        before = resource.getrlimit(resource.RLIMIT_CORE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_CORE, before)
        with mock.patch("emitter.cli.main.app"):
            main()
        self.assertEqual(resource.getrlimit(resource.RLIMIT_CORE), (0, before[1]))

    def test_ctrl_c_ends_quietly(self) -> None:
        with (
            tempfile.TemporaryDirectory() as folder,
            mock.patch("emitter.truth.oracle.expect", side_effect=KeyboardInterrupt),
        ):
            result = invoke("expect", "-c", config_file(folder), "--to", END)
        self.assert_exit(130, result)
        self.assertEqual(result.output, "")

    def test_nothing_that_was_never_written_can_be_verified(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = config_file(folder)
            for verb in ("verify", "status"):
                with self.subTest(verb):
                    result = invoke(verb, "-c", path)
                    self.assert_exit(2, result)
                    self.assertIn("there is no journal", result.stderr)

    def test_the_port_in_use_ends_in_2_before_anything_is_written(self) -> None:
        with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            result = invoke("run", "-c", config_file(folder), "--set", f"server.port={port}")
            self.assert_exit(2, result)
            self.assertIn(f"127.0.0.1 port {port}: Address already in use", result.stderr)
            self.assertEqual(list(Path(folder).iterdir()), [Path(folder) / "emitter.yaml"])


class VerbsTest(CliCase):
    """On ten minutes of a small shop, generated once."""

    @classmethod
    def setUpClass(cls) -> None:
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder, cls.config = folder.name, config_file(folder.name)
        cls.generated = invoke("generate", "-c", cls.config, "--to", END, "--jobs", "1")

    def truth(self) -> dict[str, Any]:
        result = invoke("expect", "-c", self.config, "--to", END)
        self.assert_exit(0, result)
        self.assertEqual(result.stderr, "")
        return json.loads(result.stdout)["tables"]

    def test_a_truth_beyond_the_last_seal_says_so_beside_the_result(self) -> None:
        result = invoke(*("expect", "-c", self.config, "--to", "2026-01-02", "--table", "orders", "--by", "partition"))
        self.assert_exit(0, result)
        (day,) = json.loads(result.stdout)["tables"]["orders"]["partitions"].values()
        self.assertEqual(day["sealed_until"], END)
        self.assertIn(f"Sealed until {END}: beyond", result.stderr)
        self.assertIn(f"Sealed until {END}: ", invoke("status", "-c", self.config).stdout)

    def test_generate_tells_what_it_wrote(self) -> None:
        self.assert_exit(0, self.generated)
        rows = {table: f"{truth['rows']:,}" for table, truth in self.truth().items()}
        for table, count in rows.items():
            self.assertRegex(self.generated.stdout, rf"(?m)^{table} +{re.escape(count)} ")
        self.assertIn("Written from 2026-01-01T00:00:00Z to 2026-01-01T00:10:00Z", self.generated.stdout)

    def test_generate_that_leaves_something_to_others_says_so_and_ends_in_3(self) -> None:
        origin = slot_of(parse_time("2026-01-01"))
        report = GenerateReport(origin, origin + 600, {}, {}, {}, {Slice(0, 1): origin + 60})
        with mock.patch("emitter.run.bounded.generate", return_value=report):
            result = invoke("generate", "-c", self.config, "--to", END)
        self.assert_exit(3, result)
        self.assertIn("another process holds slice 0-of-1 from 2026-01-01T00:01:00Z on", result.stderr)

    def test_generate_again_has_nothing_to_do(self) -> None:
        result = invoke("generate", "-c", self.config, "--to", END)
        self.assert_exit(0, result)
        self.assertEqual(result.stdout, f"Nothing to do: everything up to {END} is there.\n")

    def test_a_dry_run_estimates_and_writes_nothing(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = config_file(folder)
            result = invoke("generate", "-c", path, "--to", END, "--dry-run")
            self.assert_exit(0, result)
            self.assertRegex(result.stdout, r"(?m)^in all +[\d,]+ +[\d.]+ kB +\d+")
            self.assertEqual(list(Path(folder).iterdir()), [Path(path)])

    def test_verify_finds_all_there(self) -> None:
        result = invoke("verify", "-c", self.config)
        self.assert_exit(0, result)
        rows = sum(truth["rows"] for truth in self.truth().values())
        self.assertTrue(result.stdout.endswith(f"All {rows:,} rows are there, each once.\n"), result.stdout)

    def test_a_period_that_ends_before_it_begins_is_refused(self) -> None:
        for verb in ("verify", "expect"):
            result = invoke(verb, "-c", self.config, "--from", "2027-01-01", "--to", "2026-01-02")
            self.assertEqual((result.exit_code, result.stdout), (2, ""))
            self.assertIn("the period ends at 2026-01-02T00:00:00Z, before it begins at 2027-01-01", result.stderr)

    def test_verify_ends_in_1_and_names_rows_that_are_lost(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = config_file(folder)
            self.assert_exit(0, invoke("generate", "-c", path, "--to", END, "--jobs", "1"))
            for file in Path(folder).glob("shop/payments/year=*/**/*.parquet"):
                file.unlink()
            result = invoke("verify", "-c", path, "--table", "payments")
            self.assert_exit(1, result)
            lost = self.truth()["payments"]["rows"]
            self.assertIn(f"Of {lost:,} rows: {lost:,} lost.", result.stdout)
            self.assertRegex(result.stdout, r"payments: lost: payment_id=\d+")
            self.assertIn(f"payments year=2026/month=01/day=01: {lost:,} lost\n", result.stdout)
            result = invoke("verify", "-c", path, "--json", "--examples", "2")
            self.assert_exit(1, result)
            told = json.loads(result.stdout)
            self.assertEqual((told["ok"], told["tables"]["orders"]["ok"]), (False, True))
            payments = told["tables"]["payments"]
            self.assertEqual((payments["lost"], len(payments["examples"])), (lost, 2))
            self.assertEqual(payments["partitions"], {"year=2026/month=01/day=01": {"lost": lost}})

    def test_no_title_of_a_verdict_is_cut_at_80_characters(self) -> None:
        table = TableVerification("order_items", 0, 0, rows_expected=9_395_333, rows_found=9_395_333, lost=999_999)
        with redirect_stdout(io.StringIO()) as out, mock.patch.dict("os.environ", {"COLUMNS": "80"}):
            print_verification(Verification([table]))
        self.assertEqual(out.getvalue().split()[:8], ["table", "expected", "found", *WRONG_ROWS])

    def test_verify_beyond_what_is_written_says_where_the_tables_end(self) -> None:
        result = invoke("verify", "-c", self.config, "--to", "2026-03-01", "--json")
        self.assert_exit(1, result)
        told = json.loads(result.stdout)
        self.assertEqual((told["unwritten"]["from"], told["complete_up_to"]), (END, END))
        self.assertEqual({table["lost"] for table in told["tables"].values()}, {0})
        self.assertIn(f"The tables end at {END}", told["verdict"])

    def test_status_is_a_table_or_json(self) -> None:
        result = invoke("status", "-c", self.config)
        self.assert_exit(0, result)
        self.assertRegex(result.stdout, rf"(?m)^orders +{END} ")
        tables = json.loads(invoke("status", "-c", self.config, "--json").stdout)
        for table in tables:
            self.assertEqual(slot_of(parse_time(table["complete_until"])), table["slot"])
            moments = {name: slot_of(parse_time(time)) for name, time in table["slices_complete_until"].items()}
            self.assertEqual(moments, table["slices"])
        rows = {one["table"]: one["rows"] for one in tables}
        self.assertEqual(rows, {table: truth["rows"] for table, truth in self.truth().items()})

    def test_preview_never_cuts_an_id(self) -> None:
        result = invoke("preview", "-c", self.config, "--rows", "3")
        self.assert_exit(0, result)
        self.assertLessEqual(max(map(len, result.stdout.splitlines())), 80)
        self.assertRegex(result.stdout, r"(?m)^ *\d{15,16} \d{15,16} 00:")

    def test_preview_writes_nothing(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = config_file(folder)
            self.assert_exit(0, invoke("preview", "-c", path))
            self.assertEqual(list(Path(folder).iterdir()), [Path(path)])

    def test_check_lists_what_was_looked_at(self) -> None:
        result = invoke("check", "-c", self.config)
        self.assert_exit(0, result)
        fine = [line for line in result.stdout.splitlines() if line.startswith("✓ ")]
        (warning,) = set(result.stdout.splitlines()) - set(fine)
        self.assertIn("! warning: ecommerce.orders_per_second: 5 over 20 customers", warning)
        self.assertIn("storage", "".join(fine))

    def test_list_tells_how_to_install_what_is_missing(self) -> None:
        with mock.patch.dict(sys.modules, dict.fromkeys(("deltalake", "pyiceberg", "duckdb"))):
            told = invoke("list").stdout
        for name in ("delta", "iceberg", "ducklake"):
            self.assertIn(f"pip install 'emitter[{name}]'", told)

    def test_list_loads_no_format_and_tells_what_each_says_of_itself(self) -> None:
        with mock.patch.dict(sys.modules, dict.fromkeys(FORMATS.values())):  # none can be imported
            told = invoke("list", width=120).stdout
        for module in FORMATS.values():
            self.assertIn(str(importlib.import_module(module).__doc__).partition("\n")[0], told)

    def test_list_and_info_describe_domains_and_formats(self) -> None:
        self.assertRegex(invoke("list").stdout, r"(?s)ecommerce .*orders.*parquet ")
        result = invoke("info", "ecommerce")
        self.assert_exit(0, result)
        for part in ("order_items: ", "key: product_id, valid_from", "unit_price", "ecommerce.orders_per_second: 10"):
            self.assertIn(part, result.stdout)
        self.assertLessEqual(max(map(len, result.stdout.splitlines())), 110)

    def test_an_unknown_domain_is_refused(self) -> None:
        result = invoke("info", "nope")
        self.assert_exit(2, result)
        self.assertIn("ecommerce", result.stderr)

    def test_now_is_a_time(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            result = invoke("generate", "-c", config_file(folder), "--to", "now", "--dry-run")
            self.assert_exit(0, result)
            self.assertIn("in all", result.stdout)
            result = invoke("generate", "-c", config_file(folder), "--from", "now", "--to", "now")
            self.assert_exit(2, result)
            self.assertIn("the period ends at", result.stderr)

    def test_a_start_that_lies_ahead_is_not_waited_for_without_a_word(self) -> None:
        said = "clock.start, 2080-01-01T00:00:00Z, is "
        with tempfile.TemporaryDirectory() as folder:
            config = config_file(folder, CONFIG.replace("2026-01-01", "2080-01-01"))
            self.assertRegex(invoke("check", "-c", config).stdout, rf"(?m)^! warning: {said}")
            lines = invoke("run", "-c", config, "--batches", "1", "--set", "clock.speed=max").stderr.splitlines()
            (warning,) = [line for line in map(json.loads, lines) if line["action"] == "start_ahead"]
            self.assertTrue(warning["message"].startswith(said))
            self.assertEqual(warning["level"], "warning")
        self.assertNotIn(said[:11], invoke("check", "-c", self.config).stdout)

    def test_run_ends_after_its_batches_with_a_line_for_each(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            result = invoke("run", "-c", config_file(folder), "--set", "clock.speed=max", "--batches", "3")
            self.assert_exit(0, result)
            lines = [json.loads(line) for line in result.stderr.splitlines()]
            self.assertEqual([line["action"] for line in lines], ["serve", "start", "batch", "batch", "batch", "stop"])
            self.assertEqual(lines[-1]["reason"], "batches")
            self.assertEqual(result.stdout, "")

    def test_run_ends_with_the_batch_that_makes_it_enough(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = config_file(folder)
            for option, amount, reason in (("--rows", "1", "rows"), ("--bytes", "0.001 kB", "bytes")):
                result = invoke("run", "-c", path, "--set", "clock.speed=max", option, amount, "--batches", "90")
                self.assert_exit(0, result)
                self.assertEqual(json.loads(result.stderr.splitlines()[-1])["reason"], reason)

    def test_an_amount_of_bytes_has_a_number_and_perhaps_a_unit(self) -> None:
        for text, size in (
            ("1", 1),
            ("500000B", 500_000),
            ("10GB", 10**10),
            ("10 gb", 10**10),
            ("1.5 kB", 1500),
            ("2MiB", 2**21),
            ("0.5KiB", 512),
            ("3TB", 3 * 10**12),
            ("1TiB", 2**40),
        ):
            self.assertEqual(read_size("--bytes", text), size, text)
        for wrong in ("", "GB", "-1GB", "0", "0.1B", "10 parsecs", "1e3", "10GBs", "1,5GB", "nan", "٣GB"):
            with self.subTest(wrong=wrong):
                result = invoke("run", "-c", "no.yaml", "--bytes", wrong)
                self.assert_exit(2, result)
                self.assertIn(f"--bytes {wrong!r} is not an amount of bytes", json.loads(result.stderr)["error"])
                self.assertIn("give a number and a unit, such as 10GB; units are B, kB, MB", result.stderr)

    def test_livez_sees_a_commit_that_hangs(self) -> None:
        """Asked by another thread, from within the call that does not come back."""
        servers: list[Server] = []

        def hang(_daemon: Daemon) -> None:
            with self.assertRaises(urllib.error.HTTPError) as answer:
                urllib.request.urlopen(f"{servers[0].url}/livez", timeout=60)
            self.assertEqual(answer.exception.code, 503)
            self.assertIn("a call hangs", answer.exception.read().decode())
            raise OvertakenError("done", hint="none")

        class Known(Server):
            def __enter__(self) -> Server:
                servers.append(self)
                return super().__enter__()

        with (
            tempfile.TemporaryDirectory() as folder,
            mock.patch("emitter.cli.service.Server", Known),
            mock.patch("emitter.watch.supervisor.SILENT_SECONDS_MAX", 0.0),
            mock.patch.object(Daemon, "step", hang),
        ):
            self.assert_exit(3, invoke("run", "-c", config_file(folder)))
        self.assertEqual(len(servers), 1)

    def test_run_ends_where_it_was_asked_to(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = config_file(folder)
            until = "2026-01-01T00:00:25Z"
            result = invoke("run", "-c", path, "--set", "clock.speed=max", "--until", until)
            self.assert_exit(0, result)
            self.assertEqual(json.loads(result.stderr.splitlines()[-1])["reason"], "until")
            self.assertIn(until, invoke("status", "-c", path).stdout)


if __name__ == "__main__":
    unittest.main()
