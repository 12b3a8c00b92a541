"""The chart takes what works, and says why it refuses the rest."""

from __future__ import annotations

import json
import re
import unittest
from typing import Any

import yaml

import emitter
from tests.support import kubernetes_schemas
from tests.support.kubernetes_objects import only
from tests.support.kubernetes_tools import CHART, OVERLAYS, ToolError, call, like_overlay, templated

ON_S3 = "output: {uri: 's3://shop/tables'}"


class ChartTest(unittest.TestCase):
    def assert_refused(self, said: str, **values: Any) -> None:
        with self.subTest(said), self.assertRaises(ToolError) as caught:
            templated(values=values)
        self.assertRegex(str(caught.exception), said)

    def test_helm_has_nothing_to_say_about_it(self):
        for arguments in ((), *(like_overlay(path.name) for path in OVERLAYS.iterdir())):
            self.assertNotRegex(call("helm", "lint", "--strict", CHART, *arguments), "WARNING|ERROR")

    def test_several_shards_with_a_volume_each_are_refused_with_the_reason(self):
        reason = r"shards is 3, but config writes to a disk \({}\): .*tables in several volumes are several tables"
        self.assert_refused(reason.format("/var/lib/emitter/shop"), shards=3)
        of_file = "output: {uri: 'file:///var/lib/emitter/shop'}"
        self.assert_refused(reason.format("/var/lib/emitter/shop"), shards=3, config=of_file)
        catalog = "output: {uri: 's3://shop/lake', catalog: {uri: 'sqlite:////var/lib/emitter/lake.sqlite'}}"
        self.assert_refused(reason.format("/var/lib/emitter/lake.sqlite"), shards=3, config=catalog)
        self.assertTrue(templated(values={"shards": 1, "config": catalog}))
        self.assertTrue(templated(values={"shards": 3, "config": ON_S3}))

    def test_a_disk_that_is_not_the_volume_is_refused(self):
        for path in ("/data/shop", "./data/shop", "/var/lib/emitter", "/var/lib/emitters/shop"):
            said = re.escape(f"config writes to {path}: only what is below /var/lib/emitter is on the volume")
            self.assert_refused(said, config=f"output: {{uri: {path}}}")
        self.assert_refused(
            "config writes to /./lake.sqlite", config=f"{ON_S3[:-1]}, catalog: {{uri: 'sqlite:///./lake.sqlite'}}}}"
        )

    def test_what_is_no_configuration_is_refused(self):
        self.assert_refused("config is no YAML mapping", config="output: [")
        self.assert_refused("config is no YAML mapping", config="emitter.yaml")
        self.assert_refused("config has no output.uri: give a whole configuration file", config="clock: {speed: 1}")
        self.assert_refused("config has no output.uri", config="output: s3://shop/tables")
        self.assert_refused("/config': got object, want string", config={"output": {"uri": "s3://shop/tables"}})

    def test_wrong_values_are_refused(self):
        self.assert_refused("additional properties 'shard' not allowed", shard=2)
        self.assert_refused("/shards': minimum: got 0, want 1", shards=0)
        self.assert_refused("/shards': maximum: got 1,025, want 1,024", shards=1025)
        self.assert_refused("/shards': got string, want integer", shards="2")
        self.assert_refused("/volume/size'", volume={"size": "20 GB"})
        self.assert_refused("/networkPolicy/egressPorts/0'", networkPolicy={"egressPorts": [0]})
        self.assert_refused("/secretName'", secretName="AWS_SECRET=x")
        self.assert_refused("image.tag is latest, which is another image tomorrow", image={"tag": "latest"})
        self.assert_refused("/image/tag'", image={"tag": "0.1.0 "})
        for section in ("image", "volume", "serviceAccount", "networkPolicy", "monitoring", "resources"):
            self.assert_refused(f"/{section}': additional properties 'other' not allowed", **{section: {"other": 1}})

    def test_every_value_has_a_schema(self):
        schema = json.loads((CHART / "values.schema.json").read_text())
        values = yaml.safe_load((CHART / "values.yaml").read_text())
        self.assertEqual(schema["properties"].keys() - {"global"}, values.keys())

    def test_it_is_of_this_release(self):
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        self.assertEqual((chart["version"], chart["appVersion"]), (emitter.__version__, emitter.__version__))

    def test_names_follow_the_release_and_are_not_too_long(self):
        for release, name in (("shop", "shop-emitter"), ("emitter-2", "emitter-2"), ("a" * 53, "a" * 44 + "-emitter")):
            found = templated(release=release)
            names = {each["metadata"]["name"] for each in found if each["kind"] != "ConfigMap"}
            self.assertEqual(names, {name})
            self.assertRegex(only(found, "ConfigMap")["metadata"]["name"], f"^{name}-[0-9a-f]{{10}}$")

    def test_what_looks_like_a_number_stays_a_text(self):
        numbers = {
            "secretName": "12",
            "networkPolicy": {"metricsNamespace": "34"},
            "volume": {"storageClassName": "56"},
        }
        for found in templated(values=numbers, release="78"):
            kubernetes_schemas.check(found, kubernetes_schemas.RELEASES[-1])

    def test_the_text_of_a_configuration_arrives_as_it_is(self):
        text = "# ${HOME} {{ .Values }} 20000000\n\necommerce: {customers: 20000000} # \"'\n" + ON_S3 + "\n"
        (found,) = (each for each in templated(values={"config": text}) if each["kind"] == "ConfigMap")
        self.assertEqual(found["data"]["emitter.yaml"], text)


if __name__ == "__main__":
    unittest.main()
