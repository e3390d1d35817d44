"""A word in several senses and a topic are told apart: planted documents, of which it is known which is which."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.interpreter.coherence import Background
from services.interpreter.corpus import Corpus
from services.interpreter.evidence import Active, Evidence, Part
from services.interpreter.judging import Judge
from services.interpreter.near_misses import Vectors, unit_rows
from services.interpreter.scoring import score_of_pairs
from services.interpreter.trust import TRUSTED_COHERENCE, Trust, trust_of

DIMENSION = 64
SENSES = 8
ACTIVE = 160
"""Rows 0 … 159 mention “master”, rows 160 … 399 do not."""
COUNT = 400
_DIRECTIONS = np.linalg.qr(np.random.default_rng(5).normal(size=(DIMENSION, DIMENSION)))[0].astype(np.float32)
COMMON, WORD, SUBJECTS = _DIRECTIONS[0], _DIRECTIONS[1], _DIRECTIONS[2:]
"""What all documents have in common, the label's own direction, and subjects."""


def vectors(senses: int) -> Vectors:
    """Documents of one subject each; those that mention the word have so many subjects."""
    random = np.random.default_rng(senses)
    subjects = SUBJECTS[random.integers(0, len(SUBJECTS), COUNT)]
    subjects[:ACTIVE] = SUBJECTS[np.arange(ACTIVE) // 4 % senses]
    matrix = COMMON + subjects + random.normal(size=(COUNT, DIMENSION)).astype(np.float32) / 8
    matrix[:ACTIVE] += WORD
    return Vectors(np.arange(COUNT, dtype=np.uint64), unit_rows(matrix.astype(np.float32)))


def active(rows: np.ndarray) -> Active:
    return Active(rows=rows.astype(np.uint64), activations=1.0 - rows / ACTIVE, deciles=rows * 10 // ACTIVE)


def judge_and_evidence(senses: int) -> tuple[Judge, Evidence]:
    rows, silent = np.arange(ACTIVE), np.arange(ACTIVE, COUNT, dtype=np.uint64)
    texts = {row: f"{'master' if row < ACTIVE else 'some'} text number{row}" for row in range(COUNT)}
    corpus, planted = Corpus(texts), vectors(senses)
    evidence = Evidence(
        latent=0,
        density=ACTIVE / COUNT,
        writing=active(rows[rows % 2 == 0]),
        choosing=Part(active=active(rows[rows % 4 == 1]), hard=silent[::4], random=silent[1::4]),
        scoring=Part(active=active(rows[rows % 4 == 3]), hard=silent[2::4], random=silent[3::4]),
        duplicate_count=0,
    )
    background = Background(planted.matrix[ACTIVE:])
    return Judge(corpus, corpus.documents(planted.rows, texts), planted, background), evidence


@pytest.mark.parametrize(("senses", "trust"), [(1, Trust.TRUSTED), (SENSES, Trust.OPEN)])
def test_a_label_of_a_topic_is_trusted_and_a_word_in_several_senses_is_not(senses: int, trust: Trust) -> None:
    judge, evidence = judge_and_evidence(senses)
    label = unit_rows((COMMON + 2 * WORD)[None])[0]
    scores = judge.scores(evidence, "master", label)
    coherence = scores.coherence
    assert coherence is not None and coherence.low < coherence.auc < coherence.high
    assert scores.mentions is not None and scores.mentions.value == 1
    assert (coherence.active_count, coherence.silent_count) == (scores.mentions.document_count, COUNT - ACTIVE)
    # Pairs of one sense are more alike than nearly all random ones, others as alike as these.
    assert coherence.auc == pytest.approx(0.5 + 0.5 / senses, abs=0.06)
    assert (coherence.low >= TRUSTED_COHERENCE) is (trust is Trust.TRUSTED)
    assert trust_of("master", scores, 0.9) is trust
    assert trust_of("master", replace(scores, coherence=replace(coherence, low=0.9)), 0.9) is Trust.TRUSTED


def test_a_label_that_cannot_be_embedded_and_too_few_documents_have_no_coherence() -> None:
    judge, evidence = judge_and_evidence(1)
    assert judge.scores(evidence, "master", None).coherence is None
    assert replace(judge, background=None).scores(evidence, "master", WORD).coherence is None
    background = Background(judge.vectors.matrix)
    assert background.coherence(judge.vectors.matrix[:4], WORD) is None
    assert Background(judge.vectors.matrix[:4]).coherence(judge.vectors.matrix, WORD) is None


def test_pairs_of_different_documents_count_once_and_a_document_is_no_pair_with_itself() -> None:
    shares = np.full((6, 6), 0.25)
    shares[0, 1:] = shares[1:, 0] = 1.0  # 5 of 15 pairs
    np.fill_diagonal(shares, 1e6)
    score = score_of_pairs(shares, silent_count=9)
    assert score is not None
    assert score.auc == pytest.approx((5 + 10 * 0.25) / 15)
    assert 0.25 <= score.low < score.auc < score.high <= 1
