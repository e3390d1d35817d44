"""Vectors as NumPy arrays: to the file that the embedder imports, and from the blocks that services send."""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prisma_client import sources

_TYPES = {"e": "<f2", "f": "<f4", "d": "<f8"}


def npy_chunks(vectors: Any) -> Iterator[bytes]:
    """Returns the bytes of a `.npy` file, in parts of about 1 MiB.

    vectors: the path of one; or (R, d) numbers, an array or what numpy makes one of: float16, float32 and float64 stay
    as they are, other numbers become float32. Raises OSError; TypeError for other shapes and values.
    """
    if isinstance(vectors, str | Path):
        return sources.chunks(Path(vectors))
    return _array_chunks(matrix_of(vectors))


def matrix_of(vectors: Any) -> NDArray[Any]:
    """(R, d) numbers: float16, float32 and float64 as they are, others as float32. Raises TypeError for other data."""
    try:
        array = np.asarray(vectors)
        if np.iscomplexobj(array):
            raise TypeError("got complex numbers")
        array = array if array.dtype.char in _TYPES else array.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise TypeError(f"vectors: expected rows of numbers, all of one length; {error}") from None
    if array.ndim != 2:
        raise TypeError(f"vectors: expected two dimensions, a row for each document; got the shape {array.shape}")
    return array


def texts_of(data: Any) -> list[str] | None:
    """The texts in a text or in a sequence of texts; None for other data."""
    if isinstance(data, str):
        return [data]
    if getattr(data, "ndim", 1) != 1 or not len(data) or not all(isinstance(text, str) for text in data):
        return None
    return list(data)


def _array_chunks(array: NDArray[Any]) -> Iterator[bytes]:
    dtype = np.dtype(_TYPES[array.dtype.char])
    header = io.BytesIO()
    description = {"descr": dtype.str, "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(header, description)
    yield header.getvalue()
    step = max(1, sources.CHUNK_BYTES // max(1, array.shape[1] * dtype.itemsize))
    for start in range(0, len(array), step):
        yield np.ascontiguousarray(array[start : start + step], dtype=dtype).tobytes()


def form_chunks(documents: Iterator[bytes], vectors: Iterator[bytes]) -> tuple[str, Iterator[bytes]]:
    """Returns the content type and the bytes of a form with a file of documents and one of vectors."""
    boundary = secrets.token_hex(32)  # no file can hold what is drawn after it was written

    def parts() -> Iterator[bytes]:
        for name, chunks in (("file", documents), ("vectors", vectors)):
            yield f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n\r\n'.encode()
            yield from chunks
            yield b"\r\n"
        yield f"--{boundary}--\r\n".encode()

    return f"multipart/form-data; boundary={boundary}", parts()
