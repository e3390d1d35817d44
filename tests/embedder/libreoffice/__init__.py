"""Workbooks that LibreOffice wrote, which is too large to install for a test, and the rows that are in them.

`python -m tests.embedder.libreoffice` writes them again: it needs `soffice` (they are of version 7.4.7, headless). The
table goes to LibreOffice as CSV whose cells in quotes are texts, and the others numbers, truth values and dates.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
FORMATS = ("xlsx", "ods")
_FILTER = "CSV:44,34,76,1,,0,true,true"
"""Comma, double quote, UTF-8, from the first line; cells in quotes are texts, and others are what they look like."""
_TEXTS = [
    "A plain text.",
    'With "quotes", a comma; a semicolon and a\ttab',
    "Two\nlines",
    "Two\r\nlines of Windows",
    "naïve café, 東京, हिन्दी, 👩‍🔬, \u2028 and é",
    " spaces at both  ends, and within ",
    "=1+1",
    "00123",
    "<p>Markup</p> &amp; entities",
    "2026-01-02",
]


def rows() -> list[dict[str, Any]]:
    """What was written; None for an empty cell."""
    return [
        {
            "key": f"r{row:03}+{'äß'[row % 2]}",
            "body": None if row % 17 == 16 else f"{_TEXTS[row % len(_TEXTS)]}#{row}" if row % 3 else _TEXTS[row % 10],
            "rating": None if row % 7 == 3 else row % 5 + 0.5,
            "helpful": row * 37,
            "verified": row % 2 == 0,
            "date": f"2026-{row % 12 + 1:02}-{row % 28 + 1:02}",
            "code": f"{row:05}",
        }
        for row in range(60)
    ]


def write() -> None:
    """Has LibreOffice write the workbooks."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "reviews.csv"
        lines = [",".join(rows()[0]), *(",".join(_cell(name, value) for name, value in row.items()) for row in rows())]
        table.write_text("\n".join(lines) + "\n", newline="")
        for suffix in FORMATS:
            command = ["soffice", "--headless", f"--infilter={_FILTER}", "--convert-to", suffix]
            subprocess.run([*command, "--outdir", str(FOLDER), str(table)], check=True)


def _cell(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str) and name != "date":
        return '"' + value.replace('"', '""') + '"'
    return str(value).upper()
