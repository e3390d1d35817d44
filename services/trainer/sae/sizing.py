"""Chooses the size of an autoencoder by small trainings, pilots, on a sample of the data itself.

Two goals, because one size does not serve both (docs/explanation/recipe.md):

- interpretable: few active latents, for features that people name, and as many latents as another seed finds again;
- faithful: many active latents, and as many latents as lower the held-out error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from services.trainer.sae import comparing
from services.trainer.sae.config import Config, Goal
from services.trainer.sae.stability import REPRODUCED
from services.trainer.sae.training import Training
from services.trainer.sae.vectors import Vectors
from services.trainer.sae.weights import Weights

PILOT_ROWS = 1 << 14
MAX_RATIO = 1.5
"""Held-out FVU over training FVU that a size may have: beyond it, latents memorise."""
MIN_REPRODUCED_SHARE = 0.5
"""Share of latents that the other seed must find again. Longer trainings on all rows find more of them."""
_PILOT_STEPS = 300
_PILOT_LADDER = 4
_STEPS = 1000
_INTERPRETABLE_K, _FAITHFUL_K = 8, 32
"""Active latents from 4,096 rows on; half as many below."""
_MANY_ROWS = 4096
_ROWS_PER_ACTIVE = 60
"""Rows for each active latent, where there are few."""
_MAX_DENSITY = 1 / 8
"""Share of the rows in which a latent of the smallest interpretable size is active on average. What is active in a
fifth of them stands for no narrow topic."""
_ROWS_PER_LATENT = {"interpretable": 60, "faithful": 100}
"""Rows in which a latent of the largest size is active on average."""
_BATCH = 512


@dataclass(frozen=True)
class Pilot:
    """What a small training with one size came to, and another with another seed."""

    latent_count: int
    k: int
    train_fvu: float | None
    """None where it was not measured: without variance among the rows."""
    held_out_fvu: float | None
    """The same on held-out rows, None also for fewer than two of them."""
    reproduced_share: float
    """Share of the latents whose most similar decoder row of the other seed has a cosine of .7 or more."""

    @property
    def ratio(self) -> float | None:
        """Held-out FVU over training FVU; None unless both were measured."""
        if self.train_fvu is None or self.held_out_fvu is None:
            return None
        return self.held_out_fvu / max(self.train_fvu, 1e-12)


@dataclass(frozen=True)
class Sizing:
    """A choice and what it rests on."""

    goal: Goal
    latent_count: int
    k: int
    epochs: int
    reason: str
    """A sentence for people."""
    pilots: Sequence[Pilot]

    @property
    def settings(self) -> dict[str, Any]:
        """What it chooses, as settings of `Config`."""
        return {"latent_count": self.latent_count, "k": self.k, "epochs": self.epochs}

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Sizing:
        """From JSON values."""
        fields: dict[str, Any] = {**values, "pilots": [Pilot(**pilot) for pilot in values["pilots"]]}
        return cls(**fields)


def choose(
    vectors: Vectors,
    *,
    goal: Goal,
    settings: Mapping[str, Any],
    cores: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Sizing:
    """The size for these vectors. What `settings` has (latent_count, k, epochs, …) is kept.

    progress: called with the pilots done and the most there will be. Raises InvalidVectors, Diverged.
    """
    rows = vectors.rows
    k = settings.get("k") or _default_k(goal, rows)
    epochs = settings.get("epochs") or min(max(round(_STEPS * _BATCH / max(rows, 1)), 2), 60)
    sample = _sample(vectors, settings.get("seed", 0))
    ladder = _ladder(settings, goal=goal, rows=sample.rows, dimension=vectors.dimension, k=k)
    k = settings.get("k") or min(k, *ladder)
    requested = bool(settings.get("latent_count") or settings.get("expansion"))
    if requested and settings.get("k"):
        reason = "The number of latents and k were requested; the number of passes follows from the number of rows."
        return Sizing(goal=goal, latent_count=ladder[0], k=k, epochs=epochs, reason=reason, pilots=[])
    pilots: list[Pilot] = []
    for latent_count in ladder:
        progress(len(pilots), len(ladder))
        pilots.append(_pilot(sample, {**settings, "latent_count": latent_count, "k": k}, cores=cores))
        if goal == "interpretable" and _is_sound(pilots[-1]):
            break
    choice = _best(pilots, goal)
    growth = 1 if requested else 2 ** max(0, round(np.log2(rows / sample.rows) / 2))
    return Sizing(
        goal=goal,
        latent_count=choice.latent_count * growth,
        k=k,
        epochs=epochs,
        reason=_reason(choice, goal, growth=growth, sample_rows=sample.rows, requested=requested),
        pilots=pilots,
    )


def configure(
    vectors: Vectors,
    *,
    goal: Goal,
    settings: Mapping[str, Any],
    cores: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Sizing, Config]:
    """The choice for these vectors, and the complete configuration with it. Otherwise as `choose`."""
    choice = choose(vectors, goal=goal, settings=settings, cores=cores, progress=progress)
    complete = {**choice.settings, **settings}
    if "expansion" in settings:
        del complete["latent_count"]
    return choice, Config.resolve(vectors.rows, vectors.dimension, cores, **complete)


def _default_k(goal: Goal, rows: int) -> int:
    most = _INTERPRETABLE_K if goal == "interpretable" else _FAITHFUL_K
    return min(most if rows >= _MANY_ROWS else most // 2, 1 + rows // _ROWS_PER_ACTIVE)


def _sample(vectors: Vectors, seed: int) -> Vectors:
    if vectors.rows <= PILOT_ROWS:
        return vectors
    rows = np.sort(np.random.default_rng([seed, 9]).permutation(vectors.rows)[:PILOT_ROWS])
    return Vectors(vectors.take(rows))


def _ladder(settings: Mapping[str, Any], *, goal: Goal, rows: int, dimension: int, k: int) -> list[int]:
    """The sizes to try, the largest first: powers of two."""
    if settings.get("latent_count"):
        return [settings["latent_count"]]
    if settings.get("expansion"):
        return [settings["expansion"] * dimension]
    sparse_enough = min(round(k / _MAX_DENSITY), rows // 4) if goal == "interpretable" else 2 * k
    smallest = max(_power_of_two(sparse_enough), 1 << (k - 1).bit_length())
    top = max(_power_of_two(rows * k // _ROWS_PER_LATENT[goal]), smallest)
    return [top >> step for step in range(_PILOT_LADDER) if top >> step >= smallest]


def _power_of_two(number: int) -> int:
    """The largest one that is not above a number; at least 2."""
    return 1 << max(1, number.bit_length() - 1)


def _pilot(vectors: Vectors, settings: Mapping[str, Any], *, cores: int) -> Pilot:
    size = min(_BATCH, max(vectors.rows // 8, 1))
    epochs = max(1, round(_PILOT_STEPS * size / max(vectors.rows, 1)))
    pilot = {**settings, "batch_size": size, "epochs": epochs, "held_out_fraction": 0.1, "patience": None}
    seed = settings.get("seed", 0)
    trainings = [_trained(vectors, {**pilot, "seed": seed + number}, cores=cores) for number in range(2)]
    first, second = (comparing.directions(training.weights) for training in trainings)
    _partner, cosine = comparing.nearest(first, second)
    live = _live(trainings[0].weights, vectors)
    return Pilot(
        latent_count=settings["latent_count"],
        k=settings["k"],
        train_fvu=_mean([training.train_fvu() for training in trainings]),
        held_out_fvu=_mean([training.measure() for training in trainings]),
        reproduced_share=float((cosine[live] >= REPRODUCED).mean()) if live.any() else 0.0,
    )


def _mean(measurements: Sequence[float | None]) -> float | None:
    """Their mean; None if any of them is missing."""
    values = [value for value in measurements if value is not None]
    return float(np.mean(values)) if len(values) == len(measurements) else None


def _trained(vectors: Vectors, settings: Mapping[str, Any], *, cores: int) -> Training:
    config = Config.resolve(vectors.rows, vectors.dimension, cores, **settings)
    training = Training(vectors, config)
    training.finish()
    return training


def _live(weights: Weights, vectors: Vectors) -> np.ndarray[Any, np.dtype[np.bool_]]:
    live = np.zeros(weights.latent_count, dtype=np.bool_)
    for begin in range(0, vectors.rows, _BATCH * 4):
        indices, _values = weights.encode_dense(vectors.read(begin, min(begin + _BATCH * 4, vectors.rows)))
        live[indices[indices >= 0]] = True
    return live


def _is_sound(pilot: Pilot) -> bool:
    return pilot.ratio is not None and pilot.ratio <= MAX_RATIO and pilot.reproduced_share >= MIN_REPRODUCED_SHARE


def _best(pilots: Sequence[Pilot], goal: Goal) -> Pilot:
    if all(pilot.ratio is None for pilot in pilots):
        return pilots[-1]
    if goal == "faithful":
        return min(pilots, key=lambda pilot: math.inf if pilot.held_out_fvu is None else pilot.held_out_fvu)
    return pilots[-1] if _is_sound(pilots[-1]) else max(pilots, key=lambda pilot: pilot.reproduced_share)


def _reason(pilot: Pilot, goal: Goal, *, growth: int, sample_rows: int, requested: bool) -> str:
    size = f"{pilot.latent_count:,} latents, {pilot.k} active"
    what = f"{100 * pilot.reproduced_share:.0f} % of the latents were found again with another seed on the same rows"
    if pilot.ratio is not None:
        what += f", held-out FVU {pilot.held_out_fvu:.3f}, {pilot.ratio:.1f} times that of training rows"
    if requested:
        start = f"The number of latents was requested; a short training with {size}, on {sample_rows:,} rows"
    elif pilot.train_fvu is None:
        start = f"No size can be chosen, as the rows ({sample_rows:,}) do not differ; {size}, is the smallest tried"
    elif pilot.ratio is None:
        start = f"No size can be tested on so few rows ({sample_rows:,}); {size}, is the smallest tried"
    elif goal == "faithful":
        start = f"Of the sizes tried on {sample_rows:,} rows, {size}, has the lowest held-out error"
    elif _is_sound(pilot):
        start = f"The largest size whose features hold on {sample_rows:,} rows is {size}"
    else:
        start = f"No size holds well on {sample_rows:,} rows; best is {size}"
    grown = f"; all rows allow {growth} times as many latents" if growth > 1 else ""
    return f"{start}: {what}{grown}."
