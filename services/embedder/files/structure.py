"""The bracket structure of JSON text, found by a vectorised byte scan in constant memory.

It bounds depth and size before a JSON parser sees the bytes: parsers recurse, or hold a prefix for each level.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

CHUNK_BYTES = 1 << 20

_QUOTE, _BACKSLASH, _OPEN, _CLOSE, _COMMA = 1, 2, 3, 4, 5
_ARRAY_END = ord("]")
_KINDS = np.zeros(256, dtype=np.uint8)
_KINDS[ord('"')] = _QUOTE
_KINDS[ord("\\")] = _BACKSLASH
_KINDS[[ord("["), ord("{")]] = _OPEN
_KINDS[[ord("]"), ord("}")]] = _CLOSE
_KINDS[ord(",")] = _COMMA


@dataclass(frozen=True)
class Structure:
    """Brackets and commas outside strings.

    positions: their offsets in the chunk, ascending, (S,) int64.
    depths: the nesting depth after each, (S,) int64.
    commas: which of them are commas, (S,) bool.
    """

    positions: NDArray[np.int64]
    depths: NDArray[np.int64]
    commas: NDArray[np.bool_]


class StructureScanner:
    """Scans JSON text chunk by chunk. It checks nothing: text that is not JSON gives some structure or other."""

    def __init__(self) -> None:
        self.depth = 0
        self.in_string = False
        self._escaped = False  # whether the next chunk's first byte follows an odd number of backslashes

    def scan(self, chunk: bytes) -> Structure:
        """The structure of the next chunk."""
        kinds = _KINDS[np.frombuffer(chunk, dtype=np.uint8)]
        quotes = np.flatnonzero(kinds == _QUOTE)
        quotes = quotes[~np.isin(quotes, self._escaped_positions(kinds), assume_unique=True)]
        positions = np.flatnonzero(kinds >= _OPEN)
        quotes_before = np.searchsorted(quotes, positions) + int(self.in_string)
        positions = positions[quotes_before % 2 == 0]
        kinds = kinds[positions]
        steps = (kinds == _OPEN).astype(np.int64) - (kinds == _CLOSE)
        depths = self.depth + np.cumsum(steps)
        if len(depths):
            self.depth = int(depths[-1])
        self.in_string = bool((len(quotes) + self.in_string) % 2)
        return Structure(positions, depths, kinds == _COMMA)

    def _escaped_positions(self, kinds: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Positions of bytes that follow an odd run of backslashes."""
        backslashes = np.flatnonzero(kinds == _BACKSLASH)
        first_escaped = [0] if self._escaped else []
        if not len(backslashes):
            self._escaped = False
            return np.array(first_escaped, dtype=np.int64)
        starts = np.flatnonzero(np.diff(backslashes, prepend=-2) != 1)
        lengths = np.diff(starts, append=len(backslashes))
        if self._escaped and backslashes[0] == 0:
            lengths[0] -= 1  # the last chunk's backslash escapes this run's first one
        ends = backslashes[starts] + np.diff(starts, append=len(backslashes))
        escaped = ends[lengths % 2 == 1]
        self._escaped = len(escaped) > 0 and int(escaped[-1]) == len(kinds)
        return np.union1d(np.array(first_escaped, dtype=np.int64), escaped)


def nesting(text: bytes, limit: int) -> bool:
    """Whether JSON text is nested deeper than `limit`."""
    if text.count(b"[") + text.count(b"{") <= limit:
        return False
    depths = StructureScanner().scan(text).depths
    return bool(len(depths)) and int(depths.max()) > limit


class ArrayBroken(Exception):
    """The array has no end, or something follows it."""


def check_array(file: IO[bytes]) -> None:
    """Reads the JSON array at the file's position to its end. Raises ArrayBroken."""
    _expect_blank(_after_array(file), file)


def members_after_array(file: IO[bytes], max_bytes: int) -> bytes:
    """What follows the JSON array at the file's position: the rest of an object that has it as a member.

    Raises ArrayBroken where the array has no end, or the rest is longer.
    """
    rest = _after_array(file)
    rest += file.read(max_bytes + 1 - len(rest)) if len(rest) <= max_bytes else b""
    if len(rest) > max_bytes:
        raise ArrayBroken(f"more than {max_bytes:,} bytes follow its closing bracket")
    return rest


def _after_array(file: IO[bytes]) -> bytes:
    """The bytes behind the array at the file's position, up to the file's new one. Raises ArrayBroken."""
    scanner = StructureScanner()
    while chunk := file.read(CHUNK_BYTES):
        structure = scanner.scan(chunk)
        ends = structure.positions[structure.depths == 0]
        if len(ends):
            end = int(ends[0])
            if chunk[end] != _ARRAY_END:
                raise ArrayBroken("it ends with a brace")
            return chunk[end + 1 :]
    raise ArrayBroken("a string is not closed" if scanner.in_string else "its closing bracket is missing")


def array_elements(file: IO[bytes], max_bytes: int) -> Iterator[bytes | None]:
    """The elements of the JSON array at the file's position; None for one longer than `max_bytes`.

    The elements are separated in constant memory and not parsed: each may still be invalid JSON. A comma behind the
    last element is tolerated. `check_array` must have passed.
    """
    scanner = StructureScanner()
    element = _OpenElement(max_bytes)
    start = 1  # behind the opening bracket
    while chunk := file.read(CHUNK_BYTES):
        structure = scanner.scan(chunk)
        ends = structure.positions[(structure.commas & (structure.depths == 1)) | (structure.depths == 0)]
        for end in ends.tolist():
            element.extend(chunk[start:end])
            last = chunk[end] == _ARRAY_END
            if not (last and element.blank):
                yield element.text
            if last:
                return
            element = _OpenElement(max_bytes)
            start = end + 1
        element.extend(chunk[start:])
        start = 0


class _OpenElement:
    """The element that is being read."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._size = 0
        self.blank = True

    def extend(self, part: bytes) -> None:
        """Appends bytes."""
        if self.blank:
            part = part.lstrip()
            self.blank = not part
        self._size += len(part)
        if self._size > self._max_bytes:
            self._parts.clear()
        elif part:
            self._parts.append(part)

    @property
    def text(self) -> bytes | None:
        """Its bytes; None beyond the limit."""
        return None if self._size > self._max_bytes else b"".join(self._parts)


def _expect_blank(rest: bytes, file: IO[bytes]) -> None:
    while rest:
        if rest.strip():
            raise ArrayBroken("something follows its closing bracket")
        rest = file.read(CHUNK_BYTES)
