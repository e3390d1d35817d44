"""Helm for tests: the one on the PATH, or built once by Go into the user's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/kubernetes/prisma"
EXAMPLES = ROOT / "deploy/kubernetes/examples"
_MODULE, _VERSION = "helm.sh/helm/v3/cmd/helm", "v3.19.2"
_HOW = "no Helm: install helm, or Go to build it"


@cache
def program() -> str:
    """Helm's path. Skips the test where it can neither be found nor built."""
    if (installed := shutil.which("helm")) is not None:
        return installed
    folder = Path.home() / ".cache/prisma/tools" / f"helm-{_VERSION}"
    if not (folder / "helm").exists():
        if shutil.which("go") is None:
            pytest.skip(_HOW)
        subprocess.run(
            ["go", "install", f"{_MODULE}@{_VERSION}"],
            check=True,
            env={**os.environ, "GOBIN": str(folder)},
            timeout=900,
        )
    return str(folder / "helm")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Runs `helm …`."""
    return subprocess.run([program(), *words], capture_output=True, text=True, timeout=120, check=False)


@dataclass(frozen=True)
class Container:
    """A container, with the component and the pod that it belongs to."""

    owner: str
    component: str
    pod: dict[str, Any]
    spec: dict[str, Any]

    @property
    def variables(self) -> dict[str, dict[str, Any]]:
        """Its environment as the chart writes it, by name."""
        return {entry["name"]: entry for entry in self.spec.get("env", ())}


@dataclass(frozen=True)
class Release:
    """What the chart renders."""

    objects: Sequence[dict[str, Any]] = field(default=())

    def of_kind(self, *kinds: str) -> list[dict[str, Any]]:
        return [document for document in self.objects if document["kind"] in kinds]

    def named(self, kind: str, name: str) -> dict[str, Any]:
        return next(document for document in self.of_kind(kind) if document["metadata"]["name"] == name)

    @property
    def workloads(self) -> list[dict[str, Any]]:
        return self.of_kind("Deployment", "StatefulSet", "Job")

    @property
    def containers(self) -> list[Container]:
        """All containers of all workloads."""
        return [
            Container(
                owner=f"{workload['kind']}/{workload['metadata']['name']}",
                component=component_of(workload["spec"]["template"]["metadata"]["labels"]),
                pod=workload["spec"]["template"],
                spec=container,
            )
            for workload in self.workloads
            for container in workload["spec"]["template"]["spec"]["containers"]
        ]

    def container(self, component: str) -> Container:
        return next(container for container in self.containers if container.component == component)


def component_of(labels: Mapping[str, str]) -> str:
    """The component that labels name, or a selector selects."""
    return labels["app.kubernetes.io/component"]


def render(*arguments: str, kubernetes: str = "1.32", name: str = "prisma") -> Release:
    """The objects that the chart renders with `--set` and `--values` arguments."""
    result = run("template", name, str(CHART), "--kube-version", kubernetes, *arguments)
    assert result.returncode == 0, result.stderr
    documents = cast("list[dict[str, Any] | None]", list(yaml.safe_load_all(result.stdout)))
    return Release([document for document in documents if document])
