"""Names of families: from documents of all their features, tested on documents that no name was made from."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from services.interpreter.decoder import Decoder
from services.interpreter.evidence_reader import EvidenceReader
from services.interpreter.families import Family, Member
from services.interpreter.family_naming import FamilyNames
from services.interpreter.features import Features
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
    assert features.family_title(silent) == "feature 0 and others"


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


async def test_no_family_is_read_for_none(owners: Owners, features: Features) -> None:
    assert await named(owners, features) == []
