"""Datasets and documents."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from prisma_common.names import SEGMENT, is_given
from services.chassis.metadata_schema import Schema
from services.embedder.passages import Span

DEFAULT_MODEL = "builtin/wordllama-256"
MAX_KEY_BYTES = 512
MAX_DIMENSION = 16_000
"""Numbers of a given vector: OpenSearch indexes no longer ones."""
LISTED_CHARACTERS = 1000
"""Characters of a text in a list; longer ones are cut."""


Vector: TypeAlias = NDArray[np.float16] | NDArray[np.float32]
"""A vector (d,), in the type in which it was given."""

_PASSAGE = "~passage-"


class State(StrEnum):
    """Whether a document has a vector."""

    PENDING = "PENDING"
    EMBEDDED = "EMBEDDED"
    FAILED = "FAILED"


class OnDuplicate(StrEnum):
    """What to do with an imported document whose key the dataset has already."""

    REJECT = "REJECT"
    SKIP = "SKIP"
    REPLACE = "REPLACE"


class Fate(StrEnum):
    """What became of an imported document whose key the dataset had already. SKIPPED: it stays as it is."""

    REJECTED = "REJECTED"
    SKIPPED = "SKIPPED"
    UPDATED = "UPDATED"


@dataclass(frozen=True)
class Passages:
    """How a dataset's texts are split: tokens of a passage, 0 for the model's limit; and of an overlap, at most."""

    max_tokens: int
    overlap_tokens: int


@dataclass(frozen=True)
class NewDataset:
    """A dataset to create.

    id, display_name: None to derive one. query_model: None for none. passages: None to embed texts as a whole.
    """

    id: str | None
    display_name: str | None
    description: str
    embedding_model: str
    query_model: QueryModel | None = None
    passages: Passages | None = None


@dataclass(frozen=True)
class QueryModel:
    """The model that embeds the texts of queries where the documents' vectors are given; dimension: of its vectors."""

    id: str
    dimension: int


@dataclass(frozen=True)
class Counts:
    """How many of a dataset's rows (documents, or passages) are in each state, and the bytes of all texts in UTF-8."""

    pending: int = 0
    embedded: int = 0
    failed: int = 0
    text_bytes: int = 0

    @property
    def rows(self) -> int:
        """Rows in all."""
        return self.pending + self.embedded + self.failed

    def of(self, state: State) -> int:
        """Rows in a state."""
        return {State.PENDING: self.pending, State.EMBEDDED: self.embedded, State.FAILED: self.failed}[state]


@dataclass(frozen=True)
class Dataset:
    """A set of documents that are embedded by one model.

    dimension: numbers in a vector; 0 until the first vector exists.
    query_model: None unless the vectors are given.
    is_half: whether all vectors were given as float16.
    revision: of the last change; it says something only together with `history`.
    next_row: all rows of the dataset are less.
    fingerprint: of the content, see `fingerprints`.
    schema: the fields of the documents' metadata.
    """

    uid: str
    id: str
    display_name: str
    description: str
    embedding_model: str
    dimension: int
    revision: int
    history: str
    next_row: int
    fingerprint: str
    counts: Counts
    schema: Schema
    create_time: datetime
    update_time: datetime
    delete_time: datetime | None
    query_model: QueryModel | None = None
    is_half: bool = False
    passages: Passages | None = None
    whole_count: int = 0
    """Documents above the passages."""

    @property
    def name(self) -> str:
        """The resource name."""
        return f"datasets/{self.id}"

    @property
    def has_given_vectors(self) -> bool:
        """Whether the vectors come with the documents."""
        return is_given(self.embedding_model)

    @property
    def document_count(self) -> int:
        """Documents in all."""
        return self.counts.rows if self.passages is None else self.whole_count


@dataclass(frozen=True)
class Failure:
    """Why a document has no vector: gRPC code, error reason and message."""

    code: int
    reason: str
    message: str


@dataclass(frozen=True)
class PassagePlace:
    """Where a passage stands: its document's id, its index of `count` passages, and characters [start, end).

    row: of the passage.
    """

    row: int
    document_id: str
    index: int
    count: int
    start: int
    end: int


@dataclass(frozen=True)
class Document:
    """A text, and where its vector is once it is embedded.

    id: the last segment of its name; key: the user's own id.
    shard, position: the vector is row `position` of the blob `shard`; None without a vector.
    text_truncated: whether `text` is only the beginning of the text.
    passage: of a passage, where it stands. passage_count, passages: of a document that has passages.
    whole_metadata: of a passage that has a part of its document's metadata only, all of it, where it was requested.
    """

    id: str
    key: str
    row: int
    text: str
    metadata: Mapping[str, object]
    state: State
    failure: Failure | None
    embedding_truncated: bool
    revision: int
    create_time: datetime
    update_time: datetime
    shard: str | None = None
    position: int | None = None
    text_truncated: bool = False
    passage: PassagePlace | None = None
    passage_count: int = 0
    passages: Sequence[PassagePlace] = ()
    whole_metadata: Mapping[str, object] | None = None


class MatchingDocuments(NamedTuple):
    """Some of the documents that match a filter."""

    documents: list[Document]
    total: int
    """How many match in all."""
    notices: list[str]
    """What people should know of the filter."""


@dataclass(frozen=True)
class NewDocument:
    """A document to import.

    vector: the given one; None where a model makes it. spans: of its passages, in a dataset that has them.
    """

    key: str
    text: str
    metadata: Mapping[str, object]
    vector: Vector | None = None
    spans: Sequence[Span] = ()


def passage_id(row: int) -> str:
    """The last segment of a passage's name. No document's: those with `~` go on with digits of base 32 alone."""
    return f"{_PASSAGE}{row}"


def is_passage_id(name_id: str) -> bool:
    """Whether the last segment of a name is a passage's."""
    return name_id.startswith(_PASSAGE)


def document_id(key: str) -> str:
    """The last segment of a document's name: the key where it can be one, else `~` and a digest of it."""
    if SEGMENT.fullmatch(key) and not key.startswith("~") and key not in (".", ".."):
        return key
    return "~" + base64.b32encode(hashlib.sha256(key.encode()).digest()).decode().lower()[:26]
