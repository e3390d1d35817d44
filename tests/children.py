"""Processes that tests start, and that none of them outlives."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def tied(*command: str | Path) -> Sequence[str | Path]:
    """The command, killed by the kernel when this process ends, however it ends.

    setpriv asks the kernel for that and then becomes the command: it is the same process. Where there is no setpriv,
    outside Linux, the command is unchanged.
    """
    setpriv = shutil.which("setpriv")
    return command if setpriv is None else (setpriv, "--pdeathsig", "KILL", *command)


@contextmanager
def stopped_with_this_process(script: Path, folder: Path) -> Generator[None]:
    """Stops the server that a script keeps in a folder, and deletes the folder, at the end of the block or of this
    process, however it ends."""
    command = 'read -r _; "$1" stop "$2"; rm -rf "$2"'
    with subprocess.Popen(
        ["sh", "-c", command, "sh", script, folder], stdin=subprocess.PIPE, start_new_session=True
    ):  # reads until this process closes its input
        yield


def end_with_parent() -> None:
    """Has the kernel kill this process when the thread that started it ends. On Linux only; elsewhere does nothing."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
