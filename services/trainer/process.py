"""Starts a training process, hears what it says, and leaves none behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from services.chassis import logs
from services.trainer.child import STOP, Spec
from services.trainer.errors import TrainingFailed
from services.trainer.sae.kernels import compiling

_log = logs.get(__name__)
_LAST_WORDS = 2000
STOP_SECONDS = 5.0


async def train(
    spec: Spec, processes: int = 1, keep: Callable[[], bool] = lambda: False
) -> AsyncGenerator[dict[str, Any]]:
    """What the process says, message by message; it ends when the caller stops listening.

    If the caller wants to `keep` what was reached, the process has a few seconds to write a checkpoint. With several
    processes torchrun starts them, and starts all again from the last checkpoint when one dies.

    Raises TrainingFailed when it ends by itself, with its last words.
    """
    if spec.config["batch_size"] % processes:
        raise TrainingFailed(f"expected a batch that {processes} processes can share, got {spec.config['batch_size']}")
    command = ["-m", "services.trainer.child", json.dumps(asdict(spec))]
    if processes > 1:
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "--max-restarts=3"]
        command = [*torchrun, *command]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(),
        limit=1 << 20,
        start_new_session=True,
    )
    assert process.stdout is not None and process.stderr is not None
    words = asyncio.create_task(process.stderr.read())
    try:
        async for line in process.stdout:
            yield json.loads(line)
        status = await process.wait()
        if status != 0:
            said = (await words).decode(errors="replace").strip()
            if processes > 1:
                said = said.rpartition("\nTraceback")[0] or said  # the last one is torchrun's own
            said = said[-_LAST_WORDS:]
            what = f"was killed by signal {-status} (out of memory?)" if status < 0 else f"ended with {status}"
            raise TrainingFailed(f"the training process {what}: {said or 'it said nothing'}")
    finally:
        if process.returncode is None and processes == 1 and keep():
            await _end(process)
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        words.cancel()


async def warm() -> None:
    """Compiles the kernels, if that wasn't done on this machine. A failure is logged: a training compiles its own."""
    if compiling.all_are_kept():
        return
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.trainer.sae.warming", env=_environment(), stderr=asyncio.subprocess.PIPE
    )
    try:
        _out, words = await process.communicate()
        if process.returncode:
            _log.warning("kernels were not compiled", reason=words.decode(errors="replace").strip()[-_LAST_WORDS:])
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


async def _end(process: asyncio.subprocess.Process) -> None:
    """Asks the process to write a checkpoint and end; what it says meanwhile is let go."""
    assert process.stdin is not None and process.stdout is not None
    with suppress(TimeoutError, ConnectionError):
        process.stdin.write(STOP)
        async with asyncio.timeout(STOP_SECONDS):
            while await process.stdout.read(1 << 16):
                pass
            await process.wait()
