"""Gives the large segments of vectors their screens, in one thread for all streams of an index.

A commit does not wait for it: until a segment has its screen, its vectors are scanned. A screen that was being built
when the process ended is built again.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from services.chassis.errors import PrismaError
from services.search.embedded import screens

_log = logging.getLogger(__name__)


class Screened(Protocol):
    """A store of vectors that has screens."""

    def needs_screens(self) -> bool:
        """Whether a segment lacks its screen."""
        ...

    def update_screens(self, check: Callable[[], None]) -> None:
        """Gives each large segment its screen. check: raises Stopped where that must end. Raises NoFaiss, OSError."""
        ...


class ScreenBuilder:
    """Updates the screens of stores, one after the other. Its thread starts when there is something to do."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._stores = deque[Screened]()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._is_busy = False

    def schedule(self, store: Screened) -> None:
        """Has the screens of a store updated soon."""
        if not store.needs_screens():
            return
        with self._changed:
            if self._is_closed or store in self._stores:
                return
            self._stores.append(store)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="screens", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def wait(self) -> None:
        """Returns when nothing is left to do."""
        with self._changed:
            self._changed.wait_for(lambda: not self._stores and not self._is_busy)

    def close(self) -> None:
        """Ends the thread, within the time of a part of its work."""
        with self._changed:
            self._is_closed = True
            self._stores.clear()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._stores or self._is_closed)
                if self._is_closed:
                    return
                store = self._stores.popleft()
                self._is_busy = True
            self._update(store)

    def _update(self, store: Screened) -> None:
        with suppress(screens.Stopped):
            try:
                store.update_screens(self._check)
            except screens.NoFaiss as error:
                _log.warning("all vectors are compared in each search: %s", error)
                self._stop()
            except (OSError, RuntimeError, MemoryError, PrismaError):  # faiss raises RuntimeError
                _log.exception("vectors have no screen, so all of them are compared until the next commit or start")

    def _check(self) -> None:
        if self._is_closed:
            raise screens.Stopped

    def _stop(self) -> None:
        with self._changed:
            self._is_closed = True
            self._stores.clear()
