"""Screens: small codes of the vectors of a segment, so that a search reads few of the vectors themselves.

A screen has four bits for every few numbers of a vector (product quantisation) and finds the rows that are probably
nearest by scanning all its codes, which takes a fortieth of the time that the vectors take. Who searches scores these
rows by their vectors, so that a screen can lose a row and never changes a score. faiss trains, stores and scans the
codes; it is loaded when the first screen is made.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.chassis.files import whole
from services.search.backend import Vectors
from services.search.embedded.segments import Segment, packed

SUFFIX = ".screen"
MIN_ROWS = 4096
"""Segments of fewer rows are scanned as they are."""

_TRAINING_ROWS = 16_384
_CHUNK_ROWS = 16_384
_SHORT_DIMENSION = 512
"""Vectors of more numbers have a code for eight of them, others for four."""


class NoFaiss(RuntimeError):
    """faiss is not installed, or does not work on this machine."""


class Stopped(Exception):
    """The screen is not needed any more."""


@dataclass(frozen=True)
class Screen:
    """The codes of one segment's vectors."""

    vectors: Vectors
    """(R, d) those of the segment, by which the screen is known to be its own."""
    index: Any
    """faiss's."""

    def nearest(
        self, query: Vectors, count: int, mask: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Places of the rows that are probably nearest to a query of norm 1, and estimates of their cosines.

        query: as `query_of` makes it. mask: (R,) the rows that count; None for all. Of equal estimates, as equal
        vectors have them, the lowest places are taken: faiss takes any, so it is asked for more until it returns all.
        """
        faiss = load_faiss()
        faiss.omp_set_num_threads(1)  # of this thread
        parameters = None
        if mask is not None:
            selector = faiss.IDSelectorBitmap(packed(mask).view(np.uint8))
            parameters = faiss.SearchParametersIVF(sel=selector, nprobe=1)
        size, requested = len(self.vectors), count + count // 4
        while True:
            estimates, places = self.index.search(query, min(requested, size), params=parameters)
            is_row = places[0] >= 0  # faiss fills up with -1
            estimates, places = estimates[0][is_row], places[0][is_row].astype(np.intp)
            if len(places) <= count:
                return places, estimates
            last = np.partition(estimates, len(estimates) - count)[len(estimates) - count]
            if requested >= size or len(places) < requested or last > estimates.min():
                higher, tied = np.flatnonzero(estimates > last), np.flatnonzero(estimates == last)
                best = np.append(higher, tied[np.argsort(places[tied])[: count - len(higher)]])
                return places[best], estimates[best]
            requested *= 4


def query_of(vector: Vectors) -> Vectors:
    """(1, d') a query for all screens of vectors of its dimension. The vector must not be zero."""
    return _padded(np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)[None])


@cache
def load_faiss() -> Any:
    """The module. Raises NoFaiss."""
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise NoFaiss(f"faiss cannot be loaded: {error}") from error


def build(segment: Segment, check: Callable[[], None]) -> Screen:
    """The screen of a segment. Raises NoFaiss. check: called between parts of the work; may raise Stopped."""
    faiss = load_faiss()
    faiss.omp_set_num_threads(1)
    vectors, norms = segment.arrays["vectors"], segment.arrays["norms"]
    dimension = _padded(vectors[:1]).shape[1]
    # One list that holds everything: of faiss's indexes with such codes, only those with lists pass over rows.
    codes = dimension // _numbers_of_code(dimension)
    index = faiss.index_factory(dimension, f"IVF1,PQ{codes}x4fs", faiss.METRIC_INNER_PRODUCT)
    index.by_residual = False
    step = max(1, len(vectors) // _TRAINING_ROWS)
    index.train(_units(vectors[::step], norms[::step]))
    for start in range(0, len(vectors), _CHUNK_ROWS):
        check()
        chunk = slice(start, start + _CHUNK_ROWS)
        index.add(_units(vectors[chunk], norms[chunk]))
    return Screen(vectors, index)


def save(screen: Screen, path: Path, source: str) -> None:
    """Writes a screen. source: identifies the vectors that it is of. Raises StorageFull, and OSError."""
    faiss = load_faiss()
    body = faiss.serialize_index(screen.index).tobytes()
    header = {"source": source, "faiss": faiss.__version__, "sha256": hashlib.sha256(body).hexdigest()}
    with whole(path) as file:
        file.write(json.dumps(header).encode() + b"\n" + body)


def load(segment: Segment, path: Path, source: str) -> Screen | None:
    """The stored screen of a segment; None where there is none, or it is damaged or of other vectors or versions."""
    faiss = load_faiss()
    try:
        header_line, _, body = path.read_bytes().partition(b"\n")
        expected = {"source": source, "faiss": faiss.__version__, "sha256": hashlib.sha256(body).hexdigest()}
        if json.loads(header_line) != expected:
            return None
    except (OSError, ValueError):
        return None
    return Screen(segment.arrays["vectors"], faiss.deserialize_index(np.frombuffer(body, np.uint8)))


def _numbers_of_code(dimension: int) -> int:
    return 4 if dimension <= _SHORT_DIMENSION else 8


def _padded(vectors: Vectors) -> Vectors:
    """Vectors with zeros behind them, until their dimension is a multiple of what a code is of."""
    numbers = _numbers_of_code(vectors.shape[1])
    missing = -vectors.shape[1] % numbers
    return np.ascontiguousarray(np.pad(vectors, ((0, 0), (0, missing))), dtype=np.float32)


def _units(vectors: Vectors, norms: NDArray[np.float32]) -> Vectors:
    """Vectors of norm 1, and of norm 0 where there is none to scale."""
    return _padded(np.divide(vectors, norms[:, None], out=np.zeros_like(vectors), where=norms[:, None] > 0))
