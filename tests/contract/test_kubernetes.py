"""What the Kustomize overlays and the chart render is what Kubernetes takes, whole in itself, and what emitter takes.

No API server is at hand: nothing here was applied.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import unittest
from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import jsonschema
import yaml

import emitter
from emitter.errors import ConfigurationError
from emitter.run.assembly import configured_writer
from emitter.storage import s3
from tests.support import kubernetes_schemas
from tests.support.child import REPOSITORY
from tests.support.kubernetes_objects import (
    configuration,
    container_of,
    environment,
    of_kind,
    only,
    pod_of,
    secret_keys,
    texts,
)
from tests.support.kubernetes_tools import (
    CHART,
    KUBERNETES,
    OVERLAYS,
    Object,
    call,
    kustomized,
    like_overlay,
    templated,
)

CHOICES = ("local-disk", "delta-s3", "iceberg-postgres")
VOLUME = "/var/lib/emitter"
ALL_VALUES: Mapping[str, Any] = {
    "shards": 7,
    "image": {"repository": "registry.example.com/shop/emitter", "tag": "0.1.0@sha256:" + "0" * 64},
    "imagePullSecrets": [{"name": "registry"}],
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/emitter"}},
    "resources": {"requests": {"memory": "2Gi"}, "limits": {}},
    "networkPolicy": {"metricsNamespace": "watch", "egressPorts": [443, 9000]},
    "monitoring": {"enabled": True, "labels": {"release": "kube-prometheus-stack"}},
    "nodeSelector": {"disk": "none"},
    "tolerations": [{"key": "spot", "operator": "Exists"}],
}


@cache
def renderings() -> dict[str, list[Object]]:
    """By name, the objects of every choice, made in both ways."""
    made = {f"overlay {choice}": kustomized(OVERLAYS / choice) for choice in CHOICES}
    made |= {f"overlay {choice}, monitored": changed_overlay(choice, kustomization=monitored) for choice in CHOICES}
    made |= {f"chart as {choice}": templated(*like_overlay(choice)) for choice in CHOICES}
    made["chart by default"] = templated()
    made["chart, all values"] = templated(
        "--set-file", f"config={OVERLAYS / 'delta-s3' / 'emitter.yaml'}", values=ALL_VALUES, release="shop"
    )
    made["chart, no policy"] = templated(values={"networkPolicy": {"enabled": False}, "volume": {"size": "1Ti"}})
    return made


def changed_overlay(choice: str, **changes: Callable[[str], str]) -> list[Object]:
    """What a copy of an overlay gives once files of it are changed, named without what follows the dot, or made."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "kubernetes"
        shutil.copytree(KUBERNETES, copy, ignore=shutil.ignore_patterns("chart"))
        for name, change in changes.items():
            file = copy / "overlays" / choice / f"{name}.yaml"
            before = file.read_text() if file.exists() else ""
            file.write_text(change(before))
            assert file.read_text() != before
        return kustomized(copy / "overlays" / choice)


def monitored(kustomization: str) -> str:
    """As its comment asks to be taken in."""
    return kustomization.replace("#components:", "components:").replace("#  - ../../components", "  - ../../components")


def with_replicas(count: int) -> Callable[[str], str]:
    def change(kustomization: str) -> str:
        if "count:" in kustomization:
            return re.sub(r"count: \d+", f"count: {count}", kustomization)
        return f"{kustomization}\nreplicas: [{{name: emitter, count: {count}}}]\n"

    return change


def in_every_rendering(test: Callable[[Any, list[Object]], None]) -> Callable[[Any], None]:
    """Turns a test of some objects into one of all that is rendered."""

    @wraps(test)
    def test_all(self: Any) -> None:
        for name, objects in renderings().items():
            with self.subTest(name):
                test(self, objects)

    return test_all


class SchemaTest(unittest.TestCase):
    def test_the_newest_releases_of_kubernetes_take_every_object(self):
        different = {json.dumps(each, sort_keys=True) for objects in renderings().values() for each in objects}
        self.assertEqual(len(kubernetes_schemas.RELEASES), 3)
        for text in sorted(different):
            found = json.loads(text)
            for release in kubernetes_schemas.RELEASES:
                with self.subTest(release, kind=found["kind"]):
                    kubernetes_schemas.check(found, release)

    def test_unknown_keys_are_refused(self):
        for kind in ("StatefulSet", "Service", "NetworkPolicy", "ServiceMonitor", "PrometheusRule"):
            found = only(renderings()["overlay delta-s3, monitored"], kind)
            with self.subTest(kind), self.assertRaises(jsonschema.ValidationError):
                kubernetes_schemas.check({**found, "spec": {**found["spec"], "replica": 1}}, "1.37")


