"""A document of the embedder, as far as the interpreter needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.interpreter.errors import DocumentNotEmbedded


@dataclass(frozen=True, kw_only=True)
class Passage:
    """Where a passage stands: its document's name, its index of `count` passages, and characters [start, end)."""

    name: str
    row: int
    document: str
    index: int
    count: int
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Document:
    """A document of the embedder."""

    name: str
    """`datasets/{dataset}/documents/{document}`."""
    key: str
    """The id that its owner gave it."""
    row: int
    text: str
    metadata: Mapping[str, Any]
    """Plain JSON values."""
    vector: NDArray[np.float32] | None = None
    """(d,); None where it was not requested, or the document has none."""
    embedding_truncated: bool = False
    """Whether the embedding model read only the start of the text."""
    passage: Passage | None = None
    """Of a passage, where it stands."""
    passage_rows: Sequence[int] = ()
    """Of a document with passages: their rows."""

    def require_vector(self) -> NDArray[np.float32]:
        """The vector. Raises DocumentNotEmbedded."""
        if self.vector is None and self.passage_rows:
            raise DocumentNotEmbedded(
                f"{self.name} is embedded in {len(self.passage_rows)} passages: name one of them",
                metadata={"document": self.name},
            )
        if self.vector is None:
            raise DocumentNotEmbedded(
                f"{self.name} has no vector: it is pending, or its embedding failed. Embed its dataset first",
                metadata={"document": self.name},
            )
        return self.vector
