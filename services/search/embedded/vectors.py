"""Vectors in memory-mapped float32: screened if they are many, compared in blocks if not, in float64 for the best."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.search import scoring
from services.search.backend import Candidates, Rows, Scores, Vectors, WrongDimension
from services.search.embedded import screens
from services.search.embedded.screens import Screen
from services.search.embedded.segments import Arrays, Segment, SegmentStore, SegmentWriter, concatenated, last_of_each

_BLOCK_ROWS = 16_384
_MAX_MERGED_BYTES = 256 << 20
EXACT_ROWS = 50_000
"""Up to so many vectors are all compared with a query, or so many of those that a filter leaves as `_BLOCK_ROWS`."""
MIN_RECALL = 0.95
"""Screens that lose more of the nearest vectors are not used."""

_MARGIN = 32
"""Extra candidates by float32 products, so that rounding there cannot lose one of the best."""
_MAX_TIED = 2048
"""Candidates beyond these that may tie with the last of them."""
_ROUNDING = 2.0**-23
"""Errors of float32 products of unit vectors are below this times the square root of their dimension."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Screening:
    """How the vectors of a stream are searched by screens."""

    screens: Mapping[str, Screen]
    """By segment; those of others are compared."""
    width: int = 8
    """Rows that the screens choose for each one that is asked for."""
    recall: float | None = None
    """Share of the nearest vectors that are returned; None where it is not known, as before the first screen."""

    def count(self, depth: int) -> int:
        """Rows that the screens choose: so many more than are asked for that few of the first ones are missing."""
        measured = min(depth, _SAMPLE_DEPTH)
        return max(MIN_SCREENED, self.width * measured + _FURTHER_WIDTH * (depth - measured))

    def count_of(self, depth: int, *, share: float) -> int:
        """The same of one screen, with this share of all rows: more than its share, as like texts come together."""
        count = self.count(depth)
        return min(count, math.ceil(2 * share * count) + 2 * depth)


_EXACT = _Screening({})
MIN_SCREENED = 1000
_LEAST_GAIN = 6
"""To score a row that a screen has chosen takes longer than to compare the next one."""
_FURTHER_WIDTH = 4
"""`_Screening.width` of what comes after the first `_SAMPLE_DEPTH` rows."""
_SAMPLE_QUERIES = 32
_SAMPLE_DEPTH = 100


