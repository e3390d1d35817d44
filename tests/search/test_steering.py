"""Steered searches of planted codes: features move documents as far as they say, and nothing else changes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prisma_common.wire import Codes
from services.chassis.errors import InvalidArgument
from services.chassis.filters import Comparison
from services.search.backend import Index, Kind, LatentQuery, Stream, TextItem
from services.search.embedded import EmbeddedIndex
from services.search.errors import IndexNotReady
from services.search.fusion import Fusion
from services.search.query import DocumentQuery, Hit, Mode, Page, Scoring, SteeringSet
from services.search.ranking import Ranker
from tests.search.contract import at, item, rows_of, write_texts, write_vectors

COUNT, LATENTS = 900, 24
PLANTED, OTHER, SILENT = 7, 11, 23
"""Latents: active in every ninth document, in every fourth, in none."""
WORD_COUNT = 700
"""Documents that contain the query's word."""


def planted_codes() -> Codes:
    """PLANTED is active in every ninth document, and 5 at most; OTHER in every fourth."""
    random = np.random.default_rng(0)
    indices: list[int] = []
    values: list[float] = []
    starts = [0]
    for row in range(COUNT):
        code = {1 + row % 5: random.uniform(0.5, 2)}
        if row % 9 == 0:
            code[PLANTED] = 5.0 if row == 450 else random.uniform(2, 4.9)
        if row % 4 == 0:
            code[OTHER] = random.uniform(0.1, 1)
        indices += sorted(code)
        values += [code[latent] for latent in sorted(code)]
        starts.append(len(indices))
    return Codes(
        rows=np.arange(COUNT, dtype=np.uint64),
        indptr=np.array(starts, np.uint32),
        indices=np.array(indices, np.uint32),
        values=np.array(values, np.float32),
        latent_count=LATENTS,
    )


CODES = planted_codes()


def fill(index: Index) -> None:
    """Each document's words, vector and code: how well they fit the query is unrelated between the three."""
    random = np.random.default_rng(1)
    lengths = random.integers(1, 40, COUNT)
    items = [
        item(row, ("file " if row < WORD_COUNT else "") + "other " * int(lengths[row]), parity=row % 2)
        for row in range(COUNT)
    ]
    write_texts(index, Stream(Kind.DOCUMENTS, "d"), items, 1)
    vectors = random.normal(size=(COUNT, 16)).astype(np.float32)
    write_vectors(index, Stream(Kind.VECTORS, "d"), np.arange(COUNT, dtype=np.uint64), vectors)
    writer = index.code_writer(Stream(Kind.CODES, "r"), at(1))
    writer.upsert(CODES)
    writer.commit()
    labels = [TextItem(row=PLANTED, text="planted", payload={"label": "planted"}, fingerprint=1)]
    write_texts(index, Stream(Kind.LABELS, "r"), labels, 1)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedIndex]:
    index = EmbeddedIndex(tmp_path_factory.mktemp("steering") / "index")
    fill(index)
    yield index
    index.close()


def latents(weights: Mapping[int, float]) -> LatentQuery:
    indices = sorted(weights)
    return LatentQuery(np.array(indices, np.uint32), np.array([weights[latent] for latent in indices], np.float64))


def sets_of(weights: Mapping[int, float]) -> tuple[SteeringSet, ...]:
    """Each latent by itself."""
    return tuple(SteeringSet((latent,), weight) for latent, weight in weights.items())


def query_of(
    mode: Mode,
    steering: Mapping[int, float] | None = None,
    *,
    sets: tuple[SteeringSet, ...] = (),
    **fields: Any,
) -> DocumentQuery:
    query = DocumentQuery(
        datasets=["d"],
        mode=mode,
        terms=("file",),
        vector=np.random.default_rng(2).normal(size=16).astype(np.float32),
        dense_datasets=frozenset(["d"]),
        run="r",
        code=latents({1: 1.0, 3: 0.5}),
        steering=(*sets_of(steering or {}), *sets),
        limit=100,
    )
    return replace(query, **fields)


def search(index: Index, query: DocumentQuery) -> Page:
    return Ranker(index).documents(query)


def activation(row: int, latent: int = PLANTED) -> float:
    indices, values = CODES.row(row)
    return dict(zip(indices.tolist(), values.tolist(), strict=True)).get(latent, 0.0)


def planted_share(hits: Sequence[Hit]) -> float:
    """Of the first twenty hits."""
    return sum(activation(hit.row) > 0 for hit in hits[:20]) / 20


ALL_MODES = pytest.mark.parametrize(
    ("mode", "scoring"),
    [
        *((mode, Scoring(method)) for mode, method in itertools.product(Mode, Fusion)),
        *((Mode.HYBRID, Scoring(method, sparse_weight=0.4)) for method in Fusion),
    ],
)


