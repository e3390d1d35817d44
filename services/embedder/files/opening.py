"""Opens a file of documents: unpacks it, finds its format, and chooses the reader."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO

from services.chassis import logs
from services.chassis.errors import PrismaError
from services.embedder.errors import InvalidFile
from services.embedder.files import archives, kinds, textfiles
from services.embedder.files.archives import Member, Stream, Unpacking
from services.embedder.files.csv import CsvReader
from services.embedder.files.encodings import SINGLE_BYTE, UTF8, check_encoding, find_encoding, write_as_utf8
from services.embedder.files.formats import FileOptions, Format, Item, Layout, Limits, Location, Reader, location
from services.embedder.files.json import JsonReader
from services.embedder.files.lines import cut_at_line
from services.embedder.files.npy import NpyReader
from services.embedder.files.spreadsheet import SpreadsheetReader
from services.embedder.files.tables import Part, TablesReader

_MAX_LAYERS = 2
"""A compressed archive, or an archive of compressed files; no more."""
_TABLE_SUFFIXES = {
    *(".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather"),
    *(".xlsx", ".xlsb", ".xls", ".ods"),
}
_COMPRESSION_SUFFIXES = {".gz", ".bz2", ".xz", ".zst"}
_WORKBOOK_PARTS = {"xl/workbook.xml", "xl/workbook.bin", "content.xml"}
_DOCUMENT_MARKS = {"[Content_Types].xml", "mimetype"}
_DESCRIPTIONS = {"dataset_info.json", "state.json", "dataset_dict.json", "dataset_infos.json"}
"""Files of a Hugging Face dataset that describe it."""
_EXTRA = "pip install 'prisma-suite[embedder-files]'"

_log = logs.get(__name__)


def open_file(
    file: IO[bytes],
    options: FileOptions,
    limits: Limits,
    folder: Path | None = None,
    stopped: threading.Event | None = None,
) -> Reader:
    """A reader of a file's items. folder: where temporary files are made.

    stopped: set from another thread, to end it. Raises InvalidFile, FileTooLarge, Cancelled.
    """
    if options.encoding is not None:
        options = replace(options, encoding=check_encoding(options.encoding))
    with _unforeseen_as_invalid():
        unpacking = Unpacking(folder, limits, stopped)
        return _Guarded(_Opening(options, limits, unpacking).reader(unpacking.stoppable(file), layer=0))


@contextmanager
def _unforeseen_as_invalid() -> Generator[None]:
    """Turns the errors that parsers raise for hostile files, and that nobody foresaw, into InvalidFile."""
    try:
        yield
    except (PrismaError, MemoryError):
        raise
    except Exception as error:
        if archives.is_of_system(error):
            raise
        _log.warning("unexpected error in an imported file", error=type(error).__name__)
        raise InvalidFile(f"the file cannot be read ({type(error).__name__})") from error


class _Guarded:
    """A reader whose parsers raise InvalidFile alone."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.layout: Layout = reader.layout

    def items(self, texts: Collection[str] = ()) -> Iterator[Item]:
        with _unforeseen_as_invalid():
            yield from self._reader.items(texts)

    def location(self, place: int) -> Location | None:
        return location(self._reader, place)


class _Opening:
    def __init__(self, options: FileOptions, limits: Limits, unpacking: Unpacking) -> None:
        self._options = options
        self._limits = limits
        self._unpacking = unpacking

    def reader(self, file: IO[bytes], *, layer: int) -> Reader:
        file.seek(0)
        head = file.read(8)
        for mark, (name, decompressor) in archives.COMPRESSIONS.items():
            if head.startswith(mark):
                self._check_layer(layer)
                file.seek(0)
                content = self._unpacking.keep(lambda opened=decompressor: opened(file), f"the {name} file")
                return self.reader(content, layer=layer + 1)
        if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            members = archives.zip_members(file)
            names = {name for name, _opened in members}
            if not names & _WORKBOOK_PARTS or _is_text_document(members):
                _check_no_document(names)
                return self._archive(members, layer)
            return self._spreadsheet(file)
        if archives.is_tar(file):
            return self._archive(archives.tar_members(file, is_partial=self._limits.is_partial), layer)
        return self._binary(file) or self._text(file)

    def _check_layer(self, layer: int) -> None:
        if layer >= _MAX_LAYERS:
            raise InvalidFile("expected a file of documents; this is an archive inside of an archive: unpack it once")

    def _archive(self, members: Sequence[Member], layer: int) -> Reader:
        """The tables of an archive as one, or else its text files."""
        self._check_layer(layer)
        tables = _tables(members)
        texts = [(name, opened) for name, opened in members if PurePosixPath(name).suffix.lower() in textfiles.SUFFIXES]
        if tables and self._options.format is not Format.TEXT_FILES:
            return _WithNote(self._table(tables, layer + 1), _left_out(members, tables))
        if texts:
            reader = textfiles.TextFilesReader(texts, self._options, self._unpacking, self._limits)
            return _WithNote(reader, _left_out(members, texts))
        raise InvalidFile(
            "expected an archive with tables (CSV, JSON lines, Parquet, Arrow …) or text files (.txt, .md …); "
            + (f"this one has {_suffixes({name for name, _opened in members})}" if members else "this one is empty")
        )

    def _table(self, members: Sequence[Member], layer: int) -> Reader:
        """One table, or several as one."""
        if len(members) == 1:
            name, opened = members[0]
            return self.reader(self._unpacking.keep(opened, repr(name[:100])), layer=layer)

        def part(name: str, opened: Callable[[], Stream]) -> Part:
            @contextmanager
            def open_part(unpacking: Unpacking) -> Generator[Reader]:
                with unpacking.keep(opened, repr(name[:100])) as file:
                    yield _Opening(self._options, self._limits, unpacking).reader(file, layer=layer)

            return name, open_part

        return TablesReader([part(name, opened) for name, opened in members], self._unpacking)

    def _binary(self, file: IO[bytes]) -> Reader | None:
        format = kinds.binary_format(file)
        if format is Format.SPREADSHEET:
            return self._spreadsheet(file)
        if format is Format.NPY:
            return NpyReader(file, is_partial=self._limits.is_partial)
        if format is None:
            return None
        try:
            from services.embedder.files import arrow, parquet
        except ImportError:
            raise InvalidFile(f"this server cannot read {format.value.title()} files: `{_EXTRA}` there") from None
        return (
            parquet.open_parquet(file, self._limits.file_bytes) if format is Format.PARQUET else arrow.open_arrow(file)
        )

    def _spreadsheet(self, file: IO[bytes]) -> Reader:
        try:
            return SpreadsheetReader(file, self._options, self._unpacking, self._limits)
        except ImportError:
            raise InvalidFile(f"this server cannot read workbooks: `{_EXTRA}` there") from None

    def _text(self, file: IO[bytes]) -> Reader:
        is_partial = self._limits.is_partial
        guess = (self._options.encoding, None) if self._options.encoding else find_encoding(file, is_partial=is_partial)
        encoding, note = guess
        if note is not None and encoding == SINGLE_BYTE and kinds.is_json(file):
            encoding, note = UTF8, None  # as JSON has to be: items that are not are rejected alone
        if encoding != UTF8:
            converted = self._unpacking.temporary_file()
            write_as_utf8(file, encoding, converted, is_partial=is_partial)
            file = converted
        if is_partial:
            cut_at_line(file)
        kinds.start_of_text(file)
        format = self._options.format or (Format.CSV if self._options.delimiter else kinds.text_format(file))
        return _WithEncoding(self._text_reader(file, format), encoding, note)

    def _text_reader(self, file: IO[bytes], format: Format) -> Reader:
        match format:
            case Format.JSON | Format.JSON_LINES:
                return JsonReader(file, format, self._limits)
            case Format.CSV:
                return CsvReader(file, self._options, self._limits)
            case Format.TEXT_LINES:
                return textfiles.TextLinesReader(file, self._limits)
            case _:
                names = {Format.PARQUET: "Parquet", Format.ARROW: "Arrow", Format.SPREADSHEET: "workbook"}
                raise InvalidFile(f"format: expected {names.get(format, 'archive')}, got text")


