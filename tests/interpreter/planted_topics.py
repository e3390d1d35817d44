"""A run whose latents stand for topics planted in its texts, and others that stand for nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from services.interpreter.features import Features
from services.interpreter.runs import Interpretation, Run
from services.interpreter.statistics import Accumulator
from tests.interpreter.owners import Owners, embedded, encoded

TOPICS = 60
ROWS = 5000
FILLER = [f"filler{chr(97 + number % 20)}{chr(97 + number // 20)}" for number in range(240)]


def planted() -> tuple[Owners, np.ndarray]:
    """Texts of one or two topics and of filler; a latent for each topic, and as many that are active at random."""
    random = np.random.default_rng(4)
    letters = random.choice(list("abcdefghijklmnopqrstuvwxyz"), (TOPICS, 4, 7))
    words = [["".join(word) for word in topic] for topic in letters]
    directions = np.array([embedded([" ".join(topic)])[0] for topic in words])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    texts = {}
    for row in range(ROWS):
        own = [
            word
            for topic in random.choice(TOPICS, random.integers(1, 3), replace=False)
            for word in random.choice(words[topic], 3)
        ]
        texts[row] = " ".join(random.permutation([*own, *random.choice(FILLER, 4)]))
    noise = random.standard_normal((TOPICS, directions.shape[1]))
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    codes = encoded(embedded(list(texts.values())), directions)
    random_codes = np.where(random.random((ROWS, TOPICS)) < 0.03, random.exponential(1.0, (ROWS, TOPICS)), 0)
    run = Run(
        uid="u",
        name="runs/r",
        dataset="datasets/d",
        dataset_uid="v",
        embedding_model="static",
        latent_count=2 * TOPICS,
        revision=1,
        trained=True,
        ranges=[(0, ROWS)],
    )
    codes = np.concatenate([codes, random_codes.astype(np.float32)], axis=1)
    return Owners(run, codes, texts, np.concatenate([directions, noise])), np.array(words)


async def features_of(source: Owners) -> Features:
    """The features of the run, all of them stable, without labels."""
    run = source.current_run
    with Accumulator(run.latent_count) as accumulator:
        async for codes in source.codes(run):
            accumulator.add(codes)
        vectors = await source.vectors(run, np.arange(ROWS, dtype=np.uint64))
        stability = np.full(run.latent_count, 0.9, np.float32)
        decoder = replace(await source.decoder(run), stability=stability)
        statistics = accumulator.finish(decoder, vectors=vectors)
    return Features(Interpretation(run=run), statistics, {}, [])
