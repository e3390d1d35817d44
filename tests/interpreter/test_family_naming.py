"""Names of families: from documents of all their features, tested on documents that no name was made from."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

import numpy as np
import pytest
from scipy import sparse

from services.interpreter import candidates, family_naming, likeness, topics
from services.interpreter.candidates import Candidate, Origin
from services.interpreter.decoder import Decoder
from services.interpreter.evidence_reader import EvidenceReader
from services.interpreter.families import Family, Member
from services.interpreter.family_naming import Coverage, FamilyNames, coverage_by, label_of
from services.interpreter.features import Features
from services.interpreter.labels import Draft, Label, Source
from services.interpreter.naming import Contender, Mentions, Verdict
from services.interpreter.near_misses import Vectors
from services.interpreter.runs import Interpretation, Run
from services.interpreter.statistics import Accumulator
from services.interpreter.topics import Topic
from services.interpreter.trust import Trust
from tests.interpreter.owners import Owners, codes_of, embedded, encoded

LANGUAGES = ("norwegian", "danish", "swedish")
SHIPS = ("ferry", "pilot", "tunnel")
FILLERS = [first + second for first, second in product(["ba", "do", "fi", "gu", "ke", "lo", "mi", "nu"], repeat=2)]


@pytest.fixture(scope="module")
def owners() -> Owners:
    """300 texts of a language, all with the word "language", and 300 with a word of ships; fillers besides."""
    random = np.random.default_rng(0)
    texts = {
        row: " ".join(
            [
                *(["language", LANGUAGES[row % 3]] if row < 300 else ["and", SHIPS[row % 3]]),
                *random.choice(FILLERS, 9, replace=False),
            ]
        )
        for row in range(600)
    }
    return planted_owners(texts, [*LANGUAGES, *SHIPS])


@pytest.fixture(scope="module")
def features(owners: Owners) -> Features:
    return features_of(owners, [*LANGUAGES, *SHIPS])


def planted_owners(texts: dict[int, str], words: list[str]) -> Owners:
    """A run with a feature for each of some words."""
    decoder = embedded(words)
    run = Run(
        uid="u",
        name="runs/r",
        dataset="datasets/d",
        dataset_uid="v",
        embedding_model="builtin",
        latent_count=len(decoder),
        revision=1,
        trained=True,
        ranges=[(0, len(texts))],
    )
    return Owners(run, encoded(embedded(list(texts.values())), decoder), texts, decoder)


def features_of(owners: Owners, words: list[str]) -> Features:
    """Its features, none of which has a label."""
    decoder, vectors = embedded(words), embedded(list(owners.all_texts.values()))
    with Accumulator(len(words)) as accumulator:
        accumulator.add(codes_of(encoded(vectors, decoder), rows(len(vectors))))
        statistics = accumulator.finish(
            Decoder.of(decoder, stability=np.full(len(words), 0.9, np.float32)),
            vectors=Vectors.of_length_1(rows(len(vectors)), vectors),
        )
    return Features(Interpretation(run=owners.current_run), statistics, {}, [])


def rows(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.uint64)


def family(*indices: int) -> Family:
    members = [Member(index, indices[0] if place else None, 0.5) for place, index in enumerate(indices)]
    return Family(id=f"1-{indices[0]}", round=1, color=0, members=members)


async def named(
    owners: Owners, features: Features, *families: Family, thresholds: np.ndarray | None = None
) -> list[Family]:
    names = FamilyNames(owners, EvidenceReader(owners))
    limits = np.zeros(features.count) if thresholds is None else thresholds
    return [item async for batch in names.named(features, families, limits) for item in batch]


async def test_a_family_is_named_by_what_its_features_have_in_common(owners: Owners, features: Features) -> None:
    result, other = await named(owners, features, family(0, 1, 2), family(3, 4, 5))
    assert result.label is not None
    assert other.label is not None
    assert "language" in result.label.text
    assert result.label.density == other.label.density == 0.5
    assert result.label.scores is not None
    assert result.label.scores.score is not None
    assert result.label.scores.score.low >= 0.9
    assert result.label.scores.coherence is None, "documents of a family have several subjects"
    assert result.label.scores.floor is not None
    assert result.label.scores.floor < 0.6
    assert features.family_title(result) == result.label.text
    assert features.family_trust(result) is Trust.TRUSTED


async def test_a_family_with_too_few_documents_is_not_named(owners: Owners, features: Features) -> None:
    (silent,) = await named(owners, features, family(0, 1, 2), thresholds=np.full(6, 1e9))
    assert silent.label is not None
    assert silent.label.density == 0
    assert silent.label.description.startswith("Not named: 0 different documents are too few to test a label.")
    assert features.family_trust(silent) is Trust.UNNAMED
    assert features.family_title(silent) == "Unnamed group: feature 0 · feature 1 · feature 2"


async def test_documents_that_activate_a_member_too_weakly_are_neither_active_nor_silent(
    owners: Owners, features: Features
) -> None:
    unreachable = np.where(np.arange(6) == 0, 1e9, 0.0)
    (result,) = await named(owners, features, family(0, 1, 2), thresholds=unreachable)
    assert result.label is not None
    assert result.label.density == pytest.approx(200 / 600)
    assert result.label.scores is not None
    assert result.label.scores.score is not None
    assert (
        result.label.scores.score.low >= 0.9
    )  # "norwegian" documents with the word "language" are no counter-examples


async def test_a_name_that_stands_for_few_of_its_features_is_none(owners: Owners, features: Features) -> None:
    judge, (evidence,) = await EvidenceReader(owners).read(features, [0])  # of documents with "norwegian"
    (tested,) = await named(owners, features, family(0))
    assert tested.label is not None

    def verdict(text: str) -> Verdict:
        assert tested.label is not None
        return Verdict(
            evidence=evidence,
            winner=Contender(Candidate(text, Origin.CENTRE), None, 0.9),
            scores=tested.label.scores,
            rejected=[],
            keywords=[],
            mentions=[Mentions(text, 20, 0)],
        )

    own = np.sort(evidence.scoring.active.rows)
    reached = np.zeros((len(own), 4))  # of four features, each of the first two is active in half of the documents
    reached[::2, 0] = reached[1::2, 1] = 1
    coverages = [coverage_by(verdict(text), judge, sparse.csr_array(reached), own) for text in ("norwegian", "danish")]
    assert coverages == [Coverage(covered=2, tested=2), Coverage(covered=0, tested=2)]
    assert label_of(verdict("norwegian"), Coverage(covered=2, tested=4)).text == "norwegian"
    assert label_of(verdict("norwegian"), Coverage(covered=0, tested=0)).text == ""
    unnamed = label_of(verdict("norwegian"), Coverage(covered=1, tested=3))
    assert unnamed.text == ""
    assert unnamed.description == (
        "Not named: the best candidate, “norwegian”, is mentioned clearly more often than in similar documents for "
        "only 1 of its 3 features that have held-out documents."
    )
    assert unnamed.scores == tested.label.scores


async def test_of_several_features_only_mentioned_names_compete(owners: Owners, features: Features) -> None:
    """An unmentioned one could otherwise take the place of a mentioned one that another family has."""
    judge, (evidence,) = await EvidenceReader(owners).read(features, [0])  # of documents with "norwegian"
    direction = embedded(["norwegian"])[0]
    topic = Topic(evidence=evidence, latents=[0], direction=direction)
    shortlist = [Candidate(text, Origin.CENTRE) for text in ("norwegian", "danish")]
    vectors = np.stack([-direction, direction])  # "danish" is the better one by its embedding

    def texts(topic: Topic, shortlist: list[Candidate], vectors: np.ndarray) -> list[str]:
        rated = topics.contenders(topic, judge, shortlist, vectors)
        return [contender.candidate.text for contender in rated]

    assert texts(topic, shortlist, vectors) == ["danish", "norwegian"], "of one feature, all compete"
    assert texts(replace(topic, latents=[0, 1]), shortlist, vectors) == ["norwegian"]
    assert texts(replace(topic, latents=[0, 1]), shortlist[1:], vectors[1:]) == ["danish"], "none is mentioned"


async def test_a_name_that_a_family_was_denied_is_free_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two words are as good for 200 documents of the first feature; those of the others have no word in common."""
    random = np.random.default_rng(0)
    rare_words = [first + second for first in "qxyz" for second in FILLERS[:10]]
    texts = {
        row: " ".join(random.permutation([*own, *random.choice(FILLERS, 9, replace=False)]))
        for row, own in enumerate([("fjord", "glacier")] * 200 + [(word, "and") for word in rare_words])
    }
    texts |= {row: " ".join(["and", *random.choice(FILLERS, 10, replace=False)]) for row in range(240, 600)}
    words = ["fjord", " ".join(rare_words[:20]), " ".join(rare_words[20:])]
    source = planted_owners(texts, words)
    features = features_of(source, words)
    results: list[list[tuple[str, str]]] = []
    for batch in (2, 1):
        monkeypatch.setattr(family_naming, "BATCH", batch)
        labels = [item.label for item in await named(source, features, family(0, 1, 2), family(0))]
        results.append([(label.text, label.description) for label in labels if label])
    (denied, reason), (text, _) = results[0]
    assert denied == ""
    assert "“fjord”, is mentioned clearly more often than in similar documents for only 1 of its 3 features" in reason
    assert text == "fjord"
    assert results[1] == results[0], "names do not depend on where batches end"


