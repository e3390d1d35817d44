"""How alike features are: in their documents, directions, labels, and in what they are active together with.

Each is a cosine, and the likeness of two features is the mean of all four. Documents: the mean vectors of those that
activate the features, less the mean of all. Directions: the rows of the decoder. Labels: their embeddings, less the
mean of all. Company: how much more often than by chance a feature is active together with each other one (the positive
logarithms of observed over expected shared rows), so that two features are alike that never meet but meet the same.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from services.chassis.threads import in_thread
from services.interpreter.cooccurrence import MIN_SHARED
from services.interpreter.features import Features
from services.interpreter.labellers import LabelSource
from services.interpreter.near_misses import Vectors
from services.interpreter.phrase_vectors import PhraseVectors, unit
from services.interpreter.runs import Run, sampled_rows

DOCUMENTS = 20_000
"""Documents, all or a sample, whose vectors are read."""
_COMPANY_DIMENSIONS = 1024
"""With more features than that, what they are active together with is projected at random to so many dimensions."""

Floats = NDArray[np.float32]


class VectorSource(LabelSource, Protocol):
    """What is read from the embedder and the trainer."""

    async def raw_vectors(self, run: Run, rows: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], Floats]:
        """Those of some rising rows that have a vector (m,), and their vectors (m, d)."""
        ...


async def likeness(source: VectorSource, features: Features, thresholds: NDArray[np.float64]) -> Floats:
    """(n, d) a vector for each feature: inner products are how alike two features are, −1 to 1.

    thresholds: (n,) the activations from which features count as active in documents. Raises what the source raises.
    """
    statistics = features.statistics
    parts = [
        unit((await source.decoder(features.run)).directions),
        await _documents(source, features, thresholds),
        await in_thread(company, statistics.cooccurrence, statistics.row_count),
    ]
    labels = await _labels(source, features)
    if labels is not None:
        parts.append(labels)
    return np.concatenate(parts, axis=1) / np.float32(np.sqrt(len(parts)))


def company(cooccurrence: sparse.csr_array, row_count: int) -> Floats:
    """(n, c) unit vectors: how much more often than by chance a feature is active together with others.

    cooccurrence: (n, n) counts, each feature's own on the diagonal.
    """
    own = cooccurrence.diagonal().astype(np.float64)
    counts = cooccurrence.tocoo()
    first, second = counts.coords
    enough = (first != second) & (counts.data >= MIN_SHARED)
    first, second, shared = first[enough], second[enough], counts.data[enough].astype(np.float64)
    surprise = np.log(shared * row_count / (own[first] * own[second]))
    beyond = surprise > 0
    profiles = sparse.csr_array(
        (surprise[beyond].astype(np.float32), (first[beyond], second[beyond])), cooccurrence.shape
    )
    count = cooccurrence.shape[0]
    if count <= _COMPANY_DIMENSIONS:
        return unit(profiles.toarray())
    random = np.random.default_rng(0).standard_normal((count, _COMPANY_DIMENSIONS), np.float32)
    return unit(np.asarray(profiles @ random))


async def _documents(source: VectorSource, features: Features, thresholds: NDArray[np.float64]) -> Floats:
    """(n, d) unit vectors from the middle of all documents to that of each feature's; 0 where the sample has none."""
    rows, vectors = await source.raw_vectors(features.run, sampled_rows(features.run.ranges, DOCUMENTS))
    if not len(rows):
        return np.zeros((features.count, 1), np.float32)
    codes = (await source.codes_of(features.run, vectors)).at_least(thresholds)

    def centres() -> Floats:
        matrix = Vectors.of_length_1(rows, vectors).matrix
        active = sparse.csr_array(
            (np.ones(len(codes.values), np.float32), codes.indices, codes.indptr), (len(codes), features.count)
        )
        return unit(np.asarray(active.T @ (matrix - matrix.mean(axis=0))))

    return await in_thread(centres)


async def _labels(source: VectorSource, features: Features) -> Floats | None:
    """(n, d) unit vectors from the middle of all labels to each, 0 without one; None if texts cannot be embedded."""
    texts = [features.label_text(index) for index in range(features.count)]
    labelled = [index for index, text in enumerate(texts) if text]
    vectors = PhraseVectors(source, features.run)
    if not labelled or not await vectors.load([texts[index] for index in labelled]):
        return None
    embeddings = vectors.of([texts[index] for index in labelled])
    result = np.zeros((features.count, embeddings.shape[1]), np.float32)
    result[labelled] = unit(embeddings - embeddings.mean(axis=0))
    return result