class VectorStore(SegmentStore):
    """The vectors of one dataset."""

    def __init__(self, folder: Path) -> None:
        self._screening = _EXACT
        super().__init__(folder)

    @property
    def dimension(self) -> int | None:
        """Numbers in a vector; None where there is none yet."""
        return self.manifest.detail.get("dimension") if self.manifest else None

    @property
    def recall(self) -> float | None:
        """Share of the nearest vectors that a search returns; None where all are compared."""
        return self._screening.recall if self.segments.live_count > EXACT_ROWS else None

    def search(self, query: Vectors, depth: int, allowed: Rows | None) -> Candidates:
        """The rows of highest cosine. Raises WrongDimension when the query has another dimension."""
        segments, screening, dimension = self.segments, self._screening, self.dimension
        if dimension is None:
            return Candidates(np.empty(0, np.uint64), np.empty(0), 0)
        if query.shape != (dimension,):
            raise WrongDimension(f"expected a query vector of dimension {dimension}, got {query.shape}")
        if screening.recall is None or not self._screens_pay(screening.count(depth)):
            screening = _EXACT
        return _search(segments.parts, query, depth, allowed, screening=screening)

    def needs_screens(self) -> bool:
        """Whether a large segment lacks its screen. For few vectors none is made."""
        return self.segments.live_count > EXACT_ROWS and bool(self._without_screens())

    def update_screens(self, check: Callable[[], None]) -> None:
        """Gives each large segment its screen, and measures the recall. check: raises Stopped where that must end."""
        while self.needs_screens():
            part = self._without_screens()[0]
            self._screening = _Screening(
                {**self._current_screens(), part.name: self._screen_of(part, check)},
                self._screening.width,
                self._screening.recall,
            )
        self._screening = self._measured(check)

    def _screens_pay(self, count: int) -> bool:
        """Whether screens that choose so many rows are faster than comparing all."""
        return self.segments.live_count > max(EXACT_ROWS, _LEAST_GAIN * count)

    def _without_screens(self) -> list[Segment]:
        current = self._current_screens()
        return [part for part in self.segments.parts if len(part.rows) >= screens.MIN_ROWS and part.name not in current]

    def _current_screens(self) -> dict[str, Screen]:
        """By name of the segment."""
        stored = self._screening.screens
        return {part.name: stored[part.name] for part in self.segments.parts if _has_screen(part, stored)}

    def _screen_of(self, part: Segment, check: Callable[[], None]) -> Screen:
        """Loads or makes the screen of a segment. Raises Stopped when the segment is replaced meanwhile."""

        def check_part() -> None:
            check()
            is_replaced = all(current.name != part.name for current in self.segments.parts)
            if is_replaced or not self.folder.exists():
                raise screens.Stopped

        manifest = self.manifest
        digest = manifest.digests.get(f"{part.name}/vectors.npy") if manifest else None
        if digest is None:
            raise screens.Stopped
        path = self.folder / f"{part.name}{screens.SUFFIX}"
        screen = screens.load(part, path, digest.sha256)
        if screen is None:
            screen = screens.build(part, check_part)
            check_part()
            screens.save(screen, path, digest.sha256)
        return screen

    def _measured(self, check: Callable[[], None]) -> _Screening:
        """The screens with the least width that gives enough recall. Where none does, they are not used."""
        parts, available = self.segments.parts, self._current_screens()
        queries = _sample_queries(parts)
        exact = list[Candidates]()
        for query in queries:
            check()
            exact.append(_search(parts, query, _SAMPLE_DEPTH, None, screening=_EXACT))
        width, recall = _Screening({}).width, 0.0
        while self._screens_pay(width * _SAMPLE_DEPTH):
            screening = _Screening(available, width)
            recalls: list[float] = []
            for query, best in zip(queries, exact, strict=True):
                check()
                candidates = _search(parts, query, _SAMPLE_DEPTH, None, screening=screening)
                recalls.append(_recall(best, candidates))
            recall = float(np.mean(recalls))
            if recall >= MIN_RECALL:
                return _Screening(available, width, recall)
            width *= 2
        _log.warning(
            "all vectors in %s are compared in each search: the widest screens that would be faster return %.3f of the "
            "nearest ones, and at least %.2f are needed",
            self.folder,
            recall,
            MIN_RECALL,
        )
        return _Screening(available)

    def remove_unreferenced(self) -> None:
        """Also the screens of such parts."""
        super().remove_unreferenced()
        names = set(self.manifest.parts if self.manifest else [])
        for path in self.folder.glob(f"*{screens.SUFFIX}"):
            if path.stem not in names:
                path.unlink(missing_ok=True)

    def fetch(self, rows: Rows) -> tuple[Rows, Vectors]:
        """Those of the ascending rows that have a vector, and their vectors."""
        return gather(self.segments.parts, rows, self.dimension or 0)


class VectorStoreWriter(SegmentWriter[tuple[Rows, Vectors]]):
    """Adds vectors to a store."""

    BUFFER_SIZE = 64 << 20

    def upsert(self, rows: Rows, vectors: Vectors) -> None:
        """Raises ValueError when the dimension differs from that of the stored vectors."""
        if not len(rows):
            return
        dimension = self.detail.setdefault("dimension", vectors.shape[1])
        if vectors.shape[1] != dimension:
            raise ValueError(f"expected vectors of dimension {dimension}, got {vectors.shape[1]}")
        self.add((rows.astype(np.uint64), vectors.astype(np.float32)))

    @property
    def max_merged_rows(self) -> int:
        return _MAX_MERGED_BYTES // (4 * self.detail.get("dimension", 1))

    def size(self, block: tuple[Rows, Vectors]) -> int:
        return block[1].nbytes

    def joined(self, blocks: Sequence[tuple[Rows, Vectors]]) -> tuple[Rows, Arrays]:
        rows = np.concatenate([rows for rows, _ in blocks])
        last = last_of_each(rows)
        vectors = np.concatenate([vectors for _, vectors in blocks])[last]
        return rows[last], {"vectors": vectors, "norms": _norms(vectors)}

    def merged(self, parts: Sequence[Segment]) -> tuple[Rows, Arrays]:
        rows = np.sort(concatenated([part.rows[part.live] for part in parts], np.uint64))
        rows, vectors = gather(parts, rows, self.detail.get("dimension", 0))
        return rows, {"vectors": vectors, "norms": _norms(vectors)}

    def empty(self) -> Arrays:
        return {"vectors": np.empty((0, self.detail.get("dimension", 0)), np.float32), "norms": np.empty(0, np.float32)}


