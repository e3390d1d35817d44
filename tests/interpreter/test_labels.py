"""Labels that are made of some documents and tested on others: known answers on small corpora."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import numpy as np
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from services.chassis import near_duplicates
from services.chassis.feature_filters import FIELDS, SOURCES, TRUST, check_values, feature_test
from services.chassis.filters import TRUTH, InvalidFilter, evaluate, parse_filter
from services.chassis.metadata_filters import passes
from services.interpreter import messages, scoring
from services.interpreter.decoder import Decoder
from services.interpreter.evidence import Evidence, SeenDocuments, Sources, divide
from services.interpreter.evidence_reader import EvidenceReader
from services.interpreter.families import Family, Member
from services.interpreter.features import COMPARISONS, Features, Order
from services.interpreter.keyword_labeller import KeywordLabeller
from services.interpreter.labellers import Task
from services.interpreter.labels import Draft, Label, Options, Source
from services.interpreter.near_misses import HARD_COUNT, Vectors, near_misses
from services.interpreter.runs import Run
from services.interpreter.scoring import Method, Score, Scores, Share
from services.interpreter.trust import Condition, Trust, missed_conditions, trust_of
from services.search.upstream import feature_item
from tests.interpreter.owners import Owners, embedded
from tests.interpreter.planted_topics import FILLER, TOPICS, features_of, planted


def sources_of(rows: np.ndarray, values: np.ndarray, hard: np.ndarray, random: np.ndarray) -> Sources:
    order = np.argsort(-values, kind="stable")
    rows, values = rows[order].astype(np.uint64), values[order].astype(np.float64)
    sample = np.unique(np.linspace(0, len(rows) - 1, min(300, len(rows))).astype(int))
    return Sources(
        top_rows=rows[:200],
        top_values=values[:200],
        sample_rows=rows[sample],
        sample_values=values[sample],
        hard_rows=hard.astype(np.uint64),
        random_rows=random.astype(np.uint64),
    )


def parts_of(evidence: Evidence) -> list[set[int]]:
    arrays = [evidence.writing.rows, evidence.choosing.active.rows, evidence.scoring.active.rows]
    arrays += [rows for part in (evidence.choosing, evidence.scoring) for rows in (part.hard, part.random)]
    return [set(rows.tolist()) for rows in arrays]


class TestNearDuplicates:
    """Near-duplicates are found, and only those."""

    @pytest.mark.parametrize(
        ("text", "copy"),
        [
            ("Zabbix agent for monitoring hosts", "  zabbix AGENT, for monitoring\nhosts!"),
            (
                "libcupt4 version 1 of the flexible package manager",
                "libcupt5 version 22 of the flexible package manager",
            ),
            ("東京の地下鉄は朝五時に始まります", "東京の地下鉄は、朝五時に始まります。"),
            ("a", "A 1"),
            (
                " ".join(f"word{chr(97 + n)} follows" for n in range(26)),
                " ".join(f"word{chr(97 + n)} follows" for n in range(25)),
            ),
        ],
    )
    def test_copies_are_in_one_group(self, text: str, copy: str) -> None:
        groups = near_duplicates.groups(near_duplicates.signatures([text, "a harbour pilot boards a ferry", copy]))
        assert groups[0] == groups[2] != groups[1]

    def test_blank_and_different_texts_are_in_no_group(self) -> None:
        random = np.random.default_rng(0)
        texts = [" ".join(random.choice(FILLER, 12)) for _ in range(200)]
        texts = ["".join(chr(97 + number) for number in random.integers(0, 26, 40)) for _ in texts] + ["", "42", "!"]
        assert len(set(near_duplicates.groups(near_duplicates.signatures(texts)).tolist())) == len(texts)


class TestDivision:
    """No document, and no copy of one, is on two sides."""

    @settings(max_examples=40)
    @given(st.integers(0, 2**32), st.integers(0, 500), st.integers(0, 150), st.integers(1, 12))
    def test_no_copy_leaks_from_one_part_to_another(self, seed: int, active: int, silent: int, copies: int) -> None:
        """Each text comes in several copies, among active and silent rows, and in the sample and at the top."""
        random = np.random.default_rng(seed)
        count = active + silent
        texts = [
            f"{number % max(1, count // copies):b} {'ab' * 20}".replace("0", "no ").replace("1", "yes ")
            for number in range(count)
        ]
        rows = random.permutation(count * 2)[:count]
        sources = sources_of(rows[:active], random.choice([1.0, 2.0, 3.5], active), rows[active:], rows[active::2])
        text_of = dict(zip(rows.tolist(), texts, strict=True))
        signatures = near_duplicates.signatures([text_of[row] for row in sources.rows.tolist()])
        evidence = divide(3, 0.1, sources, signatures)
        groups = dict(zip(sources.rows.tolist(), near_duplicates.groups(signatures).tolist(), strict=True))
        part_groups = [{groups[row] for row in part} for part in parts_of(evidence)]
        assert sum(len(part) for part in part_groups) == len(set().union(*part_groups)), "a copy is on two sides"
        assert [len(part) for part in part_groups[:3]] == [len(part) for part in parts_of(evidence)[:3]], "two votes"
        assert set(rows[:active].tolist()).isdisjoint(set().union(*parts_of(evidence)[3:]))

    @settings(max_examples=40)
    @given(st.integers(0, 2**32), st.sets(st.integers(0, 79), max_size=40), st.sets(st.integers(0, 79), max_size=40))
    def test_what_a_label_was_made_with_does_not_test_it(
        self, seed: int, written: set[int], choosing_rows: set[int]
    ) -> None:
        """Tries to leak: copies of documents that a label was written from and chosen by, under whatever division."""
        random = np.random.default_rng(seed)
        letters = ["".join(chr(97 + number) for number in random.integers(0, 26, 40)) for _ in range(80)]
        rows = random.permutation(80)
        sources = sources_of(rows[:50], random.exponential(1.0, 50), rows[50:70], rows[70:])
        signatures = near_duplicates.signatures([letters[row] for row in sources.rows.tolist()])
        seen_documents = SeenDocuments(
            writing=near_duplicates.signatures([f"{letters[row].upper()}, 1" for row in sorted(written)]),
            choosing=near_duplicates.signatures([f"{letters[row]}!" for row in sorted(choosing_rows)]),
        )
        evidence, undisturbed = (
            divide(3, 0.1, sources, signatures, seen_documents=seen_documents),
            divide(3, 0.1, sources, signatures),
        )
        for part in (evidence.choosing, evidence.scoring):
            assert not written & {*part.active.rows.tolist(), *part.hard.tolist(), *part.random.tolist()}
        scoring_part = evidence.scoring
        assert not choosing_rows & {*scoring_part.active.rows.tolist(), *scoring_part.hard.tolist()}
        unseen_rows = set(undisturbed.scoring.active.rows.tolist()) - written - choosing_rows
        assert set(scoring_part.active.rows.tolist()) == unseen_rows, "others are not touched"

    def test_the_parts_cover_all_deciles_in_proportion_and_do_not_depend_on_order(self) -> None:
        random = np.random.default_rng(1)
        rows, values = random.permutation(5000)[:3000], random.exponential(1.0, 3000)
        silent = np.setdiff1d(np.arange(5000), rows)[:180]
        sources = sources_of(rows, values, silent[:120], silent[120:])
        texts = ["".join(chr(97 + number) for number in random.integers(0, 26, 40)) for _ in sources.rows]
        evidence = divide(3, 0.6, sources, near_duplicates.signatures(texts))
        assert [len(evidence.choosing.active), len(evidence.scoring.active)] == pytest.approx([60, 90], abs=12)
        for part in (evidence.choosing, evidence.scoring):
            assert set(part.active.deciles.tolist()) == set(range(10))
            assert (np.diff(part.active.activations) <= 0).all()
        assert (len(evidence.choosing.hard), len(evidence.scoring.hard)) == (48, 72)
        shuffled = random.permutation(3000)
        again = divide(
            3,
            0.6,
            sources_of(rows[shuffled], values[shuffled], silent[:120], silent[120:]),
            near_duplicates.signatures(texts),
        )
        assert parts_of(again) == parts_of(evidence)

    def test_near_misses_are_the_nearest_silent_rows(self) -> None:
        random = np.random.default_rng(2)
        matrix = random.standard_normal((500, 24)).astype(np.float32)
        vectors = Vectors.of_length_1(np.arange(500, dtype=np.uint64) * 3, matrix)
        active = random.permutation(vectors.rows)[:12]
        (rows,) = near_misses([active], vectors)
        none, together, everywhere = near_misses([active[:0], active, vectors.rows], vectors)
        assert (len(none), together.tolist(), len(everywhere)) == (0, rows.tolist(), 0)
        assert 60 < len(rows) == len(set(rows.tolist())) <= HARD_COUNT
        assert not np.isin(rows, active).any()
        cosines = vectors.of(active) @ vectors.matrix.T
        cosines[:, np.isin(vectors.rows, active)] = -9
        nearest = vectors.rows[cosines.argmax(axis=1)]
        assert set(rows[: len(set(nearest.tolist()))].tolist()) == set(nearest.tolist())


class TestScores:
    """Scores whose values are known."""

    def test_an_area_counts_pairs_and_ties_half(self) -> None:
        assert scoring.auc(np.array([3.0, 1.0]), np.array([2.0, 1.0, 0.0])) == pytest.approx((3 + 1.5) / 6)
        assert scoring.auc(np.array([]), np.array([1.0])) == 0.5

    @given(st.lists(st.integers(0, 5), min_size=5, max_size=40), st.lists(st.integers(0, 5), min_size=5, max_size=40))
    def test_a_score_equals_the_definition_and_lies_in_its_interval(self, active: list[int], silent: list[int]) -> None:
        result = scoring.score(np.array(active, float), np.array(silent, float))
        assert result is not None
        wins = [(first > second) + (first == second) / 2 for first in active for second in silent]
        assert result.auc == pytest.approx(np.mean(wins))
        assert result.low - 1e-9 <= result.auc <= result.high + 1e-9

    def test_an_interval_covers_the_truth_about_as_often_as_it_says(self) -> None:
        random, covered = np.random.default_rng(0), 0
        for seed in range(200):
            result = scoring.score(random.standard_normal(60) + 1, random.standard_normal(70), seed=seed)
            assert result is not None
            covered += result.low <= 0.7602 <= result.high  # Φ(1 / √2)
        assert 180 <= covered <= 198

    def test_too_few_documents_give_no_score(self) -> None:
        assert scoring.score(np.ones(4), np.ones(50)) is None

    def test_a_label_is_precise_down_to_its_threshold(self) -> None:
        activations = np.linspace(10, 0.1, 100)
        mentioning = (activations > 4) | (np.arange(100) % 3 == 0)
        threshold = scoring.threshold(activations, mentioning)
        assert threshold is not None and threshold >= activations[activations > 4].min() - 0.3
        assert mentioning[activations >= threshold].mean() >= scoring.PRECISE
        assert scoring.threshold(activations, np.arange(100) % 3 > 0) is None
        assert scoring.threshold(activations, np.ones(100, bool)) == activations[-1]

    def test_a_share_has_the_interval_of_wilson(self) -> None:
        result = scoring.share(np.arange(20) < 18)
        assert result is not None  # Newcombe 1998, Statistics in Medicine 17: 857-872, method 3
        assert (result.value, round(result.low, 3), round(result.high, 3)) == (0.9, 0.699, 0.972)
        assert scoring.share(np.zeros(0, bool)) is None


COHERENCE = Score(auc=0.7, low=0.6, high=0.8, active_count=34, silent_count=400)
PASSED = Scores(
    method=Method.EMBEDDING,
    threshold=0.5,
    score=Score(auc=0.8, low=0.75, high=0.9, active_count=40, silent_count=60),
    mentions=Share(value=0.85, low=0.7, high=0.9, document_count=40),
    near_mentions=Share(value=0.1, low=0.05, high=0.2, document_count=60),
    breadth=1.5,
    coherence=COHERENCE,
    embedding_hard=None,
    embedding_random=None,
    words_hard=None,
    words_random=None,
    deciles=(),
)


def scored(low: float, count: int = 40) -> Scores:
    return replace(PASSED, score=Score(auc=0.98, low=low, high=1, active_count=count, silent_count=60))


@pytest.mark.parametrize(
    ("text", "tested", "stability", "expected"),
    [
        ("", PASSED, 0.9, Trust.UNNAMED),
        ("x", PASSED, 0.8, Trust.TRUSTED),
        ("x", PASSED, None, Trust.OPEN),
        ("x", PASSED, 0.6, Trust.OPEN),
        ("x", scored(0.65), 0.9, Trust.OPEN),
        ("x", scored(0.95, count=8), 0.9, Trust.OPEN),
        ("x", replace(PASSED, mentions=Share(0.7, 0.5, 0.8, 40)), 0.9, Trust.OPEN),
        ("x", replace(PASSED, mentions=None), 0.9, Trust.OPEN),
        ("x", replace(PASSED, near_mentions=Share(0.2, 0.1, 0.3, 60)), 0.9, Trust.OPEN),
        ("x", replace(PASSED, breadth=2.0), 0.9, Trust.OPEN),
        ("x", replace(PASSED, coherence=replace(COHERENCE, low=0.59)), 0.9, Trust.OPEN),
        ("x", replace(PASSED, coherence=None), 0.9, Trust.TRUSTED),
        ("x", None, 0.9, Trust.OPEN),
        ("x", scored(0.55), 0.9, Trust.DOUBTFUL),
        ("x", PASSED, 0.3, Trust.DOUBTFUL),
    ],
)
def test_trust_needs_a_stable_feature_and_a_tested_label(
    text: str, tested: Scores | None, stability: float | None, expected: Trust
) -> None:
    assert trust_of(text, tested, stability) is expected
    missed = missed_conditions(text, tested, stability)
    assert bool(missed) is (expected in (Trust.OPEN, Trust.DOUBTFUL))


UNTESTED_MENTIONS = replace(PASSED, mentions=None, near_mentions=None, breadth=None)  # as an earlier version tested


@pytest.mark.parametrize(
    ("tested", "stability", "condition", "explanation"),
    [
        (
            PASSED,
            None,
            Condition.STABILITY,
            "stability is unknown, as no other training was compared; trusted needs at least 0.70",
        ),
        (PASSED, 0.62, Condition.STABILITY, "stability 0.62; trusted needs at least 0.70"),
        (PASSED, 0.699, Condition.STABILITY, "stability 0.699; trusted needs at least 0.70"),
        (
            PASSED,
            0.41,
            Condition.STABILITY,
            "stability 0.41; trusted needs at least 0.70, and below 0.50 a feature is doubtful",
        ),
        (None, 0.9, Condition.TEST, "the label was not tested"),
        (
            UNTESTED_MENTIONS,
            0.9,
            Condition.TEST,
            "the label was tested by an earlier version, which did not count the texts that mention it",
        ),
        (
            replace(PASSED, score=None, mentions=None),
            0.9,
            Condition.DOCUMENTS,
            "too few texts to score the label on; trusted needs at least 15",
        ),
        (
            scored(0.95, count=8),
            0.9,
            Condition.DOCUMENTS,
            "scored on 8 texts that activate the feature; trusted needs at least 15",
        ),
        (
            scored(0.65),
            0.9,
            Condition.SCORE,
            "score 0.98 (interval 0.65 to 1.00); trusted needs an interval that begins at 0.70 or above",
        ),
        (
            scored(0.598),
            0.9,
            Condition.SCORE,
            "score 0.98 (interval 0.598 to 1.00); trusted needs an interval that begins at 0.70 or above, and below "
            "0.60 a feature is doubtful",
        ),
        (
            replace(PASSED, mentions=Share(value=0.45, low=0.2582, high=0.6579, document_count=20)),
            0.9,
            Condition.MENTIONS,
            "mentioned by 9 of 20 texts above the threshold (interval 26 to 66 %); trusted needs an interval that "
            "begins at 60 % or above",
        ),
        (
            replace(PASSED, threshold=None, mentions=Share(value=0.75, low=0.5993, high=0.858, document_count=40)),
            0.9,
            Condition.MENTIONS,
            "mentioned by 30 of 40 texts that activate the feature (interval 59.9 to 86 %); trusted needs an interval "
            "that begins at 60 % or above",
        ),
        (
            replace(PASSED, near_mentions=Share(value=0.2, low=0.1, high=0.3, document_count=60)),
            0.9,
            Condition.NEAR_MENTIONS,
            "mentioned by 12 of 60 similar texts that do not activate the feature (20 %); trusted allows at most 15 %",
        ),
        (
            replace(PASSED, breadth=2.4),
            0.9,
            Condition.BREADTH,
            "its most frequent phrase is in 2.40 texts for each that activates the feature; trusted "
            "allows at most 1.67",
        ),
        (
            replace(PASSED, coherence=replace(COHERENCE, auc=0.58, low=0.51, high=0.64)),
            0.9,
            Condition.COHERENCE,
            "texts that mention it may have little else in common, as those of a word in several senses: apart from "
            "the label, two of them are more alike than two random texts in 58 % of cases (interval 51 to 64 %); "
            "trusted needs an interval that begins at 60 % or above",
        ),
    ],
)
def test_an_open_feature_says_which_condition_it_misses_with_its_figures(
    tested: Scores | None, stability: float | None, condition: Condition, explanation: str
) -> None:
    (missed,) = missed_conditions("x", tested, stability)
    assert (missed.condition, missed.explanation) == (condition, explanation)


def test_all_missed_conditions_are_said_in_the_order_of_the_rule() -> None:
    share = Share(value=0.4, low=0.3, high=0.5, document_count=40)
    tested = replace(scored(0.4, count=8), mentions=share, near_mentions=share, breadth=9.0)
    tested = replace(tested, coherence=replace(COHERENCE, low=0.5))
    missed = [missed.condition for missed in missed_conditions("x", tested, None)]
    assert missed == [condition for condition in Condition if condition is not Condition.TEST]


def test_a_limit_that_is_just_reached_suffices() -> None:
    tested = replace(
        scored(0.7, count=15),
        mentions=Share(value=0.75, low=0.6, high=0.86, document_count=40),
        near_mentions=Share(value=0.15, low=0.1, high=0.2, document_count=60),
        breadth=5 / 3,
        coherence=replace(COHERENCE, low=0.6),
    )
    assert missed_conditions("x", tested, 0.7) == []


@pytest.fixture(scope="module")
def world() -> tuple[Owners, np.ndarray]:
    return planted()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def features(world: tuple[Owners, np.ndarray]) -> Features:
    return await features_of(world[0])


async def drafts_of(source: Owners, features: Features, indices: list[int]) -> dict[int, Draft]:
    labeller = KeywordLabeller(source, EvidenceReader(source))
    return {
        draft.index: draft async for batch in labeller.drafts(Task(features, indices, Options())) for draft in batch
    }


@dataclass(frozen=True)
class Labelling:
    """The labels of all features, and what was called for them."""

    drafts: dict[int, Draft]
    calls: list[str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def labelling(world: tuple[Owners, np.ndarray], features: Features) -> Labelling:
    source, _words = world
    source.calls.clear()
    drafts = await drafts_of(source, features, list(range(2 * TOPICS)))
    return Labelling(drafts, list(source.calls))


def test_planted_topics_are_named_and_noise_is_not(world: tuple[Owners, np.ndarray], labelling: Labelling) -> None:
    _source, words = world
    drafts = labelling.drafts
    right = [
        bool(drafts[topic].text) and set(drafts[topic].text.replace(",", "").split()) <= set(words[topic].tolist())
        for topic in range(TOPICS)
    ]
    assert np.mean(right) >= 0.95, [drafts[topic].text for topic in range(TOPICS) if not right[topic]]
    assert np.mean([not drafts[TOPICS + number].text for number in range(TOPICS)]) >= 0.95
    assert all("ot named" in drafts[index].description for index in drafts if not drafts[index].text)


async def test_a_wrong_label_scores_like_chance_and_is_never_trusted(
    world: tuple[Owners, np.ndarray], features: Features, labelling: Labelling
) -> None:
    source, _words = world
    reader = EvidenceReader(source)
    drafts = labelling.drafts
    judge, evidence = await reader.read(features, list(range(TOPICS)))
    named = [topic for topic in range(TOPICS) if drafts[topic].text]
    vectors = {topic: embedded([drafts[topic].text])[0] for topic in named}
    for topic in named:
        areas: list[float] = []
        for wrong in [named[(named.index(topic) + step) % len(named)] for step in (1, 5, 11, 17, 23)]:
            vector = vectors[wrong] / np.linalg.norm(vectors[wrong])
            scores = judge.scores(evidence[topic], drafts[wrong].text, vector)
            assert scores.score is not None
            assert trust_of(drafts[wrong].text, scores, 0.95) is not Trust.TRUSTED
            areas.append(scores.score.auc)
        assert np.mean(areas) < 0.6, topic
        own = drafts[topic].scores
        assert own is not None and own.score is not None and own.floor is not None and own.ceiling is not None
        assert own.floor < own.score.low
        assert own.ceiling > 0.9


async def test_a_labels_evidence_states_true_counts_of_documents_that_did_not_make_it(
    world: tuple[Owners, np.ndarray], features: Features, labelling: Labelling
) -> None:
    source, _words = world
    stated = 0
    for topic in range(TOPICS):
        draft = labelling.drafts[topic]
        provenance, scores = draft.provenance, draft.scores
        if not draft.text or provenance is None or scores is None or scores.threshold is None:
            continue
        codes = {row: values for row, values in zip(*features.top(topic), strict=True)}
        sampled = zip(features.statistics.sample_rows[topic], features.statistics.sample_values[topic], strict=True)
        activations = {**codes, **dict(sampled)}
        precise = [row for row in provenance.scoring_rows if activations[row] >= scores.threshold]

        def mentioning(rows: Sequence[int], text: str) -> int:
            phrases = text.split(", ")
            return sum(any(phrase in source.all_texts[row] for phrase in phrases) for row in rows)

        total = len(provenance.scoring_rows)
        assert (
            f"{len(precise)} of {total} held-out documents that activate it reach its threshold." in draft.description
        )
        own, hard = mentioning(precise, draft.text), mentioning(provenance.hard_rows, draft.text)
        assert f"{own} of these {len(precise)} mention the label" in draft.description
        assert f"so do {hard} of {len(provenance.hard_rows)} similar documents" in draft.description
        assert scores.mentions is not None
        assert scores.mentions.value == pytest.approx(own / len(precise))
        if ", " in draft.text:
            for phrase in draft.text.split(", ")[:3]:
                assert f"“{phrase}” in {mentioning(precise, phrase)}" in draft.description
        assert not set(provenance.scoring_rows) & {*provenance.writing_rows, *provenance.choosing_rows}
        assert provenance.rejected
        stated += 1
    assert stated > TOPICS / 2


async def test_the_ceiling_of_a_label_is_by_what_activates_its_feature(
    world: tuple[Owners, np.ndarray], features: Features, labelling: Labelling, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _words = world
    decoder = await source.decoder(source.current_run, [5])
    noise = np.random.default_rng(2).standard_normal(decoder.directions.shape).astype(np.float32)

    async def added_elsewhere(run: Run, indices: Sequence[int] = ()) -> Decoder:
        return replace(decoder, directions=noise)

    monkeypatch.setattr(source, "decoder", added_elsewhere)
    scores = (await drafts_of(source, features, [5]))[5].scores
    assert scores is not None and scores.ceiling is not None
    assert scores.ceiling > 0.9


async def test_words_that_only_held_out_documents_say_change_no_label(
    world: tuple[Owners, np.ndarray], features: Features
) -> None:
    """Tries to leak: a word that stands in all documents for scoring, and in no other."""
    source, _words = world
    before = (await drafts_of(source, features, [5]))[5]
    assert before.provenance is not None
    texts = dict(source.all_texts)
    for row in before.provenance.scoring_rows:
        source.all_texts[row] = f"{texts[row]} shibboleth"
    vectors = source.vectors

    async def unchanged(run: Run, rows: np.ndarray) -> Vectors:
        changed, source.all_texts = source.all_texts, texts
        try:
            return await vectors(run, rows)
        finally:
            source.all_texts = changed

    source.vectors = unchanged  # type: ignore[method-assign]
    after = (await drafts_of(source, features, [5]))[5]
    assert after.provenance is not None
    assert after.provenance.scoring_rows == before.provenance.scoring_rows
    source.vectors, source.all_texts = vectors, texts  # type: ignore[method-assign]
    assert after.text == before.text
    assert "shibboleth" not in " ".join([after.text, *after.keywords])


def test_many_phrases_are_embedded_and_encoded_by_few_calls(labelling: Labelling) -> None:
    assert labelling.calls == ["embed", "encode", "encode", "embed"]


def test_trust_is_listed_filtered_and_sorted(features: Features, labelling: Labelling) -> None:
    labelled = labelled_features(features, labelling)
    kinds = [labelled.trust(index) for index in range(labelled.count)]
    assert kinds.count(Trust.TRUSTED) >= TOPICS * 3 // 4
    trusted = labelled.select(parse_filter("trust = TRUSTED", FIELDS)).tolist()
    assert sorted(trusted) == [index for index, kind in enumerate(kinds) if kind is Trust.TRUSTED]
    ordered = labelled.select(order=Order("trust", descending=False)).tolist()
    assert [kinds[index] for index in ordered] == sorted(kinds, key=list(Trust).index)
    best = labelled.select(parse_filter("score > 0.8", FIELDS), order=Order("score", descending=True)).tolist()
    assert best
    assert all((score := labelled.score(index)) is not None and score.auc > 0.8 for index in best)


def labelled_features(features: Features, labelling: Labelling, families: Sequence[Family] = ()) -> Features:
    labels = {
        index: Label(draft=draft, revision=1, active=True, create_time=datetime(2026, 1, 1, tzinfo=UTC))
        for index, draft in labelling.drafts.items()
    }
    return Features(features.interpretation, features.statistics, labels, families)


def test_features_are_filtered_alike_in_their_list_and_in_the_search_index(
    features: Features, labelling: Labelling
) -> None:
    family = Family(id="1-0", round=1, color=1, members=[Member(0, None, 0.0), Member(3, 0, 0.5)])
    labelled = labelled_features(features, labelling, [family])
    terms = [feature_item(messages.feature(labelled, index), 0).terms for index in range(labelled.count)]
    statistics, score = labelled.statistics, labelled.score(0)
    assert score is not None
    values = {
        "density": statistics.density[1],
        "precise_density": labelled.precise_density(2),
        "max_activation": statistics.maximum[3],
        "mean_activation": statistics.mean[4],
        "variance": statistics.variance[5],
        "index": 7,
        "score": score.auc,
        "stability": 0.5,
    }
    texts = [f"{name} {op} {float(value)!r}" for name, value in values.items() for op in COMPARISONS]
    texts += [
        f"max_activation >= {float(np.nextafter(statistics.maximum[3], end))!r}" for end in (np.float64(0), np.inf)
    ]
    texts += [f"{name}:*" for name in (*values, "source", "family")]
    texts += [f"trust {op} {trust}" for op in ("=", "!=") for trust in TRUST]
    texts += [f"source {op} {source}" for op in ("=", "!=") for source in SOURCES]
    texts += [
        "labelled = true",
        "labelled != true",
        "dead = false",
        "family = 1-0",
        "family != 1-0",
        "NOT family:*",
        "",
    ]
    texts += ["(trust = TRUSTED OR score > .9) AND NOT index < 5", "index = 3.0", "index = 1e0", "density > 1e-30"]
    for text in texts:
        condition = parse_filter(text, FIELDS)
        check_values(condition)
        matching = [
            index
            for index, has in enumerate(terms)
            if evaluate(condition, lambda leaf, has=has: feature_test(leaf, partial(passes, has), TRUTH), TRUTH)
        ]
        assert sorted(labelled.select(condition).tolist()) == matching, text
    for text in ("trust = GOOD", "source = X", "labelled = yes", "density > much", "density > inf"):
        with pytest.raises(InvalidFilter):
            check_values(parse_filter(text, FIELDS))


def test_the_values_of_trust_and_source_are_those_of_filters() -> None:
    assert (tuple(Trust), tuple(Source)) == (TRUST, SOURCES)
