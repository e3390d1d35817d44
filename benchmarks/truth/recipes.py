"""PRISMA's recipes side by side: error, features that are found again, trusted features."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from benchmarks.sae_data import F32
from benchmarks.truth.corpus import Corpus
from benchmarks.truth.interpreted import Interpreted, Settings, interpreted, sampled, stability_of, trained
from benchmarks.truth.records import Reporter
from services.interpreter.trust import Trust
from services.trainer.sae import comparing, sizing
from services.trainer.sae.training import Training
from services.trainer.sae.vectors import Vectors

_COSINES = {"> .7": 0.7, "> .9": 0.9}


async def measured(corpus: Corpus, recipe: str, report: Reporter, *, threads: int, limit: int | None) -> Interpreted:
    """Trains by a recipe, labels, and reports. limit: features, at random, that are labelled; None for all."""
    settings = RECIPES[recipe](corpus.vectors, threads)
    first, second = (trained(corpus.vectors, {**settings, "seed": seed}, threads) for seed in (0, 1))
    report.add(recipe, _errors([first, second], corpus.test_vectors))
    cosine = _matched(first, second)
    stabilities = stability_of(first, corpus.vectors, {**settings, "seed": 0}, threads)
    run = await interpreted(corpus, first.weights, stabilities)
    live = np.flatnonzero(run.features.statistics.active_count)
    run = await run.labelled(sampled(live, limit))
    _report_features(report, recipe, run, cosine=cosine, live=live)
    return run


def _errors(trainings: list[Training], test: F32) -> dict[str, float]:
    """Means over both seeds."""
    train_fvu = float(np.mean([training.train_fvu() or 0.0 for training in trainings]))
    test_fvu = float(np.mean([training.weights.fvu(test, training.mean) or 0.0 for training in trainings]))
    config = trainings[0].config
    return {
        "latents": trainings[0].weights.latent_count,
        "k": config.k,
        "epochs": config.epochs,
        "cycles": config.cycles,
        "train FVU": train_fvu,
        "test FVU": test_fvu,
        "ratio": test_fvu / train_fvu,
    }


def _matched(first: Training, second: Training) -> NDArray[np.float32]:
    one, other = (comparing.directions(training.weights) for training in (first, second))
    is_exact = len(one) <= comparing.EXACT_LATENTS
    return comparing.match(one, other, same=0.0 if is_exact else 0.5).cosine


def _report_features(
    report: Reporter, recipe: str, run: Interpreted, *, cosine: NDArray[np.float32], live: NDArray[np.int64]
) -> None:
    """Of live features, of those with a label, and of trusted ones: how many, and how many are found again."""
    features = run.features
    labelled = np.array(sorted(features.labels), np.int64)
    named = np.array([index for index in labelled.tolist() if features.label_text(index)], np.int64)
    trusted = np.array([index for index in named.tolist() if features.trust(index) is Trust.TRUSTED], np.int64)
    scale = len(live) / max(1, len(labelled))
    sets = {"live features": live, "named features": named, "trusted features": trusted}
    for name, indices in sets.items():
        count = len(indices) * (scale if name != "live features" else 1)
        values = {"number": float(round(count))}
        if len(indices):
            for limit, least in _COSINES.items():
                values[f"share found again {limit}"] = float((cosine[indices] > least).mean())
            stabilities = features.statistics.stability[indices]
            values["share found by both halves > .7"] = float((stabilities > comparing.SAME).mean())
        report.add(recipe, values, about=f"{name}: ")
    report.add(
        recipe,
        {f"number found again {limit}": float((cosine[live] > least).sum()) for limit, least in _COSINES.items()},
        about="live features: ",
        unit="latents",
    )
    report.add(recipe, {"labelled": float(len(labelled))}, unit="features")


def _automatic(goal: sizing.Goal) -> Callable[[F32, int], Settings]:
    def settings(vectors: F32, threads: int) -> Settings:
        choice = sizing.choose(Vectors(vectors), goal=goal, settings={}, cores=threads)
        pilots = [f"{pilot.latent_count}: {pilot.reproduced_share:.2f}, {pilot.ratio:.2f}" for pilot in choice.pilots]
        print(f"  {goal}: {choice.reason} Latents: share found again, ratio: {'; '.join(pilots)}", flush=True)
        return choice.settings

    return settings


def _former_automatic(vectors: F32, _threads: int) -> Settings:
    """`auto` of version 0: n such that rows · k / n is 100, some 2,000 steps, patience left out."""
    rows, dimension = vectors.shape
    k = 32 if rows >= 4096 else 16
    expansion = max(1, min(32, rows * k // (100 * dimension)))
    return {"expansion": expansion, "k": k, "epochs": max(2, min(100, 2000 * 512 // rows)), "cycles": 1}


def _former_default(_vectors: F32, _threads: int) -> Settings:
    return {"expansion": 4, "k": 32, "epochs": 20, "cycles": 1}


RECIPES: Mapping[str, Callable[[F32, int], Settings]] = {
    "interpretable": _automatic("interpretable"),
    "faithful": _automatic("faithful"),
    "former default": _former_default,
    "former auto": _former_automatic,
}
