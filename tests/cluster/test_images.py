"""Images as `make images` builds them, each started as the user, and on the read-only root, that compose gives it.

PRISMA_TEST_IMAGES names more than the one that is built by default, separated by spaces.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prisma_client.cli.keys import create
from tests.children import tied
from tests.cluster.helm import ROOT
from tests.cluster.pods import START_SECONDS, USER, missing_programs, restricted, run
from tests.nats_server import nats_program

IMAGES = os.environ.get("PRISMA_TEST_IMAGES", "search").split()
BUILDAH = {**os.environ, "STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}
NATS = 'listen: "127.0.0.1:4222"\njetstream { store_dir: "%s" }\n'


def buildah(*words: str) -> str:
    return subprocess.run(["buildah", *words], env=BUILDAH, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(params=IMAGES)
def image(request: pytest.FixtureRequest) -> str:
    """A target of the Dockerfile, built."""
    missing = [program for program in ("buildah", "mmdebstrap") if shutil.which(program) is None]
    if missing := [*missing, *missing_programs()]:
        pytest.skip(f"images cannot be built here: needs {', '.join(missing)}")
    subprocess.run([ROOT / "deploy/docker/build-images", request.param], env=BUILDAH, check=True)
    return request.param


@pytest.fixture
def root(image: str) -> Iterator[Path]:
    """The files of the image."""
    container = buildah("from", f"localhost/prisma-{image}")
    try:
        yield Path(buildah("mount", container))
    finally:
        buildah("rm", container)


@pytest.fixture
def namespace(tmp_path: Path) -> Iterator[str]:
    """A network with a message server on its loopback."""
    name = f"prisma{os.getpid()}-image"
    run("ip", "netns", "add", name)
    run("ip", "-n", name, "link", "set", "lo", "up")
    (tmp_path / "nats.conf").write_text(NATS % (tmp_path / "nats"))
    with (tmp_path / "nats.log").open("wb") as log:
        command = ["nsenter", f"--net=/run/netns/{name}", nats_program(), "-c", str(tmp_path / "nats.conf")]
        process = subprocess.Popen(tied(*command), stdout=log, stderr=log)
    try:
        yield name
    finally:
        process.kill()
        process.wait()
        run("ip", "netns", "del", name)


def start(
    root: Path, configuration: dict[str, Any], namespace: str, folder: Path
) -> tuple[subprocess.Popen[bytes], dict[str, str]]:
    """Starts an image as compose does: read-only but for /tmp and /data, without capabilities; with its environment."""
    data = folder / "data"
    data.mkdir()
    create("admin", data / "api-keys")
    for path in (data, data / "api-keys"):
        os.chown(path, USER, USER)
    environment = dict(text.split("=", 1) for text in configuration["Env"])
    environment |= {"PRISMA_SERVICE_KEY": "5a" * 32, "PRISMA_API_KEYS_FILE": "/data/api-keys"}
    lines = ["mount --make-rprivate /", f"mount --bind {root} {root}", f"cd {root}"]
    lines += ["mount --rbind /proc proc", "mount --rbind /dev dev", "mount -t tmpfs -o mode=1777 tmpfs tmp"]
    lines += [f"mount --bind {data} data", f"mount -o remount,bind,ro {root}"]
    script = folder / "start"
    script.write_text("\n".join([*lines, restricted(root, environment, configuration["Entrypoint"]), ""]))
    command = ["nsenter", f"--net=/run/netns/{namespace}", "unshare", "--mount", "sh", "-eu", str(script)]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(tied(*command), stdout=log, stderr=log), environment


def is_healthy(check: list[str], process: subprocess.Popen[bytes], environment: dict[str, str], namespace: str) -> bool:
    inside = ["nsenter", f"--net=/run/netns/{namespace}", f"--root=/proc/{process.pid}/root", "--wd=/"]
    command = [*inside, f"--setuid={USER}", f"--setgid={USER}", *check]
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0


@pytest.mark.timeout(600)
def test_an_image_starts_and_says_what_is_in_it(image: str, root: Path, namespace: str, tmp_path: Path) -> None:
    configuration = json.loads(buildah("inspect", "--type", "image", f"localhost/prisma-{image}"))["Docker"]["config"]
    assert configuration["User"] == f"{USER}:{USER}"
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in configuration["Labels"].items()}
    assert labels["title"] == f"prisma-{image}" and labels["licenses"] == "Apache-2.0"
    assert labels.keys() >= {"version", "revision", "created", "vendor"}

    listed = json.loads((root / "opt/prisma/sbom.cdx.json").read_text())
    assert listed["bomFormat"] == "CycloneDX"
    packages = {component["name"]: component.get("version") for component in listed["components"]}
    assert packages.keys() >= {"prisma-suite", "prisma-suite-client", "grpcio"}
    assert not packages.keys() & {"torch", "triton", "uv", "pip", "pytest"}
    assert not [program for program in ("cc", "gcc", "uv", "pip") if list(root.glob(f"*/**/bin/{program}"))]

    begin = time.monotonic()
    process, environment = start(root, configuration, namespace, tmp_path)
    try:
        check = configuration["Healthcheck"]["Test"][1:]
        while not is_healthy(check, process, environment, namespace):
            assert process.poll() is None and time.monotonic() < begin + START_SECONDS, (tmp_path / "log").read_text()
            time.sleep(0.1)
        seconds = time.monotonic() - begin
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert f"\nUid:\t{USER}\t{USER}\t" in status and "\nCapBnd:\t0000000000000000\n" in status
    finally:
        process.terminate()
        assert process.wait(30) == 0
    size, own = (sum(path.lstat().st_size for path in part.rglob("*")) / 1e6 for part in (root, root / "opt/prisma"))
    print(
        f"\nprisma-{image}: {size:.0f} MB, of which PRISMA and {len(packages)} packages {own:.0f}; "
        f"healthy after {seconds:.1f} s as {configuration['User']}"
    )
