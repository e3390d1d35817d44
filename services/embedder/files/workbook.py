"""Writes a sheet of a workbook as JSON, in a process of its own.

A sheet is held in memory with all cells between its first and its last, so a small file can ask for more
memory than there is. The process reads the workbook from its standard input, which is a file.
Its first line names the sheets, or says what is wrong; each further line is a row, without the empty cells at its end.
"""

from __future__ import annotations

import ctypes
import datetime
import json
import mmap
import resource
import signal
import sys
import zipfile
from contextlib import suppress

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook

MAX_MEMORY_BYTES = 2 << 30
_MAX_CPU_SECONDS = 600
_PR_SET_PDEATHSIG = 1
"""Of Linux: the signal that a process gets when the one that started it has died."""


def main(sheet_name: str | None) -> None:
    """Writes the sheet with this name, or the first one that has rows."""
    _limit_resources()
    try:
        workbook = CalamineWorkbook.from_filelike(  # its position is not shared with the process that started this one
            mmap.mmap(0, 0, access=mmap.ACCESS_READ)  # pyright: ignore[reportArgumentType] - it reads and seeks
        )
        names = workbook.sheet_names
        if sheet_name is not None and sheet_name not in names:
            _write({"sheets": names})
            return
        candidates = [sheet_name] if sheet_name is not None else names
        sheets = (workbook.get_sheet_by_name(name) for name in candidates)
        sheet = next((sheet for sheet in sheets if sheet.height and sheet.width), None)
    except (CalamineError, zipfile.BadZipFile, OSError) as error:
        _write({"error": str(error)})
        return
    _write({"sheets": names, "sheet": None if sheet is None else sheet.name})
    if sheet is not None:
        _write_rows(sheet)


def _limit_resources() -> None:
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (_MAX_CPU_SECONDS, _MAX_CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    if sys.platform == "linux":  # elsewhere it ends with its next row, as nobody reads it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _write_rows(sheet: CalamineSheet) -> None:
    for row in sheet.iter_rows():
        cells = [_json_value(cell) for cell in row]
        while cells and cells[-1] is None:
            cells.pop()
        _write(cells)


def _write(value: object) -> None:
    sys.stdout.buffer.write(json.dumps(value, ensure_ascii=False).encode(errors="replace") + b"\n")


def _json_value(cell: object) -> object:
    """A cell as JSON has it: whole numbers without a fraction, times in ISO 8601, None for an empty cell."""
    if cell == "":
        return None
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    if isinstance(cell, datetime.datetime) and cell.time() == datetime.time():
        return cell.date().isoformat()
    if isinstance(cell, datetime.datetime | datetime.date | datetime.time):
        return cell.isoformat()
    if isinstance(cell, datetime.timedelta):
        return cell.total_seconds()
    return cell


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
