"""Tables of text: CSV, with commas, tabs, semicolons or bars between the cells (RFC 4180)."""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter, deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import IO, Self

from prisma_common.structs import MAX_EXACT
from services.chassis.metadata_terms import MAX_INTEGER, MIN_INTEGER
from services.embedder.errors import InvalidFile
from services.embedder.files.formats import FileOptions, Format, Item, Layout, Limits
from services.embedder.files.names import TEXT_NAMES, find_header, is_header, preamble_length, preamble_notes
from services.embedder.items import ItemRejected, Reason

DELIMITERS = ",\t;|"
_SAMPLE_CHARACTERS = 1 << 18
_SAMPLE_ROWS = 200
_MAX_ROW = 16 << 20
"""Characters of a row, beyond which a quote that is not closed is likelier."""
_CONSISTENT_SHARE = 0.9
"""Of the sample's rows so many have the same number of cells in a table."""
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_NUMBER = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_MAX_DIGITS = 15
"""Significant digits that every double keeps."""
_ABSENT = {"", "NaN", "nan", "NA", "N/A", "null", "NULL", "None", "inf", "-inf"}
"""What stands for a missing number."""
_BOOLEANS = {"true": True, "false": False}
_SEPARATOR = re.compile(r'"?sep=([,;|\t])"?\r?\n')
"""Excel's line above a table."""


def find_delimiter(sample: str) -> str | None:
    """The delimiter with which the beginning of a file is a table, None if it is no table."""
    best: tuple[float, int] = (_CONSISTENT_SHARE, 1)
    delimiter = None
    for candidate in DELIMITERS:
        rows = list(_sample_rows(sample, candidate))
        widths = [len(row) for row in rows[preamble_length(rows, has_header=None) :] if any(row)]
        if not widths:
            continue
        width, count = Counter(widths).most_common(1)[0]
        if len(widths) > 1 and width > 1 and (count / len(widths), width) > best:
            best, delimiter = (count / len(widths), width), candidate
    return delimiter


def has_usual_names(sample: str) -> bool:
    """Whether the first line of a file is a table's header: its cells are short, and one is a usual name for texts."""
    line = re.split("[\r\n]", sample, maxsplit=1)[0]
    cells = next(csv.reader([line], delimiter=_header_delimiter(line)), [])
    return is_header(cells) and any(cell.strip().lower() in TEXT_NAMES for cell in cells)


class CsvReader:
    """A table in UTF-8.

    The table is read twice: first to the end, so that each column gets the type of all its cells. A row with too few or
    too many cells, or with a quote that is not closed, is rejected alone.
    """

    def __init__(self, file: IO[bytes], options: FileOptions, limits: Limits) -> None:
        """Raises InvalidFile."""
        self._file = file
        self._limits = limits
        sample = _sample(file)
        separator = _SEPARATOR.match(sample)
        self._skipped_lines = 1 if separator else 0
        sample = sample[separator.end() :] if separator else sample
        self._delimiter = (
            options.delimiter
            or (separator.group(1) if separator else find_delimiter(sample))
            or _header_delimiter(sample.split("\n", 1)[0])
        )
        first_rows = list(_sample_rows(sample, self._delimiter))
        if not first_rows:
            raise InvalidFile("expected a table; the file is empty")
        self._preamble_rows = preamble_length(first_rows, has_header=options.has_header)
        header = find_header(first_rows[self._preamble_rows], has_header=options.has_header)
        self._columns = header.columns
        self._types = self._find_types(header.is_in_file)
        self._layout = Layout(
            Format.CSV,
            delimiter=self._delimiter,
            has_header=header.is_in_file,
            columns=header.columns,
            notes=[*preamble_notes(first_rows[: self._preamble_rows]), *header.notes],
        )

    @property
    def layout(self) -> Layout:
        """How the table is read."""
        return self._layout

    def items(self, texts: Collection[str] = ()) -> Iterator[Item]:
        """The rows, as objects without the cells that are empty."""
        types = [_Type() if name in texts else type_ for name, type_ in zip(self._columns, self._types, strict=True)]
        for place, row in self._rows(self._layout.has_header):
            if isinstance(row, ItemRejected):
                yield place, row
            elif (problem := self._row_problem(row)) is not None:
                yield place, ItemRejected(Reason.INVALID_ROW, problem)
            else:
                cells = zip(self._columns, types, row, strict=True)
                values = ((name, type_.value(cell)) for name, type_, cell in cells if cell)
                yield place, {name: value for name, value in values if value is not None}

    def _find_types(self, has_header: bool) -> list[_Type]:
        """The type of each column."""
        types = [_Type(is_number=True, is_integer=True, is_boolean=True) for _ in self._columns]
        open_types = list(enumerate(types))
        for _place, row in self._rows(has_header):
            if isinstance(row, ItemRejected) or len(row) != len(types):
                continue
            for column, type_ in open_types:
                type_.see(row[column])
            if any(type_.is_text for _column, type_ in open_types):
                open_types = [(column, type_) for column, type_ in open_types if not type_.is_text]
        return types

    def _rows(self, has_header: bool | None) -> Iterator[tuple[int, list[str] | ItemRejected]]:
        """The rows behind the header, each with its place. Empty lines and rows of empty cells are left out."""
        csv.field_size_limit(_MAX_ROW)
        self._file.seek(0)
        text = io.TextIOWrapper(self._file, "utf-8-sig", errors="surrogateescape", newline="")
        try:
            lines = _Lines(text)
            for _ in range(self._skipped_lines):
                next(lines)
            rows = csv.reader(lines, delimiter=self._delimiter, strict=True)
            place = (0 if has_header else 1) - self._preamble_rows
            while (row := self._next_row(rows, lines)) is not None:
                if row != []:
                    if place > 0 and (isinstance(row, ItemRejected) or any(row)):
                        yield place, row
                    place += 1
        finally:
            text.detach()

    def _next_row(self, rows: Iterator[list[str]], lines: _Lines) -> list[str] | ItemRejected | None:
        """The next row; None at the end. After a quote that is wrong, the line below it begins the next row."""
        lines.begin_row()
        try:
            return next(rows, None)
        except csv.Error as error:
            if lines.ended and self._limits.is_partial:
                return None
            count = lines.go_back()
            is_open = count > 1 or "unexpected end" in str(error)
            problem = "is not closed" if is_open else 'is inside of a cell: write it twice, ""'
            return ItemRejected(Reason.INVALID_ROW, f"a quote in this row {problem} ({error})")

    def _row_problem(self, row: list[str]) -> str | None:
        if len(row) == len(self._columns):
            return None
        name = {"\t": "tab", ";": "semicolon", ",": "comma"}.get(self._delimiter, self._delimiter)
        return f"expected {len(self._columns)} cells, got {len(row)}; a cell with a {name} in it needs quotes"


