"""A run of the trainer, and how far it is interpreted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from services.interpreter.errors import FamiliesNotBuilt, RunNotTrained, StatisticsNotComputed


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of the trainer."""

    uid: str
    name: str
    """`runs/{run}`."""
    dataset: str
    """`datasets/{dataset}`."""
    dataset_uid: str
    embedding_model: str
    latent_count: int
    """n."""
    revision: int
    """Of its codes."""
    trained: bool
    """Whether it has codes."""
    ranges: Sequence[tuple[int, int]]
    """Half-open ranges of the rows that it has codes of."""
    history: str | None = None
    """The history that `revision` belongs to."""
    deleted: bool = False
    job: str | None = field(default=None, compare=False)
    """Its latest training job, `jobs/{job}`."""


@dataclass(frozen=True, kw_only=True)
class StatisticsVersion:
    """One computation of a run's statistics."""

    attempt: str
    """Names the folder of its files."""
    revision: int
    """The run's revision that they were computed from."""
    history: str | None
    """The run's history that `revision` belongs to."""
    time: datetime
    """When they were computed (UTC)."""
    row_count: int | None = None
    """Rows that they cover; None where an older version computed them."""
    live_count: int | None = None
    """Latents that are active in at least one row; None where an older version computed them."""
    file_format: int = 0
    """Of their files."""


@dataclass(frozen=True, kw_only=True)
class Interpretation:
    """How far a run is interpreted."""

    run: Run
    statistics: StatisticsVersion | None = None
    """None before they are computed."""
    label_revision: int = 0
    """Rises with each change of a label."""
    labelled_count: int = 0
    """Features with a label, or with the answer that they cannot be named."""
    unnamed_count: int = 0
    """Those with that answer."""
    family_count: int = 0
    families_time: datetime | None = None
    """When families were built (UTC); None before."""


def rows_at(ranges: Sequence[tuple[int, int]], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows at these places of half-open ranges laid end to end. Each place is below the number of rows."""
    starts, ends = np.array(ranges, np.int64).reshape(-1, 2).T
    cumulative = np.cumsum(ends - starts)
    part = np.searchsorted(cumulative, places, side="right")
    return ends[part] + places - cumulative[part]


def sampled_rows(ranges: Sequence[tuple[int, int]], count: int) -> NDArray[np.uint64]:
    """At most `count` rows of half-open ranges, rising, always the same; a smaller sample is part of a larger one."""
    total = sum(end - start for start, end in ranges)
    places = np.arange(total) if total <= count else np.random.default_rng(0).permutation(total)[:count]
    return rows_at(ranges, np.sort(places)).astype(np.uint64)


def require_trained(run: Run) -> Run:
    """The run, if it has codes. Raises RunNotTrained."""
    if not run.trained:
        raise not_trained(run)
    return run


def not_trained(run: Run, job: str | None = None) -> RunNotTrained:
    """The error for a run without codes. job: the job that trains it now."""
    if job is None:
        return RunNotTrained(f"{run.name} has no codes yet; train it first", metadata={"run": run.name})
    return RunNotTrained(
        f"{run.name} has no codes yet: it is in training ({job})", metadata={"run": run.name, "job": job}
    )


def statistics_missing(run: Run) -> StatisticsNotComputed:
    """The error for a trained run whose statistics are not computed yet."""
    return StatisticsNotComputed(
        f"{run.name} has no statistics yet; {run.name}:computeStatistics computes them", metadata={"run": run.name}
    )


def require_families(interpretation: Interpretation) -> None:
    """Raises FamiliesNotBuilt."""
    if interpretation.families_time is None:
        name = interpretation.run.name
        raise FamiliesNotBuilt(f"{name} has no families yet; {name}:buildFamilies builds them", metadata={"run": name})
