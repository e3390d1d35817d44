"""What the interpreter knows of a run, and how far it is interpreted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from services.interpreter.errors import RunNotTrained


@dataclass(frozen=True)
class Run:
    """A run of the trainer. ranges: half-open ranges of the rows that it has codes of."""

    uid: str
    name: str
    dataset: str
    dataset_uid: str
    embedding_model: str
    latent_count: int
    revision: int
    trained: bool
    ranges: Sequence[tuple[int, int]]
    deleted: bool = False


def rows_at(ranges: Sequence[tuple[int, int]], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows at these places, each below the number of rows, of half-open ranges laid end to end."""
    starts, ends = np.array(ranges, np.int64).reshape(-1, 2).T
    before = np.cumsum(ends - starts)
    part = np.searchsorted(before, places, side="right")
    return ends[part] + places - before[part]


def require_trained(run: Run) -> Run:
    """The run, if it has codes. Raises RunNotTrained."""
    if not run.trained:
        raise RunNotTrained(f"{run.name} has no codes yet; train it first", metadata={"run": run.name})
    return run


@dataclass(frozen=True)
class Interpretation:
    """How far a run is interpreted. attempt: the folder of its statistics, empty before."""

    run: Run
    attempt: str
    statistics_revision: int
    statistics_time: datetime | None
    label_revision: int
    families_time: datetime | None
