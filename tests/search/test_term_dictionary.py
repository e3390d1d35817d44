"""The terms of a segment are searched for those that contain a text, at a cost that does not depend on how often."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest

from services.chassis.case_folding import folded
from services.chassis.metadata_filters import HasTermContaining, passes
from services.chassis.metadata_terms import MAX_TEXT_BYTES, index_terms_of, prefix_of
from services.search.embedded.segments import Segment
from services.search.embedded.term_dictionary import TermDictionary, dictionary_arrays

TITLES = [
    "title",
    "Titled",
    "e",
    "ee",
    "eE e",
    "xyz",
    "hearts and t",
    "5:title=t",
    "Straße",
    "ÉTÉ é",
    "\x00\x03" + "é" * 40,
    "\x01\x03" + "e" * 64,
    "e" * MAX_TEXT_BYTES,
    "e" * (MAX_TEXT_BYTES + 1),
    "É" * MAX_TEXT_BYTES,
    "xyz " * MAX_TEXT_BYTES + "the end",
]
TEXTS = ["e", "t", "ti", "title", "=t", "5:", "ee", "e" * 70, "é", "\u00e9t", "xyz", "z x", "the end", "0", "a", "ss"]


def dictionary(values: Sequence[str]) -> tuple[TermDictionary, list[list[str]]]:
    """The dictionary of documents with these titles, and the terms of each document."""
    documents = [index_terms_of({"title": value, "kind": "e title"}) for value in values]
    terms = sorted({term.encode() for document in documents for term in document})
    places = [[row for row, document in enumerate(documents) if term.decode() in document] for term in terms]
    starts = np.concatenate([[0], np.cumsum([len(rows) for rows in places])]).astype(np.uint64)
    rows, none = np.arange(len(values), dtype=np.uint64), np.empty(0, np.uint64)
    segment = Segment(
        name="s",
        rows=rows,
        deleted=none,
        live=np.ones(len(rows), bool),
        arrays=dictionary_arrays(terms, starts, np.concatenate([np.array(rows, np.uint32) for rows in places])),
    )
    return TermDictionary(segment), documents


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_searched_within_values_only(text: str) -> None:
    terms, documents = dictionary(TITLES)
    test = HasTermContaining(prefix_of("title"), folded(text))
    assert terms.texts_with(test).tolist() == [passes(document, test) for document in documents]


def test_a_text_that_occurs_often_takes_no_more_memory_than_the_terms() -> None:
    terms, _ = dictionary([f"{number:03} {'e' * 900}" for number in range(1000)])
    tracemalloc.start()
    try:
        assert terms.texts_with(HasTermContaining(prefix_of("title"), "e")).all()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000  # of the terms are 900,000 bytes; the places of the letter would take 7,200,000