@ALL_MODES
def test_a_boost_raises_the_share_of_documents_with_the_feature_and_a_ban_lowers_it(
    index: Index, mode: Mode, scoring: Scoring
) -> None:
    shares = [
        planted_share(search(index, query_of(mode, {PLANTED: weight}, scoring=scoring)).hits) for weight in (-3, 0, 3)
    ]
    assert shares[0] == 0 < shares[1] < 0.5 < shares[2] == 1


@ALL_MODES
def test_weights_of_zero_change_no_rank(index: Index, mode: Mode, scoring: Scoring) -> None:
    plain = search(index, query_of(mode, scoring=scoring))
    steered = search(index, query_of(mode, {PLANTED: 0, OTHER: 0}, scoring=scoring))
    assert [hit.row for hit in steered.hits] == [hit.row for hit in plain.hits]
    assert steered.total == plain.total
    assert [hit.unsteered_rank for hit in steered.hits] == [hit.rank for hit in plain.hits]
    assert {hit.unsteered_rank for hit in plain.hits} == {None}


@ALL_MODES
def test_parts_add_up_to_the_score_and_features_to_their_part(index: Index, mode: Mode, scoring: Scoring) -> None:
    weights = {PLANTED: 1.5, OTHER: -2.0, SILENT: 3.0}
    hits = search(index, query_of(mode, weights, scoring=scoring)).hits
    maxima = {latent: float(CODES.values[CODES.indices == latent].max(initial=0)) for latent in weights}
    unit = 1 if scoring.fusion is Fusion.MIN_MAX else 1 / 61
    assert sum(len(hit.steering) == 2 for hit in hits) > 2
    for hit in hits:
        assert sum(part.contribution for part in hit.parts) == pytest.approx(hit.score, abs=1e-6)
        assert hit.parts[-1].name == "steering"
        added = sum(feature.contribution for feature in hit.steering)
        assert added == pytest.approx(hit.parts[-1].contribution, abs=1e-6)
        assert {feature.latent for feature in hit.steering} == {
            latent for latent in weights if activation(hit.row, latent) > 0
        }
        for feature in hit.steering:
            assert feature.activation == activation(hit.row, feature.latent)
            share = feature.activation / maxima[feature.latent]
            assert feature.contribution == pytest.approx(weights[feature.latent] * share * unit)
            assert (feature.label.text if feature.label else None) == ("planted" if feature.latent == PLANTED else None)
        sizes = [abs(feature.contribution) for feature in hit.steering]
        assert sizes == sorted(sizes, reverse=True)


@ALL_MODES
def test_steering_changes_no_other_contribution(index: Index, mode: Mode, scoring: Scoring) -> None:
    """Though it brings in documents that the query alone does not find."""
    before = {hit.row: hit for hit in search(index, query_of(mode, {PLANTED: 0}, scoring=scoring, limit=1000)).hits}
    after = search(index, query_of(mode, {PLANTED: 3}, scoring=scoring, limit=1000)).hits
    assert set(before) <= {hit.row for hit in after}
    both = [hit for hit in after if hit.row in before]
    for hit in both:
        assert hit.parts[:-1] == before[hit.row].parts[:-1]
    by_unsteered_rank = sorted(both, key=lambda hit: hit.unsteered_rank or 0)
    assert [hit.row for hit in by_unsteered_rank] == list(before)


@pytest.mark.parametrize("mode", [Mode.SEMANTIC, Mode.SPARSE, Mode.HYBRID])
def test_a_boost_brings_in_documents_that_the_query_alone_does_not_find(index: Index, mode: Mode) -> None:
    plain = {hit.row for hit in search(index, query_of(mode, {PLANTED: 0}, limit=1000)).hits}
    page = search(index, query_of(mode, {PLANTED: 3}, limit=1000))
    rows = {hit.row for hit in page.hits}
    assert {row for row in range(COUNT) if activation(row) > 0} <= rows and rows - plain
    assert page.total >= len(rows)
    for hit in page.hits:
        assert (hit.unsteered_rank is None) == (hit.row not in plain)
        if hit.row not in plain:
            assert not any(part.rank for part in hit.parts[:-1])
        assert all(0 <= part.contribution <= 1 for part in hit.parts[:-1])


def test_each_part_brings_its_best_500_documents(index: Index) -> None:
    hits = search(index, query_of(Mode.FULL_TEXT, {PLANTED: 0}, limit=1000)).hits
    assert [hit.parts[0].rank for hit in hits] == list(range(1, 501))