@dataclass
class _Type:
    """What all cells of a column are: the flags that no cell has refuted."""

    is_number: bool = False
    is_integer: bool = False
    is_boolean: bool = False
    _has_value: bool = field(default=False, repr=False)

    @property
    def is_text(self) -> bool:
        """Whether no other type is left."""
        return not (self.is_number or self.is_boolean)

    def see(self, cell: str) -> None:
        """Takes a further cell into account."""
        if not cell:
            return
        self.is_boolean = self.is_boolean and cell.lower() in _BOOLEANS
        if not self.is_number or cell in _ABSENT:
            return
        self._has_value = True
        is_integer = _INTEGER.fullmatch(cell) is not None
        self.is_integer = self.is_integer and is_integer
        self.is_number = MIN_INTEGER <= int(cell) <= MAX_INTEGER if is_integer else _is_exact(cell)

    def value(self, cell: str) -> object:
        """The cell as JSON has it, None for a missing number."""
        if self.is_boolean:
            return _BOOLEANS[cell.lower()]
        if not self.is_number or not self._has_value:
            return cell
        if cell in _ABSENT:
            return None
        is_integer = self.is_integer or (_INTEGER.fullmatch(cell) is not None and abs(int(cell)) > MAX_EXACT)
        return int(cell) if is_integer else float(cell)


def _header_delimiter(line: str) -> str:
    return max(DELIMITERS, key=line.count)


def _is_exact(cell: str) -> bool:
    """Whether a cell is a finite number all of whose digits a double keeps."""
    if _NUMBER.fullmatch(cell) is None:
        return False
    digits = re.split("[eE]", cell)[0].replace(".", "").lstrip("-0")
    return len(digits) <= _MAX_DIGITS and math.isfinite(float(cell))


def _sample(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(_SAMPLE_CHARACTERS).decode("utf-8-sig", "replace")


def _sample_rows(sample: str, delimiter: str) -> Iterator[list[str]]:
    """The first rows that are complete in a sample."""
    rows: list[list[str]] = []
    csv.field_size_limit(_MAX_ROW)
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
    for row in reader:
        if row:
            rows.append(row)
        if len(rows) > _SAMPLE_ROWS:
            break
    cut = len(sample) >= _SAMPLE_CHARACTERS / 4 and len(rows) > 1
    return iter(rows[:-1] if cut else rows)


class _Lines:
    """The lines of a text. Those of the row that is being read can be read again."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._again: deque[str] = deque()
        self._of_row: list[str] = []
        self._size = 0
        self.ended = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        """Raises csv.Error for a row that is too long to be held in memory, InvalidFile for a line that is."""
        if self._size > _MAX_ROW:
            raise csv.Error(f"the row has more than {_MAX_ROW:,} characters")
        line = self._again.popleft() if self._again else self._text.readline(_MAX_ROW)
        if not line:
            self.ended = True
            raise StopIteration
        if len(line) == _MAX_ROW and not line.endswith(("\n", "\r")):
            raise InvalidFile(f"a line of the table has more than {_MAX_ROW:,} characters")
        self._of_row.append(line)
        self._size += len(line)
        return line

    def begin_row(self) -> None:
        """The next line begins a row."""
        self._of_row.clear()
        self._size = 0

    def go_back(self) -> int:
        """Reads the lines of the row again, but the first; returns their number."""
        self._again.extendleft(reversed(self._of_row[1:]))
        self.ended = False
        return len(self._of_row)
