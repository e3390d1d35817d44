"""Examples show a feature from its strongest to its weakest activation, and what nearly activates it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from services.interpreter.decoder import Decoder
from services.interpreter.examples import MAX_EXAMPLES, ExampleKind, deciles, example_rows
from services.interpreter.features import Features
from services.interpreter.near_misses import Vectors
from services.interpreter.statistics import Accumulator
from tests.interpreter.owners import codes_of
from tests.interpreter.planted_run import PlantedRun

ROWS, ACTIVE = 1000, 500


@pytest.fixture(scope="module")
def features() -> Features:
    """Latent 0 is active in rows 0 to 499, less and less; row 500 is the silent one nearest to it, row 501 the next."""
    planted = PlantedRun(["ferry", "tunnel"], ["ferry", "tunnel"])
    activations = np.zeros((ROWS, 2), np.float32)
    activations[:ACTIVE, 0] = np.arange(ACTIVE, 0, -1)
    activations[1:, 1] = 1
    angles = np.linspace(0, np.pi / 2, ROWS)
    rows = np.arange(ROWS, dtype=np.uint64)
    vectors = Vectors(rows, np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32))
    with Accumulator(2) as accumulator:
        accumulator.add(codes_of(activations, rows))
        statistics = accumulator.finish(Decoder.of(np.eye(2, dtype=np.float32)), vectors=vectors)
    label = planted.features.labels[0]
    scores = label.draft.scores
    assert scores is not None
    scores = replace(scores, deciles=(0.95, 0.9, 0.8, 0.7, 0.6, 0.55, 0.5, 0.5, 0.5, None), threshold=300.0)
    labels = {0: replace(label, draft=replace(label.draft, scores=scores))}
    return replace(planted.features, statistics=statistics, labels=labels)


def test_the_strongest_come_first(features: Features) -> None:
    examples = example_rows(features, 0)
    assert [example.row for example in examples] == list(range(MAX_EXAMPLES))
    assert {example.decile for example in examples} == {1}  # a tenth of 500 rows are 50


def test_each_decile_has_examples_of_its_own_activations(features: Features) -> None:
    examples = example_rows(features, 0, ExampleKind.DECILE)
    assert [example.decile for example in examples] == [number for number in range(1, 11) for _ in range(5)]
    assert [example.row for example in examples] == sorted(example.row for example in examples)
    for example in examples:
        assert example.activation == ACTIVE - example.row
        assert example.decile == pytest.approx(example.row / 50 + 0.5, abs=0.6)
    weakest = example_rows(features, 0, ExampleKind.DECILE, 10)
    assert {example.decile for example in weakest} == {10}
    assert len(weakest) == 30


def test_a_decile_says_how_well_the_label_fits_it(features: Features) -> None:
    tenths = deciles(features, 0)
    assert [tenth.number for tenth in tenths] == list(range(1, 11))
    assert [tenth.score for tenth in tenths] == [0.95, 0.9, 0.8, 0.7, 0.6, 0.55, 0.5, 0.5, 0.5, None]
    assert (tenths[0].strongest, tenths[-1].weakest) == (500, 1)
    assert all(tenth.weakest > after.strongest for tenth, after in itertools.pairwise(tenths))
    assert {tenth.score for tenth in deciles(features, 1)} == {None}  # it has no label


def test_near_misses_are_the_silent_rows_nearest_to_the_decoder_and_random_ones_are_silent(features: Features) -> None:
    near = example_rows(features, 0, ExampleKind.NEAR_MISS)
    assert [example.row for example in near] == list(range(ACTIVE, ACTIVE + MAX_EXAMPLES))
    assert {(example.activation, example.decile) for example in near} == {(0.0, None)}
    random = [example.row for example in example_rows(features, 0, ExampleKind.RANDOM)]
    assert len(set(random)) == MAX_EXAMPLES
    assert min(random) >= ACTIVE
    assert random != sorted(random)
    # A latent that only one row does not activate has one near miss.
    assert [example.row for example in example_rows(features, 1, ExampleKind.NEAR_MISS)] == [0]
