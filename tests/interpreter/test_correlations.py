"""Pairs that were planted together are found, but for those whose labels already say so."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from services.interpreter.correlations import Correlations, correlate, word_vectors
from services.interpreter.near_misses import unit_rows
from services.interpreter.occurrences import occurrences
from services.interpreter.selection import select
from tests.interpreter.planted_run import PlantedRun
from tests.interpreter.test_attribution import selection

COUNT = 2000
NULLS = [f"null{number}" for number in range(20)]
GROUPS = ["violin", "storm", "boat", "boat ferry", *NULLS]
VIOLIN, STORM, BOAT, FERRY_BOAT = range(4)


@cache
def planted() -> PlantedRun:
    """`storm` is in 40 % of the documents with `violin` and in 5 % of others. `boat ferry` occurs only with `boat`."""
    random = np.random.default_rng(2)
    present = random.random((COUNT, len(NULLS))) < 0.08
    violin, boat = random.random(COUNT) < 0.08, random.random(COUNT) < 0.15
    storm = random.random(COUNT) < np.where(violin, 0.4, 0.05)
    ferry = boat & (random.random(COUNT) < 0.5)
    columns = (("violin", violin), ("storm", storm), ("boat", boat), ("ferry", ferry))
    texts = [
        " ".join(
            [*(word for word, has in columns if has[row]), *np.array(NULLS)[present[row]].tolist(), f"number{row}"]
        )
        for row in range(COUNT)
    ]
    return PlantedRun(GROUPS, [*texts, *["violin null0 null1 null2"] * 150])


async def correlated(*, max_rank: float = 0.5, words: bool = False) -> Correlations:
    run = planted()
    selected = select(run.features, selection())
    assert len(selected) == len(GROUPS)
    labels = word_vectors(GROUPS) if words else unit_rows(run.embed(GROUPS))
    present = await occurrences(selected, run.codes(run.run))
    return correlate(present, labels, max_q=0.05, max_rank=max_rank)


@pytest.mark.parametrize("words", [False, True])
async def test_a_pair_with_unlike_labels_is_found_and_one_with_like_labels_is_not(words: bool) -> None:
    result = await correlated(words=words)
    (pair,) = result.unexplained
    assert (pair.first, pair.second) == (VIOLIN, STORM)
    assert pair.low < 0.4 / 0.6 / (0.05 / 0.95) < pair.high
    assert pair.expected == pytest.approx(pair.first_count * pair.second_count / result.document_count)
    assert pair.shared > 3 * pair.expected
    assert result.significant_count == 2
    every = await correlated(max_rank=1, words=words)
    assert {(pair.first, pair.second) for pair in every.unexplained} == {(VIOLIN, STORM), (BOAT, FERRY_BOAT)}
    boat = next(pair for pair in every.unexplained if pair.first == BOAT)
    assert boat.similarity == pytest.approx(np.sqrt(0.5))
    assert boat.similarity_rank > 0.95


async def test_copies_of_a_document_count_once() -> None:
    """150 copies have three null features together with `violin`; as one document they prove nothing."""
    result = await correlated(max_rank=1)
    assert result.document_count < COUNT + 10
    assert all(pair.second < len(GROUPS) - len(NULLS) for pair in result.unexplained)
