"""Where no feature counts, or there are no documents, analyses have empty answers instead of errors."""

from __future__ import annotations

import numpy as np
import pytest

from services.interpreter.associations import associate
from services.interpreter.attribution import attribute
from services.interpreter.classifier import fit
from services.interpreter.comparison import compare
from services.interpreter.correlations import correlate, word_vectors
from services.interpreter.metadata import Kind
from services.interpreter.occurrences import Occurrences, occurrences
from services.interpreter.selection import SelectedFeatures, select
from services.interpreter.separation import separate
from services.interpreter.similarity import explain
from tests.interpreter.planted_run import PlantedRun
from tests.interpreter.test_attribution import selection

TEXTS = [f"{word} {number}" for word in ("ferry", "tunnel", "none", "none", "none", "none") for number in range(10)]


def planted(*, feature_count: int) -> tuple[PlantedRun, SelectedFeatures]:
    run = PlantedRun(["ferry", "tunnel"], TEXTS, doubtful=[] if feature_count else [0, 1])
    selected = select(run.features, selection())
    assert len(selected) == feature_count
    return run, selected


async def counted(run: PlantedRun, selected: SelectedFeatures, places: slice) -> Occurrences:
    whole = await occurrences(selected, run.codes(run.run))
    return whole.of(np.arange(len(whole))[places])


@pytest.mark.parametrize(("feature_count", "places"), [(0, slice(None)), (2, slice(0)), (0, slice(0))])
async def test_nothing_is_found_where_there_is_nothing(feature_count: int, places: slice) -> None:
    run, selected = planted(feature_count=feature_count)
    documents = await counted(run, selected, places)
    whole = await counted(run, selected, slice(None))
    for kind, values in ((Kind.CATEGORY, ["a"]), (Kind.NUMBER, [1.5]), (None, ["2020-01-01"])):
        result = associate(documents, values * len(documents), kind, max_q=0.05)
        assert (list(result.discovered), result.test_count) == ([], 0)
    for first, second in ((documents, whole), (whole, documents)):
        assert compare(first, second, max_q=0.05).test_count == 0
        assert not fit(first, second, feature_count=5).members
        separate(first.activations, second.activations, limit=5)
    labels = word_vectors(["ferry", "tunnel"][:feature_count])
    assert not correlate(documents, labels, max_q=0.05, max_rank=1).unexplained


async def test_texts_without_a_feature_that_counts_have_no_parts() -> None:
    run, selected = planted(feature_count=0)
    assert not (await attribute(selected, run, "A ferry. A tunnel.", limit=5)).attributions
    first, second = [await run.encode_text(run.run, text) for text in ("ferry", "ferry tunnel")]
    explanation = await explain(selected, run, first, second, limit=5)
    assert not explanation.contributions
    assert explanation.other_features == pytest.approx(explanation.similarity)
