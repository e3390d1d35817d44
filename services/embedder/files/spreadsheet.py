"""Workbooks of Excel (.xlsx, .xlsb, .xls) and OpenDocument (.ods)."""

from __future__ import annotations

import datetime
import zipfile
from collections.abc import Collection, Iterator
from typing import IO

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook

from services.embedder.errors import FileTooLarge, InvalidFile
from services.embedder.files.formats import FileOptions, Format, Item, Layout
from services.embedder.files.names import column_names, is_header

_MAX_UNPACKED_BYTES = 512 << 20
"""A sheet is held in memory as a whole."""


class SpreadsheetReader:
    """One sheet of a workbook: the one that is named, or the first that has rows."""

    def __init__(self, file: IO[bytes], options: FileOptions) -> None:
        """Raises InvalidFile, FileTooLarge."""
        _check_size(file)
        try:
            file.seek(0)
            workbook = CalamineWorkbook.from_filelike(file)  # pyright: ignore[reportArgumentType] - any binary file
            names = workbook.sheet_names
            if options.sheet is not None and options.sheet not in names:
                raise InvalidFile(f"sheet: the workbook has {_listed(names)}, not {options.sheet[:60]!r}")
            candidates = [options.sheet] if options.sheet is not None else names
            sheets = (workbook.get_sheet_by_name(name) for name in candidates)
            sheet = next((sheet for sheet in sheets if sheet.height and sheet.width), None)
        except (CalamineError, zipfile.BadZipFile, OSError) as error:
            raise InvalidFile(f"the workbook cannot be read: {str(error)[:200]}") from None
        if sheet is None:
            raise InvalidFile("expected a table; the workbook has no rows")
        self._sheet: CalamineSheet = sheet
        first = [_json_value(cell) for cell in next(sheet.iter_rows())]
        has_header = is_header(first) if options.has_header is None else options.has_header
        columns, notes = column_names(first if has_header else [None] * len(first))
        if options.sheet is None and len(names) > 1:
            notes.append(f"Only the sheet {sheet.name[:60]!r} is read; the workbook has {_listed(names)}.")
        self._layout = Layout(Format.SPREADSHEET, has_header=has_header, sheet=sheet.name, columns=columns, notes=notes)

    @property
    def layout(self) -> Layout:
        """How the sheet is read."""
        return self._layout

    def items(self, texts: Collection[str] = ()) -> Iterator[Item]:
        """The rows, as objects without the cells that are empty; rows without a cell are left out."""
        columns = self._layout.columns or ()
        rows = self._sheet.iter_rows()
        if self._layout.has_header:
            next(rows)
        for place, row in enumerate(rows, start=1):
            cells = zip(columns, (_json_value(cell) for cell in row), strict=True)
            values = {name: str(cell) if name in texts else cell for name, cell in cells if cell is not None}
            if values:
                yield place, values


def _check_size(file: IO[bytes]) -> None:
    """Raises FileTooLarge for a workbook that would not fit into memory."""
    file.seek(0)
    if not zipfile.is_zipfile(file):
        return
    with zipfile.ZipFile(file) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > _MAX_UNPACKED_BYTES:
        raise FileTooLarge(
            f"the workbook has {size:,} bytes unpacked, at most {_MAX_UNPACKED_BYTES:,} are read; save it as CSV",
            metadata={"limit": str(_MAX_UNPACKED_BYTES)},
        )


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


def _listed(names: list[str]) -> str:
    return f"the sheets {', '.join(name[:60] for name in names[:20])}"