async def test_features_of_one_subject_are_a_family_even_where_they_never_meet(
    owners: Owners, features: Features
) -> None:
    """No document has two languages."""
    labels = [*LANGUAGES, *SHIPS]
    drafts = [Draft(index=index, text=text, description="", source=Source.HUMAN) for index, text in enumerate(labels)]
    time = datetime(2000, 1, 1, tzinfo=UTC)
    labelled = {draft.index: Label(draft=draft, revision=1, active=True, create_time=time) for draft in drafts}
    vectors = await likeness.likeness(owners, replace(features, labels=labelled), np.zeros(6))
    assert np.allclose((vectors**2).sum(axis=1), 1, atol=0.3)
    products = vectors @ vectors.T
    inside = [products[a, b] for a, b in ((0, 1), (0, 2), (1, 2))]
    across = products[:3, 3:]
    assert min(inside) > across.max()


async def test_no_family_is_read_for_none(owners: Owners, features: Features) -> None:
    assert await named(owners, features) == []


def test_names_of_several_features_cover_what_their_documents_mention() -> None:
    """Of phrases in 4, 3, 3 of 10 documents and in all similar ones, each in documents that have no other one."""
    mentions = np.zeros((10, 4), np.bool_)
    mentions[:4, 1] = mentions[4:7, 0] = mentions[7:, 2] = mentions[:, 3] = True
    near_mentions = np.zeros((5, 4), np.bool_)
    near_mentions[:, 3] = True
    texts = [
        candidate.text for candidate in candidates.covering(["zip", "archive", "tar", "the"], mentions, near_mentions)
    ]
    assert texts == ["archive", "archive, zip", "archive, zip, tar"]
