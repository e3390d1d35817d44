"""What a search back end stores and answers: one interface, held to one contract suite.

An index holds streams. A stream derives from one owner, is identified by the owner's uid (names can be reused, uids
are not), and carries the position that it has reached: the owner's history and revision. Writes are idempotent: an
item that is written again replaces the stored one. A writer's position counts only after its commit; a crash before
that leaves the old position, so that the same changes are read and written again.

Values are plain dataclasses and numpy arrays. Calls block: the service makes them in threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from prisma_common.wire import Codes
from services.search.where import EVERYWHERE, Where

Rows = NDArray[np.uint64]
Vectors = NDArray[np.float32]
Scores = NDArray[np.float64]
Fingerprints = NDArray[np.uint64]
Latents = NDArray[np.uint32]

MAX_DEPTH = 10_000
"""Most candidates that are requested from a back end at once."""


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


class WrongDimension(ValueError):
    """A query vector has another dimension than the stored vectors."""


@dataclass(frozen=True)
class Position:
    """How far a stream has been read. Revisions compare only within one history."""

    history: str
    revision: int


@dataclass(frozen=True)
class StreamState:
    """The last commit of a stream."""

    position: Position
    item_count: int
    update_time: float
    """When it was committed, in seconds since 1970."""
    recall: float | None = None
    """Of vectors that are searched approximately: the measured share of the nearest ones that a search returns."""


@dataclass(frozen=True)
class TextItem:
    """A text that is found by its words: a document by its row, or a feature by its index."""

    row: int
    text: str
    """What is searched, normalised by `tokens.normalize`."""
    payload: Mapping[str, Any]
    """JSON, returned unchanged."""
    fingerprint: int
    """64 bits that change when any part of the item does."""
    name: str | None = None
    """The resource's name, by which `find_row` finds it; None if nobody looks it up."""
    terms: Sequence[str] = ()
    """Of its metadata, to filter by: see `metadata_terms`."""


@dataclass(frozen=True)
class TextProfiles:
    """How often each of T terms occurs in each of C texts."""

    rows: Rows
    """(C,) uint64."""
    frequencies: Scores
    """(C, T) float64."""
    lengths: Scores
    """(C,) float64: tokens in each text."""

    def take(self, places: NDArray[np.intp]) -> TextProfiles:
        """Those of some texts, in this order."""
        return TextProfiles(self.rows[places], self.frequencies[places], self.lengths[places])


@dataclass(frozen=True)
class TextStatistics:
    """What BM25 needs to know of all texts of a stream."""

    document_count: int
    total_length: int
    """Tokens in all texts."""
    document_frequencies: Scores
    """(T,): texts that contain each term."""


@dataclass(frozen=True)
class TextCandidates:
    """The texts that a back end ranks highest, in its order, with what exact scoring needs."""

    profiles: TextProfiles
    scores: Scores
    """(C,): the back end's own."""
    statistics: TextStatistics
    total: int
    """All texts that contain one of the terms and for which the condition is true."""


@dataclass(frozen=True)
class Candidates:
    """The best rows, best first, ties by row."""

    rows: Rows
    scores: Scores
    total: int
    """All rows that could be found this way."""


@dataclass(frozen=True)
class LatentQuery:
    """Latents to search by."""

    indices: Latents
    """(L,) strictly ascending."""
    weights: Scores
    """(L,) may be negative."""


class Writer(Protocol):
    """Writes one stream up to one position. Nothing counts before `commit`; `abort` after it does nothing."""

    def delete(self, rows: Rows) -> None: ...

    def commit(self) -> None: ...

    def abort(self) -> None: ...


class TextWriter(Writer, Protocol):
    """Writes documents or labels."""

    def upsert(self, items: Sequence[TextItem]) -> None: ...


class VectorWriter(Writer, Protocol):
    """Writes vectors: rows (R,), vectors (R, d) with the same d in all of a stream."""

    def upsert(self, rows: Rows, vectors: Vectors) -> None: ...


class CodeWriter(Writer, Protocol):
    """Writes codes, and preserves their bits."""

    def upsert(self, codes: Codes) -> None: ...