class WholeTest(unittest.TestCase):
    """Objects find each other."""

    @in_every_rendering
    def test_every_selector_matches_the_pods_and_nothing_is_selected_by_less(self, objects):
        set_, pod = only(objects, "StatefulSet"), pod_of(objects)
        labels = set_["spec"]["template"]["metadata"]["labels"]
        selectors = [
            set_["spec"]["selector"]["matchLabels"],
            only(objects, "Service")["spec"]["selector"],
            only(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
            *(each["labelSelector"]["matchLabels"] for each in pod["topologySpreadConstraints"]),
            *(each["spec"]["podSelector"]["matchLabels"] for each in of_kind(objects, "NetworkPolicy")),
        ]
        for selector in selectors:
            self.assertEqual(selector, labels)
        for monitor in of_kind(objects, "ServiceMonitor"):
            self.assertEqual(monitor["spec"]["selector"]["matchLabels"], labels)
            self.assertLessEqual(labels.items(), only(objects, "Service")["metadata"]["labels"].items())

    @in_every_rendering
    def test_what_is_referred_to_is_there(self, objects):
        set_, pod, container = only(objects, "StatefulSet"), pod_of(objects), container_of(objects)
        self.assertEqual(set_["spec"]["serviceName"], only(objects, "Service")["metadata"]["name"])
        self.assertEqual(pod["serviceAccountName"], only(objects, "ServiceAccount")["metadata"]["name"])
        maps = [each["configMap"]["name"] for each in pod["volumes"] if "configMap" in each]
        self.assertEqual(maps, [only(objects, "ConfigMap")["metadata"]["name"]])
        claims = [each["metadata"]["name"] for each in set_["spec"].get("volumeClaimTemplates", [])]
        volumes = [*(each["name"] for each in pod["volumes"]), *claims]
        self.assertEqual(sorted(volumes), sorted(each["name"] for each in container["volumeMounts"]))

    @in_every_rendering
    def test_every_port_is_that_of_the_container(self, objects):
        (port,) = container_of(objects)["ports"]
        self.assertEqual(port, {"name": "metrics", "containerPort": 9108})
        self.assertEqual(configuration(objects, 0).server.port, port["containerPort"])
        self.assertEqual(configuration(objects, 0).server.host, "0.0.0.0")
        for probe, path in (("startup", "/livez"), ("liveness", "/livez"), ("readiness", "/readyz")):
            asks = container_of(objects)[f"{probe}Probe"]["httpGet"]
            self.assertEqual(asks, {"path": path, "port": "metrics"})
        (served,) = only(objects, "Service")["spec"]["ports"]
        self.assertEqual((served["name"], served["targetPort"]), ("metrics", "metrics"))
        for policy in of_kind(objects, "NetworkPolicy"):
            self.assertEqual(
                [each["ports"] for each in policy["spec"]["ingress"]], [[{"protocol": "TCP", "port": "metrics"}]]
            )
            self.assertTrue(all(each["from"] for each in policy["spec"]["ingress"]))
        for monitor in of_kind(objects, "ServiceMonitor"):
            self.assertEqual([each["port"] for each in monitor["spec"]["endpoints"]], ["metrics"])

    @in_every_rendering
    def test_there_is_a_way_out_to_what_the_configuration_names_and_no_other(self, objects):
        output = configuration(objects, 0).output
        wanted = {443} if output.uri.startswith("s3://") else set()
        wanted |= {urlsplit(output.catalog.uri).port} if output.catalog.uri else set()
        for policy in of_kind(objects, "NetworkPolicy"):
            ports = {each["port"] for rule in policy["spec"]["egress"] for each in rule["ports"]}
            if objects not in (renderings()["chart by default"], renderings()["chart, all values"]):
                self.assertEqual(ports, wanted | {53} if wanted else set())
            self.assertLessEqual(wanted, ports)
            self.assertEqual(policy["spec"]["policyTypes"], ["Ingress", "Egress"])

    @in_every_rendering
    def test_the_image_is_that_of_this_release(self, objects):
        repository, _, tag = container_of(objects)["image"].partition(":")
        self.assertEqual(repository.rpartition("/")[2], "emitter")
        self.assertEqual(tag.partition("@")[0], emitter.__version__)

    @in_every_rendering
    def test_a_pod_is_as_the_image_expects(self, objects):
        dockerfile = (REPOSITORY / "deploy" / "container" / "Dockerfile").read_text()
        ((user, group),) = re.findall(r"^USER (\d+):(\d+)$", dockerfile, re.MULTILINE)
        self.assertGreater(int(user), 0)
        self.assertEqual(pod_of(objects)["securityContext"]["fsGroup"], int(group))
        for line in ('ENTRYPOINT ["emitter"]', f"EXPOSE {container_of(objects)['ports'][0]['containerPort']}"):
            self.assertIn(f"{line}\n", dockerfile)
        for mount in container_of(objects)["volumeMounts"]:
            if mount["name"] == "data":
                self.assertIn(f"VOLUME {mount['mountPath']}\n", dockerfile)

    def test_a_changed_configuration_rolls_out(self):
        def faster(text: str) -> str:
            return text.replace("orders_per_second: ", "orders_per_second: 1")

        for choice in CHOICES:
            before = only(renderings()[f"overlay {choice}"], "StatefulSet")["spec"]["template"]
            after = only(changed_overlay(choice, emitter=faster), "StatefulSet")["spec"]["template"]
            self.assertNotEqual(before, after)
            changed = {"config": faster((OVERLAYS / choice / "emitter.yaml").read_text())}
            _, values, *_ = like_overlay(choice)
            before = only(renderings()[f"chart as {choice}"], "StatefulSet")["spec"]["template"]
            after = only(templated("--values", values, values=changed), "StatefulSet")["spec"]["template"]
            self.assertNotEqual(before, after)

    def test_authorities_are_where_the_configuration_names_them(self):
        pem = "-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n"

        def add(kustomization: str) -> str:
            return kustomization.replace("files: [emitter.yaml]", "files: [emitter.yaml, ca.pem=ca.yaml]")

        ways = {
            "overlay delta-s3": changed_overlay("delta-s3", kustomization=add, ca=lambda _: pem),
            "chart as delta-s3": templated(*like_overlay("delta-s3"), values={"authorities": pem}),
        }
        for way, objects in ways.items():
            with self.subTest(way):
                self.assertEqual(only(objects, "ConfigMap")["data"]["ca.pem"], pem)
                (mount,) = (each for each in container_of(objects)["volumeMounts"] if each["name"] == "configuration")
                self.assertEqual(mount["mountPath"], "/etc/emitter")
                before, after = (only(each, "StatefulSet")["spec"]["template"] for each in (renderings()[way], objects))
                self.assertNotEqual(before, after)


class ShardsTest(unittest.TestCase):
    def assert_shards(self, objects: Sequence[Object], count: int) -> None:
        self.assertEqual(only(objects, "StatefulSet")["spec"]["replicas"], count)
        shards = [configuration(objects, ordinal).shard for ordinal in range(count)]
        self.assertEqual([(shard.index, shard.count) for shard in shards], [(index, count) for index in range(count)])

    @in_every_rendering
    def test_every_pod_is_a_shard_and_there_are_as_many_shards_as_pods(self, objects):
        self.assert_shards(objects, only(objects, "StatefulSet")["spec"]["replicas"])

    def test_there_are_as_many_as_were_asked_for(self):
        self.assert_shards(renderings()["overlay local-disk"], 1)
        self.assert_shards(renderings()["overlay delta-s3"], 2)
        self.assert_shards(renderings()["chart, all values"], 7)

    def test_one_number_changes_both(self):
        for choice in ("delta-s3", "iceberg-postgres"):
            self.assert_shards(changed_overlay(choice, kustomization=with_replicas(12)), 12)
            self.assert_shards(templated(*like_overlay(choice), "--set", "shards=12"), 12)

    def test_an_older_configuration_cannot_put_its_number_of_shards_back(self):
        for choice in ("delta-s3", "iceberg-postgres"):
            self.assertIsNotNone(configuration(renderings()[f"overlay {choice}"], 0).revision)

    def test_a_second_pod_with_a_volume_of_its_own_refuses_to_start(self):
        objects = changed_overlay("local-disk", kustomization=with_replicas(2))
        self.assertEqual(only(objects, "StatefulSet")["spec"]["replicas"], 2)
        self.assertEqual(configuration(objects, 0).shard.count, 1)
        with self.assertRaisesRegex(ConfigurationError, "shard.index"):
            configuration(objects, 1)

    @in_every_rendering
    def test_only_what_writes_to_a_disk_has_a_volume_and_is_one_shard(self, objects):
        claims = only(objects, "StatefulSet")["spec"].get("volumeClaimTemplates", [])
        mounts = {each["name"]: each["mountPath"] for each in container_of(objects)["volumeMounts"]}
        uri = configuration(objects, 0).output.uri
        if uri.startswith("s3://"):
            self.assertEqual((claims, "data" in mounts), ([], False))
        else:
            self.assertTrue(uri.startswith(f"{VOLUME}/"), uri)
            self.assertEqual((len(claims), mounts["data"]), (1, VOLUME))
            self.assertEqual(only(objects, "StatefulSet")["spec"]["replicas"], 1)
            kept = only(objects, "StatefulSet")["spec"]["persistentVolumeClaimRetentionPolicy"]
            self.assertEqual(kept, {"whenDeleted": "Retain", "whenScaled": "Retain"})

    @in_every_rendering
    def test_every_shard_has_a_writer_for_its_configuration(self, objects):
        config = configuration(objects, 0)
        if config.output.uri.startswith("s3://"):
            with patch.dict(os.environ, environment(objects, 0), clear=True):
                configured_writer(config).close()

    @in_every_rendering
    def test_variables_of_other_services_would_be_taken_for_configuration(self, objects):
        self.assertIs(pod_of(objects)["enableServiceLinks"], False)
        with self.assertRaisesRegex(ConfigurationError, "EMITTER_UI_SERVICE_HOST"):
            configuration(objects, 0, EMITTER_UI_SERVICE_HOST="10.0.0.7")


class SafetyTest(unittest.TestCase):
    @in_every_rendering
    def test_a_pod_may_do_nothing_but_its_work(self, objects):
        pod, container = pod_of(objects), container_of(objects)
        self.assertIs(pod["automountServiceAccountToken"], False)
        self.assertIs(only(objects, "ServiceAccount")["automountServiceAccountToken"], False)
        self.assertIs(pod["securityContext"]["runAsNonRoot"], True)
        self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
        self.assertFalse({"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & pod.keys())
        self.assertEqual(
            container["securityContext"],
            {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
        )
        (tmp,) = (each for each in pod["volumes"] if each["name"] == "tmp")
        self.assertIn("sizeLimit", tmp["emptyDir"])

    @in_every_rendering
    def test_no_secret_is_in_what_is_applied(self, objects):
        self.assertEqual(of_kind(objects, "Secret"), [])
        names = [each["name"] for each in container_of(objects)["env"]]
        self.assertEqual([name for name in names if re.search("KEY|SECRET|TOKEN|PASS|CATALOG", name)], [])
        for text in texts(objects):
            self.assertNotRegex(text, r"://[^/\s:@]+:[^/\s@]+@|AKIA[0-9A-Z]{16}")

    def test_the_examples_of_secrets_hold_places_to_fill_and_what_the_overlay_needs(self):
        examples = sorted(path.parent.name for path in OVERLAYS.glob("*/secret.example.yaml"))
        self.assertEqual(examples, ["delta-s3", "iceberg-postgres"])
        for choice in examples:
            secret = yaml.safe_load((OVERLAYS / choice / "secret.example.yaml").read_text())
            kubernetes_schemas.check(secret, kubernetes_schemas.RELEASES[-1])
            for value in secret["stringData"].values():
                self.assertRegex(value, r"^<[a-zA-Z0-9 ]+>$")
            for way in ("overlay", "chart as"):
                (source,) = container_of(renderings()[f"{way} {choice}"])["envFrom"]
                self.assertEqual(source, {"secretRef": {"name": secret["metadata"]["name"]}})
        keys = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
        self.assertEqual(secret_keys("delta-s3").keys(), keys)
        self.assertEqual(secret_keys("iceberg-postgres").keys(), keys | {"PGUSER", "PGPASSWORD"})
        self.assertNotIn("envFrom", container_of(renderings()["overlay local-disk"]))

    @in_every_rendering
    def test_a_stop_and_a_start_may_take_as_long_as_one_request_that_goes_on_failing(self, objects):
        request = s3.ATTEMPTS_MAX * (s3.CONNECT_SECONDS_MAX + s3.READ_SECONDS_MAX)
        waits = sum(2**attempt for attempt in range(s3.ATTEMPTS_MAX - 1))
        self.assertGreater(pod_of(objects)["terminationGracePeriodSeconds"], request + waits)
        startup = container_of(objects)["startupProbe"]
        self.assertGreater(startup["periodSeconds"] * startup["failureThreshold"], request + waits)


class OneTruthTest(unittest.TestCase):
    """The same choices by Kustomize and by Helm are the same objects."""

    def comparable(self, objects: Sequence[Object]) -> dict[tuple[str, str], Object]:
        """By kind and name, without what each way has its own for: the hash of the configuration in the ConfigMap's
        name; labels on the ConfigMap, on which nothing depends.
        """
        text = json.dumps(list(objects))
        (map_,) = (each["metadata"]["name"] for each in objects if each["kind"] == "ConfigMap")
        found = json.loads(text.replace(f'"{map_}"', '"emitter"'))
        self.assertRegex(map_, "^emitter-[0-9a-z]{10}$")
        only(found, "ConfigMap")["metadata"].pop("labels", None)
        return {(each["kind"], each["metadata"]["name"]): each for each in found}

    def test_kustomize_and_helm_give_the_same(self):
        self.maxDiff = None
        for choice in CHOICES:
            with self.subTest(choice):
                by_helm = templated(*like_overlay(choice), "--set", "monitoring.enabled=true")
                by_kustomize = self.comparable(renderings()[f"overlay {choice}, monitored"])
                for kind in kubernetes_schemas.CUSTOM:
                    self.assertIn((kind, "emitter"), by_kustomize)
                self.assertEqual(self.comparable(by_helm), by_kustomize)

    def test_the_alerts_are_those_of_prometheus(self):
        rules = yaml.safe_load((REPOSITORY / "deploy" / "prometheus" / "emitter.rules.yml").read_text())
        alone = ("--set", "monitoring.enabled=true", "-s", "templates/prometheusrule.yaml")
        (rule,) = templated(*alone)
        self.assertEqual(rule["spec"], rules)
        made = call("helm", "template", "emitter", CHART, *alone)
        committed = (KUBERNETES / "components" / "monitoring" / "prometheusrule.yaml").read_text()
        tool = "python -m tests.support.kubernetes_tools helm"
        self.assertEqual(committed, made, f"make it again, as its third line says; `{tool}` is Helm")

    def test_without_monitoring_no_object_needs_the_operator(self):
        for choice in CHOICES:
            for way in ("overlay", "chart as"):
                kinds = {each["kind"] for each in renderings()[f"{way} {choice}"]}
                self.assertFalse(kinds & kubernetes_schemas.CUSTOM.keys())


class ReadmeTest(unittest.TestCase):
    def test_links_and_folders_are_there(self):
        text = (KUBERNETES / "README.md").read_text()
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            self.assertTrue((KUBERNETES / target).exists(), target)
        self.assertEqual(set(re.findall(r"^\| `overlays/([a-z0-9-]+)`", text, re.MULTILINE)), set(CHOICES))
        self.assertEqual({path.name for path in OVERLAYS.iterdir()}, set(CHOICES))

    def test_what_it_says_to_install_can_be_rendered(self):
        """With an overlay's emitter.yaml and values.yaml for those of the reader."""
        pages = [(REPOSITORY / "README.md").read_text(), (KUBERNETES / "README.md").read_text()]
        commands = re.findall(r"^\$ helm install (.*)", "".join(pages).replace("\\\n", ""), re.MULTILINE)
        self.assertEqual(len(commands), 2)
        own = {"emitter.yaml": "config=emitter.yaml", "values.yaml": "values.yaml"}
        for command in commands:
            arguments = command.split()
            for name, argument in own.items():
                found = argument.replace(name, str(OVERLAYS / "delta-s3" / name))
                arguments = [found if each == argument else each for each in arguments]
            arguments = [str(CHART) if each.endswith("/chart") else each for each in arguments]
            said = call("helm", "install", "--dry-run=client", *arguments)
            self.assertIn("kind: StatefulSet", said)
            self.assertIn("statefulset/emitter", said.partition("NOTES:")[2])
        for folder in re.findall(r"kubectl apply .*-k (\S+)", "".join(pages)):
            self.assertTrue(kustomized(REPOSITORY / folder))


if __name__ == "__main__":
    unittest.main()