def gather(parts: Sequence[Segment], rows: Rows, dimension: int) -> tuple[Rows, Vectors]:
    """The vectors of those of the ascending rows that are stored, in their order."""
    vectors = np.empty((len(rows), dimension), np.float32)
    stored = np.zeros(len(rows), dtype=bool)
    for part in parts:
        places = part.find(rows)
        if len(places):
            targets = np.searchsorted(rows, part.rows[places])
            vectors[targets] = part.arrays["vectors"][places]
            stored[targets] = True
    return (rows, vectors) if stored.all() else (rows[stored], vectors[stored])


def _search(
    parts: Sequence[Segment], query: Vectors, depth: int, allowed: Rows | None, *, screening: _Screening
) -> Candidates:
    """The rows of highest cosine, of those that screens choose where there are any."""
    dimension, rounding, few = len(query), _rounding(query), screens.MIN_ROWS if screening.screens else _BLOCK_ROWS
    if allowed is not None and len(allowed) <= few:
        rows, vectors = gather(parts, allowed, dimension)
        return _best(query, rows, vectors, depth=depth, total=len(rows))
    masks = [part.allowed(allowed) for part in parts]
    counts = [int(mask.sum()) for mask in masks]
    starts = np.cumsum([0, *(len(part.rows) for part in parts)]).tolist()
    screen_query = screens.query_of(query) if screening.screens and query.any() else None
    row_count = max(1, starts[-1])
    places, nearness = list[NDArray[np.intp]](), list[Vectors]()
    screened: list[tuple[NDArray[np.intp], Vectors]] = []
    for part, mask, count, start in zip(parts, masks, counts, starts, strict=False):
        if screen_query is not None and _has_screen(part, screening.screens):
            wide = screening.count_of(depth, share=len(mask) / row_count)
            is_whole = count == len(mask)
            part_places, estimates = screening.screens[part.name].nearest(
                screen_query, wide, None if is_whole else mask
            )
            screened.append((part_places + start, estimates))
        elif count:
            scores = _nearness(part, query, mask)
            part_places = _highest(scores, part.rows, min(depth + _MARGIN, count), rounding=rounding)
            places.append(part_places + start)
            nearness.append(scores[part_places])
    if screened:
        best = _highest_estimates(parts, screened, screening.count(depth))
        places.append(best)
        nearness.append(_products(parts, best, query))
    all_places, all_nearness = _ascending(concatenated(places, np.intp), concatenated(nearness, np.float32))
    candidate_count = min(depth + _MARGIN, len(all_places))
    best = all_places[_highest(all_nearness, _rows_at(parts, all_places), candidate_count, rounding=rounding)]
    rows, vectors = _at_places(parts, best, dimension)
    return _best(query, rows, vectors, depth=depth, total=sum(counts))


def _has_screen(part: Segment, available: Mapping[str, Screen]) -> bool:
    return part.name in available and available[part.name].vectors is part.arrays["vectors"]


def _highest_estimates(
    parts: Sequence[Segment], screened: Sequence[tuple[NDArray[np.intp], Vectors]], count: int
) -> NDArray[np.intp]:
    """Ascending places of the highest estimates, ties by the lower row."""
    places, estimates = _ascending(
        np.concatenate([part_places for part_places, _ in screened]),
        np.concatenate([estimates for _, estimates in screened]),
    )
    if len(places) <= count:
        return places
    return np.sort(places[scoring.best(_rows_at(parts, places), estimates.astype(np.float64), count)])


def _ascending(places: NDArray[np.intp], scores: Vectors) -> tuple[NDArray[np.intp], Vectors]:
    """Both in the order of the places."""
    order = np.argsort(places)
    return places[order], scores[order]


def _products(parts: Sequence[Segment], places: NDArray[np.intp], query: Vectors) -> Vectors:
    """Cosines, but for the query's norm, by float32 arithmetic, of the vectors at ascending places of all segments."""
    _, vectors = _at_places(parts, places, len(query))
    norms = np.sqrt(np.vecdot(vectors, vectors))
    products = np.vecdot(vectors, query)
    return np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)


