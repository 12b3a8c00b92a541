"""What rendered objects say of emitter's pods: the variables they would have, and the configuration they would read."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from emitter.config import EmitterConfig, load_config
from tests.support.kubernetes_tools import OVERLAYS, Object


def of_kind(objects: Sequence[Object], kind: str) -> list[Object]:
    return [each for each in objects if each["kind"] == kind]


def only(objects: Sequence[Object], kind: str) -> Object:
    (found,) = of_kind(objects, kind)
    return found


def pod_of(objects: Sequence[Object]) -> Object:
    spec: Object = only(objects, "StatefulSet")["spec"]["template"]["spec"]
    return spec


def container_of(objects: Sequence[Object]) -> Object:
    (container,) = pod_of(objects)["containers"]
    found: Object = container
    return found


def secret_keys(choice: str) -> dict[str, str]:
    file = OVERLAYS / choice / "secret.example.yaml"
    return dict(yaml.safe_load(file.read_text())["stringData"]) if file.exists() else {}


def environment(objects: Sequence[Object], ordinal: int) -> dict[str, str]:
    """The variables of a pod: those of its Secret, and over them those of its container."""
    set_, container = only(objects, "StatefulSet"), container_of(objects)
    labels = {**set_["spec"]["template"]["metadata"]["labels"], "apps.kubernetes.io/pod-index": str(ordinal)}
    found = secret_keys("iceberg-postgres") if "envFrom" in container else {}
    for variable in container["env"]:
        if "value" in variable:
            found[variable["name"]] = variable["value"]
        else:
            (label,) = re.findall(r"metadata\.labels\['(.+)'\]", variable["valueFrom"]["fieldRef"]["fieldPath"])
            found[variable["name"]] = labels[label]
    return found


def mounted(objects: Sequence[Object], folder: Path) -> tuple[str, ...]:
    """Puts the files that a pod would find below a folder, and gives the arguments of `emitter` to go with them."""
    container = container_of(objects)
    (mount,) = (each["mountPath"] for each in container["volumeMounts"] if each["name"] == "configuration")
    for name, text in only(objects, "ConfigMap")["data"].items():
        (folder / name).write_text(text)
    return tuple(each.replace(f"{mount}/", f"{folder}/") for each in container["args"])


def configuration(objects: Sequence[Object], ordinal: int, **more: str) -> EmitterConfig:
    """What the daemon of a pod reads."""
    with tempfile.TemporaryDirectory() as folder:
        verb, option, path = mounted(objects, Path(folder))
        assert (verb, option) == ("run", "--config")
        return load_config(Path(path), environ={**environment(objects, ordinal), **more})


def texts(value: Any) -> Iterator[str]:
    """Every text in an object."""
    if isinstance(value, dict):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value
