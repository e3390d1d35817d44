"""A classifier chooses the features that were planted, and is measured on documents that had no part in the choice."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import special

from services.interpreter.classifier import Classifier, fit
from services.interpreter.occurrences import Occurrences, occurrences
from services.interpreter.selection import select
from tests.interpreter.planted_run import PlantedRun
from tests.interpreter.test_attribution import selection

COUNT = 3000
NULLS = [f"null{number}" for number in range(40)]
GROUPS = ["ferry", "rose", "court", *NULLS]
FERRY, ROSE, COURT = range(3)


@cache
def planted() -> tuple[PlantedRun, np.ndarray]:
    """Documents are positive with log odds of −2 + 2 · ferry + 3 · rose − 2 · court."""
    random = np.random.default_rng(4)
    present = random.random((COUNT, len(GROUPS))) < 0.15
    odds = present[:, :3] @ [2.0, 3.0, -2.0] - 2
    positive = random.random(COUNT) < special.expit(odds)
    texts = [" ".join([*np.array(GROUPS)[row].tolist(), f"number{place}"]) for place, row in enumerate(present)]
    return PlantedRun(GROUPS, texts), positive


async def documents() -> Occurrences:
    run, _positive = planted()
    return await occurrences(select(run.features, selection()), run.codes(run.run))


async def fitted(positive: np.ndarray, feature_count: int = 5) -> Classifier:
    whole = await documents()
    parts = [whole.of(np.flatnonzero(places)) for places in (positive, ~positive)]
    return fit(*parts, feature_count=feature_count)


async def test_the_planted_features_are_chosen_with_their_weights() -> None:
    result = await fitted(planted()[1])
    weights = {member.column: member.weight for member in result.members}
    assert set(weights) == {FERRY, ROSE, COURT}, "no other feature promises more than chance"
    assert [weights[column] for column in (FERRY, ROSE, COURT)] == pytest.approx([2, 3, -2], abs=0.6)
    assert result.intercept == pytest.approx(-2, abs=0.3)
    alone = {member.column: member.area for member in result.members}
    assert alone[COURT] < 0.5 < alone[ROSE] < result.area
    assert sum(result.training_counts) + sum(result.held_out_counts) == COUNT


async def test_the_area_is_that_of_held_out_documents() -> None:
    """The area of the true odds on all documents is in the interval."""
    run, positive = planted()
    result = await fitted(positive)
    odds = run.embed(run.texts) @ np.array([{"ferry": 2, "rose": 3, "court": -2}.get(word, 0) for word in run.words])
    wins = (odds[positive][:, None] > odds[~positive]) + (odds[positive][:, None] == odds[~positive]) / 2
    assert result.low < wins.mean() < result.high
    assert result.low < result.area < result.high


async def test_no_more_features_than_requested_the_best_first() -> None:
    result = await fitted(planted()[1], feature_count=1)
    assert [member.column for member in result.members] == [ROSE]
    assert result.area == pytest.approx(result.members[0].area, abs=1e-9)


async def test_documents_at_random_have_no_classifier() -> None:
    chosen_count = 0
    for seed in range(10):
        result = await fitted(np.random.default_rng(seed).random(COUNT) < 0.3)
        chosen_count += len(result.members)
        assert result.low < 0.5 < result.high or result.members
    assert chosen_count <= 3


async def test_documents_that_one_feature_separates_have_finite_weights() -> None:
    run, _positive = planted()
    result = await fitted(run.embed(run.texts)[:, run.words.index("ferry")] > 0)
    assert result.members[0].column == FERRY
    assert 0 < result.members[0].weight < 100
    assert (result.area, result.training_area) == (1, 1)
    assert 0.95 < result.low < result.high == 1


async def test_too_few_documents_have_no_classifier() -> None:
    result = await fitted(np.arange(COUNT) < 4)
    assert (list(result.members), result.area) == ([], 0.5)
