"""What counts as a mention of a label, and what a label is made of: known beforehand, on a small corpus."""

from __future__ import annotations

import numpy as np
import pytest

from services.interpreter.candidates import Candidate, Origin
from services.interpreter.corpus import Corpus
from services.interpreter.evidence import Active, Evidence, Part
from services.interpreter.judging import Judge
from services.interpreter.keywords import Keyword
from services.interpreter.naming import refined
from services.interpreter.near_misses import Vectors

ACTIVE = 80
"""Rows 0 … 79 activate the latent, the strongest first; rows 80 … 159 do not."""
STRONG = 60
"""Only the strongest mention “harbour”."""


def sentence(row: int) -> str:
    if row >= ACTIVE:
        return f"the old town wall number{row}" if row % 4 else f"a harbour far away number{row}"
    words = ["harbour" if row < STRONG else "cargo", "larry wall" if row % 20 else "a wall"]
    return f"ships in the {' by '.join(words)} {'pier' if row % 20 == 3 else 'sea'} number{row}"


def active(rows: np.ndarray) -> Active:
    return Active(rows=rows.astype(np.uint64), activations=1.0 - rows / ACTIVE, deciles=rows * 10 // ACTIVE)


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    rows, silent = np.arange(ACTIVE), np.arange(ACTIVE, 2 * ACTIVE, dtype=np.uint64)
    # Each fourth silent row mentions “harbour”: none of the near misses for choosing, half of those for scoring.
    choosing = Part(active=active(rows[rows % 4 == 1]), hard=silent[1::4], random=silent[::4])
    scoring = Part(active=active(rows[rows % 4 == 2]), hard=np.sort(silent[rows % 4 < 2]), random=silent[3::4])
    return Evidence(
        latent=0,
        density=0.5,
        writing=active(rows[rows % 2 == 0]),
        choosing=choosing,
        scoring=scoring,
        duplicate_count=0,
    )


@pytest.fixture(scope="module")
def judge() -> Judge:
    texts = {row: sentence(row) for row in range(2 * ACTIVE)}
    rows = np.arange(2 * ACTIVE, dtype=np.uint64)
    corpus = Corpus(texts)
    vectors = Vectors(rows, np.full((len(rows), 4), 0.5, np.float32))
    return Judge(corpus, corpus.documents(rows, texts), vectors)


def keyword(term: str) -> Keyword:
    return Keyword(term=term, text=term, column=0, score=1, share=1, other_share=0)


def test_a_label_is_precise_where_documents_mention_it_and_its_test_counts_true(
    judge: Judge, evidence: Evidence
) -> None:
    scores = judge.scores(evidence, "harbour", None)
    rows = evidence.scoring.active.rows
    assert scores.threshold is not None and scores.mentions is not None and scores.near_mentions is not None
    above = rows[evidence.scoring.active.activations >= scores.threshold]
    mentioning = [row for row in above.tolist() if "harbour" in sentence(row)]
    assert (scores.mentions.value, scores.mentions.document_count) == (len(mentioning) / len(above), len(above))
    assert scores.mentions.value >= 0.85 and len(above) < len(rows), "the weak documents mention it no more"
    near = [("harbour" in sentence(row)) for row in evidence.scoring.hard.tolist()]
    assert scores.near_mentions.value == np.mean(near) == 0.5
    everywhere = sum("harbour" in sentence(row) for row in range(2 * ACTIVE))
    assert scores.breadth == pytest.approx(everywhere / ACTIVE)


def test_a_phrase_is_mentioned_as_it_stands_and_a_sentence_by_most_of_its_words(judge: Judge) -> None:
    rows = np.array([1, 20], np.uint64)
    assert judge.mentions(rows, "larry wall").tolist() == [True, False], "“a wall” is no mention"
    assert judge.mentions(rows, "quotes of larry at sea").tolist() == [True, False]
    assert judge.mentions(rows, "larry wall, harbour").tolist() == [True, True], "one of several phrases is enough"
    assert not judge.mentions(rows, "volcano").any()
    assert not judge.mentions(rows, "").any()


def test_a_comma_and_a_space_separate_phrases_and_quotes_do_not_join_them() -> None:
    texts = dict(enumerate(("springfield illinois", "illinois springfield", "chicago illinois", "1,000 lakes")))
    rows = np.arange(len(texts), dtype=np.uint64)
    corpus = Corpus(texts)
    judge = Judge(corpus, corpus.documents(rows, texts), Vectors(rows, np.ones((len(rows), 1), np.float32)))
    assert judge.mentions(rows, "Springfield, Illinois").tolist() == [True, True, True, False]
    assert judge.mentions(rows, '"Springfield, Illinois"').tolist() == [True, True, True, False]
    assert judge.mentions(rows, "Springfield Illinois").tolist()[::2] == [True, False]
    assert judge.mentions(rows, "1,000 lakes").tolist() == [False, False, False, True]


def test_documents_mention_a_word_that_all_of_the_corpus_contain() -> None:
    texts = {row: f"harbour of {place}" for row, place in enumerate(("genoa", "rostock", "bergen"))}
    rows = np.arange(len(texts), dtype=np.uint64)
    corpus = Corpus(texts)
    judge = Judge(corpus, corpus.documents(rows, texts), Vectors(rows, np.ones((len(rows), 1), np.float32)))
    assert judge.mentions(rows, "harbour").all()
    assert judge.mentions(rows, "harbour, genoa").all()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wall", "larry wall"),
        ("harbour, pier", "harbour"),
        ("harbour, cargo", "harbour, cargo"),
        ("wall, larry wall", "larry wall"),
        ("volcano", "volcano"),
    ],
)
def test_labels_are_of_whole_phrases_with_documents_of_their_own(
    judge: Judge, evidence: Evidence, text: str, expected: str
) -> None:
    phrases = [keyword(term) for term in ("wall", "larry wall", "harbour", "pier", "cargo", "volcano ash")]
    (candidate,) = refined(judge, evidence, [Candidate(text, Origin.CENTRE)], phrases)
    assert candidate.text == expected
