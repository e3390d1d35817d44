"""Starts a training process, hears what it says, and leaves none behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from services.chassis import logs
from services.chassis.threads import to_the_end
from services.trainer.child import STOP, Spec
from services.trainer.errors import TrainingFailed
from services.trainer.sae.kernels import compiling

_log = logs.get(__name__)
_LAST_WORDS = 2000
STOP_SECONDS = 5.0


@dataclass(frozen=True)
class Group:
    """The processes that train together: so many on each of so many hosts, which meet at `host:port`."""

    processes: int = 1
    hosts: int = 1
    meet_at: str = ""

    @property
    def size(self) -> int:
        return self.processes * self.hosts

    def torchrun(self) -> list[str]:
        """Arguments for Python that start this host's processes, and start all again when one dies."""
        here = ["--standalone"] if self.hosts == 1 else [f"--nnodes={self.hosts}", "--rdzv-backend=c10d"]
        if self.hosts > 1:
            here += [f"--rdzv-endpoint={self.meet_at}", "--rdzv-id=prisma"]
        child = ["-m", "services.trainer.child"]
        return ["-m", "torch.distributed.run", *here, f"--nproc-per-node={self.processes}", "--max-restarts=3", *child]


async def train(
    spec: Spec, group: Group = Group(), keep: Callable[[], bool] = lambda: False
) -> AsyncGenerator[dict[str, Any]]:
    """What the process says, message by message; it ends when the caller stops listening.

    If the caller wants to `keep` what was reached, the process has a few seconds to write a checkpoint. With several
    processes torchrun starts them, and starts all again from the last checkpoint when one dies; with several hosts it
    waits until each has joined.

    Raises TrainingFailed when it ends by itself, with its last words.
    """
    if spec.config["batch_size"] % group.size:
        raise TrainingFailed(f"expected a batch that {group.size} processes can share, got {spec.config['batch_size']}")
    command = ["-m", "services.trainer.child"] if group.size == 1 else group.torchrun()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        json.dumps(asdict(spec)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
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
            if group.size > 1:
                said = said.rpartition("\nTraceback")[0] or said  # the last one is torchrun's own
            said = said[-_LAST_WORDS:]
            what = f"was killed by signal {-status} (out of memory?)" if status < 0 else f"ended with {status}"
            raise TrainingFailed(f"the training process {what}: {said or 'it said nothing'}")
    finally:
        try:
            await to_the_end(leave_none(process, group.size == 1 and keep()))
        finally:
            words.cancel()


async def warm() -> None:
    """Compiles the kernels, if that wasn't done on this machine. A failure is logged: a training compiles its own."""
    if compiling.all_are_kept():
        return
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.trainer.sae.warming", env=environment(), stderr=asyncio.subprocess.PIPE
    )
    try:
        _out, words = await process.communicate()
        if process.returncode:
            _log.warning("kernels were not compiled", reason=words.decode(errors="replace").strip()[-_LAST_WORDS:])
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def environment() -> dict[str, str]:
    """That of a process of the trainer's own."""
    path = os.pathsep.join(filter(None, sys.path))
    # torchrun would keep one store for all attempts, and a process that it starts again read there where another, dead
    # now, listened in the attempt before: https://github.com/pytorch/pytorch/issues/135712.
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": path, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


async def leave_none(process: asyncio.subprocess.Process, keep: bool = False) -> None:
    """Ends a process that leads a group, and its group; one to `keep` may first write a checkpoint."""
    if process.returncode is None and keep:
        await _end(process)
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Asks the process to write a checkpoint and end; what it says meanwhile is let go."""
    assert process.stdin is not None and process.stdout is not None
    with suppress(TimeoutError, ConnectionError):
        process.stdin.write(STOP)
        async with asyncio.timeout(STOP_SECONDS):
            while await process.stdout.read(1 << 16):
                pass
            await process.wait()
