"""Tables of text: CSV, with commas, tabs, semicolons or bars between the cells (RFC 4180)."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import IO

from services.embedder.errors import InvalidFile
from services.embedder.files.formats import FileOptions, Format, Item, Layout, Limits
from services.embedder.files.names import TEXT_NAMES, column_names, is_header
from services.embedder.items import ItemRejected, Reason
from services.embedder.metadata import MAX_INTEGER

DELIMITERS = ",\t;|"
_SAMPLE_CHARACTERS = 1 << 18
_SAMPLE_ROWS = 200
_MAX_CELL = 64 << 20
"""Characters of a cell, beyond which a quote that is not closed is likelier."""
_CONSISTENT_SHARE = 0.9
"""Of the sample's rows so many have the same number of cells in a table."""
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_LEADING_ZERO = re.compile(r"[+-]?0[0-9]")
_ABSENT = {"", "NaN", "nan", "NA", "N/A", "null", "NULL", "None", "inf", "-inf"}
"""What stands for a missing number."""
_BOOLEANS = {"true": True, "false": False}


def find_delimiter(sample: str) -> str | None:
    """The delimiter with which the beginning of a file is a table, None if it is no table."""
    best: tuple[float, int] = (_CONSISTENT_SHARE, 1)
    delimiter = None
    for candidate in DELIMITERS:
        widths = [len(row) for row in _sample_rows(sample, candidate)]
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

    The table is read twice: first to the end, so that a quote that is not closed is found before anything is imported,
    and each column gets the type of all its cells. A row with too few or too many cells is rejected alone.
    """

    def __init__(self, file: IO[bytes], options: FileOptions, limits: Limits) -> None:
        """Raises InvalidFile."""
        self._file = file
        self._limits = limits
        sample = _sample(file)
        self._delimiter = options.delimiter or find_delimiter(sample) or _header_delimiter(sample.split("\n", 1)[0])
        first = next(_sample_rows(sample, self._delimiter), None)
        if first is None:
            raise InvalidFile("expected a table; the file is empty")
        has_header = is_header(first) if options.has_header is None else options.has_header
        self._columns, notes = column_names(first if has_header else [None] * len(first))
        if options.has_header is None and not has_header:
            notes.append("The first row is taken as data, as it holds numbers, empty cells or one value twice.")
        self._types = self._find_types(has_header)
        self._layout = Layout(
            Format.CSV, delimiter=self._delimiter, has_header=has_header, columns=self._columns, notes=notes
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
        """The type of each column. Raises InvalidFile for a quote that is not closed."""
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
        """The rows behind the header, each with its place; empty lines are no rows."""
        csv.field_size_limit(_MAX_CELL)
        self._file.seek(0)
        text = io.TextIOWrapper(self._file, "utf-8-sig", errors="surrogateescape", newline="")
        try:
            rows = csv.reader(_lines(text), delimiter=self._delimiter, strict=True)
            place = 0 if has_header else 1
            while True:
                row = self._next_row(rows, place)
                if row is None:
                    return
                if row != []:
                    if place:
                        yield place, row
                    place += 1
        finally:
            text.detach()

    def _next_row(self, rows: Iterator[list[str]], place: int) -> list[str] | ItemRejected | None:
        """The next row; None at the end. Raises InvalidFile where nothing behind it can be read."""
        try:
            return next(rows, None)
        except csv.Error as error:
            if self._limits.is_partial and "unexpected end" in str(error):
                return None
            if "unexpected end" in str(error) or "field larger" in str(error):
                raise InvalidFile(f"a quote that opens in row {place:,} of the table is not closed") from None
            return ItemRejected(
                Reason.INVALID_ROW, f'a cell continues behind its closing quote; write " as "" ({error})'
            )

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
        self.is_number = _NUMBER.fullmatch(cell) is not None and not _LEADING_ZERO.match(cell)
        is_integer = self.is_number and _INTEGER.fullmatch(cell) is not None
        self.is_integer = self.is_integer and is_integer
        if is_integer and abs(int(cell)) > MAX_INTEGER:
            self.is_number = False  # all digits are kept as text

    def value(self, cell: str) -> object:
        """The cell as JSON has it, None for a missing number."""
        if self.is_boolean:
            return _BOOLEANS[cell.lower()]
        if not self.is_number or not self._has_value:
            return cell
        if cell in _ABSENT:
            return None
        return int(cell) if self.is_integer else float(cell)


def _header_delimiter(line: str) -> str:
    return max(DELIMITERS, key=line.count)


def _sample(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(_SAMPLE_CHARACTERS).decode("utf-8-sig", "replace")


def _sample_rows(sample: str, delimiter: str) -> Iterator[list[str]]:
    """The first rows that are complete in a sample."""
    rows: list[list[str]] = []
    csv.field_size_limit(_MAX_CELL)
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
    for row in reader:
        if row:
            rows.append(row)
        if len(rows) > _SAMPLE_ROWS:
            break
    cut = len(sample) >= _SAMPLE_CHARACTERS / 4 and len(rows) > 1
    return iter(rows[:-1] if cut else rows)


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    """The lines of a text. Raises InvalidFile for one that is too long to be held in memory."""
    while line := text.readline(_MAX_CELL):
        if len(line) == _MAX_CELL and not line.endswith(("\n", "\r")):
            raise InvalidFile(f"a line of the table has more than {_MAX_CELL:,} characters")
        yield line
