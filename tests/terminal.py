"""Programs on a terminal, as a person sees them."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Mapping, Sequence


def output_in_terminal(command: Sequence[str], environment: Mapping[str, str] = os.environ) -> str:
    """What a program writes to both of its outputs on a terminal. Raises AssertionError if it fails."""
    leader, follower = pty.openpty()
    with subprocess.Popen(command, stdout=follower, stderr=follower, env={**environment, "TERM": "xterm"}) as process:
        os.close(follower)
        output = b""
        while part := _read(leader):
            output += part
    os.close(leader)
    assert process.returncode == 0, output
    return output.decode()


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 4096)
    except OSError:  # Linux's end of a terminal whose other side is closed
        return b""
