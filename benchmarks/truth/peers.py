"""Labels as other programs make them, for the same features from the same documents: those for writing labels.

- c-TF-IDF (Grootendorst 2022, section 3): the three words of a feature's documents with the largest share of its words,
  times log(1 + mean words of a class / frequency); counted by document, without stop words.
- KeyBERT (Grootendorst 2020): of their phrases, three whose embeddings are nearest to the centre of the documents',
  each unlike those before it (maximal marginal relevance, diversity .5).
- HypotheSAEs (Movva et al. 2025): a language model is shown ten of the strongest documents and ten without the feature.
- k-means: as many clusters as there are features, with c-TF-IDF labels. Clusters are features of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.cluster.vq import kmeans2

from benchmarks.sae_data import F32
from benchmarks.truth.interpreted import Interpreted, features_of, run_of
from prisma_common.wire import Codes
from services.chassis.errors import PrismaError
from services.interpreter import prompts
from services.interpreter.decoder import Decoder
from services.interpreter.evidence import Evidence
from services.interpreter.judging import Judge
from services.interpreter.ollama import OllamaChat
from services.interpreter.phrase_vectors import unit
from services.interpreter.prompts import ShownDocument
from services.interpreter.statistics import Accumulator

_TERMS = 3
_MAX_CANDIDATES = 200
"""Phrases of a feature that are embedded: those of the most documents."""
_DIVERSITY = 0.5
_EXAMPLES = 10
_ITERATIONS = 20


def c_tf_idf(judge: Judge, evidence: Evidence) -> str:
    """The label; empty where no word occurs."""
    counts = _counts(judge, evidence)
    is_word = np.array([" " not in judge.corpus.terms[column] for column in counts.indices.tolist()], bool)
    columns, own = counts.indices[is_word], counts.data[is_word].astype(np.float64)
    frequencies = judge.corpus.frequencies
    class_words = frequencies.sum() * len(evidence.writing) / max(1, judge.corpus.document_count)
    scores = own / max(1.0, float(own.sum())) * np.log1p(class_words / np.maximum(1, frequencies[columns]))
    best = np.lexsort((columns, -scores))[:_TERMS]
    return ", ".join(_spelled(judge, columns[best]))


async def keybert(run: Interpreted, judge: Judge, evidence: Sequence[Evidence]) -> list[str]:
    """The label of each feature; empty where it has no phrase."""
    phrases = [_frequent_phrases(judge, own) for own in evidence]
    await run.corpus.embedder.embed([phrase for own in phrases for phrase in own])
    labels: list[str] = []
    for own, texts in zip(evidence, phrases, strict=True):
        centre = unit(judge.vectors.of(own.writing.rows).mean(axis=0))
        vectors = unit(await run.corpus.embedder.embed(texts))
        labels.append(", ".join(texts[place] for place in diverse(vectors, centre) if texts))
    return labels


def diverse(vectors: F32, centre: F32, *, count: int = _TERMS, diversity: float = _DIVERSITY) -> list[int]:
    """Places of vectors near a centre that are unlike each other. vectors: (m, d), centre: (d,), both of length 1."""
    if not len(vectors):
        return []
    closeness, selected = vectors @ centre, [int((vectors @ centre).argmax())]
    while len(selected) < min(count, len(vectors)):
        redundancy = (vectors @ vectors[selected].T).max(axis=1)
        merit = (1 - diversity) * closeness - diversity * redundancy
        merit[selected] = -np.inf
        selected.append(int(merit.argmax()))
    return selected


@dataclass(frozen=True)
class Chat:
    """A language model of an Ollama server."""

    ollama: OllamaChat
    model: str

    @classmethod
    async def at(cls, url: str) -> Chat | None:
        """The server's first model that can chat; None without one. Raises PrismaError in an outage."""
        ollama = OllamaChat(url)
        models = await ollama.models()
        return cls(ollama, models[0].id.partition("/")[2]) if models else None

    async def label(self, texts: Mapping[int, str], evidence: Evidence) -> str | None:
        """A label from documents that have the feature and documents that do not; None for an unusable answer."""
        active, silent = evidence.writing.rows[:_EXAMPLES].tolist(), evidence.choosing.random[:_EXAMPLES].tolist()
        positives = [ShownDocument(row, texts[row], 1.0) for row in active]
        negatives = [ShownDocument(row, texts[row], 0.0) for row in silent]
        messages = prompts.messages(positives, negatives, None)
        try:
            answer = await self.ollama.chat(self.model, messages, schema=prompts.SCHEMA, temperature=0.0)
            return prompts.read(answer).label
        except (prompts.NotALabel, PrismaError):
            return None


async def clustered(run: Interpreted, count: int) -> Interpreted:
    """k-means clusters of the same vectors as features: a document activates its own, by the cosine with its centre."""
    vectors = unit(run.corpus.vectors)
    means, own = kmeans2(vectors, count, iter=_ITERATIONS, minit="points", seed=0, missing="warn")
    centres = unit(means.astype(np.float32))
    cosine = np.einsum("nd,nd->n", vectors, centres[own])
    rows = np.arange(len(vectors), dtype=np.uint64)
    codes = Codes(
        rows=rows,
        indptr=np.arange(len(rows) + 1, dtype=np.uint32),
        indices=own.astype(np.uint32),
        values=np.maximum(cosine, 1e-6).astype(np.float32),
        latent_count=count,
    )
    with Accumulator(count) as accumulator:
        accumulator.add(codes)
        features = await features_of(accumulator, run.source, run_of(run.corpus, count), Decoder.of(centres))
    return Interpreted(run.corpus, run.source, features, run.reader)


def _counts(judge: Judge, evidence: Evidence) -> sparse.csr_array:
    """(1, terms) how many of the documents for writing contain each term."""
    rows = judge.documents.terms[judge.documents.places(evidence.writing.rows)]
    return sparse.csr_array(sparse.csr_array(np.ones((1, rows.shape[0]), np.float32)) @ rows)


def _frequent_phrases(judge: Judge, evidence: Evidence) -> list[str]:
    counts = _counts(judge, evidence)
    order = np.lexsort((counts.indices, -counts.data))[:_MAX_CANDIDATES]
    return _spelled(judge, counts.indices[order])


def _spelled(judge: Judge, columns: NDArray[np.int32]) -> list[str]:
    numbers: list[int] = columns.tolist()
    return [judge.corpus.spelling(number) for number in numbers]
