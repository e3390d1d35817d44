"""Embedder and trainer in memory, for tests of what the interpreter does with their data."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from prisma_common import wire
from services.chassis.errors import Unavailable
from services.chassis.job_context import JobCancelled
from services.interpreter.runs import Run

WORDS = "harbour ferry pilot tunnel bridge river market garden castle museum library station".split()  # noqa: SIM905


class Owners:
    """One trained run, and the texts of its rows."""

    def __init__(self, run: Run, codes: NDArray[np.float32], texts: Mapping[int, str]) -> None:
        self.current_run = run
        self.all_texts = dict(texts)
        self.down = False
        """Whether the embedder does not answer."""
        self._rows = np.concatenate([np.arange(start, end, dtype=np.uint64) for start, end in run.ranges])
        self._codes = codes
        self._decoder = np.random.default_rng(1).standard_normal((run.latent_count, 6)).astype(np.float32)

    async def run(self, name: str) -> Run:
        return self.current_run

    async def runs(self) -> list[Run]:
        return [self.current_run]

    async def history_continues(self, run: Run, *, history: str, revision: int) -> bool:
        return history != "of another copy"

    async def codes(self, run: Run, ranges: Sequence[tuple[int, int]] = ()) -> AsyncIterator[wire.Codes]:
        for part in np.array_split(np.arange(len(self._rows)), 3):
            block = sparse.csr_array(self._codes[part])
            block.sort_indices()
            indptr, indices = block.indptr.astype(np.uint32), block.indices.astype(np.uint32)
            rows = self._rows[part]
            yield wire.Codes(
                rows=rows, indptr=indptr, indices=indices, values=block.data, latent_count=run.latent_count
            )

    async def decoder(self, run: Run, indices: Sequence[int] = ()) -> NDArray[np.float32]:
        return self._decoder

    async def texts(self, dataset: str, rows: Sequence[int]) -> Mapping[int, str]:
        if self.down:
            raise Unavailable("the embedder does not answer", metadata={"service": "embedder"})
        return {row: self.all_texts[row] for row in rows if row in self.all_texts}

    def grow(self, revision: int, history: str) -> None:
        """New codes."""
        self.current_run = replace(self.current_run, revision=revision, history=history)


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
