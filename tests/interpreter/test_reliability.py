"""Wherever a label is shown, so is how far it can be relied on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from prisma.interpreter.v1.resources_pb2 import TRUST_DOUBTFUL, TRUST_TRUSTED, TRUST_UNNAMED, Reliability
from services.chassis.paging import Page
from services.interpreter import analysis_messages, matrices, messages
from services.interpreter.analyzer import Analysis
from services.interpreter.families import Family, FamilyLabel, Member
from services.interpreter.features import Features
from services.interpreter.matrices import Kind
from services.interpreter.runs import StatisticsVersion
from tests.interpreter.planted_run import TEST_FAILED, TEST_PASSED, PlantedRun

FERRY, TUNNEL, MUSEUM, DEAD = range(4)


@pytest.fixture
def run() -> PlantedRun:
    """One trusted feature, one whose label failed its test, one without a label, and a dead one with a label."""
    run = PlantedRun(
        ["ferry", "tunnel", "museum", "castle"],
        ["ferry tunnel museum"] * 5 + ["ferry tunnel"] * 3 + ["none"] * 20,
        doubtful=[TUNNEL],
    )
    members = [Member(FERRY, None, 0), Member(TUNNEL, FERRY, 1), Member(MUSEUM, FERRY, 1)]
    labels = {index: label for index, label in run.features.labels.items() if index != MUSEUM}
    label = FamilyLabel(text="ships", description="", density=0.3, scores=labels[FERRY].draft.scores)
    family = Family(id="1-0", round=1, color=1, members=members, label=label)
    run.features = replace(run.features, labels=labels, families=[family])
    return run


@pytest.fixture
def features(run: PlantedRun) -> Features:
    return run.features


def check(reliability: Reliability, index: int) -> None:
    """That it is what is known of the feature."""
    trust, score = {
        FERRY: (TRUST_TRUSTED, TEST_PASSED),
        TUNNEL: (TRUST_DOUBTFUL, TEST_FAILED),
        MUSEUM: (TRUST_UNNAMED, None),
    }[index]
    assert reliability.trust == trust
    assert reliability.HasField("score") == (score is not None)
    if score:
        assert (reliability.score, reliability.score_low, reliability.score_high) == (score.auc, score.low, score.high)


def test_neighbours_families_and_the_graph_say_how_far_their_features_can_be_relied_on(features: Features) -> None:
    feature = messages.feature(features, FERRY, full=True)
    for neighbor in (*feature.decoder_neighbors, *feature.coactive_neighbors):
        if neighbor.index != DEAD:
            check(neighbor.reliability, neighbor.index)
    assert {neighbor.index for neighbor in feature.coactive_neighbors} == {TUNNEL, MUSEUM}
    (place,) = messages.feature(features, TUNNEL).families
    assert place.display_name == "ships"
    check(place.reliability, FERRY)  # the family's name passed the same test
    graph = messages.graph(features, 0)
    assert len(graph.nodes) == 3
    for node in graph.nodes:
        check(node.reliability, node.index)
    page = messages.family_page(features, features.families, Page.offset(0, "", bound_to=(), default=1, maximum=1))
    check(page.families[0].reliability, FERRY)
    for member in page.families[0].members:
        check(member.reliability, member.index)


async def test_pictures_and_analyses_do_so_too(run: PlantedRun) -> None:
    features = run.features
    matrix = await matrices.matrix(features, run, Kind.CO_OCCURRENCE, np.array([FERRY, TUNNEL, MUSEUM]))
    picture = messages.feature_matrix(features, Kind.CO_OCCURRENCE, matrix)
    heatmap = messages.activation_sample(features, await matrices.sample(features, run, 100, 3))
    for drawn in (picture, heatmap):
        assert sorted(drawn.indices) == [FERRY, TUNNEL, MUSEUM]
        for index, reliability in zip(drawn.indices, drawn.reliabilities, strict=True):
            check(reliability, index)
    analyzed = analysis_messages.analyzed_feature(features, FERRY)
    text = "ferry tunnel museum"
    analysis = Analysis(run=run.run, encoded=await run.encode_text(run.run, text), features=features, text=text)
    active = messages.analysis(analysis).features
    assert [feature.index for feature in active] == [FERRY, TUNNEL, MUSEUM]
    for message in (analyzed, *active):
        reliability = Reliability(trust=message.trust)
        if message.HasField("score"):
            reliability = Reliability(
                trust=message.trust, score=message.score, score_low=message.score_low, score_high=message.score_high
            )
        check(reliability, message.index)


def test_live_features_are_counted_by_trust(features: Features) -> None:
    version = StatisticsVersion(attempt="a", revision=1, history=None, time=datetime(2026, 1, 1, tzinfo=UTC))
    interpretation = replace(features.interpretation, statistics=version)
    counts = messages.interpretation(interpretation, features).trust_counts
    assert (counts.trusted, counts.open, counts.doubtful, counts.unnamed) == (1, 0, 1, 1)
