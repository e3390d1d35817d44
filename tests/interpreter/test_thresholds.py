"""Below its threshold a feature is not named, and is counted only on request."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from services.chassis.filters import Comparison
from services.interpreter import matrices, messages
from services.interpreter.analyzer import Analysis
from services.interpreter.cooccurrence import Cooccurrence
from services.interpreter.decoder import Decoder
from services.interpreter.feature_tables import FEATURE_COLUMNS, feature_batches
from services.interpreter.statistics import Accumulator
from tests.interpreter.owners import codes_of
from tests.interpreter.planted_run import PlantedRun

FERRY, TUNNEL = 0, 1


def planted_run() -> PlantedRun:
    """Every activation is 1: above the first feature's threshold, below the second's."""
    return PlantedRun(["ferry", "tunnel"], ["ferry", "tunnel", *["none"] * 20], thresholds={FERRY: 1.0, TUNNEL: 1.5})


async def test_the_analyzer_lists_features_below_their_threshold_but_names_them_only_on_request() -> None:
    run = planted_run()
    text = "ferry and tunnel"
    encoded = await run.encode_text(run.run, text)
    analysis = Analysis(run=run.run, encoded=encoded, features=run.features, text=text)
    ferry, tunnel = messages.analysis(analysis).features
    assert (ferry.label, ferry.tail, ferry.HasField("score")) == ("ferry", False, True)
    assert (tunnel.label, tunnel.tail, tunnel.HasField("score")) == ("", True, False)
    assert tunnel.activation == 1
    assert (ferry.density, tunnel.density) == (1 / 22, 0)
    named = messages.analysis(analysis, name_tail=True).features[TUNNEL]
    assert (named.label, named.tail, named.HasField("score")) == ("tunnel", True, True)


def test_codes_above_thresholds_lose_values_but_no_rows() -> None:
    codes = codes_of(np.array([[0, 2, 1], [3, 0, 0], [0, 1, 4]], np.float32), np.arange(3, dtype=np.uint64))
    precise = codes.at_least(np.array([4.0, 2.0, 1.0]))
    assert precise.rows.tolist() == [0, 1, 2]
    dense = sparse.csr_array((precise.values, precise.indices, precise.indptr), shape=(3, 3)).toarray()
    np.testing.assert_array_equal(dense, [[0, 2, 1], [0, 0, 0], [0, 0, 4]])
    counts = Cooccurrence(3)
    counts.add(precise.indptr, precise.indices)
    np.testing.assert_array_equal(counts.matrix().toarray(), [[0, 0, 0], [0, 1, 1], [0, 1, 2]])


def test_the_density_of_a_label_counts_rows_that_reach_its_threshold() -> None:
    features = planted_run().features
    assert features.precise_counts.tolist() == [1, 0]
    assert features.statistics.active_count.tolist() == [1, 1]
    ferry, tunnel = (messages.feature(features, index) for index in (FERRY, TUNNEL))
    assert (ferry.precise_count, ferry.precise_density) == (1, ferry.density)
    assert (tunnel.precise_count, tunnel.precise_density) == (0, 0)
    assert features.select(Comparison("precise_density", ">", "0")).tolist() == [FERRY]


@pytest.mark.parametrize(("row_count", "tolerance"), [(200, 0), (5000, 5000 // 300)])
def test_rows_above_a_threshold_are_counted_to_a_300th(row_count: int, tolerance: int) -> None:
    run = PlantedRun(["ferry"], ["ferry"], thresholds={FERRY: 0.75})
    activations = np.linspace(1, 0.01, row_count, dtype=np.float32)[:, None]
    with Accumulator(1) as accumulator:
        accumulator.add(codes_of(activations, np.arange(row_count, dtype=np.uint64)))
        statistics = accumulator.finish(Decoder.of(np.ones((1, 1), np.float32)))
    features = type(run.features)(run.features.interpretation, statistics, run.features.labels, [])
    assert features.precise_counts[FERRY] == pytest.approx(int((activations >= 0.75).sum()), abs=tolerance)


async def test_a_heatmap_has_activations_below_thresholds_only_on_request() -> None:
    run = planted_run()
    precise = await matrices.sample(run.features, run, 100, 2)
    assert np.count_nonzero(precise.activations.toarray(), axis=0).tolist() == [1, 0]
    whole = await matrices.sample(run.features, run, 100, 2, include_tail=True)
    assert np.count_nonzero(whole.activations.toarray(), axis=0).tolist() == [1, 1]


async def test_a_matrix_counts_activations_below_thresholds_only_on_request() -> None:
    """Both words stand in three texts together and in one alone; the tunnel's activations are all in its tail."""
    texts = [*["ferry tunnel", "ferry tunnel two", "ferry tunnel three"], "ferry", "tunnel", *["none"] * 20]
    run = PlantedRun(["ferry", "tunnel"], texts, thresholds={FERRY: 1.0, TUNNEL: 1.5})
    indices = np.array([FERRY, TUNNEL])
    for kind in (matrices.Kind.CO_OCCURRENCE, matrices.Kind.ACTIVATION_COSINE):
        precise = await matrices.matrix(run.features, run, kind, indices)
        assert precise.values[0, 1] == precise.values[1, 0] == 0
        whole = await matrices.matrix(run.features, run, kind, indices, include_tail=True)
        assert whole.values[0, 1] == pytest.approx(0.75, abs=0.001)
        assert (precise.row_count, whole.row_count) == (len(texts), len(texts))
    run = PlantedRun(["ferry", "tunnel"], texts, thresholds={FERRY: 1.0, TUNNEL: 0.5})
    both = await matrices.matrix(run.features, run, matrices.Kind.CO_OCCURRENCE, indices)
    np.testing.assert_allclose(both.values, [[1, 0.75], [0.75, 1]])


async def test_the_table_of_features_says_from_where_on_they_count() -> None:
    [batch] = [batch async for batch in feature_batches(planted_run().features, [0, 1])]
    table = {column.name: cells for column, cells in zip(FEATURE_COLUMNS, batch, strict=True)}
    assert (list(table["threshold"]), list(table["precise_count"])) == ([1.0, 1.5], [1, 0])
    assert list(table["precise_density"]) == [table["density"][0], 0]