class _WithNote:
    """A reader with a further note in the layout."""

    def __init__(self, reader: Reader, note: str | None) -> None:
        self._reader = reader
        self.layout: Layout = replace(reader.layout, notes=[*reader.layout.notes, *([note] if note else [])])

    def items(self, texts: Collection[str] = ()) -> Iterator[Item]:
        return self._reader.items(texts)

    def location(self, place: int) -> Location | None:
        return location(self._reader, place)


class _WithEncoding(_WithNote):
    """A reader of a text file, with its encoding in the layout, and a note where that is a guess."""

    def __init__(self, reader: Reader, encoding: str, note: str | None) -> None:
        super().__init__(reader, note)
        self.layout = replace(self.layout, encoding=encoding)


def _left_out(members: Collection[Member], imported: Collection[Member]) -> str | None:
    """A note about the files of an archive that are not imported."""
    names = {name for name, _opened in members} - {name for name, _opened in imported}
    left_out = {name for name in names if not _is_description(name)}
    return f"Left out: {_suffixes(left_out)}." if left_out else None


def _suffixes(names: Collection[str]) -> str:
    """How many files there are of each suffix, the most frequent first."""
    suffixes = Counter(_suffix(name) or "without a suffix" for name in sorted(names))
    return ", ".join(f"{count:,} {suffix}" for suffix, count in suffixes.most_common(10))[:200]


def _is_description(name: str) -> bool:
    return PurePosixPath(name.lower()).name in _DESCRIPTIONS


def _suffix(name: str) -> str:
    """The suffix of a file's name, in small letters, without that of a compression."""
    path = PurePosixPath(name.lower())
    return PurePosixPath(path.stem if path.suffix in _COMPRESSION_SUFFIXES else path.name).suffix


def _tables(members: Sequence[Member]) -> list[Member]:
    """The tables among an archive's files, without what a Hugging Face dataset keeps beside its rows."""
    datasets = {PurePosixPath(name).parent for name, _opened in members if _is_description(name)}

    def is_cache(path: PurePosixPath) -> bool:
        return path.name.startswith("cache-") and path.suffix == ".arrow" and path.parent in datasets

    tables = [member for member in members if _suffix(member[0]) in _TABLE_SUFFIXES and not _is_description(member[0])]
    return [member for member in tables if not is_cache(PurePosixPath(member[0]))]


def _is_text_document(members: Sequence[Member]) -> bool:
    """Whether a zip archive is a file of OpenDocument, and no workbook."""
    for name, opened in members:
        if name == "mimetype":
            with opened() as file:
                return b"spreadsheet" not in file.read(100)
    return False


def _check_no_document(names: Collection[str]) -> None:
    """Raises InvalidFile for a document of an office or a book, which is a zip archive of its parts."""
    if not _DOCUMENT_MARKS & set(names):
        return
    kinds_by_folder = {"word": "a Word document", "ppt": "a presentation", "META-INF": "a text document or a book"}
    folders = {name.partition("/")[0] for name in names}
    kind = next((kind for folder, kind in kinds_by_folder.items() if folder in folders), "a document of an office")
    raise InvalidFile(
        f"expected a file of documents; this is {kind}: save it as text (.txt), and pack several into a zip"
    )
