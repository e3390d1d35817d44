"""Opens a file of documents: unpacks it, finds its format, and chooses the reader."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO

from services.chassis import logs
from services.chassis.errors import PrismaError
from services.embedder.errors import InvalidFile
from services.embedder.files import archives, kinds, textfiles
from services.embedder.files.archives import Member, Unpacking
from services.embedder.files.csv import CsvReader
from services.embedder.files.encodings import SINGLE_BYTE, UTF8, check_encoding, find_encoding, write_as_utf8
from services.embedder.files.formats import FileOptions, Format, Item, Layout, Limits, Reader
from services.embedder.files.json import JsonReader
from services.embedder.files.spreadsheet import SpreadsheetReader

_MAX_LAYERS = 2
"""A compressed archive, or an archive of compressed files; no more."""
_TABLE_SUFFIXES = {".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather", ".xlsx"}
_DESCRIPTIONS = {"dataset_info.json", "state.json", "dataset_dict.json", "dataset_infos.json"}
"""Files of a Hugging Face dataset that describe it."""
_EXTRA = "pip install 'prisma-suite[embedder-files]'"

_log = logs.get(__name__)


def open_file(file: IO[bytes], options: FileOptions, limits: Limits, folder: Path | None = None) -> Reader:
    """A reader of a file's items. folder: where temporary files are made. Raises InvalidFile, FileTooLarge."""
    if options.encoding is not None:
        options = replace(options, encoding=check_encoding(options.encoding))
    with _unforeseen_as_invalid():
        return _Guarded(_Opening(options, limits, Unpacking(folder, limits)).reader(file, layer=0))


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
            if not names & {"xl/workbook.xml", "xl/workbook.bin", "content.xml"}:
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
        tables = [(name, opened) for name, opened in members if _is_table(name)]
        texts = [(name, opened) for name, opened in members if PurePosixPath(name).suffix.lower() in textfiles.SUFFIXES]
        if tables and self._options.format is not Format.TEXT_FILES:
            files = ((name, self._unpacking.keep(opened, repr(name[:100]))) for name, opened in tables)
            readers = [(name, self.reader(file, layer=layer + 1)) for name, file in files]
            return readers[0][1] if len(readers) == 1 else _Together(readers)
        if texts:
            return textfiles.TextFilesReader(texts, self._options, self._unpacking, self._limits)
        suffixes = sorted({PurePosixPath(name).suffix or name for name, _opened in members})
        raise InvalidFile(
            "expected an archive with tables (CSV, JSON lines, Parquet, Arrow …) or text files (.txt, .md …); "
            + (f"this one has {', '.join(suffixes)[:200]}" if suffixes else "this one is empty")
        )

    def _binary(self, file: IO[bytes]) -> Reader | None:
        format = kinds.binary_format(file)
        if format is Format.SPREADSHEET:
            return self._spreadsheet(file)
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
        encoding, note = (self._options.encoding, None) if self._options.encoding else find_encoding(file)
        if note is not None and encoding == SINGLE_BYTE and kinds.is_json(file):
            encoding, note = UTF8, None  # as JSON has to be: items that are not are rejected alone
        if encoding != UTF8:
            converted = self._unpacking.temporary_file()
            write_as_utf8(file, encoding, converted)
            file = converted
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
                raise InvalidFile(f"format: the file is text, which is no {format}")


class _WithEncoding:
    """A reader of a text file, with its encoding in the layout."""

    def __init__(self, reader: Reader, encoding: str, note: str | None) -> None:
        self._reader = reader
        notes = [*reader.layout.notes, *([note] if note else [])]
        self.layout: Layout = replace(reader.layout, encoding=encoding, notes=notes)

    def items(self, texts: Collection[str] = ()) -> Iterator[Item]:
        return self._reader.items(texts)


class _Together:
    """Several files of an archive, read one after the other as one table."""

    def __init__(self, readers: Sequence[tuple[str, Reader]]) -> None:
        """Raises InvalidFile for files of several formats."""
        formats = {reader.layout.format for _name, reader in readers}
        if len(formats) > 1:
            raise InvalidFile(
                f"expected an archive with tables of one format; this one has {', '.join(sorted(formats))}"
            )
        self._readers = readers
        first = readers[0][1].layout
        columns = [name for _name, reader in readers for name in reader.layout.columns or ()]
        notes = [f"{len(readers):,} files are read as one table."]
        notes.extend(dict.fromkeys(note for _name, reader in readers for note in reader.layout.notes))
        self.layout: Layout = replace(
            first, columns=None if first.columns is None else list(dict.fromkeys(columns)), notes=notes
        )

    def items(self, texts: Collection[str] = ()) -> Iterator[Item]:
        items = (item for _name, reader in self._readers for item in reader.items(texts))
        for place, (_place_in_file, value) in enumerate(items, start=1):
            yield place, value


def _is_table(name: str) -> bool:
    path = PurePosixPath(name.lower())
    suffixes = {*path.suffixes[-2:]}
    return path.name not in _DESCRIPTIONS and bool(suffixes & _TABLE_SUFFIXES)
