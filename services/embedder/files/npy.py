"""NumPy arrays of vectors (`.npy`), read in blocks. The header is parsed here: numpy would also read pickles."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from services.embedder.documents import MAX_DIMENSION
from services.embedder.errors import InvalidFile
from services.embedder.files.formats import Format, Item, Layout

MARK = b"\x93NUMPY"
VECTOR_FIELD = "vector"
"""The field of the items of a file of vectors alone."""
_LENGTH_BYTES = {1: 2, 2: 4, 3: 4}
"""Bytes of the header's length, by the major version of the format."""
_MAX_HEADER = 10_000
_MAX_SIZE = 1 << 48
_BLOCK_BYTES = 1 << 20
_TYPES = {"<f2": "float16", "<f4": "float32", "<f8": "float64"}


class NpyArray:
    """A file with an array of vectors (R, d). count: R. dimension: d."""

    def __init__(self, file: IO[bytes], *, is_partial: bool = False) -> None:
        """is_partial: whether the file is the beginning of a longer one. Raises InvalidFile."""
        self._file = file
        header = _header(file)
        self._start = file.tell()
        self.dtype: np.dtype[np.floating[Any]] = np.dtype(_checked_type(header["descr"]))
        self.count, self.dimension = _checked_shape(header["shape"])
        if header["fortran_order"] is not False:
            raise _invalid("the array is in Fortran order: save `np.ascontiguousarray(X)`")
        self._width = self.dimension * self.dtype.itemsize
        size = file.seek(0, 2) - self._start
        if is_partial:
            self.count = min(self.count, size // self._width)
        elif size != self.count * self._width:
            problem = "is cut short" if size < self.count * self._width else "has more than its header says"
            raise _invalid(
                f"it {problem}: {self.count:,} × {self.dimension:,} {self.dtype.name} have "
                f"{self.count * self._width:,} bytes, {size:,} are there"
            )

    def rows(self, start: int) -> NDArray[np.floating[Any]]:
        """A block of vectors from row `start` on, (B, d), about a MiB; shorter at the end."""
        count = min(max(1, _BLOCK_BYTES // self._width), self.count - start)
        self._file.seek(self._start + start * self._width)
        data = self._file.read(count * self._width)
        return np.frombuffer(data, dtype=self.dtype).reshape(-1, self.dimension)


class NpyReader:
    """Vectors alone: each row of the array is an item without a text."""

    def __init__(self, file: IO[bytes], *, is_partial: bool) -> None:
        """Raises InvalidFile."""
        self._array = NpyArray(file, is_partial=is_partial)
        self._layout = Layout(
            Format.NPY,
            columns=[VECTOR_FIELD],
            notes=["The file holds vectors alone: the documents have no texts, and their rows as ids."],
        )

    @property
    def layout(self) -> Layout:
        """How the file is read."""
        return self._layout

    def items(self, texts: Collection[str] = ()) -> Iterator[Item]:
        """The rows of the array."""
        place = 0
        while place < self._array.count:
            for vector in self._array.rows(place):
                place += 1
                yield place, {VECTOR_FIELD: vector}


def _header(file: IO[bytes]) -> dict[str, object]:
    """The header's entries; the file stands at the first number. Raises InvalidFile."""
    file.seek(0)
    start = file.read(8)
    if not start.startswith(MARK):
        raise _invalid("it is empty" if not start else "it does not begin as one: write it with `np.save(path, X)`")
    length_bytes = _LENGTH_BYTES.get(start[6] if len(start) > len(MARK) else 0)
    length = int.from_bytes(file.read(length_bytes or 0), "little")
    if length_bytes is None or not 0 < length <= _MAX_HEADER:
        raise _invalid("its header is damaged, or of a version that is not read: write it with `np.save(path, X)`")
    text = file.read(length)
    try:
        header = ast.literal_eval(text.decode("latin-1").strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        header = None
    if len(text) < length or not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise _invalid("its header is damaged: write it with `np.save(path, X)`")
    return cast("dict[str, object]", header)


def _checked_type(descr: object) -> str:
    if isinstance(descr, str) and descr in _TYPES:
        return descr
    if isinstance(descr, str) and descr.replace(">", "<", 1) in _TYPES:
        raise _invalid(f"its numbers are big-endian: save `X.astype('{descr.replace('>', '<', 1)}')`")
    if isinstance(descr, str) and descr.endswith("O"):
        raise _invalid("it holds Python objects, which may run code: save `X.astype('float32')`")
    kind = repr(descr)[:40] if isinstance(descr, str) else "a table"
    raise _invalid(f"expected {', '.join(_TYPES.values())}, got {kind}: save `X.astype('float32')`")


def _checked_shape(shape: object) -> tuple[int, int]:
    sizes = cast("tuple[object, ...]", shape) if isinstance(shape, tuple) else ()
    numbers = [size for size in sizes if type(size) is int and 0 <= size < _MAX_SIZE]
    if len(sizes) != 2 or len(numbers) != 2 or 0 in numbers:
        excerpt = f", got the shape {shape}"[:80] if sizes and len(numbers) == len(sizes) else ""
        raise _invalid(f"expected two dimensions, a row for each item{excerpt}")
    if numbers[1] > MAX_DIMENSION:
        raise _invalid(f"its vectors have {numbers[1]:,} numbers, at most {MAX_DIMENSION:,} are taken")
    return numbers[0], numbers[1]


def _invalid(problem: str) -> InvalidFile:
    return InvalidFile(f"expected a NumPy array of vectors (.npy); {problem}")
