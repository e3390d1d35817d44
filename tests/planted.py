"""Secrets that tests plant in documents, queries, keys and cookies, and the search for them in logs.

Import `DOCUMENT` beside a test's own documents. When a test run ends, `tests/conftest.py` searches all that its
processes have logged; a test that uses keys or cookies calls `assert_absent` with them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

DOCUMENT_TEXT = "planted text of a document: zebrafish ledger 4711"
METADATA_VALUE = "planted metadata value: quokka invoice 0815"
QUERY = "planted query of a search: axolotl receipt 1234"
DOCUMENT = {"id": "planted", "text": DOCUMENT_TEXT, "note": METADATA_VALUE}
SECRETS = (DOCUMENT_TEXT, METADATA_VALUE, QUERY)
"""Search for parts of these too: a log that cuts a text still shows its beginning."""
_PART = 16
"""A secret counts as revealed when this many of its characters in a row stand in a log."""


def logs_below(folder: Path) -> list[Path]:
    """The files that processes of tests have logged to: named `log` or `*.log`."""
    return [path for path in folder.rglob("*log") if path.name in ("log", f"{path.stem}.log") and path.is_file()]


def assert_absent(logs: Iterable[Path], *secrets: str) -> None:
    """Fails where a log holds a part of a secret, of those given and of SECRETS. Of folders, all logs."""
    files = [file for path in logs for file in (sorted(logs_below(path)) if path.is_dir() else [path])]
    assert files, "there are no logs to search"
    for file in files:
        text = file.read_text(errors="replace")
        for secret in (*SECRETS, *secrets):
            for start in range(0, max(1, len(secret) - _PART), _PART // 2):
                part = secret[start : start + _PART]
                assert part not in text, f"{file} holds {part!r}: …{_line_of(text, part)}…"


def _line_of(text: str, part: str) -> str:
    position = text.index(part)
    return text[max(0, position - 200) : position + 200]
