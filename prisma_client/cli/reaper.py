"""Ends the stack's processes when the stack itself was killed: it holds a pipe to the stack, and acts when that closes.

Run by its path, so that it imports nothing but the standard library. On standard input: `+<pid>` for a process group
that started, `-<pid>` for one that ended. It inherits the lock of the data folder, which is thus held until all
processes have ended.
"""

from __future__ import annotations

import os
import signal
import sys
import time

GRACE_SECONDS = 10.0


def main() -> None:
    """Reads until the stack ends, then stops the process groups that are left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    _signal(groups, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while groups and time.monotonic() < deadline:
        time.sleep(0.05)
        _signal(groups, 0)
    _signal(groups, signal.SIGKILL)


def _signal(groups: set[int], number: int) -> None:
    """Sends a signal to each group, and forgets those that have ended."""
    for group in list(groups):
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            groups.discard(group)
        except PermissionError:
            groups.discard(group)  # the id belongs to another user's process by now


if __name__ == "__main__":
    main()
