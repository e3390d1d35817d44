"""What the interpreter knows of a run, and how far it is interpreted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

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
