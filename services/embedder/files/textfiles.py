"""Plain text: the files of an archive, each a document, or the lines of one file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import IO

from services.embedder.errors import FileTooLarge, InvalidFile
from services.embedder.files.archives import Member, Stream, Unpacking
from services.embedder.files.encodings import SINGLE_BYTE, find_encoding, write_as_utf8
from services.embedder.files.formats import FileOptions, Format, Item, Layout, Limits
from services.embedder.files.lines import read_lines
from services.embedder.items import ItemRejected, Reason

ID, TEXT = "id", "text"
SUFFIXES = {".txt", ".md", ".rst", ".text", ".asc", ".adoc", ".org", ".tex", ".html", ".htm", ".xml", ".log"}
"""Files of an archive that are documents."""
_SAMPLE_FILES = 200


class TextFilesReader:
    """The text files of an archive: the path is a document's id, the content its text."""

    def __init__(self, members: Sequence[Member], options: FileOptions, unpacking: Unpacking, limits: Limits) -> None:
        self._members = members
        self._options = options
        self._unpacking = unpacking
        self._limits = limits
        note = self._encoding_note()
        self._layout = Layout(Format.TEXT_FILES, columns=[ID, TEXT], notes=[note] if note else [])

    @property
    def layout(self) -> Layout:
        """How the archive is read."""
        return self._layout

    def items(self, texts: Collection[str] = ()) -> Iterator[Item]:
        """A document for each file. A file that is no text is rejected alone. Raises FileTooLarge for all together."""
        end = self._unpacking.unpacked_bytes + self._limits.file_bytes
        for place, (name, opened) in enumerate(self._members, start=1):
            remaining = end - self._unpacking.unpacked_bytes
            try:
                yield place, {ID: name, TEXT: self._text(name, opened, min(self._limits.item_bytes, remaining))}
            except FileTooLarge as error:
                if remaining < self._limits.item_bytes:
                    raise self._too_large() from None
                yield place, ItemRejected(Reason.TEXT_TOO_LONG, error.message, key=name)
            except InvalidFile as error:
                yield place, ItemRejected(Reason.INVALID_TEXT, error.message, key=name)

    def _encoding_note(self) -> str | None:
        """What is guessed of the first files: whole archives are not read for that."""
        if self._options.encoding is not None:
            return None
        sample = self._members[:_SAMPLE_FILES]
        guesses = Counter(self._guess(name, opened) for name, opened in sample)
        if not guesses[SINGLE_BYTE]:
            return None
        return (
            f"{guesses[SINGLE_BYTE]} of the first {len(sample)} files are taken as Windows-1252, "
            "as their bytes are not UTF-8."
        )

    def _guess(self, name: str, opened: Callable[[], Stream]) -> str | None:
        """The encoding of a file; None for one that `items` rejects."""
        try:
            with self._unpacking.unpack(opened, repr(name[:100]), max_bytes=self._limits.item_bytes) as file:
                return find_encoding(file)[0]
        except (InvalidFile, FileTooLarge):
            return None

    def _too_large(self) -> FileTooLarge:
        limit = self._limits.file_bytes
        return FileTooLarge(
            f"the archive has more than {limit:,} bytes of text unpacked", metadata={"limit": str(limit)}
        )

    def _text(self, name: str, opened: Callable[[], Stream], max_bytes: int) -> str:
        with (
            self._unpacking.unpack(opened, repr(name[:100]), max_bytes=max_bytes) as file,
            self._unpacking.temporary_file() as converted,
        ):
            write_as_utf8(file, self._options.encoding or find_encoding(file)[0], converted)
            return converted.read().decode().removeprefix("\ufeff")


class TextLinesReader:
    """A text file in UTF-8 whose lines are documents; blank lines are none."""

    def __init__(self, file: IO[bytes], limits: Limits) -> None:
        self._file = file
        self._limits = limits
        self._layout = Layout(Format.TEXT_LINES, columns=[TEXT])

    @property
    def layout(self) -> Layout:
        """How the file is read."""
        return self._layout

    def items(self, texts: Collection[str] = ()) -> Iterator[Item]:
        """A document for each line."""
        self._file.seek(0)
        for place, line in enumerate(read_lines(self._file, self._limits.item_bytes), start=1):
            if line is None:
                message = f"the line has more than {self._limits.item_bytes:,} bytes"
                yield place, ItemRejected(Reason.TEXT_TOO_LONG, message)
            elif line.strip():
                yield place, _line_value(line)


def _line_value(line: bytes) -> object:
    try:
        return {TEXT: line.decode("utf-8-sig")}
    except UnicodeDecodeError as error:
        return ItemRejected(Reason.INVALID_UTF8, f"expected UTF-8; byte {error.start} of the line is not")
