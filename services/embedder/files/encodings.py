"""The encoding of a text file, found from its bytes."""

from __future__ import annotations

import codecs
from typing import IO

from services.embedder.errors import InvalidFile

_CHUNK_BYTES = 1 << 20
UTF8 = "utf-8"
_MARKS = (
    (codecs.BOM_UTF8, UTF8),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SINGLE_BYTE = "windows-1252"
_NO_TEXT = {"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape"}


def find_encoding(file: IO[bytes], *, is_partial: bool = False) -> tuple[str, str | None]:
    """The encoding of a text file, and a note where it is a guess. The file is read in constant memory.

    is_partial: whether the file is the beginning of a longer one, which may end inside of a character.

    A byte order mark decides. Without one, the text is UTF-16 where every other byte is zero. It is UTF-8 where more
    characters beyond ASCII are UTF-8 than bytes are not, and else Windows-1252.
    """
    file.seek(0)
    head = file.read(1024)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding, None
    if (encoding := _utf16_without_mark(head)) is not None:
        return encoding, f"The encoding is taken as {encoding.upper()}, as every other byte is zero."
    characters, invalid_bytes = _utf8_counts(file, is_partial=is_partial)
    if invalid_bytes <= characters:
        return UTF8, None
    return SINGLE_BYTE, "The encoding is taken as Windows-1252, as the bytes are not UTF-8."


def check_encoding(name: str) -> str:
    """The name of a text encoding as Python writes it. Raises InvalidFile for one that Python does not have."""
    try:
        info = codecs.lookup(name)
        codec = info.name if getattr(info, "_is_text_encoding", False) else "undefined"
    except (LookupError, ValueError):
        codec = "undefined"
    if codec.replace("-", "_") in _NO_TEXT:
        raise InvalidFile(f"encoding: expected one such as utf-8, utf-16, windows-1252 or shift_jis; got {name[:50]!r}")
    return codec


def write_as_utf8(source: IO[bytes], encoding: str, target: IO[bytes], *, is_partial: bool = False) -> None:
    """Copies a text file, converted to UTF-8, in constant memory. Raises InvalidFile for bytes that are no text.

    is_partial: as for `find_encoding`.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    source.seek(0)
    offset = 0
    while True:
        chunk = source.read(_CHUNK_BYTES)
        try:
            text = decoder.decode(chunk, not chunk and not is_partial)
            target.write(text.encode())
        except UnicodeError as error:
            at = offset + (error.start if isinstance(error, UnicodeDecodeError) else 0)
            raise InvalidFile(
                f"the file is no text in {encoding}: the bytes near {at:,} are not; choose another encoding"
            ) from None
        if not chunk:
            target.seek(0)
            return
        offset += len(chunk)


def _utf16_without_mark(head: bytes) -> str | None:
    """UTF-16, in the byte order that the zeros of Latin letters show."""
    even_zeros, odd_zeros = head[0::2].count(0), head[1::2].count(0)
    least = max(2, len(head) // 5)
    if odd_zeros >= least and not even_zeros:
        return "utf-16-le"
    return "utf-16-be" if even_zeros >= least and not odd_zeros else None


def _utf8_counts(file: IO[bytes], *, is_partial: bool) -> tuple[int, int]:
    """Characters beyond ASCII that are UTF-8, and bytes that are not."""
    decoder = codecs.getincrementaldecoder(UTF8)("surrogateescape")
    file.seek(0)
    characters = invalid_bytes = 0
    while True:
        chunk = file.read(_CHUNK_BYTES)
        text = decoder.decode(chunk, not chunk and not is_partial)
        if not text.isascii():
            valid = text.encode(errors="ignore").decode()
            invalid_bytes += len(text) - len(valid)
            characters += len(valid) - len(valid.encode("ascii", "ignore"))
        if not chunk:
            return characters, invalid_bytes
