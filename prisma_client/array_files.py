"""Files of vectors, codes and decoders, written block by block: `.npy`, `.npz` and Parquet.

A `.npz` of codes is what `scipy.sparse.load_npz` reads. Nothing is pickled.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from prisma_client.libraries import library
from prisma_client.matrices import Codes, Decoder, Keys, Vectors, index_array

_Part = TypeVar("_Part", contravariant=True)
_GROUP_BYTES = 16 << 20
"""Of a row group of Parquet, about."""
_ID_BYTES = 1 << 20
"""Of ids that are written at once."""


class BlockFile(Protocol[_Part]):
    """A file that blocks are added to."""

    def add(self, part: _Part) -> None:
        """Writes a block."""
        ...

    def finish(self) -> None:
        """Writes what is known at the end."""
        ...


def vector_file(path: str | Path, file: IO[bytes], dimension: int, dtype: Any) -> BlockFile[Vectors]:
    """What writes vectors to `file` in the format of the name `path`. Raises MissingLibrary; ValueError for another."""
    kinds = {".npy": _VectorArray, ".npz": _VectorArrays, ".parquet": _VectorTable}
    return _of_suffix(path, kinds)(file, dimension, np.dtype(dtype))


def code_file(path: str | Path, file: IO[bytes], latent_count: int) -> BlockFile[Codes]:
    """What writes codes to `file` in the format of the name `path`. Raises MissingLibrary; ValueError for another."""
    return _of_suffix(path, {".npz": _CodeArrays, ".parquet": _CodeTable})(file, latent_count)


def decoder_writer(path: str | Path) -> Callable[[IO[bytes], Decoder], None]:
    """What writes a decoder in the format of the name `path`. Raises MissingLibrary; ValueError for another name."""
    return _of_suffix(path, {".npy": _npy_decoder, ".npz": _npz_decoder, ".parquet": _parquet_decoder})


_Choice = TypeVar("_Choice")


def _of_suffix(path: str | Path, choices: Mapping[str, _Choice]) -> _Choice:
    suffix = Path(path).suffix.lower()
    if suffix not in choices:
        *suffixes, last = choices
        raise ValueError(f"expected a file name that ends in {', '.join(suffixes)} or {last}, got {Path(path).name!r}")
    return choices[suffix]


class _Array:
    """A `.npy` array in a file, to which rows are added. width: numbers of a row; None for one dimension."""

    def __init__(self, file: IO[bytes], dtype: np.dtype[Any], width: int | None = None) -> None:
        self._file = file
        self._dtype = dtype.newbyteorder("<")
        self._width = width
        self._count = 0
        self._write_header()

    def add(self, rows: NDArray[Any]) -> None:
        self._count += len(rows)
        self._file.write(np.ascontiguousarray(rows, dtype=self._dtype).data)

    def finish(self) -> None:
        """Writes the header again, now with the number of rows: numpy reserves room for any."""
        end = self._file.tell()
        self._file.seek(0)
        self._write_header()
        self._file.seek(end)

    def _write_header(self) -> None:
        shape = (self._count,) if self._width is None else (self._count, self._width)
        description = {"descr": self._dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, description)


class _Arrays:
    """The arrays of a `.npz` file, each in a temporary file until all are complete. rows: of keys."""

    def __init__(self, file: IO[bytes], columns: Mapping[str, tuple[np.dtype[Any], int | None]]) -> None:
        self._file = file
        folder = Path(file.name).parent
        of_keys = {"rows": (np.dtype(np.uint64), None), "passages": (np.dtype(np.uint32), None)}
        self._parts: dict[str, IO[bytes]] = {}
        self._arrays: dict[str, _Array] = {}
        for name, (dtype, width) in {**columns, **of_keys}.items():
            self._parts[name] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it is closed with this object
            self._arrays[name] = _Array(self._parts[name], dtype, width)
        self._ids: list[str] = []
        self._has_passages = False

    def add(self, keys: Keys, **columns: NDArray[Any]) -> None:
        for document in keys.ids:
            if document.endswith("\0"):
                raise ValueError(f"the id {document[:100]!r} ends with U+0000, which .npz cannot hold: write .parquet")
        self._ids += keys.ids
        self._arrays["rows"].add(keys.rows)
        if keys.passages is not None:
            self._has_passages = True
            self._arrays["passages"].add(keys.passages)
        for name, rows in columns.items():
            self._arrays[name].add(rows)

    def finish(self, **values: Any) -> None:
        with zipfile.ZipFile(self._file, "w") as archive:
            for name, array in self._arrays.items():
                array.finish()
                if name != "passages" or self._has_passages:
                    self._copy(archive, name)
            self._write_ids(archive)
            for name, value in values.items():
                data = io.BytesIO()
                np.lib.format.write_array(data, np.asarray(value), allow_pickle=False)
                archive.writestr(f"{name}.npy", data.getbuffer(), zipfile.ZIP_DEFLATED)

    def _write_ids(self, archive: zipfile.ZipFile) -> None:
        """Writes the ids in parts: NumPy gives each the room of the longest one, 4 bytes for a character."""
        dtype = np.dtype((np.str_, max(map(len, self._ids), default=1)))
        count = max(1, _ID_BYTES // dtype.itemsize)
        member = zipfile.ZipInfo("ids.npy")
        member.compress_type = zipfile.ZIP_DEFLATED
        with archive.open(member, "w", force_zip64=True) as file:
            header = {"descr": dtype.newbyteorder("<").str, "fortran_order": False, "shape": (len(self._ids),)}
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, len(self._ids), count):
                part = np.array(self._ids[start : start + count], dtype.newbyteorder("<"))
                file.write(part.tobytes())

    def _copy(self, archive: zipfile.ZipFile, name: str) -> None:
        with self._parts[name] as part, archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            part.seek(0)
            shutil.copyfileobj(part, member, 1 << 20)


class _Table:
    """A Parquet file of columns behind those of the keys: `id`, and `passage` where there are passages."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._arrow = library("pyarrow", "a Parquet file")
        self._parquet = library("pyarrow.parquet", "a Parquet file")
        self._writer: Any = None
        self._tables: list[Any] = []

    def add(self, keys: Keys, **columns: Any) -> None:
        first = {"id": self._arrow.array(keys.ids, self._arrow.string())}
        if keys.passages is not None:
            first["passage"] = self._arrow.array(keys.passages)
        self._tables.append(self._arrow.table({**first, **columns}))
        if sum(table.nbytes for table in self._tables) >= _GROUP_BYTES:
            self._write()

    def finish(self, **empty_columns: Any) -> None:
        """empty_columns: of a file without any row."""
        if self._writer is None and not self._tables:
            self.add(Keys.joined([]), **empty_columns)
        if self._tables:
            self._write()
        writer: Any = self._writer
        writer.close()

    def _write(self) -> None:
        table = self._arrow.concat_tables(self._tables)
        self._writer = self._writer or self._parquet.ParquetWriter(self._file, table.schema)
        self._writer.write_table(table)
        self._tables = []

    def vectors(self, values: NDArray[Any]) -> Any:
        """(R, d) numbers as a column."""
        pa = self._arrow
        numbers = pa.array(np.ascontiguousarray(values).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(numbers, values.shape[1])

    def lists(self, indptr: NDArray[Any], values: NDArray[Any]) -> Any:
        """Lists of numbers as a column."""
        return self._arrow.ListArray.from_arrays(self._arrow.array(indptr.astype(np.int32)), self._arrow.array(values))


class _VectorArray:
    """`.npy`: the vectors, in the order of their rows."""

    def __init__(self, file: IO[bytes], dimension: int, dtype: np.dtype[Any]) -> None:
        self._array = _Array(file, dtype, dimension)

    def add(self, part: Vectors) -> None:
        self._array.add(part.values)

    def finish(self) -> None:
        self._array.finish()


class _VectorArrays:
    """`.npz`: `values`, `ids`, `rows`, `passages`."""

    def __init__(self, file: IO[bytes], dimension: int, dtype: np.dtype[Any]) -> None:
        self._arrays = _Arrays(file, {"values": (dtype, dimension)})

    def add(self, part: Vectors) -> None:
        self._arrays.add(part.keys, values=part.values)

    def finish(self) -> None:
        self._arrays.finish()


class _VectorTable:
    """Parquet: `id`, `passage`, `vector`."""

    def __init__(self, file: IO[bytes], dimension: int, dtype: np.dtype[Any]) -> None:
        self._table = _Table(file)
        self._empty = self._table.vectors(np.empty((0, dimension), dtype))

    def add(self, part: Vectors) -> None:
        self._table.add(part.keys, vector=self._table.vectors(part.values))

    def finish(self) -> None:
        self._table.finish(vector=self._empty)


class _CodeArrays:
    """`.npz` as scipy.sparse writes a csr_array, and `ids`, `rows`, `passages` beside."""

    def __init__(self, file: IO[bytes], latent_count: int) -> None:
        self._arrays = _Arrays(file, {"data": (np.dtype(np.float32), None), "indices": (np.dtype(np.int32), None)})
        self._latent_count = latent_count
        self._starts: list[NDArray[np.int64]] = []
        self._number_count = 0

    def add(self, part: Codes) -> None:
        codes = part.numbers
        self._arrays.add(part.keys, data=codes.values, indices=codes.indices)
        self._starts.append(self._number_count + codes.indptr[:-1].astype(np.int64))
        self._number_count += len(codes.values)

    def finish(self) -> None:
        indptr = index_array(np.concatenate([*self._starts, [self._number_count]]))
        shape = np.array([len(indptr) - 1, self._latent_count])
        self._arrays.finish(indptr=indptr, format=np.bytes_(b"csr"), shape=shape, _is_array=np.bool_(True))


class _CodeTable:
    """Parquet: `id`, `passage`, and lists: `indices` of the active latents, `values` of their activations."""

    def __init__(self, file: IO[bytes], latent_count: int) -> None:
        self._table = _Table(file)

    def add(self, part: Codes) -> None:
        codes, lists = part.numbers, self._table.lists
        indices, values = lists(codes.indptr, codes.indices), lists(codes.indptr, codes.values)
        self._table.add(part.keys, indices=indices, values=values)

    def finish(self) -> None:
        start = np.zeros(1, np.int32)
        indices, values = np.empty(0, np.uint32), np.empty(0, np.float32)
        self._table.finish(indices=self._table.lists(start, indices), values=self._table.lists(start, values))


def _npy_decoder(file: IO[bytes], decoder: Decoder) -> None:
    np.save(file, decoder.components, allow_pickle=False)


def _npz_decoder(file: IO[bytes], decoder: Decoder) -> None:
    np.savez(file, components=decoder.components, intercept=decoder.intercept)


def _parquet_decoder(file: IO[bytes], decoder: Decoder) -> None:
    """`latent` and `component`, without the intercept."""
    pa, parquet = library("pyarrow", "a Parquet file"), library("pyarrow.parquet", "a Parquet file")
    count, dimension = decoder.components.shape
    components = pa.FixedSizeListArray.from_arrays(pa.array(decoder.components.reshape(-1)), dimension)
    parquet.write_table(pa.table({"latent": np.arange(count, dtype=np.uint32), "component": components}), file)
