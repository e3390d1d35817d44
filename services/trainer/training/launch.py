"""Starts training processes, reads their reports, and leaves none of them behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress

from services.chassis import logs
from services.chassis.errors import PrismaError, StorageFull
from services.chassis.threads import to_the_end
from services.trainer.errors import InvalidVector, TrainingDiverged, TrainingFailed
from services.trainer.group import Group
from services.trainer.sae.config import Config
from services.trainer.sae.kernels import compiling
from services.trainer.training.protocol import STOP, Failed, Message, Task, decode

CHECKPOINT_SECONDS = 5.0
"""How long a process may take to write its last checkpoint when it is stopped."""
_STDERR_CHARACTERS = 2000
_LINE_BYTES = 1 << 20
ONE_PROCESS = Group()
_MODULE = "services.trainer.training"
_BACKGROUND_NICENESS = 10

_log = logs.get(__name__)


async def train(
    task: Task, group: Group = ONE_PROCESS, *, keep_progress: Callable[[], bool] = lambda: False
) -> AsyncGenerator[Message]:
    """The process's reports, one by one; the process ends when the caller stops reading.

    If `keep_progress` says so then, it has a few seconds to write a checkpoint first. Several processes are started by
    torchrun, which restarts all of them from the last checkpoint when one dies, and waits until every host has joined.

    Raises TrainingFailed with the end of its standard error when the process dies, TrainingDiverged, StorageFull,
    InvalidVector.
    """
    batch_size = {**Config.defaults(), **task.settings}["batch_size"] if task.config is None else task.config.batch_size
    if batch_size % group.size:
        raise TrainingFailed(f"expected a batch size that {group.size} processes can share, got {batch_size}")
    process = await _start(task, group)
    assert process.stdout is not None and process.stderr is not None
    errors = asyncio.create_task(process.stderr.read())
    try:
        async for line in process.stdout:
            message = decode(line)
            if isinstance(message, Failed):
                raise _error(message)
            yield message
        status = await process.wait()
        if status != 0:
            raise TrainingFailed(_describe_death(status, await errors, torchrun=group.size > 1))
    finally:
        try:
            await to_the_end(end_process_group(process, keep_progress=group.size == 1 and keep_progress()))
        finally:
            errors.cancel()


def torchrun_arguments(group: Group) -> list[str]:
    """Arguments for Python that start this host's processes, and restart all of them when one dies."""
    if group.rendezvous is None:
        meeting = ["--standalone"]
    else:
        meeting = [f"--nnodes={group.hosts}", "--rdzv-backend=c10d", f"--rdzv-endpoint={group.rendezvous}"]
        meeting.append("--rdzv-id=prisma")
    restarts = [f"--nproc-per-node={group.processes}", "--max-restarts=3"]
    return ["-m", "torch.distributed.run", *meeting, *restarts, "-m", _MODULE]


def environment() -> dict[str, str]:
    """Environment of a process that the trainer starts."""
    path = os.pathsep.join(filter(None, sys.path))
    # How many turns a thread spins while it waits for the next parallel loop: enough for the loops within a step. With
    # libgomp's default, thirty times as many, waiting threads keep cores from the threads that they wait for: as soon
    # as the machine does anything else, a step takes two or three times as long.
    waiting = {"GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "10000")}
    # By default torchrun keeps one store for all attempts, and a restarted process reads the address of a peer that
    # died in the attempt before: https://github.com/pytorch/pytorch/issues/135712.
    return {
        **os.environ,
        **waiting,
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": path,
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }


async def end_process_group(process: asyncio.subprocess.Process, *, keep_progress: bool = False) -> None:
    """Ends a process that leads a group, and the group; to keep its progress, it may write a checkpoint first."""
    if process.returncode is None and keep_progress:
        await _stop_at_checkpoint(process)
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


class KernelCompilation:
    """Compiles the kernels once per version and machine, in a process of its own.

    It runs at low priority while nothing needs the kernels, and at normal priority once a training waits for them.
    """

    def __init__(self) -> None:
        self._finished = asyncio.Event()
        self._urgent = asyncio.Event()
        self.progress = (0, 0)
        """Functions compiled so far, and functions in all."""

    @property
    def finished(self) -> bool:
        """Whether trainings may start: the kernels are compiled, or compiling them failed."""
        return self._finished.is_set()

    async def wait(self, seconds: float) -> None:
        """Waits until it has finished, at most so long, and hurries it."""
        self._urgent.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._finished.wait(), timeout=seconds)

    async def run(self) -> None:
        """Compiles what is missing. A failure is logged: trainings then compile their own kernels."""
        try:
            if not compiling.all_are_cached() and not await self._compile(niceness=_BACKGROUND_NICENESS):
                # A process may not raise its own priority. Kernels that are compiled already are kept.
                await self._compile(niceness=0)
        finally:
            self._finished.set()

    async def _compile(self, *, niceness: int) -> bool:
        """False if it was interrupted because a training waits."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.trainer.sae.warming",
            env=environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, process.pid, niceness)
        compiled = asyncio.create_task(self._follow(process))
        urgent = asyncio.create_task(self._urgent.wait())
        try:
            await asyncio.wait([compiled, urgent] if niceness else [compiled], return_when=asyncio.FIRST_COMPLETED)
            if not compiled.done():
                return False
            if process.returncode:
                _log.warning("kernels were not compiled", error=_tail(compiled.result()))
            return True
        finally:
            urgent.cancel()
            if process.returncode is None:
                process.kill()
            await to_the_end(asyncio.wait([compiled]))

    async def _follow(self, process: asyncio.subprocess.Process) -> bytes:
        """Reads the process's progress until it ends; returns its standard error."""
        assert process.stdout is not None and process.stderr is not None
        errors = asyncio.create_task(process.stderr.read())
        async for line in process.stdout:
            done, total = line.split()
            self.progress = int(done), int(total)
        await process.wait()
        return await errors


async def _start(task: Task, group: Group) -> asyncio.subprocess.Process:
    command = ["-m", _MODULE] if group.size == 1 else torchrun_arguments(group)
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        task.to_json(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
        limit=_LINE_BYTES,
        start_new_session=True,
    )


def _error(failure: Failed) -> PrismaError:
    if failure.cause == "storage-full":
        return StorageFull(f"the training process: {failure.message}")
    if failure.cause == "diverged":
        return TrainingDiverged(failure.message)
    return InvalidVector(f"the training process: {failure.message}")


def _describe_death(status: int, stderr: bytes, *, torchrun: bool) -> str:
    text = stderr.decode(errors="replace").strip()
    if torchrun:
        text = text.rpartition("\nTraceback")[0] or text  # the last traceback is torchrun's own
    end = f"was killed by signal {-status} (out of memory?)" if status < 0 else f"ended with status {status}"
    return f"the training process {end}: {text[-_STDERR_CHARACTERS:] or 'it wrote no error'}"


def _tail(stderr: bytes) -> str:
    return stderr.decode(errors="replace").strip()[-_STDERR_CHARACTERS:]


async def _stop_at_checkpoint(process: asyncio.subprocess.Process) -> None:
    """Lets the process write a checkpoint and end; its last reports are discarded."""
    assert process.stdin is not None and process.stdout is not None
    with suppress(TimeoutError, ConnectionError):
        process.stdin.write(STOP)
        async with asyncio.timeout(CHECKPOINT_SECONDS):
            while await process.stdout.read(1 << 16):
                pass
            await process.wait()
