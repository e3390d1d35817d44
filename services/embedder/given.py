"""Vectors that users bring: what an item must hold to have one, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
from google.protobuf import json_format
from numpy.typing import NDArray

from prisma.common.v1.block_pb2 import VectorBlock
from prisma_common import wire
from services.embedder.documents import MAX_DIMENSION, Vector
from services.embedder.files.npy import NpyArray
from services.embedder.items import ItemRejected, Reason

_Numbers: TypeAlias = NDArray[np.floating[Any]]


class VectorSource(Protocol):
    """Where the vectors of an import's items come from."""

    def vector(self, number: int, value: object, key: str) -> Vector:
        """The vector of the item with this number, from 0, and value. Raises ItemRejected; `key` is for its report."""
        ...


class VectorChecks:
    """The checks of an import's vectors: the first valid one decides how long they are, unless the dataset has some.

    dimension: 0 until that is known. is_rounded: whether a float64 was no float32.
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self.is_rounded = False

    def checked(self, value: object, key: str) -> Vector:
        """The vector in a list, an array, or a VectorBlock as JSON. Raises ItemRejected."""
        if value is None:
            message = "the item has no vector; the vectors of this dataset are given, each document needs one"
            raise ItemRejected(Reason.MISSING_VECTOR, message, key=key)
        numbers = _numbers(value, key)
        expected = self.dimension or min(max(1, len(numbers)), MAX_DIMENSION)
        if len(numbers) != expected:
            limit = "" if self.dimension else "1 to "
            message = f"expected a vector of {limit}{expected:,} numbers, got {len(numbers):,}"
            raise ItemRejected(Reason.VECTOR_LENGTH, message, key=key)
        vector = _narrowed(numbers)
        if not np.isfinite(vector).all():
            place = int(np.flatnonzero(~np.isfinite(vector))[0])
            message = f"number {place + 1:,} of the vector is {float(numbers[place])}, which has no finite float32"
            raise ItemRejected(Reason.INVALID_VECTOR, message, key=key)
        if not vector.any():
            message = "all numbers of the vector are zero: it is close to nothing"
            raise ItemRejected(Reason.ZERO_VECTOR, message, key=key)
        self.dimension = expected
        self.is_rounded = self.is_rounded or not np.array_equal(vector, numbers)
        return vector


class FieldVectors:
    """Vectors in a field of the items."""

    def __init__(self, field: str, checks: VectorChecks) -> None:
        self._field = field
        self._checks = checks

    def vector(self, number: int, value: object, key: str) -> Vector:
        """The vector in the item's field."""
        item = cast("Mapping[str, object]", value)
        return self._checks.checked(item.get(self._field), key)


class FileVectors:
    """Vectors in a file of their own, in the order of the items."""

    def __init__(self, array: NpyArray, checks: VectorChecks) -> None:
        self._array = array
        self._checks = checks
        self._start = 0
        self._block: _Numbers = np.empty((0, array.dimension))

    def vector(self, number: int, value: object, key: str) -> Vector:
        """The vector in the file's row `number`."""
        if not self._start <= number < self._start + len(self._block):
            self._start, self._block = number, self._array.rows(number)
        return self._checks.checked(self._block[number - self._start], key)


def _narrowed(numbers: _Numbers) -> Vector:
    """float16 and float32 as they are, float64 as float32."""
    if numbers.dtype != np.float64:
        return cast("Vector", numbers)
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32)


def _numbers(value: object, key: str) -> _Numbers:
    """The numbers of a vector, (d,) float16, float32 or float64. Raises ItemRejected."""
    if isinstance(value, np.ndarray):
        return cast("_Numbers", value)
    if isinstance(value, dict):
        return _block_numbers(cast("dict[str, Any]", value), key)
    if not isinstance(value, list):
        message = f"expected a list of numbers as vector, got {_kind(value)}"
        raise ItemRejected(Reason.INVALID_VECTOR, message, key=key)
    members = cast("list[object]", value)
    other = next((member for member in members if type(member) not in (int, float)), 0.0)
    if type(other) not in (int, float):
        raise ItemRejected(Reason.INVALID_VECTOR, f"expected numbers in the vector, got {_kind(other)}", key=key)
    try:
        return np.array(members, dtype=np.float64)
    except OverflowError:
        message = "a number of the vector has no finite float32"
        raise ItemRejected(Reason.INVALID_VECTOR, message, key=key) from None


def _block_numbers(value: dict[str, Any], key: str) -> _Numbers:
    """The numbers of one vector as the API returns it. Raises ItemRejected."""
    try:
        block = json_format.ParseDict(value, VectorBlock())
        _rows, vectors = wire.unpack_vectors(block)
    except (json_format.ParseError, wire.WireError):
        vectors = np.empty((0, 0), np.float32)
    if len(vectors) != 1:
        raise ItemRejected(Reason.INVALID_VECTOR, "expected a list of numbers as vector, got an object", key=key)
    return vectors[0]


def _kind(value: object) -> str:
    kinds = {"str": "text", "bool": "true or false", "NoneType": "null", "dict": "an object", "list": "a list"}
    return kinds.get(type(value).__name__, "a number")
