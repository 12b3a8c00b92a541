"""Configuration: every fault at once, of single values and of several together."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import unittest
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from unittest import mock

from emitter import CatalogConfig, S3Config, create_writer
from emitter.config import validate
from emitter.errors import ConfigurationError, UsageError
from emitter.generators import DOMAINS, domain_options
from emitter.generators.ecommerce import options as shop
from emitter.generators.kit.limits import SLOT_THINGS_MAX
from emitter.settings.declaring import flatten
from tests.unit.config_case import KEYS, ROOT, ConfigTest, at, config, nested


class RightValues(ConfigTest):
    def test_defaults_are_the_documented_ones(self) -> None:
        self.assertEqual(
            flatten(config()),
            {
                "domain": "ecommerce",
                "seed": 42,
                "tables": None,
                "revision": None,
                "clock.start": "now",
                "clock.speed": 1,
                "clock.history": None,
                "clock.history_jobs": None,
                "clock.batch_seconds": 60,
                "clock.batch_rows_max": 1_000_000,
                "clock.on_restart": None,
                "shard.count": 1,
                "shard.index": 0,
                "partition": "day",
                "output.format": "parquet",
                "output.uri": "./data",
                "output.s3.endpoint_url": None,
                "output.s3.region": None,
                "output.s3.path_style": None,
                "output.s3.ca_file": None,
                "output.s3.role_arn": None,
                "output.catalog.uri": None,
                "output.catalog.namespace": None,
                "output.compression": "zstd",
                "output.file_rows_target": 250_000,
                "output.adopt": False,
                "output.retry_attempts_max": 8,
                "output.retry_wait_seconds_max": 30,
                "maintenance.enabled": True,
                "maintenance.interval_seconds": 300,
                "maintenance.interval_batches": 200,
                "maintenance.small_files_min": 50,
                "maintenance.read_seconds_max": 3_600,
                "maintenance.keep_seconds": 3_600,
                "maintenance.versions_max": 100,
                "maintenance.orphan_seconds": 86_400,
                "maintenance.round_seconds_max": 1_800,
                "maintenance.memory_mib_max": 1_024,
                "verification.enabled": False,
                "verification.interval_seconds": 3_600,
                "verification.period_seconds": 86_400,
                "verification.round_seconds_max": 1_800,
                "verification.memory_mib_max": 1_024,
                "server.host": "127.0.0.1",
                "server.port": 9108,
                "log.level": "info",
                "log.format": "auto",
                "ecommerce.customers": 100_000,
                "ecommerce.products": 5_000,
                "ecommerce.orders_per_second": 10,
                "ecommerce.promotions": {},
                "ecommerce.curve": "shop",
                "ecommerce.arrivals": "poisson",
                "ecommerce.hour_weights": None,
                "ecommerce.weekday_weights": None,
                "ecommerce.month_weights": None,
                "ecommerce.order_growth_per_year": 0.10,
                "ecommerce.customer_growth_per_year": 0.20,
                "ecommerce.product_growth_per_year": 0.05,
                "ecommerce.customer_skew": 0.8,
                "ecommerce.product_skew": 1.0,
                "ecommerce.time_zones": {"Europe/Berlin": 0.5, "Europe/London": 0.3, "America/New_York": 0.2},
                "ecommerce.price_period_days": 30,
            },
        )

    def test_every_default_would_be_accepted_if_it_were_written(self) -> None:
        flat = flatten(config())
        for path in KEYS:
            with self.subTest(path):
                self.assertEqual(validate(at(path, flat[path])), config())

    def test_values_that_are_accepted_and_what_they_become(self) -> None:
        midnight = datetime(2026, 1, 1, tzinfo=UTC)
        for path, value, becomes in (
            ("clock.start", "2026-01-01", midnight),
            ("clock.start", "2026-01-01T01:00:00+01:00", midnight),
            ("clock.start", date(2026, 1, 1), midnight),
            ("clock.start", midnight.replace(tzinfo=None), midnight),
            ("clock.speed", 60, 60.0),
            ("clock.speed", "max", "max"),
            ("tables", ["orders", "customers"], ("orders", "customers")),
            ("output.uri", "file:///data/shop", "file:///data/shop"),
            ("output.uri", "with space/ümlaut", "with space/ümlaut"),
            ("output.uri", "s3://bucket", "s3://bucket"),
            ("output.uri", "s3://bucket/..a/.b/c..", "s3://bucket/..a/.b/c.."),
            ("output.uri", "s3://some.bucket/deep/er/", "s3://some.bucket/deep/er/"),
            ("output.s3.path_style", False, False),
            ("ecommerce.orders_per_second", 0, 0.0),
            ("ecommerce.promotions", {date(2026, 11, 27): 2}, (("2026-11-27", 2.0),)),
            (
                "ecommerce.promotions",
                [["2026-12-01", 3], ["2026-11-27", 2]],
                (("2026-11-27", 2.0), ("2026-12-01", 3.0)),
            ),
            (
                "ecommerce.time_zones",
                {"Europe/Paris": 1, "Asia/Tokyo": 2},
                (("Asia/Tokyo", 2.0), ("Europe/Paris", 1.0)),
            ),
        ):
            with self.subTest(path=path, value=value):
                node: Any = validate(at(path, value))
                for name in path.split("."):
                    node = getattr(node, name)
                self.assertEqual(node, becomes)
                self.assertIs(type(node), type(becomes))

    def test_a_configuration_can_be_hashed_and_its_flat_form_is_json_that_reads_back(self) -> None:
        one = config(clock={"start": "2026-01-01"}, ecommerce={"promotions": {"2026-11-27": 2}}, tables=["customers"])
        hash(one)
        self.assertEqual(validate(nested(json.loads(json.dumps(flatten(one))))), one)

    def test_restart_catches_up_only_in_real_time_unless_told(self) -> None:
        for speed, asked, resolved in (
            (1, None, "catch_up"),
            (60, None, "continue"),
            ("max", None, "continue"),
            (1, "continue", "continue"),
            (60, "catch_up", "catch_up"),
        ):
            with self.subTest(speed=speed, asked=asked):
                clock = config(clock={"speed": speed, "on_restart": asked}).clock
                self.assertEqual(clock.on_restart_resolved, resolved)

    def test_table_names_are_in_the_domains_order(self) -> None:
        self.assertEqual(config(tables=["orders", "customers"]).table_names, ("customers", "orders"))
        self.assertIn("payments", config().table_names)

    def test_every_domain_has_its_section(self) -> None:
        for domain in DOMAINS:
            self.assertIsInstance(config(domain=domain).options, domain_options(domain))


class WrongValues(ConfigTest):
    def test_each_wrong_value_is_told_with_path_value_and_what_is_allowed(self) -> None:
        speed = "max, or a number above 0 up to 1000000"
        start = "now, or a time in whole seconds from 2020-01-01 to 2087-12-31, such as 2026-01-01T00:00:00Z"
        batch = "a whole number from 1 to 2678400"
        folder = "a folder such as ./data/shop, or a URI such as file:///data/shop or s3://bucket/shop"
        clock_keys = "start, speed, history, history_jobs, batch_seconds, batch_rows_max, on_restart"
        zones = "a mapping of at least one time zone to its weight, such as {Europe/Berlin: 1}"
        days = "a mapping of days to factors, such as {2026-11-27: 1.8}"
        seed = "a whole number from 0 to 9223372036854775807"
        for path, value, shown, allowed in (
            ("domain", "ecomerce", "'ecomerce'", "one of: ecommerce"),
            ("seed", -1, "-1", seed),
            ("seed", 2**63, str(2**63), seed),
            ("seed", 1 << 5000, "a number of many digits", seed),
            ("seed", None, "nothing", seed),
            ("clock.start", "yesterday", "'yesterday'", start),
            ("clock.start", "2019-12-31", "'2019-12-31'", start),
            ("clock.start", "2088-01-01", "'2088-01-01'", start),
            ("clock.start", "2026-01-01T00:00:00.5", "'2026-01-01T00:00:00.5'", start),
            ("clock.start", "0001-01-01T00:00:00+14:00", "'0001-01-01T00:00:00+14:00'", start),
            ("clock.start", 2026, "2026", start),
            ("clock.start", True, "true", start),
            ("clock.speed", 0, "0", speed),
            ("clock.speed", -1, "-1", speed),
            ("clock.speed", 1_000_001, "1000001", speed),
            ("clock.speed", "fast", "'fast'", speed),
            ("clock.speed", float("nan"), "nan", speed),
            ("clock.speed", float("inf"), "inf", speed),
            ("clock.speed", True, "true", speed),
            ("clock.batch_seconds", 0, "0", batch),
            ("clock.batch_seconds", "5", "'5'", batch),
            ("clock.batch_seconds", True, "true", batch),
            ("clock.batch_seconds", 5.0, "5.0", batch),
            ("clock.batch_seconds", [5], "[5]", batch),
            ("clock.batch_seconds", {"a": 5}, "a mapping", batch),
            ("clock.on_restart", "contine", "'contine'", "one of: catch_up, continue"),
            ("shard.count", 0, "0", "a whole number from 1 to 1024"),
            ("shard.index", -1, "-1", "a whole number from 0 to 1023"),
            ("partition", "week", "'week'", "one of: month, day, hour"),
            ("partition", ["day"], "['day']", "one of: month, day, hour"),
            ("tables", [], "[]", "a list of at least one table, such as [customers, orders]"),
            ("tables", "orders", "'orders'", "a list of at least one table, such as [customers, orders]"),
            ("output.format", "csv", "'csv'", "one of: parquet, delta, iceberg, ducklake"),
            ("output.uri", "", "''", folder),
            ("output.uri", "http://x", "'http://x'", folder),
            ("output.uri", "s3://", "'s3://'", folder),
            ("output.uri", "s3://bucket//shop", "'s3://bucket//shop'", folder),
            ("output.uri", "s3://user:word@bucket/shop", "'s3://***@bucket/shop'", folder),
            ("output.uri", "a\x00b", "'a\\x00b'", folder),
            ("output.uri", "s3://bucket/../other", "'s3://bucket/../other'", folder),
            ("output.uri", "s3://bucket/a/./b", "'s3://bucket/a/./b'", folder),
            ("output.uri", "s3://bucket/..", "'s3://bucket/..'", folder),
            ("output.uri", "file:///data#shop", "'file:///data?***", folder),
            ("output.compression", "zip", "'zip'", "one of: zstd, snappy, lz4, gzip, none"),
            ("output.s3.endpoint_url", "x", "'x'", "a URL such as http://127.0.0.1:9000, without a user or a query"),
            ("server.port", 65536, "65536", "a whole number from 0 to 65535"),
            ("server.host", "a b", "'a b'", "a host name or an IP address"),
            ("log.level", "loud", "'loud'", "one of: debug, info, warning, error"),
            ("ecommerce.orders_per_second", -1, "-1", "a number from 0 to 262144"),
            ("ecommerce.order_growth_per_year", 1.5, "1.5", "a number from 0 to 1"),
            ("ecommerce.time_zones", {}, "a mapping", zones),
            ("ecommerce.time_zones", 5, "5", zones),
            ("ecommerce.promotions", [["2026-01-01", 1], ["2026-01-01", 2]], "a list", days),
            ("ecommerce.promotions", {"2026-01-01": 1, date(2026, 1, 1): 2}, "a mapping", days),
            ("clock", 5, "5", f"a section with keys: {clock_keys}"),
        ):  # fmt: skip
            with self.subTest(path=path, value=shown):
                self.assertEqual(
                    [(f.path, f.value_text, f.allowed) for f in self.faults_of(at(path, value)).values()],
                    [(path, shown, allowed)],
                )

    def test_entries_of_a_mapping_are_told_one_by_one(self) -> None:
        faults = self.faults_of(
            {
                "output": {"uri": "./data"},
                "ecommerce": {
                    "time_zones": {"Europe/Berln": 1, "Europe/Paris": 0, "/etc/passwd": 1},
                    "promotions": {"2026-02-30": 1, "2026-11-27": 101, "2019-01-01": 1, 5: 1, "20261127": 1},
                },
            }
        )
        zones, days = "ecommerce.time_zones.", "ecommerce.promotions."
        self.assertEqual(
            faults.keys(),
            {f"{zones}Europe/Berln", f"{zones}Europe/Paris", f"{zones}/etc/passwd"}
            | {f"{days}2026-02-30", f"{days}2026-11-27", f"{days}2019-01-01", f"{days}5", f"{days}20261127"},
        )
        self.assertEqual(faults[f"{zones}Europe/Berln"].hint, "did you mean Europe/Berlin?")
        self.assertEqual(faults[f"{days}2026-11-27"].allowed, "a number above 0 up to 100")

    def test_an_unknown_key_is_told_with_the_nearest_name(self) -> None:
        for path, hint in (
            ("sed", "did you mean seed?"),
            ("clock.batch_second", "did you mean clock.batch_seconds?"),
            ("clock.SPEED", "did you mean clock.speed?"),
            ("output.s3.endpoint", "did you mean output.s3.endpoint_url?"),
            ("ecommerce.order_per_second", "did you mean ecommerce.orders_per_second?"),
            ("xyz", ""),
        ):
            with self.subTest(path):
                fault = self.faults_of(at(path, 4))[path]
                self.assertEqual((fault.value_text, fault.hint), ("4", hint))
                self.assertTrue(fault.allowed.startswith("a known key: "), fault.allowed)

    def test_strange_names_are_quoted_and_long_ones_shortened(self) -> None:
        paths = self.faults_of({"output": {"uri": "."}, "\x1b[2J": 1, 7: 2, None: 3, "": 4, "k" * 500: "v" * 500})
        self.assertEqual(paths.keys(), {"'\\x1b[2J'", "7", "nothing", "''", "k" * 77 + "..."})
        self.assertEqual(len(paths["k" * 77 + "..."].value_text), 80)

    def test_only_the_output_must_be_given(self) -> None:
        nothing: tuple[dict[str, Any], ...] = ({}, {"output": {}}, {"output": None})
        for mapping in nothing:
            faults = self.faults_of(mapping)
            self.assertEqual(faults.keys(), {"output.uri"})
            self.assertEqual(faults["output.uri"].value_text, "nothing")
        wrongs: tuple[Any, ...] = (None, [], "text", 5)
        for wrong in wrongs:
            self.assertEqual(self.faults_of(wrong).keys(), {"the configuration"})

    def test_a_section_of_comments_only_is_all_defaults(self) -> None:
        self.assertEqual(config(clock=None, ecommerce={"promotions": None}, log={}), config())


class RulesOverSeveralKeys(ConfigTest):
    def test_a_shard_must_be_below_the_count(self) -> None:
        fault = self.faults_of(at("shard", {"index": 3, "count": 2}))["shard.index"]
        self.assertEqual(fault.allowed, "a whole number from 0 to 1, as shard.count is 2")
        self.assertEqual(self.faults_of(at("shard", {"index": 2, "count": 2})).keys(), {"shard.index"})
        self.assertEqual(config(shard={"index": 1, "count": 2}).shard.index, 1)

    def test_tables_must_be_known_single_and_with_their_parents(self) -> None:
        with self.assertRaises(ConfigurationError) as caught:
            config(tables=["ordrs", "order_items", "products", "products"])
        told = [(f.path, f.value_text, f.hint) for f in caught.exception.faults]
        self.assertEqual(
            told,
            [
                ("tables", "'ordrs'", "did you mean orders?"),
                ("tables", "'order_items'", "add orders"),
                ("tables", "'products'", "it is there 2 times"),
            ],
        )

    def test_a_rate_whose_peak_could_pass_the_ids_is_refused_with_the_most_that_fits(self) -> None:
        for wrong in (
            {"orders_per_second": 40_000},
            {"orders_per_second": 20_000, "promotions": {"2026-11-27": 10}},
            {"orders_per_second": 20_000, "order_growth_per_year": 0.5},
        ):
            fault = self.faults_of(at("ecommerce", wrong))["ecommerce.orders_per_second"]
            most = float(re.findall(r"at most ([0-9.]+)", fault.allowed)[0])
            with self.subTest(wrong=wrong):
                right = config(ecommerce=wrong | {"orders_per_second": most}).ecommerce
                self.assertLess(shop.peak_rate_per_second(right), SLOT_THINGS_MAX)
                more = at("ecommerce", wrong | {"orders_per_second": most * 1.01})
                self.assertIn("ecommerce.orders_per_second", self.faults_of(more))

    def test_they_are_told_beside_the_faults_of_single_keys(self) -> None:
        faults = self.faults_of(
            {
                "sed": 1,
                "tables": ["payments"],
                "clock": {"speed": 0, "batch_seconds": 0},
                "shard": {"index": 3, "count": 2, "cout": 2},
                "output": {"compression": "zip"},
                "ecommerce": {"orders_per_second": 90_000, "time_zones": {"Mars/Olympus": 1}},
            }
        )
        self.assertEqual(
            faults.keys(),
            {"sed", "tables", "clock.speed", "clock.batch_seconds", "shard.index", "shard.cout", "output.uri"}
            | {"output.compression", "ecommerce.orders_per_second", "ecommerce.time_zones.Mars/Olympus"},
        )

    def test_they_are_not_asked_where_a_part_is_wrong_itself(self) -> None:
        self.assertEqual(self.faults_of(at("shard", {"index": 3, "count": 0})).keys(), {"shard.count"})


class Weight(unittest.TestCase):
    def test_configuration_loads_no_heavy_library(self) -> None:
        heavy = "('numpy', 'polars', 'pyarrow')"
        code = f"import emitter.config, sys; print([m for m in {heavy} if m in sys.modules])"
        result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        self.assertEqual(result.stdout.strip(), "[]")


class PathsTest(ConfigTest):
    """What a shell would replace is refused, by one rule, wherever a path stands."""

    def test_what_is_for_a_shell(self) -> None:
        with mock.patch.dict(os.environ, {"HOME": "/home/me"}):
            for path in ("~", "~/data", "${HOME}/data", "$HOME", "/srv/$USER/x", "/srv/a-${STAGE}"):
                keys = {"output.uri": path, "output.s3.ca_file": path, "output.catalog.uri": f"sqlite:///{path}"}
                for key, value in keys.items():
                    with self.subTest(key, value=value):
                        fault = self.faults_of(at(key, value))[key]
                        self.assertIn("a path that is written out", fault.allowed)
                        meant = value.replace("~", "/home/me")
                        self.assertIn(
                            f"did you mean {meant}? " if "~" in path else "let a shell replace it", fault.hint
                        )
                with self.subTest(path), self.assertRaisesRegex(UsageError, "written out"):
                    create_writer("parquet", Path(path))
        for options in ({"s3": S3Config(ca_file="~/ca.pem")}, {"catalog": CatalogConfig(uri="sqlite:///~/c.db")}):
            with self.assertRaisesRegex(UsageError, "written out"):
                create_writer("parquet", "x", **options)  # type: ignore[arg-type]

    def test_what_is_a_name(self) -> None:
        for key, value in (
            ("output.uri", "./~/data"),
            ("output.uri", "/srv/cash$box/a~"),
            ("output.uri", "file:///srv/%24HOME"),
            ("output.catalog.uri", "postgresql://~u:$pass${x}@host/d"),
            ("output.catalog.uri", "sqlite:////srv/cash$box.db"),
        ):
            with self.subTest(value):
                validate(at(key, value))


if __name__ == "__main__":
    unittest.main()
