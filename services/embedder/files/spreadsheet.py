"""Workbooks of Excel (.xlsx, .xlsb, .xls) and OpenDocument (.ods)."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import select
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Collection, Iterator, Sequence
from itertools import chain, islice, repeat
from typing import IO, cast

from services.embedder.errors import FileTooLarge, InvalidFile
from services.embedder.files.archives import Unpacking
from services.embedder.files.formats import FileOptions, Format, Item, Layout, Limits
from services.embedder.files.lines import read_lines
from services.embedder.files.names import MAX_PREAMBLE, find_header, preamble_length, preamble_notes
from services.embedder.items import ItemRejected, Reason

_MAX_UNPACKED_BYTES = 512 << 20
"""A sheet is held in memory as a whole."""
_CHILD = "services.embedder.files.workbook"
_POLL_SECONDS = 0.2


class SpreadsheetReader:
    """One sheet of a workbook: the one that is named, or the first that has rows.

    A process of its own reads the workbook (see `workbook`); its rows are kept in a temporary file.
    """

    def __init__(self, file: IO[bytes], options: FileOptions, unpacking: Unpacking, limits: Limits) -> None:
        """Raises InvalidFile, FileTooLarge."""
        if importlib.util.find_spec("python_calamine") is None:
            raise ImportError("python_calamine")
        _check_size(file)
        self._limits = limits
        self._rows = _sheet_rows(file, options.sheet, unpacking)
        workbook = json.loads(self._rows.readline())
        if "error" in workbook:
            raise InvalidFile(f"the workbook cannot be read: {workbook['error'][:200]}")
        names = cast("list[str]", workbook["sheets"])
        if "sheet" not in workbook:
            raise InvalidFile(f"sheet: the workbook has {_listed(names)}, not {str(options.sheet)[:60]!r}")
        sheet = cast("str | None", workbook["sheet"])
        if sheet is None:
            raise InvalidFile("expected a table; the workbook has no rows")
        self._start = self._rows.tell()
        width = max((len(row) for row in self._cells() if row is not None), default=0)
        first_rows = [row or [] for row in islice(self._cells(), MAX_PREAMBLE + 1)]
        self._preamble_rows = preamble_length(first_rows, has_header=options.has_header)
        first = first_rows[self._preamble_rows] if first_rows else []
        first += [None] * (width - len(first))
        header = find_header(first, has_header=options.has_header)
        notes = [*preamble_notes(first_rows[: self._preamble_rows]), *header.notes]
        if options.sheet is None and len(names) > 1:
            notes.append(f"Only the sheet {sheet[:60]!r} is read; the workbook has {_listed(names)}.")
        self._layout = Layout(
            Format.SPREADSHEET, has_header=header.is_in_file, sheet=sheet, columns=header.columns, notes=notes
        )

    @property
    def layout(self) -> Layout:
        """How the sheet is read."""
        return self._layout

    def items(self, texts: Collection[str] = ()) -> Iterator[Item]:
        """The rows, as objects without the cells that are empty; rows without a cell are left out."""
        columns = self._layout.columns or ()
        rows = islice(self._cells(), self._preamble_rows, None)
        if self._layout.has_header:
            next(rows)
        for place, row in enumerate(rows, start=1):
            if row is None:
                message = f"the row has more than {self._limits.item_bytes:,} bytes"
                yield place, ItemRejected(Reason.TEXT_TOO_LONG, message)
                continue
            cells = zip(columns, chain(row, repeat(None)), strict=False)
            values = {name: str(cell) if name in texts else cell for name, cell in cells if cell is not None}
            if values:
                yield place, values

    def _cells(self) -> Iterator[list[object] | None]:
        """The rows without the empty cells at their ends; None for one that is too long."""
        self._rows.seek(self._start)
        for line in read_lines(self._rows, self._limits.item_bytes):
            yield None if line is None else json.loads(line)


class _Output(io.RawIOBase):
    """What a process writes. Raises Cancelled while it waits for the process, and OSError where that failed."""

    def __init__(self, process: subprocess.Popen[bytes], unpacking: Unpacking) -> None:
        self._process = process
        self._unpacking = unpacking

    def read(self, size: int = -1) -> bytes:
        """Some bytes as soon as there are any; none at the end."""
        assert self._process.stdout is not None
        while not select.select([self._process.stdout], [], [], _POLL_SECONDS)[0]:
            self._unpacking.check_stopped()
        return os.read(self._process.stdout.fileno(), size)


def _sheet_rows(file: IO[bytes], sheet: str | None, unpacking: Unpacking) -> IO[bytes]:
    """What the child process writes of a workbook. Raises InvalidFile, FileTooLarge."""
    with unpacking.temporary_file() as copy:
        try:
            file.flush()
            stdin = file.fileno()
        except io.UnsupportedOperation:
            file.seek(0)
            shutil.copyfileobj(file, copy)
            copy.flush()
            stdin = copy.fileno()
        process = subprocess.Popen(  # noqa: S603 - our own module; the sheet's name is an argument of it
            [sys.executable, "-m", _CHILD, *([] if sheet is None else [sheet])],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    with process:
        try:
            rows = unpacking.keep(lambda: _Output(process, unpacking), "the workbook")
        except BaseException:
            process.kill()
            raise
    if process.returncode < 0:
        raise FileTooLarge("the workbook takes too much memory: delete cells far from the table, or save it as CSV")
    if process.returncode > 0:
        raise InvalidFile("the workbook cannot be read, or takes too much memory: save it as CSV")
    return rows


def _check_size(file: IO[bytes]) -> None:
    """Raises FileTooLarge for a workbook that would not fit into memory."""
    size = file.seek(0, 2)
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            size = sum(member.file_size for member in archive.infolist())
    if size > _MAX_UNPACKED_BYTES:
        raise FileTooLarge(
            f"the workbook has {size:,} bytes unpacked, at most {_MAX_UNPACKED_BYTES:,} are read; save it as CSV",
            metadata={"limit": str(_MAX_UNPACKED_BYTES)},
        )


def _listed(names: Sequence[str]) -> str:
    return f"the sheets {', '.join(name[:60] for name in names[:20])}"