def _recall(exact: Candidates, candidates: Candidates) -> float:
    """The share of the nearest vectors that are among candidates. Of vectors that are as near, any will do."""
    if not len(exact.scores):
        return 1.0
    return min(1.0, np.count_nonzero(candidates.scores >= exact.scores[-1]) / len(exact.scores))


def _sample_queries(parts: Sequence[Segment]) -> list[Vectors]:
    """Queries that are near to what is stored and not stored: sums of two vectors."""
    generator = np.random.default_rng(0)
    large = [part for part in parts if len(part.rows) >= screens.MIN_ROWS]
    sizes = np.array([len(part.rows) for part in large], dtype=np.float64)
    queries: list[Vectors] = []
    for _ in range(_SAMPLE_QUERIES if large else 0):
        first, second = (
            large[place].arrays["vectors"][generator.integers(len(large[place].rows))]
            for place in generator.choice(len(large), 2, p=sizes / sizes.sum())
        )
        queries.append(np.asarray(0.7 * first + 0.3 * second, dtype=np.float32))
    return queries


def _nearness(segment: Segment, query: Vectors, mask: NDArray[np.bool_]) -> Vectors:
    """(R,) cosines of a segment's vectors, but for the query's norm, by float32 arithmetic; −∞ outside the mask."""
    vectors, norms = segment.arrays["vectors"], segment.arrays["norms"]
    scores = np.full(len(mask), -np.inf, dtype=np.float32)
    for start in range(0, len(mask), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        if mask[block].any():
            # not `@`: a product with one vector is bound by memory, and BLAS's threads spin while they wait
            products = np.vecdot(vectors[block], query)
            scores[block] = np.divide(products, norms[block], out=np.zeros_like(products), where=norms[block] > 0)
    scores[~mask] = -np.inf
    return scores


def _rounding(query: Vectors) -> float:
    """Scores of `_nearness` and `_products` that differ by less may be in the wrong order."""
    return _ROUNDING * math.sqrt(len(query)) * float(np.linalg.norm(query.astype(np.float64)))


def _highest(scores: Vectors, rows: Rows, count: int, *, rounding: float) -> NDArray[np.intp]:
    """Ascending places of so many of the highest scores, and of those that may tie with the last of them.

    Where too many may tie, those of the lowest rows are taken, so that a larger count never leaves out what a smaller
    one returns.
    """
    if count == 0:
        return np.empty(0, np.intp)
    last = float(np.partition(scores, len(scores) - count)[len(scores) - count])
    places = np.flatnonzero(scores >= last - rounding)
    if len(places) <= count + _MAX_TIED:
        return places
    is_higher = scores[places] > last + rounding
    higher, tied = places[is_higher], places[~is_higher]
    lowest = tied[np.argsort(rows[tied])[: count + _MAX_TIED - len(higher)]]
    return np.sort(np.concatenate([higher, lowest]))


def _rows_at(parts: Sequence[Segment], places: NDArray[np.intp]) -> Rows:
    """Rows at these ascending places of all segments as one."""
    starts = np.cumsum([0, *(len(part.rows) for part in parts)])
    ranges = pairwise(np.searchsorted(places, starts))
    return concatenated(
        [
            part.rows[places[begin:end] - start]
            for part, start, (begin, end) in zip(parts, starts, ranges, strict=False)
        ],
        np.uint64,
    )


def _at_places(parts: Sequence[Segment], places: NDArray[np.intp], dimension: int) -> tuple[Rows, Vectors]:
    """Rows and vectors at these ascending places of all segments as one."""
    rows, vectors = np.empty(len(places), np.uint64), np.empty((len(places), dimension), np.float32)
    starts = np.cumsum([0, *(len(part.rows) for part in parts)])
    for part, start, (begin, end) in zip(parts, starts, pairwise(np.searchsorted(places, starts)), strict=False):
        places_in_part = places[begin:end] - start
        rows[begin:end] = part.rows[places_in_part]
        np.take(part.arrays["vectors"], places_in_part, axis=0, out=vectors[begin:end], mode="clip")
    return rows, vectors


def _best(query: Vectors, rows: Rows, vectors: Vectors, *, depth: int, total: int) -> Candidates:
    scores = scoring.cosines(query, vectors)
    best = scoring.order(rows, scores)[:depth]
    return Candidates(rows[best], scores[best], total)


def _norms(vectors: Vectors) -> Scores:
    wide = vectors.astype(np.float64)
    return np.sqrt(np.einsum("ij,ij->i", wide, wide)).astype(np.float32)