def test_a_sparse_search_counts_documents_that_share_a_latent_with_the_query_or_a_boost(index: Index) -> None:
    code = latents({1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0})
    sharing = {row for row in range(COUNT) if any(activation(row, latent) for latent in (1, 2, 3, 4))}
    boosted = {row for row in range(COUNT) if activation(row) > 0}
    assert search(index, query_of(Mode.SPARSE, {PLANTED: -3}, code=code)).total == len(sharing)
    assert search(index, query_of(Mode.SPARSE, {PLANTED: 3}, code=code)).total == len(sharing | boosted)


def test_full_text_finds_only_documents_with_a_word_of_the_query(index: Index) -> None:
    page = search(index, query_of(Mode.FULL_TEXT, {PLANTED: 3}, limit=1000))
    assert page.total == WORD_COUNT
    rows = {hit.row for hit in page.hits}
    assert max(rows) < WORD_COUNT
    assert {row for row in range(WORD_COUNT) if activation(row) > 0} <= rows
    assert len(rows) > 500


@pytest.mark.parametrize("mode", Mode)
def test_conditions_bound_what_a_boost_brings_in(index: Index, mode: Mode) -> None:
    condition = Comparison("metadata.parity", "=", "1")
    page = search(index, query_of(mode, {PLANTED: 3}, condition=condition, limit=1000))
    assert page.hits and all(hit.row % 2 for hit in page.hits)
    assert page.hits[0].steering


@ALL_MODES
def test_pages_of_a_steered_search_continue_exactly(index: Index, mode: Mode, scoring: Scoring) -> None:
    query = query_of(mode, {PLANTED: 2, OTHER: -1}, scoring=scoring)
    whole = search(index, replace(query, limit=1000))
    hits: list[Hit] = []
    for offset in itertools.count(0, 37):
        page = search(index, replace(query, offset=offset, limit=37))
        hits += page.hits
        if not page.has_more:
            break
    assert hits == list(whole.hits)
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))


def test_documents_without_a_code_stay_where_they_are(tmp_path: Path) -> None:
    index = EmbeddedIndex(tmp_path / "index")
    fill(index)
    writer = index.code_writer(Stream(Kind.CODES, "r"), at(2))
    writer.delete(rows_of(*range(100)))
    writer.commit()
    hits = search(index, query_of(Mode.SEMANTIC, {PLANTED: 3}, limit=1000)).hits
    without_code = [hit for hit in hits if hit.row < 100]
    assert without_code
    for hit in without_code:
        assert hit.steering == [] and hit.parts[-1][1:] == (None, None, 0)
    index.close()


def test_activations_below_the_threshold_move_documents_only_on_request(tmp_path: Path) -> None:
    index = EmbeddedIndex(tmp_path / "index")
    fill(index)
    payload = {"label": "planted", "threshold": 3.5}
    write_texts(index, Stream(Kind.LABELS, "r"), [TextItem(PLANTED, "planted", payload, fingerprint=2)], 2)
    precise = {row for row in range(COUNT) if activation(row) >= 3.5}
    hits = search(index, query_of(Mode.SEMANTIC, {PLANTED: 3}, limit=1000)).hits
    assert {hit.row for hit in hits if hit.steering} == precise
    assert all(hit.steering for hit in hits if hit.unsteered_rank is None)
    assert sum(hit.parts[-1].score == 0 for hit in hits) > 100
    hits = search(index, query_of(Mode.SEMANTIC, {PLANTED: 3}, limit=1000, include_tail=True)).hits
    moved = {hit.row: hit.steering[0].tail for hit in hits if hit.steering}
    assert moved == {row: row not in precise for row in range(COUNT) if activation(row) > 0}
    index.close()


def test_latents_that_are_unknown_or_active_nowhere(index: Index) -> None:
    ranker = Ranker(index)
    with pytest.raises(InvalidArgument, match=r"steering: .*below 24"):
        ranker.rank(query_of(Mode.HYBRID, {0: 1, LATENTS: 1}))
    steered = ranker.rank(query_of(Mode.HYBRID, {PLANTED: 1, SILENT: 3})).steered
    assert steered is not None and steered.silent_latents == (SILENT,)
    with pytest.raises(IndexNotReady):
        ranker.rank(query_of(Mode.HYBRID, {PLANTED: 1}, run="unknown"))


def shares(row: int, members: Sequence[int]) -> dict[int, float]:
    """Activations of active latents in a document, each relative to its largest one."""
    return {
        latent: activation(row, latent) / float(CODES.values[CODES.indices == latent].max())
        for latent in members
        if activation(row, latent) > 0
    }


SET, SINGLE = (2, 3, PLANTED), OTHER


