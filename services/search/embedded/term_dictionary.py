"""The terms of a segment's metadata, ascending by their bytes, and of each the texts that have it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from services.chassis.metadata_filters import HasTerm, HasTermBetween, HasTermContaining, TermTest
from services.chassis.metadata_terms import DIGEST_CHARACTERS, end_of_prefix, is_cut
from services.search.embedded.segments import Arrays, Segment


class TermDictionary(Sequence[bytes]):
    """Reads the dictionary of a segment."""

    def __init__(self, segment: Segment) -> None:
        arrays = segment.arrays
        self._bytes = memoryview(cast(Any, np.ascontiguousarray(arrays["term_bytes"])))
        self._offsets = arrays["term_offsets"]
        self._starts = arrays["term_starts"]
        self._places = arrays["term_places"]
        self._size = len(segment.rows)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, place: Any) -> Any:
        return bytes(self._bytes[int(self._offsets[place]) : int(self._offsets[place + 1])])

    def texts_with(self, test: TermTest) -> NDArray[np.bool_]:
        """(R,) which texts of the segment have a term that passes a test."""
        mask = np.zeros(self._size, dtype=bool)
        for first, last in self._ranges(test):
            mask[self._places[int(self._starts[first]) : int(self._starts[last])]] = True
        return mask

    def count(self, value: Any) -> int:
        """How many terms pass a test."""
        return sum(last - first for first, last in self._ranges(value))

    def terms_with(self, test: TermTest) -> list[bytes]:
        """The terms that pass a test."""
        return [self[place] for first, last in self._ranges(test) for place in range(first, last)]

    def terms_beside(self, test: HasTermBetween) -> Iterator[bytes]:
        """The terms that pass a test, those beside its bound first."""
        for first, last in self._ranges(test):
            yield from (self[place] for place in (range(first, last) if test.low else reversed(range(first, last))))

    def _ranges(self, test: TermTest) -> Iterator[tuple[int, int]]:
        """Places of the terms that pass a test, each from the first to before the last."""
        match test:
            case HasTerm(term):
                key = term.encode()
                place = bisect_left(self, key)
                if place < len(self) and self[place] == key:
                    yield place, place + 1
            case HasTermBetween():
                first, last = bisect_left(self, test.prefix.encode()), bisect_left(self, _end_of(test.prefix))
                if test.low is not None:
                    first = (bisect_left if test.is_inclusive else bisect_right)(self, test.low.encode())
                if test.high is not None:
                    last = (bisect_right if test.is_inclusive else bisect_left)(self, test.high.encode())
                if first < last:
                    yield first, last
            case HasTermContaining():
                yield from ((place, place + 1) for place in self._containing(test))

    def _containing(self, test: HasTermContaining) -> list[int]:
        """Places of the terms whose texts contain one, as they are or folded. All are searched at once."""
        as_they_are = self._containing_behind(test.text_prefix, test.text)
        uncut = [place for place in as_they_are if not self._is_cut(place, test.text_prefix)]
        return uncut + self._containing_behind(test.folded_prefix, test.text)

    def _is_cut(self, place: int, prefix: str) -> bool:
        size = int(self._offsets[place + 1]) - int(self._offsets[place])
        return size > DIGEST_CHARACTERS + len(prefix) and is_cut(self[place].decode())

    def _containing_behind(self, prefix: str, text: str) -> list[int]:
        """Places of the terms that begin with a prefix and contain a text behind it."""
        beginning, part = prefix.encode(), text.encode()
        first, last = bisect_left(self, beginning), bisect_left(self, _end_of(prefix))
        if first == last or not text:
            return list(range(first, last))
        offsets = self._offsets[first : last + 1].astype(np.int64)
        start = int(offsets[0])
        starts = np.fromiter(_occurrences(part, bytes(self._bytes[start : int(offsets[-1])])), dtype=np.int64) + start
        terms = np.searchsorted(offsets, starts, side="right") - 1
        is_within = (starts >= offsets[terms] + len(beginning)) & (starts + len(part) <= offsets[terms + 1])
        return (np.unique(terms[is_within]) + first).tolist()


def _occurrences(part: bytes, content: bytes) -> Iterator[int]:
    """Where bytes begin within others, ascending; they may overlap."""
    place = content.find(part)
    while place >= 0:
        yield place
        place = content.find(part, place + 1)


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
