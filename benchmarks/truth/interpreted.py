"""A run of a corpus as the services make it: trainer, siblings, statistics and tested labels, in this process.

The trainer's and the interpreter's own modules do all of it; what is here stands for the calls between them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from benchmarks.sae_data import F32
from benchmarks.truth.corpus import Corpus
from prisma_common.wire import Codes
from services.interpreter.decoder import Decoder
from services.interpreter.evidence import Evidence
from services.interpreter.evidence_reader import EvidenceReader
from services.interpreter.features import Features, Order
from services.interpreter.judging import Judge
from services.interpreter.keyword_labeller import KeywordLabeller
from services.interpreter.labellers import Task
from services.interpreter.labels import Label, Options
from services.interpreter.near_misses import Vectors
from services.interpreter.runs import Interpretation, Run, sampled_rows
from services.interpreter.statistics import Accumulator
from services.interpreter.worker import REFERENCE_ROWS
from services.trainer.sae import comparing, stability
from services.trainer.sae.config import Config
from services.trainer.sae.training import Training
from services.trainer.sae.vectors import Vectors as TrainingVectors
from services.trainer.sae.weights import Weights

Settings = Mapping[str, object]
_MOST_IMPORTANT_FIRST = Order("max_activation", descending=True)


class Source:
    """Texts, vectors and codes of one run, as the embedder and the trainer serve them."""

    def __init__(self, corpus: Corpus, weights: Weights) -> None:
        self._corpus = corpus
        self._weights = weights

    async def texts(self, dataset: str, rows: Sequence[int]) -> Mapping[int, str]:
        """Texts by row."""
        return {row: self._corpus.texts[row] for row in rows}

    async def vectors(self, run: Run, rows: NDArray[np.uint64]) -> Vectors:
        """The vectors of rows."""
        return Vectors.of_length_1(rows, self._corpus.vectors[rows.astype(np.int64)])

    async def embed(self, run: Run, texts: Sequence[str]) -> F32 | None:
        """(m, d) the embeddings of texts."""
        return await self._corpus.embedder.embed(texts)

    async def codes_of(self, run: Run, vectors: F32) -> Codes:
        """The codes of (m, d) vectors."""
        return self._weights.encode(vectors, np.arange(len(vectors), dtype=np.uint64))

    async def raw_vectors(self, run: Run, rows: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], F32]:
        """Rows and their vectors."""
        return rows, self._corpus.vectors[rows.astype(np.int64)]

    async def dataset_uid(self, name: str) -> str:
        """The uid of the one dataset."""
        return run_of(self._corpus, self._weights.latent_count).dataset_uid

    async def codes(self, run: Run) -> AsyncIterator[Codes]:
        """All codes of the run."""
        yield self._weights.encode(self._corpus.vectors, np.arange(len(self._corpus.vectors), dtype=np.uint64))

    def encode(self, vectors: F32) -> tuple[NDArray[np.int32], F32]:
        """The active latents of (m, d) vectors, (m, k), and their activations, (m, k); -1 and 0 after the last."""
        return self._weights.encode_dense(vectors)

    async def decoder(self, run: Run, indices: Sequence[int] = ()) -> Decoder:
        """The directions of some latents, or of all."""
        latents = np.array(indices, np.intp) if indices else slice(None)
        return Decoder.of(comparing.directions(self._weights, latents), scales=self._weights.scale)


@dataclass(frozen=True)
class Interpreted:
    """A run with its statistics and labels."""

    corpus: Corpus
    source: Source
    features: Features
    reader: EvidenceReader

    async def evidence(self, indices: Sequence[int]) -> tuple[Judge, list[Evidence]]:
        """The divided documents of features, and the judge of their labels."""
        return await self.reader.read(self.features, indices)

    async def labelled(self, indices: Sequence[int]) -> Interpreted:
        """With labels of these features, made in the order in which the service makes them."""
        importance = self.features.select(order=_MOST_IMPORTANT_FIRST).tolist()
        members = set(indices)
        task = Task(self.features, [index for index in importance if index in members], Options())
        labels: dict[int, Label] = {}
        async for batch in KeywordLabeller(self.source, self.reader).drafts(task):
            for draft in batch:
                time = datetime(2000, 1, 1, tzinfo=UTC)
                labels[draft.index] = Label(draft=draft, revision=1, active=True, create_time=time)
        return replace(self, features=replace(self.features, labels=labels))


def trained(vectors: F32, settings: Settings, threads: int, *, sibling: int = 0) -> Training:
    """A training, at its end."""
    config = Config.resolve(len(vectors), vectors.shape[1], threads, **settings)
    training = Training(vectors, config, sibling=sibling)
    while training.step < training.total_steps:
        training.advance()
    return training


def stability_of(training: Training, vectors: F32, settings: Settings, threads: int) -> NDArray[np.float32]:
    """(n,) how well siblings on halves of the rows find its latents again, as the trainer measures it."""
    siblings = [
        trained(vectors, settings, threads, sibling=number).weights for number in range(1, 1 + training.config.siblings)
    ]
    measured = stability.measure(training.weights, siblings, TrainingVectors(vectors), training.config.seed)
    return measured.mean


async def interpreted(corpus: Corpus, weights: Weights, stabilities: NDArray[np.float32]) -> Interpreted:
    """A run with its statistics, without labels. stabilities: (n,)."""
    source = Source(corpus, weights)
    run = run_of(corpus, weights.latent_count)
    with Accumulator(weights.latent_count) as accumulator:
        async for codes in source.codes(run):
            accumulator.add(codes)
        decoder = replace(await source.decoder(run), stability=stabilities)
        features = await features_of(accumulator, source, run, decoder)
    return Interpreted(corpus, source, features, EvidenceReader(source))


async def features_of(accumulator: Accumulator, source: Source, run: Run, decoder: Decoder) -> Features:
    """Features from counted codes."""
    vectors = await source.vectors(run, sampled_rows(run.ranges, REFERENCE_ROWS))
    statistics = accumulator.finish(decoder, vectors=vectors)
    return Features(Interpretation(run=run), statistics, {}, [])


def run_of(corpus: Corpus, latent_count: int) -> Run:
    """What the trainer says of a run."""
    return Run(
        uid="run",
        name="runs/run",
        dataset="datasets/corpus",
        dataset_uid="corpus",
        embedding_model=corpus.embedder.name,
        latent_count=latent_count,
        revision=1,
        trained=True,
        ranges=[(0, len(corpus.texts))],
    )


def sampled(indices: NDArray[np.int64], limit: int | None) -> list[int]:
    """At most so many of the indices, at random, rising."""
    order = np.random.default_rng(5).permutation(indices)
    return np.sort(order[:limit]).tolist()
