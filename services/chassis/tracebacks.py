"""Exceptions as text for the log: plain, bounded, and without the data that the failing code handled.

Local variables are never shown. Quoted text in messages may be a document or a key (`invalid literal '…'`), so it is
replaced unless it is a short identifier; the traceback names the line of code, which is what finds the defect.
"""

from __future__ import annotations

import re
import traceback
from collections import deque
from itertools import islice
from types import TracebackType

FIRST_FRAMES = 5
LAST_FRAMES = 15
MAX_CAUSES = 4
MAX_MESSAGE = 300
MAX_TRACEBACK = 8 << 10
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_IDENTIFIER = re.compile(r"['\"][A-Za-z_][A-Za-z_.]{0,31}['\"]")
_PARAMETERS = re.compile(r"\[(?:SQL|parameters):.*", re.DOTALL)
"""What SQLAlchemy appends to its messages: statements and the values of rows."""


def describe(error: BaseException) -> str:
    """The traceback of an error and its causes, at most MAX_TRACEBACK characters."""
    parts: list[str] = []
    cause: BaseException | None = error
    for _ in range(MAX_CAUSES):
        if cause is None:
            break
        parts.append(_one(cause))
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    text = "\ncaused by:\n".join(parts)
    if len(text) > MAX_TRACEBACK:
        text = f"{text[: MAX_TRACEBACK // 2]}\n…\n{text[-MAX_TRACEBACK // 2 :]}"
    return text


def message_of(error: BaseException) -> str:
    """An error's message on one line, bounded, quoted text replaced."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the error path must not fail on a broken __str__
        return "(no message)"
    plain = _QUOTED.sub(_shown, _PARAMETERS.sub("", text[: 4 * MAX_MESSAGE]))
    # An opening quote whose end was cut off, or an unquoted text of several lines.
    return plain.partition("\n")[0][:MAX_MESSAGE]


def _one(error: BaseException) -> str:
    summary = "".join(traceback.format_list(_frames(error.__traceback__)))
    name = type(error).__qualname__
    if isinstance(error, BaseExceptionGroup):
        inner = ", ".join(f"{type(part).__qualname__}: {message_of(part)}" for part in islice(error.exceptions, 3))
        return f"{summary}{name}: {len(error.exceptions)} errors: {inner}"
    return f"{summary}{name}: {message_of(error)}"


def _frames(start: TracebackType | None) -> traceback.StackSummary:
    """The first and the last frames; the lines of source of the others are never read."""
    first = list(islice(traceback.walk_tb(start), FIRST_FRAMES))
    last = deque(islice(traceback.walk_tb(start), FIRST_FRAMES, None), LAST_FRAMES)
    return traceback.StackSummary.extract(iter([*first, *last]), capture_locals=False)


def _shown(match: re.Match[str]) -> str:
    return match[0] if _IDENTIFIER.fullmatch(match[0]) else "'…'"
