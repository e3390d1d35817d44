"""The `prisma` command. Its commands are imported by `main`, so that Ctrl-C ends it silently while they load, too."""

from __future__ import annotations

import os
import signal

INTERRUPTED = 130
"""Exit status after Ctrl-C."""


def main() -> None:
    """Runs the command."""
    signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(INTERRUPTED))
    from prisma_client.cli import commands

    signal.signal(signal.SIGINT, signal.default_int_handler)
    commands.main()
