r"""Lines of bytes, ended by `\n`, `\r\n` or `\r` alone, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

_CHUNK_BYTES = 1 << 20


def split_lines(data: bytes) -> list[bytes]:
    """The lines of `data`, without their ends."""
    return data.splitlines()


def read_lines(file: IO[bytes], max_bytes: int) -> Iterator[bytes | None]:
    """The lines from the file's position on, without their ends; None for one that is longer than `max_bytes`."""
    unfinished = b""
    too_long = False
    ends_with_return = False
    while chunk := file.read(_CHUNK_BYTES):
        if ends_with_return and chunk.startswith(b"\n"):
            chunk = chunk[1:]  # the second half of the last line's end
        ends_with_return = chunk.endswith(b"\r")
        lines = (unfinished + chunk).splitlines()
        unfinished = b"" if chunk.endswith((b"\n", b"\r")) or not lines else lines.pop()
        for line in lines:
            yield None if too_long or len(line) > max_bytes else line
            too_long = False
        if len(unfinished) > max_bytes:
            unfinished, too_long = b"", True
    if unfinished or too_long:
        yield None if too_long else unfinished


def cut_at_line(file: IO[bytes]) -> None:
    """Cuts off the last line of a file, which may be the beginning of a longer one; a single line stays."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _CHUNK_BYTES))
    end = file.read().rfind(b"\n")
    if end >= 0:
        file.truncate(max(0, size - _CHUNK_BYTES) + end + 1)
