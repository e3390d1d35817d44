"""What a search back end keeps and answers: one interface, held to one contract suite.

An index holds streams. Each stream derives from one owner, is known by the owner's uid (names may be used again,
uids are not), and carries the owner's revision that it has reached. Writing is idempotent: what is written again
takes the place of what was there. A writer's revision counts only once it is committed; a crash before that leaves
the old revision, so that the same changes are asked for and written again.

Everything here is plain values and numpy. Calls block: the service makes them in threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from prisma_common.wire import Codes

Rows = NDArray[np.uint64]
Vectors = NDArray[np.float32]
Scores = NDArray[np.float64]

MAXIMUM_DEPTH = 10_000
"""The most candidates that are asked of a back end at once."""


class Kind(StrEnum):
    """What a stream carries."""

    DOCUMENTS = "documents"
    VECTORS = "vectors"
    CODES = "codes"
    LABELS = "labels"


@dataclass(frozen=True)
class Stream:
    """One stream of an index: documents or vectors of a dataset's uid, codes or labels of a run's uid."""

    kind: Kind
    uid: str


@dataclass(frozen=True)
class StreamState:
    """How far a stream is. update_time: of the last commit, in seconds since 1970."""

    revision: int
    item_count: int
    update_time: float


@dataclass(frozen=True)
class TextItem:
    """A text to be found by its words: a document by its row, or a feature by its index.

    tokens: as `analysis.tokens` gives them. payload: JSON, returned as it is. facets: exact values to filter by.
    """

    row: int
    tokens: Sequence[str]
    payload: Mapping[str, Any]
    facets: Sequence[str] = ()


@dataclass(frozen=True)
class TextProfiles:
    """How often each of T terms stands in each of C texts.

    rows: (C,) uint64. frequencies: (C, T) float64. lengths: (C,) float64, tokens in each text.
    """

    rows: Rows
    frequencies: Scores
    lengths: Scores


@dataclass(frozen=True)
class TextStatistics:
    """What BM25 needs to know of all texts of a stream: (T,) document_frequencies, counts of texts and tokens."""

    document_count: int
    total_length: int
    document_frequencies: Scores


@dataclass(frozen=True)
class TextCandidates:
    """The texts that a back end holds for the best, in its order, and what is needed to score them exactly.

    scores: (C,) the back end's own. total: all texts that hold one of the terms.
    """

    profiles: TextProfiles
    scores: Scores
    statistics: TextStatistics
    total: int


@dataclass(frozen=True)
class Candidates:
    """The best rows, best first, ties by row. total: all rows that could be found so."""

    rows: Rows
    scores: Scores
    total: int


@dataclass(frozen=True)
class LatentQuery:
    """Latents to search by. indices: (L,) uint32, strictly rising. weights: (L,) float64, may be negative."""

    indices: NDArray[np.uint32]
    weights: Scores


class Writer(Protocol):
    """Writes one stream up to one revision. Nothing counts before `commit`; `abort` after it does nothing."""

    def delete(self, rows: Rows) -> None: ...

    def commit(self) -> None: ...

    def abort(self) -> None: ...


class TextWriter(Writer, Protocol):
    """Writes documents or labels."""

    def upsert(self, items: Sequence[TextItem]) -> None: ...


class VectorWriter(Writer, Protocol):
    """Writes vectors: rows (R,), vectors (R, d) of the same d in all of a stream."""

    def upsert(self, rows: Rows, vectors: Vectors) -> None: ...


class CodeWriter(Writer, Protocol):
    """Writes codes, and keeps their bits."""

    def upsert(self, codes: Codes) -> None: ...


class Index(Protocol):
    """A search back end.

    All methods raise `errors.BackendUnavailable` when the back end does not answer, and those that read a stream
    `errors.IndexNotReady` when it was never committed. `allowed` is a rising array of rows, or None for all.
    """

    @property
    def name(self) -> str:
        """`embedded` or `opensearch`."""
        ...

    def check(self) -> str:
        """Asks the back end whether it is there; what it says of itself, for people."""
        ...

    def state(self, stream: Stream) -> StreamState | None:
        """How far the stream is; None where it has no commit, or was torn and is gone."""
        ...

    def uids(self) -> set[str]:
        """Uids of which something is stored."""
        ...

    def size_bytes(self, uid: str) -> int:
        """Bytes on disk of a uid's streams."""
        ...

    def delete(self, uid: str) -> None:
        """Deletes all streams of a uid; nothing happens where there are none."""
        ...

    def text_writer(self, stream: Stream, revision: int, *, anew: bool = False) -> TextWriter:
        """Writes texts up to `revision`; `anew` builds beside what is there, and takes its place at the commit."""
        ...

    def vector_writer(self, stream: Stream, revision: int, *, anew: bool = False) -> VectorWriter: ...

    def code_writer(self, stream: Stream, revision: int, *, anew: bool = False) -> CodeWriter: ...

    def search_text(self, stream: Stream, terms: Sequence[str], depth: int, allowed: Rows | None) -> TextCandidates:
        """The `depth` best texts that hold at least one of the terms, which must be distinct."""
        ...

    def profile_texts(self, stream: Stream, terms: Sequence[str], rows: Rows) -> TextProfiles:
        """The same for given rows, in their order; those that are not there are left out."""
        ...

    def payloads(self, stream: Stream, rows: Rows) -> dict[int, dict[str, Any]]:
        """Payloads by row; rows that are not there are left out."""
        ...

    def rows_with_facets(self, stream: Stream, facets: Sequence[str]) -> Rows:
        """Rising rows of the texts that have all of the facets."""
        ...

    def search_vectors(self, stream: Stream, query: Vectors, depth: int, allowed: Rows | None) -> Candidates:
        """The `depth` rows of highest cosine with the (d,) query, found exactly. Raises `ValueError` for another d."""
        ...

    def vectors(self, stream: Stream, rows: Rows) -> tuple[Rows, Vectors]:
        """Those of the rows that have a vector, rising, and their vectors."""
        ...

    def search_codes(self, stream: Stream, query: LatentQuery, depth: int, allowed: Rows | None) -> Candidates:
        """The `depth` rows of highest dot product, of those that share a latent with the query, found exactly."""
        ...

    def codes(self, stream: Stream, rows: Rows) -> Codes:
        """Codes of those of the rows that have one, rising, with the bits that were written."""
        ...

    def rows_with_latent(self, stream: Stream, latent: int, minimum: float, *, inclusive: bool) -> Rows:
        """Rising rows in which the latent is active, at or above (or only above) the minimum."""
        ...

    def close(self) -> None: ...
