"""Texts with their vectors, and what embeds them: the built-in static vectors, or a sentence encoder in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import corpora
from benchmarks.sae_data import F32
from services.embedder.providers import Embedding, EmbeddingProvider
from services.embedder.providers.builtin import BuiltinProvider
from services.embedder.providers.onnx import OnnxProvider

TEST_SHARE = 0.1
_BLOCK = 1024
"""Texts that are embedded between two lines of progress."""


class Embedder:
    """One embedding model. Texts that were embedded before are not embedded again."""

    def __init__(self, name: str, provider: EmbeddingProvider, model: str) -> None:
        """name: as records have it. model: of the provider."""
        self.name = name
        self._provider = provider
        self._model = model
        self._cached: dict[str, F32] = {}

    @classmethod
    def built_in(cls) -> Embedder:
        """The static vectors."""
        return cls("builtin", BuiltinProvider(), "wordllama-256")

    @classmethod
    def of_folder(cls, folder: Path) -> Embedder:
        """The sentence encoder in a folder of sentence-transformers' layout."""
        return cls(folder.name, OnnxProvider([folder]), folder.name)

    async def embed(self, texts: Sequence[str]) -> F32:
        """(m, d) the embeddings of texts; 0 for a text that has none."""
        missing = sorted(set(texts) - self._cached.keys())
        for text, result in zip(missing, await self._provider.embed(self._model, missing), strict=True):
            self._cached[text] = result.vector if isinstance(result, Embedding) else np.zeros(1, np.float32)
        dimension = max((len(self._cached[text]) for text in texts), default=1)
        vectors = np.zeros((len(texts), dimension), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            vector[:] = self._cached[text]
        return vectors


@dataclass(frozen=True)
class Corpus:
    """Texts of a run, numbered from 0, and a tenth of the texts that the run does not have."""

    name: str
    texts: Sequence[str]
    """(N,)."""
    vectors: F32
    """(N, d)."""
    test_vectors: F32
    """(T, d) of texts that nothing but the test sees."""
    embedder: Embedder


async def read(name: str, embedder: Embedder, *, limit: int, folder: Path | None) -> Corpus:
    """A corpus by its name. folder: where vectors are kept for another time. Raises CorpusMissing."""
    texts = [text.text for text in corpora.read(name, limit)]
    vectors = await _vectors(texts, embedder, folder and folder / f"{name}-{embedder.name}-{len(texts)}.npy")
    present = np.flatnonzero(vectors.any(axis=1))
    order = np.random.default_rng(99).permutation(present)
    cut = round(TEST_SHARE * len(present))
    test, rows = np.sort(order[:cut]), np.sort(order[cut:])
    return Corpus(
        name=f"{name}, {embedder.name}",
        texts=[texts[row] for row in rows.tolist()],
        vectors=vectors[rows],
        test_vectors=vectors[test],
        embedder=embedder,
    )


async def _vectors(texts: Sequence[str], embedder: Embedder, file: Path | None) -> F32:
    """(N, d) the vectors of texts, from the file if it is there, else into it."""
    vectors = _read(file)
    if vectors is not None:
        return vectors
    parts: list[F32] = []
    for start in range(0, len(texts), _BLOCK):
        parts.append(await embedder.embed(texts[start : start + _BLOCK]))
        print(f"  embedded {start + len(parts[-1]):,} of {len(texts):,}", flush=True)
    vectors = np.concatenate(parts)
    _write(vectors, file)
    return vectors


def _read(file: Path | None) -> F32 | None:
    return np.load(file, allow_pickle=False) if file is not None and file.exists() else None


def _write(vectors: F32, file: Path | None) -> None:
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, vectors)
