"""The terms of a segment's metadata, ascending by their bytes, and of each the texts that have it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from services.chassis.metadata_filters import HasTerm, HasTermBetween, HasTermContaining, TermTest
from services.chassis.metadata_terms import MAX_TEXT_BYTES, end_of_prefix
from services.search.embedded.segments import Arrays, Segment


class TermDictionary(Sequence[bytes]):
    """Reads the dictionary of a segment, for one search."""

    def __init__(self, segment: Segment) -> None:
        arrays = segment.arrays
        self._bytes = memoryview(cast(Any, np.ascontiguousarray(arrays["term_bytes"])))
        self._offsets = arrays["term_offsets"]
        self._starts = arrays["term_starts"]
        self._places = arrays["term_places"]
        self._size = len(segment.rows)
        self._containing_places: dict[HasTermContaining, NDArray[np.intp]] = {}

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, place: Any) -> Any:
        return bytes(self._bytes[int(self._offsets[place]) : int(self._offsets[place + 1])])

    def texts_with(self, test: TermTest) -> NDArray[np.bool_]:
        """(R,) which texts of the segment have a term that passes a test."""
        mask = np.zeros(self._size, dtype=bool)
        terms = self._passing(test)
        if isinstance(terms, range):
            mask[self._places[int(self._starts[terms.start]) : int(self._starts[terms.stop])]] = True
        elif len(terms):
            mask[self._places[_ranges(self._starts[terms], self._starts[terms + 1])]] = True
        return mask

    def count(self, value: Any) -> int:
        """How many terms pass a test."""
        return len(self._passing(value))

    def terms_with(self, test: TermTest) -> list[bytes]:
        """The terms that pass a test."""
        return [self[place] for place in self._passing(test)]

    def terms_beside(self, test: HasTermBetween) -> Iterator[bytes]:
        """The terms that pass a test, those beside its bound first."""
        terms = self._between(test)
        return (self[place] for place in (terms if test.low else reversed(terms)))

    def _passing(self, test: TermTest) -> range | NDArray[np.intp]:
        """Places of the terms that pass a test, ascending."""
        match test:
            case HasTerm(term):
                key = term.encode()
                place = bisect_left(self, key)
                return range(place, place + (place < len(self) and self[place] == key))
            case HasTermBetween():
                return self._between(test)
            case HasTermContaining():
                if test not in self._containing_places:
                    self._containing_places[test] = self._containing(test)
                return self._containing_places[test]

    def _between(self, test: HasTermBetween) -> range:
        first, last = bisect_left(self, test.prefix.encode()), bisect_left(self, _end_of(test.prefix))
        if test.low is not None:
            first = (bisect_left if test.is_inclusive else bisect_right)(self, test.low.encode())
        if test.high is not None:
            last = (bisect_right if test.is_inclusive else bisect_left)(self, test.high.encode())
        return range(first, max(first, last))

    def _containing(self, test: HasTermContaining) -> NDArray[np.intp]:
        """Places of the terms whose texts contain one, as they are or folded. All are searched at once."""
        as_they_are = self._containing_behind(test.text_prefix, test.text)
        sizes = self._offsets[as_they_are + 1] - self._offsets[as_they_are]
        is_whole = sizes <= MAX_TEXT_BYTES + len(test.text_prefix.encode())  # only terms of cut texts are longer
        folded = self._containing_behind(test.folded_prefix, test.text)
        return np.sort(np.concatenate([as_they_are[is_whole], folded]))

    def _containing_behind(self, prefix: str, text: str) -> NDArray[np.intp]:
        """Places of the terms that begin with a prefix and contain a text behind it."""
        beginning, part = prefix.encode(), text.encode()
        first, last = bisect_left(self, beginning), bisect_left(self, _end_of(prefix))
        if first == last or not text:
            return np.arange(first, last)
        offsets = self._offsets[first : last + 1]
        content = bytes(self._bytes[int(offsets[0]) : int(offsets[-1])])
        ends = (offsets[1:] - offsets[0]).astype(np.int64)
        return np.fromiter(_terms_containing(part, content, ends, len(beginning)), dtype=np.intp) + first


def _ranges(starts: NDArray[np.uint64], ends: NDArray[np.uint64]) -> NDArray[np.intp]:
    """All numbers from each start to before its end."""
    sizes = (ends - starts).astype(np.intp)
    offsets = np.cumsum(sizes) - sizes
    return np.arange(int(sizes.sum())) + np.repeat(starts.astype(np.intp) - offsets, sizes)


def _terms_containing(part: bytes, content: bytes, ends: NDArray[np.int64], beginning: int) -> Iterator[int]:
    """Numbers of the terms that contain a part behind their first bytes. Each term costs one or two searches.

    content: the terms, one behind the other. ends: of each in the content. beginning: how many bytes are passed over.
    """
    bounds = memoryview(cast(Any, ends))  # bisect reads numbers of NumPy ten times slower
    start, term = beginning, 0
    while (place := content.find(part, start)) >= 0:
        if place >= bounds[term]:
            term = bisect_right(bounds, place, lo=term)
        text = (bounds[term - 1] if term else 0) + beginning
        if place < text:
            start = text
            continue
        if place + len(part) <= bounds[term]:
            yield term
        start = bounds[term] + beginning
        term += 1


def _end_of(prefix: str) -> bytes:
    return end_of_prefix(prefix).encode()


def dictionary_arrays(terms: Sequence[bytes], starts: NDArray[np.uint64], places: NDArray[np.uint32]) -> Arrays:
    """The arrays of a dictionary. terms: ascending. starts: of the places of each, and their end."""
    lengths = np.array([len(term) for term in terms], dtype=np.uint64)
    return {
        "term_bytes": np.frombuffer(b"".join(terms), dtype=np.uint8),
        "term_offsets": np.concatenate([[0], np.cumsum(lengths)]).astype(np.uint64),
        "term_starts": starts,
        "term_places": places,
    }


def terms_of(segment: Segment) -> list[bytes]:
    """All terms of a segment, ascending."""
    data = segment.arrays["term_bytes"].tobytes()
    return [data[first:last] for first, last in pairwise(segment.arrays["term_offsets"].tolist())]
