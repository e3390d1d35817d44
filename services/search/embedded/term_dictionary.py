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
        is_long = sizes > DIGEST_CHARACTERS + len(test.text_prefix)
        uncut = [place for place in as_they_are[is_long].tolist() if not is_cut(self[place].decode())]
        folded = self._containing_behind(test.folded_prefix, test.text)
        return np.sort(np.concatenate([as_they_are[~is_long], np.array(uncut, np.intp), folded]))

    def _containing_behind(self, prefix: str, text: str) -> NDArray[np.intp]:
        """Places of the terms that begin with a prefix and contain a text behind it."""
        beginning, part = prefix.encode(), text.encode()
        first, last = bisect_left(self, beginning), bisect_left(self, _end_of(prefix))
        if first == last or not text:
            return np.arange(first, last)
        offsets = self._offsets[first : last + 1].astype(np.int64)
        start = int(offsets[0])
        starts = np.fromiter(_occurrences(part, bytes(self._bytes[start : int(offsets[-1])])), dtype=np.int64) + start
        terms = np.searchsorted(offsets, starts, side="right") - 1
        is_within = (starts >= offsets[terms] + len(beginning)) & (starts + len(part) <= offsets[terms + 1])
        return _distinct(terms[is_within]) + first


def _ranges(starts: NDArray[np.uint64], ends: NDArray[np.uint64]) -> NDArray[np.intp]:
    """All numbers from each start to before its end."""
    sizes = (ends - starts).astype(np.intp)
    offsets = np.cumsum(sizes) - sizes
    return np.arange(int(sizes.sum())) + np.repeat(starts.astype(np.intp) - offsets, sizes)


def _distinct(ascending: NDArray[np.intp]) -> NDArray[np.intp]:
    return ascending[np.append(True, ascending[1:] != ascending[:-1])] if len(ascending) else ascending


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
