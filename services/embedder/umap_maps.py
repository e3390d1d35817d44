"""Starts UMAP in a process of its own, follows it, and ends it when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.chassis.errors import Internal
from services.chassis.threads import in_thread, to_the_end
from services.embedder.errors import NotInstalled
from services.embedder.statistics.maps import Points

Report: TypeAlias = Callable[[int, int], Awaitable[None]]
"""Is told how many of how many epochs are done; 0 of 0 until there are some."""
_REPORT_SECONDS = 0.5
_SILENT_SECONDS = 1800.0
"""Without a word the process is taken for hung: looking for the neighbours of 20,000 vectors takes a minute or two."""
_STDERR_CHARACTERS = 300


def check_installed() -> None:
    """Raises NotInstalled."""
    if importlib.util.find_spec("umap") is None:
        raise NotInstalled(
            "this server cannot draw maps by UMAP: pip install 'prisma-suite[embedder-map]'. Maps by PCA need nothing"
        )


async def umap_points(vectors: NDArray[np.float32], report: Report, parent: Path) -> Points:
    """The points of vectors (n, d) by UMAP. A cancellation ends the process at once. Raises NotInstalled, Internal.

    parent: a folder whose files are deleted when the service starts. The vectors have a folder in it meanwhile.
    """
    check_installed()
    await in_thread(partial(parent.mkdir, parents=True, exist_ok=True))
    with TemporaryDirectory(prefix="map-", dir=parent, ignore_cleanup_errors=True) as folder:
        source, target = Path(folder) / "vectors.npy", Path(folder) / "points.npy"
        await in_thread(np.save, source, vectors)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "services.embedder.umap_process", str(source), str(target)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(Path(folder)),
            start_new_session=True,
        )
        errors = asyncio.create_task(_read(process.stderr))
        try:
            await _follow(process, report)
            if await process.wait():
                raise Internal(f"the process of UMAP {_death(process.returncode)}: {await errors}")
            return await in_thread(np.load, target)
        finally:
            await to_the_end(_end(process))
            errors.cancel()


def _environment(folder: Path) -> dict[str, str]:
    """Of the process. Where the library's folder cannot be written, its compiled code is kept in `folder`: without a
    place for it, it does not start.
    """
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    spec = importlib.util.find_spec("umap")
    assert spec is not None and spec.origin is not None, "it is installed"
    if not os.access(Path(spec.origin).parent, os.W_OK):
        environment.setdefault("NUMBA_CACHE_DIR", str(folder / "compiled"))
    return environment


async def _follow(process: asyncio.subprocess.Process, report: Report) -> None:
    """Reports the process's progress, also while it says nothing, until it closes its output. Raises Internal."""
    assert process.stdout is not None
    done, total, last_word = 0, 0, time.monotonic()
    line = asyncio.create_task(process.stdout.readline())
    try:
        while True:
            await report(done, total)
            await asyncio.wait([line], timeout=_REPORT_SECONDS)
            if not line.done():
                if time.monotonic() - last_word > _SILENT_SECONDS:
                    raise Internal(
                        f"the process of UMAP reported nothing for {_SILENT_SECONDS:,.0f} seconds, and was ended"
                    )
                continue
            last_word = time.monotonic()
            numbers = line.result().split()
            if not line.result():
                return
            if len(numbers) == 2 and all(number.isdigit() for number in numbers):
                done, total = int(numbers[0]), int(numbers[1])
            line = asyncio.create_task(process.stdout.readline())
    finally:
        line.cancel()


async def _read(stream: asyncio.StreamReader | None) -> str:
    """The end of what a stream says."""
    assert stream is not None
    text = (await stream.read()).decode(errors="replace").strip()
    return text[-_STDERR_CHARACTERS:] or "it wrote no error"


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _death(status: int | None) -> str:
    if status is not None and status < 0:
        return f"was killed by signal {-status} (out of memory?)"
    return f"ended with status {status}"
