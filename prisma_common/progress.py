"""A progress bar where a person watches: in a terminal by rich, in a notebook as HTML that replaces itself."""

from __future__ import annotations

import html
import multiprocessing
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Protocol

DELAY_SECONDS = 0.5
"""Work that takes less time has no bar."""
_NOTEBOOK_SECONDS = 0.2
"""Between two changes of a notebook's bar."""


class Report(Protocol):
    """Shows how far some work is."""

    def __call__(self, done: int, total: int | None, text: str = "", *, title: str | None = None) -> None:
        """total: None where it is not known. text: behind the bar. title: before it, instead of the first one."""
        ...


@contextmanager
def bar(title: str, *, enabled: bool | None = None) -> Generator[Report]:
    """Yields a function that shows the progress of the work within. It has no bar before half a second of it.

    enabled: None for a bar in a notebook, or if standard error is a terminal; False for none.
    """
    kind = _kind(enabled)
    if kind is None:
        yield _silent
        return
    current = _Delayed(kind, title)
    try:
        yield current.report
    finally:
        current.close()


def _silent(done: int, total: int | None, text: str = "", *, title: str | None = None) -> None:
    """Shows nothing."""


class _Bar(Protocol):
    def __init__(self, title: str) -> None: ...

    def update(self, done: int, total: int | None, text: str, title: str) -> None: ...

    def close(self) -> None: ...


class _Delayed:
    """A bar that appears once the work takes long."""

    def __init__(self, kind: type[_Bar], title: str) -> None:
        self._kind = kind
        self._title = title
        self._start = time.monotonic()
        self._bar: _Bar | None = None

    def report(self, done: int, total: int | None, text: str = "", *, title: str | None = None) -> None:
        self._title = title or self._title
        if self._bar is None:
            if time.monotonic() - self._start < DELAY_SECONDS:
                return
            self._bar = self._kind(self._title)
        self._bar.update(done, total, text, self._title)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class _TerminalBar:
    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task = self._progress.add_task(title, total=None, text="")
        self._progress.start()

    def update(self, done: int, total: int | None, text: str, title: str) -> None:
        self._progress.update(self._task, completed=done, total=total, text=text, description=title)

    def close(self) -> None:
        self._progress.stop()


class _NotebookBar:
    def __init__(self, title: str) -> None:
        from IPython import display  # pyright: ignore[reportMissingImports]  # a notebook has it

        self._html: Any = display.HTML
        self._handle: Any = display.display(self._html(html.escape(title)), display_id=True)
        self._update_time = 0.0
        self._latest = html.escape(title)

    def update(self, done: int, total: int | None, text: str, title: str) -> None:
        state = f"max='{total}' value='{min(done, total)}'" if total else ""
        self._latest = f"{html.escape(title)} <progress {state}></progress> {html.escape(text)}"
        if time.monotonic() - self._update_time >= _NOTEBOOK_SECONDS:
            self._update_time = time.monotonic()
            self._handle.update(self._html(self._latest))

    def close(self) -> None:
        self._handle.update(self._html(self._latest))


def _kind(enabled: bool | None) -> type[_Bar] | None:
    if enabled is False or multiprocessing.parent_process() is not None:  # a worker's bar would mix with others
        return None
    if _in_notebook():
        return _NotebookBar
    return _TerminalBar if enabled or sys.stderr.isatty() else None


def _in_notebook() -> bool:
    """Whether the program runs in the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")
