"""Whether features are found again: PRISMA's recipes side by side on texts of several kinds and languages.

For each corpus and recipe two trainings with different seeds, on the rows that are left when a tenth is kept for the
test: FVU on training and test rows, and the share and number of features that the other seed finds again (Hungarian
matching of unit decoder rows, cosine above .7 and .9). Recipes: `auto` for both goals; `auto` and the default of
version 0 (one cycle). Corpora are made from what is installed (`benchmarks.corpora`), with the built-in embedding; one
whose source is missing is reported as left out. Other vectors: --vectors NAME=FILE, a .npy file of (N, d) float32.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import corpora
from benchmarks.sae_data import F32, embedded
from services.trainer.sae import comparing, sizing
from services.trainer.sae.config import Config
from services.trainer.sae.training import Training
from services.trainer.sae.vectors import Vectors

Record = dict[str, Any]
Settings = Mapping[str, Any]
LIMIT = 20_000
TEST_SHARE = 0.1
SEEDS = (0, 1)


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `python -m benchmarks truth` takes."""
    parser.add_argument("--corpora", nargs="*", default=corpora.names(), help="of " + ", ".join(corpora.names()))
    parser.add_argument("--limit", type=int, default=LIMIT, help="texts of a corpus")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--vectors", nargs="*", default=[], metavar="NAME=FILE", help="other vectors, .npy")


def run(options: argparse.Namespace) -> list[Record]:
    """Records of all corpora and recipes."""
    records: list[Record] = []
    for name in options.corpora:
        try:
            texts = corpora.read(name, options.limit)
        except corpora.CorpusMissing as error:
            print(f"left out: {error}", flush=True)
            continue
        records += _measured(name, embedded([text.text for text in texts]), options.threads)
    for pair in options.vectors:
        name, _equals, file = pair.partition("=")
        records += _measured(name, np.load(Path(file), allow_pickle=False).astype(np.float32), options.threads)
    return records


def _measured(corpus: str, vectors: F32, threads: int) -> list[Record]:
    order = np.random.default_rng(99).permutation(len(vectors))
    cut = round(TEST_SHARE * len(vectors))
    test, train = vectors[np.sort(order[:cut])], vectors[np.sort(order[cut:])]
    records: list[Record] = []
    for recipe, settings_for in RECIPES.items():
        start = time.process_time()
        settings = settings_for(train, threads)
        trainings = [_trained(train, {**settings, "seed": seed}, threads) for seed in SEEDS]
        seconds = time.process_time() - start
        values = {**_values(trainings, test), "cpu_seconds": seconds}
        records += [
            {
                "benchmark": "truth",
                "subject": recipe,
                "case": f"{corpus}, {len(vectors):,} texts, d {vectors.shape[1]}",
                "metric": metric,
                "value": value,
                "unit": UNITS[metric],
            }
            for metric, value in values.items()
        ]
        print(corpus, recipe, {metric: round(value, 3) for metric, value in values.items()}, flush=True)
    return records


def _values(trainings: list[Training], test: F32) -> dict[str, float]:
    first, second = (comparing.directions(training.weights) for training in trainings)
    is_exact = len(first) <= comparing.EXACT_LATENTS
    cosine = comparing.match(first, second, same=0.0 if is_exact else 0.5).cosine
    train_fvu = float(np.mean([training.train_fvu() or 0.0 for training in trainings]))
    test_fvu = float(np.mean([training.weights.fvu(test, training.mean) or 0.0 for training in trainings]))
    return {
        "latents": len(first),
        "k": trainings[0].config.k,
        "train_fvu": train_fvu,
        "test_fvu": test_fvu,
        "ratio": test_fvu / train_fvu,
        "reproduced_share": float((cosine > 0.7).mean()),
        "reproduced_count": int((cosine > 0.7).sum()),
        "closely_reproduced_share": float((cosine > 0.9).mean()),
        "closely_reproduced_count": int((cosine > 0.9).sum()),
    }


UNITS = {
    "latents": "latents",
    "k": "latents",
    "train_fvu": "1",
    "test_fvu": "1",
    "ratio": "1",
    "reproduced_share": "1",
    "reproduced_count": "latents",
    "closely_reproduced_share": "1",
    "closely_reproduced_count": "latents",
    "cpu_seconds": "s",
}


def _trained(vectors: F32, settings: Settings, threads: int) -> Training:
    config = Config.resolve(len(vectors), vectors.shape[1], threads, **settings)
    training = Training(vectors, config)
    while training.step < training.total_steps:
        training.advance()
    return training


def _automatic(goal: sizing.Goal) -> Callable[[F32, int], Settings]:
    def settings(vectors: F32, threads: int) -> Settings:
        choice = sizing.choose(Vectors(vectors), goal=goal, settings={}, cores=threads)
        print(
            " ",
            choice.reason,
            [(p.latent_count, round(p.reproduced_share, 2), round(p.ratio, 2)) for p in choice.pilots],
        )
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
    "former auto": _former_automatic,
    "former default": _former_default,
}
