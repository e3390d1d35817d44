"""How long to wait for a server that is unreachable, and when to give up."""

from __future__ import annotations

import logging
import time

from prisma_client.errors import Unavailable

PATIENCE_SECONDS = 600.0
"""How long following a job outlasts an outage, by default."""
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0

_log = logging.getLogger("prisma_client")


class Outage:
    """The time since a server last answered. patience: seconds without an answer after which it is given up."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._pause = FIRST_PAUSE_SECONDS
        self._start: float | None = None

    def end(self) -> None:
        """Records an answer."""
        self._start = None
        self._pause = FIRST_PAUSE_SECONDS

    def next_pause(self, error: Unavailable) -> float:
        """Returns the seconds to wait before the next attempt: twice as long each time, up to ten.

        Logs a warning when the outage begins. Raises `error` once the server was unreachable for `patience` seconds.
        """
        now = time.monotonic()
        if self._start is None:
            self._start = now
            _log.warning("reconnecting: %s", error.message)
        elif now - self._start > self._patience:
            raise error
        pause = self._pause
        self._pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        return pause
