"""Embeddings of phrases, and what they activate: many at once, few calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from prisma_common import wire
from services.interpreter.runs import Run

_CACHED = 50_000
"""Phrases whose embeddings stay in memory."""

Floats = NDArray[np.float32]


class PhraseSource(Protocol):
    """What is read from the embedder and the trainer."""

    async def embed(self, run: Run, texts: Sequence[str]) -> Floats | None:
        """(m, d) the embeddings of texts; 0 for a text that has none. None if the run's model cannot embed texts."""
        ...

    async def codes_of(self, run: Run, vectors: Floats) -> wire.Codes:
        """The codes of (m, d) vectors."""
        ...


class PhraseVectors:
    """The embeddings of phrases by the model of one run."""

    def __init__(self, source: PhraseSource, run: Run) -> None:
        self._source = source
        self._run = run
        self._cached: dict[str, Floats] = {}

    async def load(self, texts: Sequence[str]) -> bool:
        """Embeds texts that are not embedded yet; False if the run's model cannot embed texts."""
        if len(self._cached) > _CACHED:
            self._cached.clear()
        missing = sorted(set(texts) - self._cached.keys())
        vectors = await self._source.embed(self._run, missing) if missing else np.empty((0, 1), np.float32)
        if vectors is None:
            return False
        self._cached.update(zip(missing, vectors, strict=True))
        return True

    def of(self, texts: Sequence[str]) -> Floats:
        """(m, d) the embeddings of texts that were loaded."""
        return np.stack([self._cached[text] for text in texts]) if texts else np.empty((0, 1), np.float32)

    async def codes(self, vectors: Sequence[Floats]) -> list[wire.Codes]:
        """The codes of several sets of vectors, (m, d) each."""
        sizes = [len(part) for part in vectors]
        filled = [part for part in vectors if len(part)]
        if not filled:
            return [wire.concatenate([], self._run.latent_count) for _ in vectors]
        codes = await self._source.codes_of(self._run, np.concatenate(filled))
        ends = np.cumsum(sizes).tolist()
        return [codes.slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]


def unit(vectors: Floats) -> Floats:
    """Vectors scaled to length 1; those of length 0 stay."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