class Index(Protocol):
    """A search back end.

    All methods raise `errors.BackendUnavailable` when the back end does not answer. Methods that read a stream raise
    `errors.IndexNotReady` when it was never committed, and its subclass `errors.IndexDamaged` when its files are
    damaged: the stream then has no state any more, and is derived again from its owner.
    """

    @property
    def name(self) -> str:
        """`embedded` or `opensearch`."""
        ...

    def check(self) -> str:
        """Checks that the back end answers; returns what it says about itself, for people."""
        ...

    def scrub(self) -> list[Stream]:
        """Verifies what is stored, removes damaged streams, and returns them."""
        ...

    def state(self, stream: Stream) -> StreamState | None:
        """The stream's last commit; None where there is none, or where it was damaged and removed."""
        ...

    def uids(self) -> set[str]:
        """Uids that have stored streams."""
        ...

    def size_bytes(self, uid: str) -> int:
        """Bytes on disk of a uid's streams."""
        ...

    def delete(self, uid: str) -> None:
        """Deletes all streams of a uid, if there are any."""
        ...

    def claim(self, stream: Stream) -> None:
        """Before a stream is written: makes this process its only writer, until `release`.

        Raises `errors.WrittenElsewhere` while another process writes it.
        """
        ...

    def renew(self, stream: Stream) -> None:
        """Shows that this process still works on a stream that it has claimed; called every few seconds.

        Raises `errors.WrittenElsewhere` where another process has it now.
        """
        ...

    def release(self, stream: Stream) -> None:
        """After a stream was written."""
        ...

    def text_writer(self, stream: Stream, position: Position, *, rebuild: bool = False) -> TextWriter:
        """Writes texts up to `position`; `rebuild` writes a new index that replaces the old one at the commit."""
        ...

    def vector_writer(self, stream: Stream, position: Position, *, rebuild: bool = False) -> VectorWriter: ...

    def code_writer(self, stream: Stream, position: Position, *, rebuild: bool = False) -> CodeWriter: ...

    def unchanged(self, stream: Stream, rows: Rows, fingerprints: Fingerprints) -> NDArray[np.bool_]:
        """(R,) whether each text is stored already with this fingerprint."""
        ...

    def search_text(
        self, stream: Stream, terms: Sequence[str], depth: int, where: Where = EVERYWHERE
    ) -> TextCandidates:
        """The `depth` best texts that contain at least one of the terms, which must be distinct."""
        ...

    def profile_texts(self, stream: Stream, terms: Sequence[str], rows: Rows) -> TextProfiles:
        """The same for these rows, ascending; rows that are not stored are left out."""
        ...

    def payloads(self, stream: Stream, rows: Rows) -> dict[int, dict[str, Any]]:
        """Payloads by row; rows that are not stored are left out."""
        ...

    def rows(self, stream: Stream) -> Rows:
        """All rows of the stream, ascending."""
        ...

    def existing(self, stream: Stream, rows: Rows) -> NDArray[np.bool_]:
        """(R,) whether each of the rows is stored."""
        ...

    def find_row(self, stream: Stream, name: str) -> int | None:
        """The row of the text with this name."""
        ...

    def rows_where(self, stream: Stream, where: Where) -> Rows:
        """Ascending rows of the texts for which a condition is true."""
        ...

    def search_vectors(self, stream: Stream, query: Vectors, depth: int, allowed: Rows | None) -> Candidates:
        """The `depth` rows of highest cosine with the (d,) query. Raises `WrongDimension` for another d.

        Among many vectors some of the nearest may be missing: see `StreamState.recall`. The scores are exact.
        `allowed`: ascending rows, or None for all.
        """
        ...

    def vectors(self, stream: Stream, rows: Rows) -> tuple[Rows, Vectors]:
        """Those of the rows that have a vector, ascending, and their vectors."""
        ...

    def search_codes(self, stream: Stream, query: LatentQuery, depth: int, allowed: Rows | None) -> Candidates:
        """The `depth` rows of highest dot product, of those that share a latent with the query, exactly."""
        ...

    def codes(self, stream: Stream, rows: Rows) -> Codes:
        """Codes of those of the rows that have one, ascending, with the bits that were written."""
        ...

    def rows_with_latent(self, stream: Stream, latent: int, minimum: float, *, inclusive: bool) -> Rows:
        """Ascending rows in which the latent is active above the minimum, or at it too if `inclusive`."""
        ...

    def max_activations(self, stream: Stream, latents: Latents) -> Scores:
        """(L,) the largest stored activation of each latent, exactly; 0 for one that is active nowhere."""
        ...

    def latent_count(self, stream: Stream) -> int:
        """Latents of the run (n); 0 where there is no code yet."""
        ...

    def close(self) -> None: ...
