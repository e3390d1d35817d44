"""Secrets that tests plant in documents, keys and cookies, and the search for them in logs.

Import `DOCUMENT` beside a test's own documents, and use keys and cookies; afterwards call `assert_absent` with every
log that the processes have written. What starts a whole installation does both.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

DOCUMENT_TEXT = "planted text of a document: zebrafish ledger 4711"
METADATA_VALUE = "planted metadata value: quokka invoice 0815"
DOCUMENT = {"id": "planted", "text": DOCUMENT_TEXT, "note": METADATA_VALUE}
SECRETS = (DOCUMENT_TEXT, METADATA_VALUE)
"""Search for parts of these too: a log that cuts a text still shows its beginning."""
_PART = 16
"""A secret counts as revealed when this many of its characters in a row stand in a log."""


def assert_absent(logs: Iterable[Path], *secrets: str) -> None:
    """Fails where a log holds a part of a secret, of those given and of SECRETS. Folders are searched for `*.log`."""
    files = [file for path in logs for file in (sorted(path.rglob("*.log")) if path.is_dir() else [path])]
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
