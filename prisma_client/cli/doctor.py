"""`prisma doctor`: checks what PRISMA needs on this machine, and says what to do about what is missing."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from prisma_client.cli import output
from prisma_client.cli.connection import gateway_url
from prisma_client.cli.stack import (
    BUILD_PAGE,
    MISSING_SERVER,
    configured_addresses,
    find_nats_server,
    listens,
    page_is_built,
)
from prisma_client.errors import PrismaError, Unavailable
from prisma_client.sync import Prisma
from prisma_common import addresses, keys

_MODULES = {
    "embedder": "wordllama",
    "trainer": "numba",
    "interpreter": "networkx",
    "search": "tantivy",
    "gateway": "starlette",
}
"""A module that only the extra of each service installs."""
MIN_FREE_BYTES = 2_000_000_000


@dataclass(frozen=True)
class Finding:
    """The result of one check. advice: what to do, where something is wrong."""

    what: str
    fine: bool
    result: str
    advice: str | None = None


def findings(data_dir: Path) -> Iterator[Finding]:
    """Checks the installation, the disk, and the services at their configured addresses."""
    yield _finding("Python", sys.version_info >= (3, 11), sys.version.split()[0], "install Python 3.11 or later")
    for service, module in _MODULES.items():
        installed = importlib.util.find_spec(module) is not None
        yield _finding(service, installed, "installed" if installed else "not installed", MISSING_SERVER)
    if importlib.util.find_spec("gateway") is not None:
        is_built = page_is_built()
        yield _finding("page", is_built, "built" if is_built else "not built", BUILD_PAGE)
    binary = find_nats_server()
    yield _finding("nats-server", binary is not None, binary or "not installed", MISSING_SERVER)
    existing = next(folder for folder in (data_dir, *data_dir.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    yield _finding(
        "disk",
        free > MIN_FREE_BYTES,
        f"{free / 1e9:.1f} GB free for {data_dir}",
        "free some space, or set PRISMA_DATA_DIR to a folder on another disk",
    )
    yield from _keys_file()
    yield from _services()


def check(data_dir: Path) -> None:
    """Prints all findings. Exits with 1 where something is wrong."""
    results = list(findings(data_dir))
    columns: output.Columns = {
        "": lambda finding: "ok" if finding["fine"] else "!!",
        "checked": lambda finding: finding["what"],
        "result": lambda finding: finding["result"],
        "what to do": lambda finding: finding["advice"] or "",
    }
    output.show([asdict(finding) for finding in results], columns)
    if not all(finding.fine for finding in results):
        raise typer.Exit(1)


def _finding(what: str, fine: bool, result: str, advice: str) -> Finding:
    return Finding(what, fine, result, None if fine else advice)


def _keys_file() -> Iterator[Finding]:
    name = os.environ.get("PRISMA_API_KEYS_FILE")
    if not name:
        return
    file = Path(name)
    advice = f"`prisma keys create NAME --file {file}` creates a key; whoever runs the services must be able to read it"
    try:
        count = len(keys.read_keys(file))
        is_private = not file.stat().st_mode & stat.S_IROTH
    except (keys.KeysFileError, OSError) as error:
        yield Finding("keys file", False, f"{file}: {error}", advice)
        return
    result = f"{count:,} in {file}"
    if is_private:
        result += (
            "; only some users may read it: containers run as another one and need `chmod 0644` (it holds only digests)"
        )
    yield _finding("keys file", count > 0, result, advice)


def _services() -> Iterator[Finding]:
    try:
        with Prisma(gateway_url(), seconds=10) as prisma:
            for service in prisma.status()["services"]:
                health = service["health"].removeprefix("HEALTH_").lower()
                advice = service.get("message") or "see its log"
                yield _finding(f"{service['service']} (running)", health == "ok", health, advice)
    except ValueError as error:
        yield _finding("API key", False, "unusable", str(error))
    except PrismaError as error:
        state = "unreachable" if isinstance(error, Unavailable) else "no usable answer"
        yield _finding("gateway (running)", False, state, error.message)
        for name, address in configured_addresses().items():
            if listens(address):
                variable = addresses.listen_variable(name)
                advice = f"if that is not PRISMA, stop it, or set {variable} to another address"
                yield _finding(f"address of {name}", False, f"{address} is in use", advice)
