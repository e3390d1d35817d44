"""Processes that tests start, and that none of them outlives."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path


def tied(*command: str | Path) -> Sequence[str | Path]:
    """The command, killed by the kernel when this process ends, however it ends.

    setpriv asks the kernel for that and then becomes the command: it is the same process. Where there is no setpriv,
    outside Linux, the command is unchanged.
    """
    setpriv = shutil.which("setpriv")
    return command if setpriv is None else (setpriv, "--pdeathsig", "KILL", *command)