@ALL_MODES
def test_a_set_moves_documents_as_one_feature(index: Index, mode: Mode, scoring: Scoring) -> None:
    """By its features' shares, relative to the largest sum of them in any document."""
    sets = (SteeringSet(SET, 2.0), SteeringSet((SINGLE,), -1.5))
    hits = search(index, query_of(mode, scoring=scoring, sets=sets)).hits
    unit = 1 if scoring.fusion is Fusion.MIN_MAX else 1 / 61
    largest_sum = max(sum(shares(row, SET).values()) for row in range(COUNT))
    assert largest_sum > 1.2
    assert any(len(hit.steering) == 3 for hit in hits)
    for hit in hits:
        assert sum(part.contribution for part in hit.parts) == pytest.approx(hit.score, abs=1e-6)
        contributions = {feature.latent: feature.contribution for feature in hit.steering}
        assert sum(contributions.values()) == pytest.approx(hit.parts[-1].contribution, abs=1e-6)
        expected = {latent: 2.0 * share / largest_sum * unit for latent, share in shares(hit.row, SET).items()}
        expected |= {latent: -1.5 * share * unit for latent, share in shares(hit.row, [SINGLE]).items()}
        assert contributions == pytest.approx(expected)


def test_a_set_moves_a_document_by_its_weight_at_most_and_brings_in_those_that_it_moves_most(index: Index) -> None:
    hits = search(index, query_of(Mode.SEMANTIC, sets=(SteeringSet(SET, 3.0),), limit=1000)).hits
    moved = {hit.row: hit.parts[-1].contribution for hit in hits}
    assert max(moved.values()) == pytest.approx(3)
    by_sum = sorted(range(COUNT), key=lambda row: -sum(shares(row, SET).values()))
    assert set(by_sum[:400]) <= set(moved)


@ALL_MODES
@pytest.mark.parametrize("members", [(PLANTED,), (PLANTED, SILENT)])
def test_a_set_with_one_active_feature_is_that_feature(
    index: Index, mode: Mode, scoring: Scoring, members: tuple[int, ...]
) -> None:
    single = search(index, query_of(mode, {PLANTED: 2}, scoring=scoring))
    assert search(index, query_of(mode, scoring=scoring, sets=(SteeringSet(members, 2.0),))) == single


def test_random_sets_add_up(index: Index) -> None:
    random = np.random.default_rng(3)
    for mode, method in itertools.product(Mode, Fusion):
        members = np.array_split(random.permutation(LATENTS), random.integers(1, 9))
        sets = tuple(SteeringSet(tuple(sorted(part.tolist())), float(random.uniform(-3, 3))) for part in members)
        hits = search(index, query_of(mode, scoring=Scoring(method), sets=sets, limit=1000)).hits
        unit = 1 if method is Fusion.MIN_MAX else 1 / 61
        for hit in hits:
            assert sum(part.contribution for part in hit.parts) == pytest.approx(hit.score, abs=1e-6)
            contributions = {feature.latent: feature.contribution for feature in hit.steering}
            assert sum(contributions.values()) == pytest.approx(hit.parts[-1].contribution, abs=1e-6)
            for part in sets:
                moved = sum(contributions.get(latent, 0) for latent in part.latents)
                assert 0 <= moved / part.weight <= unit * (1 + 1e-9)


def test_sets_of_silent_features_move_nothing(index: Index) -> None:
    ranking = Ranker(index).rank(query_of(Mode.HYBRID, sets=(SteeringSet((20, SILENT), 3.0),)))
    assert ranking.steered is not None and ranking.steered.silent_latents == (20, SILENT)
    assert not ranking.contributions[-1].any()


def test_latents_are_a_third_part_of_a_hybrid_search(index: Index) -> None:
    plain = search(index, query_of(Mode.HYBRID))
    assert [part.name for part in plain.hits[0].parts] == ["text", "dense"]
    sparse = {hit.row: hit for hit in search(index, query_of(Mode.SPARSE, limit=1000)).hits}
    hits = search(index, query_of(Mode.HYBRID, scoring=Scoring(sparse_weight=1))).hits
    for hit in hits:
        name, score, rank, contribution = hit.parts[2]
        assert name == "sparse" and 0 <= contribution <= 1
        assert sum(part.contribution for part in hit.parts) == pytest.approx(hit.score, abs=1e-6)
        if hit.row in sparse:
            assert score == sparse[hit.row].score
            assert rank in (sparse[hit.row].rank, None)
        else:
            assert score == 0 and rank is None
    alone = Scoring(text_weight=0, dense_weight=0, sparse_weight=1)
    best = search(index, query_of(Mode.HYBRID, scoring=alone)).hits[:20]
    assert [hit.row for hit in best] == list(sparse)[:20]
