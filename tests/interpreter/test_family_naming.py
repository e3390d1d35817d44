"""Names of families: from documents of all their features, tested on documents that no name was made from."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

import numpy as np
import pytest
from scipy import sparse

from services.interpreter import candidates, likeness
from services.interpreter.candidates import Candidate, Origin
from services.interpreter.decoder import Decoder
from services.interpreter.evidence_reader import EvidenceReader
from services.interpreter.families import Family, Member
from services.interpreter.family_naming import FamilyNames, covered_share, label_of
from services.interpreter.features import Features
from services.interpreter.labels import Draft, Label, Source
from services.interpreter.naming import Contender, Mentions, Verdict
from services.interpreter.near_misses import Vectors
from services.interpreter.runs import Interpretation, Run
from services.interpreter.statistics import Accumulator
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
    decoder = embedded([*LANGUAGES, *SHIPS])
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


@pytest.fixture(scope="module")
def features(owners: Owners) -> Features:
    vectors = embedded(list(owners.all_texts.values()))
    codes = codes_of(encoded(vectors, embedded([*LANGUAGES, *SHIPS])), rows(600))
    with Accumulator(6) as accumulator:
        accumulator.add(codes)
        statistics = accumulator.finish(
            Decoder.of(embedded([*LANGUAGES, *SHIPS]), stability=np.full(6, 0.9, np.float32)),
            vectors=Vectors.of_length_1(rows(600), vectors),
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
    reached = np.zeros((len(own), 3))  # of three features, each of the first two is active in half of the documents
    reached[::2, 0] = reached[1::2, 1] = 1
    shares = [covered_share(verdict(text), judge, sparse.csr_array(reached), own) for text in ("norwegian", "danish")]
    assert shares == [pytest.approx(2 / 3), 0]
    assert label_of(verdict("norwegian"), 2 / 3).text == "norwegian"
    unnamed = label_of(verdict("norwegian"), 1 / 3)
    assert unnamed.text == ""
    assert unnamed.description == (
        "Not named: the best candidate, “norwegian”, is mentioned in documents of 33 % of its features only."
    )
    assert unnamed.scores == tested.label.scores


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
