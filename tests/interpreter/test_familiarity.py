"""Texts are placed among documents of similar length, and at most so many new documents count as foreign as is said."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from services.interpreter import familiarity
from services.interpreter.familiarity import Calibration, CorpusSample, Reference
from services.interpreter.near_misses import Vectors
from tests.interpreter.owners import WORDS, embedded

FOREIGN = "xyloq zwrtk qqjhv plmzx wvutq".split()  # noqa: SIM905


def texts(count: int, seed: int, words: Sequence[str] = WORDS) -> list[str]:
    """Texts of 4 to 30 words."""
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(words, random.integers(4, 31))) for _ in range(count)]


def unit(of: Sequence[str]) -> NDArray[np.float32]:
    rows = np.arange(len(of), dtype=np.uint64)
    return Vectors.of_length_1(rows, embedded(of)).matrix


def unexplained(of: Sequence[str]) -> NDArray[np.float64]:
    """As if longer texts were explained better: a share that depends on the length alone."""
    return 1 / np.array([len(text) for text in of], np.float64)


@pytest.fixture(scope="module")
def reference() -> Reference:
    sample, calibration = texts(1000, seed=1), texts(400, seed=2)
    corpus = CorpusSample.of(unit(sample), sample)
    return Reference(
        corpus,
        Calibration.of(
            corpus,
            texts=calibration,
            vectors=unit(calibration),
            unexplained=unexplained(calibration),
            held_out=True,
        ),
    )


def place(reference: Reference, text: str) -> familiarity.Familiarity:
    result = familiarity.familiarity(
        reference, text=text, vector=embedded([text])[0], unexplained=float(unexplained([text])[0])
    )
    assert result is not None
    return result


def test_new_documents_of_the_corpus_are_rarely_called_foreign(reference: Reference) -> None:
    alarms = [place(reference, text).out_of_distribution for text in texts(1000, seed=3)]
    assert np.mean(alarms) <= familiarity.FALSE_ALARM_RATE + 0.02  # three standard deviations of the estimate


def test_other_words_are_foreign_whatever_the_features_explain(reference: Reference) -> None:
    for text in texts(20, seed=4, words=FOREIGN):
        result = familiarity.familiarity(reference, text=text, vector=embedded([text])[0], unexplained=0.0)
        assert result is not None
        assert result.out_of_distribution
        assert result.unexplained_percentile == 0
        assert result.similarity_percentile == 0
        assert result.unknown_share > 0.5


def test_a_text_is_placed_among_documents_of_its_length(reference: Reference) -> None:
    short, long = (place(reference, " ".join(WORDS[:1] * count)) for count in (4, 30))
    assert short.longest < long.shortest
    assert short.document_count == long.document_count == 200
    # The share falls with the length; among documents of its own length neither of the two is extreme.
    middling = place(reference, texts(1, seed=5)[0])
    assert 0.2 < middling.unexplained_percentile < 0.8


def test_a_text_without_letters_is_placed_by_its_vector_alone(reference: Reference) -> None:
    result = familiarity.familiarity(
        reference, text="12 34", vector=reference.corpus.vectors[0] * np.float32(7), unexplained=0.1
    )
    assert result is not None
    assert result.unknown_share == 0
    assert result.similarity > 0.5


def test_documents_for_calibration_are_held_out_and_in_no_sample() -> None:
    rows = np.arange(1000, dtype=np.uint64)
    held_out = np.arange(900, 1000, dtype=np.uint64)
    sample, calibration = familiarity.divided(rows, held_out)
    assert set(calibration.tolist()) == set(held_out.tolist())
    assert not np.isin(sample, calibration).any()
    # With too few, others take their place.
    sample, calibration = familiarity.divided(rows, held_out[:20])
    assert len(calibration) == 250
    assert not np.isin(sample, calibration).any()


def test_too_few_documents_say_nothing() -> None:
    sample, calibration = familiarity.divided(np.arange(399, dtype=np.uint64), np.empty(0, np.uint64))
    assert not len(sample) and not len(calibration)
    vector = np.ones(4, np.float32)
    assert familiarity.familiarity(Reference.empty(), text="a", vector=vector, unexplained=0.5) is None
