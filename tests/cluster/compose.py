"""The containers of docker-compose.yml without a container engine: each in a network namespace of its own.

What the file relies on is done here as Docker does it: interpolation of `.env`, environments and entry points of the
Dockerfile, volumes, secrets as the files that they are, user, read-only root, health checks, names in DNS, and ports
published on the loopback of a host, which is a namespace too. The checkout and its virtual environment stand for the
images.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from platformdirs import user_cache_path

from tests.children import tied
from tests.cluster.helm import ROOT
from tests.cluster.pods import NODE, START_SECONDS, USER, Network, restricted, root_file_system, run
from tests.cluster.relays import Relays

DOCKERFILE = ROOT / "deploy/docker/Dockerfile"
NATS = "/opt/prisma/bin/nats-server"
PASSIVE = {"OMP_WAIT_POLICY": "passive"}
"""numba's and the operating system's threads sleep while they wait, as in all tests."""


@dataclass
class Image:
    """What the Dockerfile says of a target."""

    environment: dict[str, str] = field(default_factory=dict)
    entry_point: list[str] = field(default_factory=list)
    health_check: list[str] = field(default_factory=list)


def images() -> dict[str, Image]:
    """The stages of the Dockerfile, with what they take over from the stage before."""
    stages: dict[str, Image] = {}
    image = Image()
    for line in re.sub(r"\\\n\s*", "", DOCKERFILE.read_text()).splitlines():
        instruction, _, remainder = line.partition(" ")
        if instruction == "FROM":
            base, _, name = remainder.partition(" AS ")
            parent = stages.get(base, Image())
            image = stages[name] = Image(dict(parent.environment), parent.entry_point, parent.health_check)
        elif instruction == "ENV":
            image.environment |= dict(re.findall(r"(\w+)=(\S*)", remainder))
        elif instruction == "ENTRYPOINT":
            image.entry_point = json.loads(remainder)
        elif instruction == "HEALTHCHECK":
            image.health_check = json.loads(remainder[remainder.index("[") :])
    return stages


def interpolated(node: Any, values: Mapping[str, str]) -> Any:
    """With `${NAME}`, `${NAME:-default}` and `${NAME:?message}` replaced in all texts of a YAML document.

    Raises ValueError for what must be set.
    """

    def value(match: re.Match[str]) -> str:
        name, operator, default = match.groups()
        if not values.get(name) and operator == "?":
            raise ValueError(f"{name} is not set: {default}")
        return values.get(name) or default or ""

    if isinstance(node, dict):
        return {name: interpolated(child, values) for name, child in node.items()}
    if isinstance(node, list):
        return [interpolated(child, values) for child in node]
    return re.sub(r"\$\{(\w+)(?::([-?])([^}]*))?\}", value, node) if isinstance(node, str) else node


@dataclass
class Container:
    """A running container. health_check: its command."""

    name: str
    address: str
    namespace: str
    folder: Path
    environment: dict[str, str]
    health_check: list[str]
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def is_healthy(self) -> bool:
        inside = ["nsenter", f"--net=/run/netns/{self.namespace}", f"--root=/proc/{self.process.pid}/root", "--wd=/"]
        command = [*inside, f"--setuid={USER}", f"--setgid={USER}", *self.health_check]
        return subprocess.run(command, env=self.environment, capture_output=True, check=False).returncode == 0

    def wait_until_healthy(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.is_healthy():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"{self.name} is not healthy: {self.log[-3000:]}")
            time.sleep(0.2)


class Project:
    """A folder with docker-compose.yml and what it mounts, the host that runs it, and its containers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.joinpath("deploy").mkdir(parents=True)
        run("cp", ROOT / "docker-compose.yml", folder)
        run("cp", "-r", ROOT / "deploy/docker", folder / "deploy")
        self.network = Network(folder)
        self.host = f"{self.network.prefix}-host"
        self.containers: dict[str, Container] = {}
        self._children: list[subprocess.Popen[bytes]] = []
        self._relays = Relays()
        self._serial = itertools.count()
        self._names: dict[str, list[str]] = {}

    def start(self) -> None:
        """Starts the host."""
        self.network.start()
        address = self.network.next_address("node")
        self.network.join(self.host, address)
        self._publish("host.docker.internal", address)

    def stop(self) -> None:
        for child in [*(container.process for container in self.containers.values()), *self._children]:
            child.kill()
            child.wait()
        self._relays.stop()
        self.network.stop()

    def compose(self) -> dict[str, Any]:
        """The file as it is with `.env`."""
        lines = [line for line in (self.folder / ".env").read_text().splitlines() if not line.startswith("#")]
        values = dict(line.split("=", 1) for line in lines if "=" in line)
        return interpolated(yaml.safe_load((self.folder / "docker-compose.yml").read_text()), values)

    def up(self) -> None:
        """Starts the services without a profile, and returns once all are healthy."""
        services = {name: service for name, service in self.compose()["services"].items() if "profiles" not in service}
        assert all(service["depends_on"] for name, service in services.items() if name != "nats")
        self.start_service("nats").wait_until_healthy()
        for name in services.keys() - {"nats"}:
            self.start_service(name)
        for container in self.containers.values():
            container.wait_until_healthy()

    def start_service(self, name: str) -> Container:
        """Starts a service's container, without waiting for it."""
        compose = self.compose()
        service = compose["services"][name]
        image = images()[service["build"]["target"]] if "build" in service else Image(entry_point=[NATS])
        folder = self.folder / "containers" / f"{name}-{next(self._serial)}"
        (folder / "root").mkdir(parents=True)
        (folder / "resolv.conf").write_text(f"nameserver {self.network.address('node', NODE)}\n")
        namespace, address = f"{self.network.prefix}-{folder.name}", self.network.next_address(name)
        self.network.join(namespace, address)
        self._publish(name, address)
        environment = {**image.environment, **service["environment"], **PASSIVE}
        environment |= {"PATH": "/opt/prisma/bin:/usr/bin:/bin", "PYTHONPATH": "/src:/src/protos/python"}
        command = [*image.entry_point, *service.get("command", ())]
        lines = [*root_file_system(folder, name, address), *self._mounts(service, compose)]
        if service.get("read_only"):
            lines.append(f"mount -o remount,ro {folder / 'root'}")
        (folder / "start").write_text("\n".join([*lines, restricted(folder / "root", environment, command), ""]))
        with (folder / "log").open("ab") as log:
            command = ["nsenter", f"--net=/run/netns/{namespace}", "unshare", "--mount", "sh", "-eu"]
            process = subprocess.Popen(tied(*command, folder / "start"), stdout=log, stderr=log)
        health_check = service["healthcheck"]["test"][1:] if "healthcheck" in service else image.health_check
        container = Container(
            name=name,
            address=address,
            namespace=namespace,
            folder=folder,
            environment=environment,
            health_check=health_check,
            process=process,
        )
        for port in service.get("ports", ()):
            self._forward(port, container)
        self.containers[name] = container
        return container

    def on_host(self, script: str, **environment: str) -> str:
        """What a script prints that a person runs on the host, in the project's folder."""
        command = ["nsenter", f"--net=/run/netns/{self.host}", "bash", "-euc", script]
        result = subprocess.run(
            command,
            env=self._host_environment() | environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise RuntimeError(f"{script}: {result.stdout}{result.stderr}")
        return result.stdout

    def start_on_host(self, script: str, log: Path) -> None:
        """Starts a script on the host that goes on until the end."""
        command = tied("nsenter", f"--net=/run/netns/{self.host}", "bash", "-euc", script)
        with log.open("wb") as output:
            self._children.append(
                subprocess.Popen(command, env=self._host_environment(), cwd=self.folder, stdout=output, stderr=output)
            )

    def _host_environment(self) -> dict[str, str]:
        """A new user's, with an environment for Python that is active."""
        # The trainer's kernels are compiled once for a machine, which takes minutes.
        cache = user_cache_path("prisma", appauthor=False).parent
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**PASSIVE, "HOME": str(self.folder / "home"), "XDG_CACHE_HOME": str(cache), "PATH": path}

    def _publish(self, name: str, address: str) -> None:
        self._names[name] = [address]
        self.network.publish(self._names)

    def _forward(self, published: str, container: Container) -> None:
        host, outer, inner = published.split(":")
        target = f"{container.address}:{inner}"
        self._relays.add(host, int(outer), lambda: [target], namespace=self.host)

    def _mounts(self, service: Mapping[str, Any], compose: Mapping[str, Any]) -> list[str]:
        lines: list[str] = []
        for path in service.get("tmpfs", ()):
            lines += [f"mkdir -p .{path}", f"mount -t tmpfs -o mode=1777 tmpfs .{path}"]
        for volume in service.get("volumes", ()):
            source, target, *options = volume.split(":")
            if source in compose["volumes"]:
                folder = self.folder / "volumes" / source
                folder.mkdir(parents=True, exist_ok=True)
                os.chown(folder, USER, USER)
                lines += [f"mkdir -p .{target}", f"mount --bind {folder} .{target}"]
            else:
                lines += _bind_file(self.folder / source, target, *options)
        for secret in service.get("secrets", ()):
            lines += _bind_file(self.folder / compose["secrets"][secret]["file"], f"/run/secrets/{secret}", "ro")
        return lines


def _bind_file(source: Path, target: str, *options: str) -> list[str]:
    """As Docker does, with the file's owner and mode."""
    lines = [f"mkdir -p .{Path(target).parent}", f": > .{target}", f"mount --bind {source} .{target}"]
    return [*lines, f"mount -o remount,bind,ro .{target}"] if "ro" in options else lines
