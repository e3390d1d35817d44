"""Bars of long work: in a terminal and in a notebook; none in scripts, for short work, or if they are not wanted."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from prisma_common import progress
from tests.terminal import output_in_terminal

WORK = """
from prisma_common import progress
progress.DELAY_SECONDS = {delay}
with progress.bar("embed", enabled={enabled}) as report:
    for done in range(1, 4):
        report(done, 3, f"{{done}} of 3 [bold]rows[/bold]")
print("done")
"""


def in_terminal(delay: float = 0, enabled: bool | None = None) -> str:
    """What a program with work writes on a terminal."""
    return output_in_terminal([sys.executable, "-c", WORK.format(delay=delay, enabled=enabled)])


def test_a_terminal_shows_how_far_the_work_is() -> None:
    output = in_terminal()
    assert "embed" in output
    assert "3 of 3 [bold]rows[/bold]" in output, "texts of a server are no markup"


def test_short_work_and_work_whose_bar_is_not_wanted_show_nothing() -> None:
    assert in_terminal(delay=60).strip() == "done"
    assert in_terminal(enabled=False).strip() == "done"


def test_a_script_whose_errors_go_to_a_file_shows_nothing() -> None:
    command = [sys.executable, "-c", WORK.format(delay=0, enabled=None)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("done\n", "")


def test_a_notebook_shows_one_escaped_bar_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    cells: list[list[str]] = []

    def display(content: str, *, display_id: bool) -> Any:
        assert display_id
        cells.append([content])
        return SimpleNamespace(update=cells[-1].append)

    module = ModuleType("IPython")
    module.get_ipython = lambda: SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    module.display = SimpleNamespace(HTML=str, display=display)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setattr(progress, "DELAY_SECONDS", 0)
    with progress.bar("<b>embed</b>") as report:
        for done in range(1, 101):
            report(done, 100, f"<i>{done}</i>")
    [contents] = cells
    assert "<b>" not in "".join(contents)
    assert "max='100' value='100'" in contents[-1]
    assert "&lt;i&gt;100&lt;/i&gt;" in contents[-1]
    assert len(contents) < 20, "a notebook keeps each message"
