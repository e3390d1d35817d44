"""Embedder and trainer in memory, for tests of what the interpreter does with their data."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from prisma.common.v1.job_pb2 import JobRecord
from prisma_common import wire
from services.chassis.errors import Unavailable
from services.chassis.job_context import JobCancelled
from services.interpreter.decoder import Decoder
from services.interpreter.features import Features
from services.interpreter.near_misses import Vectors
from services.interpreter.runs import Interpretation, Run
from services.interpreter.statistics import Accumulator

WORDS = "harbour ferry pilot tunnel bridge river market garden castle museum library station".split()  # noqa: SIM905


DIMENSION = 512
_WORD_NUMBERS: dict[str, int] = {}


class Owners:
    """One trained run, and the texts of its rows."""

    def __init__(
        self,
        run: Run,
        codes: NDArray[np.float32],
        texts: Mapping[int, str],
        decoder: NDArray[np.float32] | None = None,
    ) -> None:
        self.current_run = run
        self.calls: list[str] = []
        """Calls that embed or encode, in their order."""
        self.all_texts = dict(texts)
        self.down = False
        """Whether the embedder does not answer."""
        self._rows = np.concatenate([np.arange(start, end, dtype=np.uint64) for start, end in run.ranges])
        self._codes = codes
        random = np.random.default_rng(1)
        directions = random.standard_normal((run.latent_count, DIMENSION)) if decoder is None else decoder
        self._decoder: NDArray[np.float32] = directions.astype(np.float32)

    async def run(self, name: str) -> Run:
        return self.current_run

    async def runs(self) -> list[Run]:
        return [self.current_run]

    async def history_continues(self, run: Run, *, history: str, revision: int) -> bool:
        return history != "of another copy"

    async def codes(self, run: Run, ranges: Sequence[tuple[int, int]] = ()) -> AsyncIterator[wire.Codes]:
        for part in np.array_split(np.arange(len(self._rows)), 3):
            yield codes_of(self._codes[part], self._rows[part])

    async def decoder(self, run: Run, indices: Sequence[int] = ()) -> Decoder:
        return Decoder.of(self._decoder[list(indices)] if indices else self._decoder)

    async def held_out_rows(self, run: Run) -> NDArray[np.uint64]:
        return self._rows[::10]

    async def vectors(self, run: Run, rows: NDArray[np.uint64]) -> Vectors:
        return Vectors.of_length_1(*await self.raw_vectors(run, rows))

    async def raw_vectors(self, run: Run, rows: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
        self._check_embedder()
        present = np.array([row for row in rows.tolist() if row in self.all_texts], np.uint64)
        return present, embedded([self.all_texts[row] for row in present.tolist()])

    async def unexplained(self, run: Run, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.full(len(vectors), 0.5)

    async def embed(self, run: Run, texts: Sequence[str]) -> NDArray[np.float32] | None:
        self._check_embedder()
        self.calls.append("embed")
        return embedded(texts)

    async def codes_of(self, run: Run, vectors: NDArray[np.float32]) -> wire.Codes:
        self.calls.append("encode")
        return codes_of(encoded(vectors, self._decoder), np.arange(len(vectors), dtype=np.uint64))

    async def texts(self, dataset: str, rows: Sequence[int]) -> Mapping[int, str]:
        self._check_embedder()
        return {row: self.all_texts[row] for row in rows if row in self.all_texts}

    async def dataset_uid(self, name: str) -> str:
        self._check_embedder()
        assert name == self.current_run.dataset, name
        return self.current_run.dataset_uid

    def _check_embedder(self) -> None:
        if self.down:
            raise Unavailable("the embedder does not answer", metadata={"service": "embedder"})

    def grow(self, revision: int, history: str) -> None:
        """New codes."""
        self.current_run = replace(self.current_run, revision=revision, history=history)


def embedded(texts: Sequence[str]) -> NDArray[np.float32]:
    """(m, 512) static embeddings: sums of the words' vectors, each of which is a direction of its own."""
    vectors = np.zeros((len(texts), DIMENSION), np.float32)
    for vector, text in zip(vectors, texts, strict=True):
        for word in text.lower().split():
            vector[_WORD_NUMBERS.setdefault(word.strip(",."), len(_WORD_NUMBERS)) % DIMENSION] += 1
    return vectors


def encoded(vectors: NDArray[np.float32], directions: NDArray[np.float32]) -> NDArray[np.float32]:
    """(m, n) codes: the four largest projections of unit vectors on directions, less a threshold."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    activations = np.maximum(vectors / np.maximum(lengths, 1e-9) @ directions.T - 0.2, 0)
    kth = np.sort(activations, axis=1)[:, -4:][:, :1]
    return np.where(activations >= kth, activations, 0).astype(np.float32)


def codes_of(dense: NDArray[np.float32], rows: NDArray[np.uint64]) -> wire.Codes:
    """Dense codes in the form in which they travel."""
    block = sparse.csr_array(dense)
    block.sort_indices()
    indptr, indices = block.indptr.astype(np.uint32), block.indices.astype(np.uint32)
    return wire.Codes(rows=rows, indptr=indptr, indices=indices, values=block.data, latent_count=dense.shape[1])


def owners(latent_count: int, row_count: int) -> Owners:
    """A run in which each row activates a few latents, and texts of a few words."""
    random = np.random.default_rng(0)
    codes = np.zeros((row_count, latent_count), np.float32)
    for row in codes:
        row[random.choice(latent_count, 6, replace=False)] = random.exponential(1.0, 6) + 0.01
    run = Run(
        uid="u",
        name="runs/r",
        dataset="datasets/d",
        dataset_uid="v",
        embedding_model="builtin",
        latent_count=latent_count,
        revision=1,
        history="first",
        trained=True,
        ranges=[(0, row_count)],
    )
    texts = {row: " ".join(random.choice(WORDS, 4)) for row in range(row_count)}
    return Owners(run, codes, texts)


class Context:
    """A job's context that is cancelled at a checkpoint or a report of progress of one's choice."""

    def __init__(self, *, cancel_at_checkpoint: int = 0, cancel_at: str = "never", name: str = "jobs/j") -> None:
        self.job = self
        self.record = JobRecord()
        self.name = name
        self.lines: list[str] = []
        self.checkpoints = 0
        self._cancel_at_checkpoint = cancel_at_checkpoint
        self._cancel_at = cancel_at

    def log(self, line: str) -> None:
        self.lines.append(line)

    async def prove(self) -> None:
        pass

    async def checkpoint(self) -> None:
        self.checkpoints += 1
        if self.checkpoints == self._cancel_at_checkpoint:
            raise JobCancelled("cancelled")

    async def progress(self, done: int, total: int, unit: str, message: str = "") -> None:
        if message == self._cancel_at:
            raise JobCancelled("cancelled")


async def features_of(source: Owners) -> Features:
    """The features of the current run, without labels."""
    run = source.current_run
    with Accumulator(run.latent_count) as accumulator:
        async for codes in source.codes(run):
            accumulator.add(codes)
        statistics = accumulator.finish(await source.decoder(run))
    return Features(Interpretation(run=run), statistics, {}, [])
