"""What every search back end must do: the suite that both run.

A back end's test module subclasses `Contract` and provides the fixtures `index` (an empty one) and `reopened` (closes
it and opens it again on the same data).
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import uuid4

import numpy as np
import pytest

from prisma_common.wire import Codes
from services.chassis.filters import evaluate, parse_filter
from services.chassis.metadata_filters import HasTerm, metadata_test
from services.chassis.metadata_terms import Type, index_terms_of, terms_of
from services.search import scoring, tokens
from services.search.backend import (
    Index,
    Kind,
    LatentQuery,
    Position,
    Rows,
    Stream,
    TextItem,
    Vectors,
    WrongDimension,
)
from services.search.errors import IndexNotReady
from services.search.query import DocumentQuery, Mode
from services.search.ranking import Ranker
from services.search.where import EVERYWHERE, WHERE, All, Any, IsAmong, IsMatching, Not, Where
from tests.filters import DOCUMENTS, FILTERS, METADATA_FIELDS, TYPES, matching_rows

Reopen = Callable[[], Index]


def rows_of(*rows: int) -> Rows:
    return np.array(rows, dtype=np.uint64)


def documents() -> Stream:
    return Stream(Kind.DOCUMENTS, uuid4().hex)


def at(revision: int, history: str = "first") -> Position:
    return Position(history, revision)


def item(row: int, text: str, **metadata: object) -> TextItem:
    text = tokens.normalize(text)
    name = f"datasets/d/documents/{row}"
    return TextItem(
        row=row,
        text=text,
        payload={"name": name, "key": str(row), "text": text, "metadata": metadata},
        fingerprint=zlib.crc32(f"{text}{metadata}".encode()) | 1 << 63,
        name=name,
        terms=index_terms_of(metadata),
    )


def write_texts(
    index: Index, stream: Stream, items: Sequence[TextItem], revision: int, *, rebuild: bool = False
) -> None:
    writer = index.text_writer(stream, at(revision), rebuild=rebuild)
    writer.upsert(items)
    writer.commit()


def write_vectors(index: Index, stream: Stream, rows: Rows, vectors: Vectors, *, revision: int = 1) -> None:
    writer = index.vector_writer(stream, at(revision))
    writer.upsert(rows, vectors)
    writer.commit()


def ranked_rows(index: Index, stream: Stream, query: str, where: Where = EVERYWHERE, depth: int = 10) -> list[int]:
    """Rows by exact score, as the service ranks them."""
    candidates = index.search_text(stream, tokens.terms(query), depth, where)
    scores = scoring.bm25(candidates.profiles, candidates.statistics)
    return candidates.profiles.rows[scoring.order(candidates.profiles.rows, scores)].tolist()


def random_codes(rows: Rows, latents: int, k: int, seed: int = 0) -> Codes:
    random = np.random.default_rng(seed)
    indices = np.concatenate([np.sort(random.choice(latents, k, replace=False)) for _ in rows]).astype(np.uint32)
    values = random.exponential(1.0, len(indices)).astype(np.float32) + np.float32(1e-7)
    indptr = (np.arange(len(rows) + 1) * k).astype(np.uint32)
    return Codes(rows=rows, indptr=indptr, indices=indices, values=values, latent_count=latents)


TEXTS = [
    "Return the absolute value of a number.",
    "Open a file and return a file object; the file must exist.",
    "HTTPServer handles requests: see readFile and read_all_lines.",
    "Parse JSON text into Python objects. json.loads raises ValueError.",
    "The naïve café in 東京 serves file after file after file, file!",
    "!!! ???",
]
PROFILED = ["number", "7", "file", "word3", "absent"]


class Contract:
    """Statements about any back end."""

    @pytest.fixture
    def texts(self, index: Index) -> Stream:
        stream = documents()
        write_texts(index, stream, [item(row, text, parity=row % 2) for row, text in enumerate(TEXTS)], 7)
        return stream

    def test_a_text_that_only_an_aborted_writer_wrote_is_not_current(self, index: Index) -> None:
        stream, text = documents(), item(1, "first words")
        write_texts(index, stream, [text], 1)
        aborted = index.text_writer(stream, at(2))
        aborted.upsert([item(1, "second words")])
        aborted.abort()
        writer = index.text_writer(stream, at(3))  # meanwhile the owner has the first text again
        if not index.unchanged(stream, rows_of(1), np.array([text.fingerprint], np.uint64))[0]:
            writer.upsert([text])
        writer.commit()
        assert ranked_rows(index, stream, "first") == [1]
        assert ranked_rows(index, stream, "second") == []

    def test_a_stream_without_commit_is_not_ready(self, index: Index) -> None:
        stream = documents()
        assert index.state(stream) is None
        with pytest.raises(IndexNotReady):
            index.search_text(stream, ["file"], 10)
        with pytest.raises(IndexNotReady):
            index.search_vectors(Stream(Kind.VECTORS, stream.uid), np.ones(3, np.float32), 10, None)
        with pytest.raises(IndexNotReady):
            index.codes(Stream(Kind.CODES, stream.uid), rows_of(1))

    def test_a_commit_carries_revision_and_count(self, index: Index, texts: Stream, reopened: Reopen) -> None:
        state = index.state(texts)
        assert state is not None
        assert (state.position, state.item_count) == (at(7), len(TEXTS))
        assert state.update_time > 1.7e9
        assert reopened().state(texts) == state

    def test_an_aborted_writer_leaves_the_old_revision(self, index: Index, texts: Stream) -> None:
        writer = index.text_writer(texts, at(8))
        writer.abort()
        state = index.state(texts)
        assert state is not None and state.position == at(7)
        assert index.search_text(texts, ["file"], 10).total == 3

    def test_writing_again_neither_loses_nor_doubles(self, index: Index, texts: Stream) -> None:
        for revision in (8, 9):
            write_texts(index, texts, [item(row, text) for row, text in enumerate(TEXTS)], revision)
        state = index.state(texts)
        assert state is not None and state.item_count == len(TEXTS)
        assert index.search_text(texts, ["file"], 10).total == 3

    def test_the_better_text_comes_first_and_others_do_not_match(self, index: Index, texts: Stream) -> None:
        assert ranked_rows(index, texts, "file") == [4, 1, 2]
        assert ranked_rows(index, texts, "absolute VALUE")[0] == 0
        assert ranked_rows(index, texts, "cafe naive") == [4]
        assert ranked_rows(index, texts, "東") == [4]
        assert ranked_rows(index, texts, "readfile") == [2]
        assert ranked_rows(index, texts, "lines read all")[0] == 2
        assert ranked_rows(index, texts, "xyzzy") == []

    def test_statistics_are_exact_whatever_was_deleted(self, index: Index, texts: Stream) -> None:
        writer = index.text_writer(texts, at(8))
        writer.delete(rows_of(1, 99))
        writer.upsert([item(3, "entirely different")])
        writer.commit()
        candidates = index.search_text(texts, ["file", "differ"], 10)
        live = [item(row, text) for row, text in enumerate(TEXTS) if row not in (1, 3)]
        live.append(item(3, "entirely different"))
        assert candidates.statistics.document_count == 5
        assert candidates.statistics.total_length == sum(len(tokens.tokens(live_item.text)) for live_item in live)
        assert candidates.statistics.document_frequencies.tolist() == [2, 1]
        assert candidates.total == 3

    def test_frequencies_of_frequent_words_are_exact_too(self, index: Index) -> None:
        stream, rows = documents(), range(200)
        write_texts(index, stream, [item(row, f"file {'even' if row % 2 == 0 else 'odd'} w{row}x") for row in rows], 1)
        writer = index.text_writer(stream, at(2))
        writer.delete(rows_of(*range(0, 50), 199))
        writer.commit()
        for _ in range(2):
            candidates = index.search_text(stream, ["file", "even", "odd", "absent"], 10)
            assert candidates.statistics.document_frequencies.tolist() == [149, 75, 74, 0]

    @pytest.mark.parametrize(
        "term", ['"', "a AND OR NOT (", "file:*", "/[", "field:x^2~", "\\", "\x00", "👍", "a" * 50_000, "c++", ""]
    )
    def test_no_term_is_a_parse_error(self, index: Index, texts: Stream, term: str) -> None:
        """Terms reach the back end as they are, even those that the tokenizer would never make."""
        assert index.search_text(texts, [term, "file"], 10).total == 3

    def test_a_query_of_the_most_terms_is_answered(self, index: Index, texts: Stream) -> None:
        terms = tokens.terms("file " + " ".join(f"w{number}x" for number in range(2000)))
        assert len(terms) == tokens.MAX_TERMS
        assert index.search_text(texts, terms, 10).total == 3

    def test_all_filters_match_what_python_does(self, index: Index, texts: Stream) -> None:
        """By rows and in full text, over several segments, some of whose rows are replaced and deleted."""
        first = len(TEXTS)
        write_texts(index, texts, [item(row + first, "old file", year=2021) for row in range(len(DOCUMENTS))], 8)
        for row, metadata in enumerate(DOCUMENTS):
            write_texts(index, texts, [item(row + first, f"file {row}", **metadata)], row + 9)
        writer = index.text_writer(texts, at(100))
        writer.delete(rows_of(*range(first)))
        writer.commit()
        types = {key: Type(name) for key, name in TYPES.items()}
        for text in FILTERS:
            where = evaluate(
                parse_filter(text, METADATA_FIELDS),
                lambda leaf: metadata_test(leaf, types, IsMatching, WHERE),
                WHERE,
            )
            expected = [row + first for row in matching_rows(text)]
            assert index.rows_where(texts, where).tolist() == expected, text
            candidates = index.search_text(texts, ["file"], 100, where)
            assert sorted(candidates.profiles.rows.tolist()) == expected, text
            assert candidates.total == len(expected), text

    def test_sets_of_rows_are_conditions_too(self, index: Index, texts: Stream) -> None:
        odd, some = IsMatching(HasTerm(terms_of({"parity": 1})[0])), IsAmong(rows_of(1, 2, 77))
        for where, expected in [
            (some, [1, 2]),
            (Not(some), [0, 3, 4, 5]),
            (IsAmong(rows_of()), []),
            (All((odd, some)), [1]),
            (Any((odd, some)), [1, 2, 3, 5]),
            (All((Not(odd), some)), [2]),
            (Any(()), []),
            (EVERYWHERE, [0, 1, 2, 3, 4, 5]),
        ]:
            assert index.rows_where(texts, where).tolist() == expected
            assert sorted(ranked_rows(index, texts, "file", where)) == [row for row in expected if row in (1, 2, 4)]

    def test_unchanged_texts_are_told_by_their_fingerprints(self, index: Index, texts: Stream) -> None:
        same, changed, new = item(4, TEXTS[4], parity=0), item(1, "other"), item(50, TEXTS[1])
        items = [same, changed, new]
        rows = rows_of(*(text.row for text in items))
        fingerprints = np.array([text.fingerprint for text in items], dtype=np.uint64)
        assert index.unchanged(texts, rows, fingerprints).tolist() == [True, False, False]

    def test_rows_are_listed_checked_and_looked_up_by_name(self, index: Index, texts: Stream) -> None:
        writer = index.text_writer(texts, at(8))
        writer.delete(rows_of(2))
        writer.commit()
        assert index.rows(texts).tolist() == [0, 1, 3, 4, 5]
        assert index.existing(texts, rows_of(5, 2, 77, 0)).tolist() == [True, False, False, True]
        assert index.find_row(texts, "datasets/d/documents/3") == 3
        assert index.find_row(texts, "datasets/d/documents/2") is None

    def test_payloads_come_back_as_they_were(self, index: Index, texts: Stream) -> None:
        odd = {"name": "x", "text": 'é "quoted" \u0000 🙂', "metadata": {"a": [1, 2.5, None, {"b": True}]}}
        write_texts(index, texts, [TextItem(row=2**40, text="x", payload=odd, fingerprint=1)], 8)
        assert index.payloads(texts, rows_of(0, 999, 2**40))[2**40] == odd
        assert set(index.payloads(texts, rows_of(0, 999, 2**40))) == {0, 2**40}
        assert index.payloads(texts, rows_of()) == {}

    def test_profiles_of_given_rows(self, index: Index, texts: Stream) -> None:
        profiles = index.profile_texts(texts, ["file", "json"], rows_of(1, 3, 5, 42))
        assert profiles.rows.tolist() == [1, 3, 5]
        assert profiles.frequencies.tolist() == [[3, 0], [0, 2], [0, 0]]
        assert profiles.lengths.tolist() == [len(tokens.tokens(TEXTS[row])) for row in (1, 3, 5)]

    def test_a_rebuilt_index_replaces_the_old_one_at_the_commit(self, index: Index, texts: Stream) -> None:
        writer = index.text_writer(texts, at(3), rebuild=True)
        writer.upsert([item(100, "only this file")])
        assert len(ranked_rows(index, texts, "file")) == 3
        writer.commit()
        assert ranked_rows(index, texts, "file") == [100]
        state = index.state(texts)
        assert state is not None and (state.position, state.item_count) == (at(3), 1)

    def test_an_aborted_rebuild_leaves_the_old_index(self, index: Index, texts: Stream, reopened: Reopen) -> None:
        writer = index.text_writer(texts, at(3), rebuild=True)
        writer.upsert([item(100, "only this file")])
        writer.abort()
        assert len(ranked_rows(index, texts, "file")) == 3
        assert len(ranked_rows(reopened(), texts, "file")) == 3

    def test_deleting_a_uid_takes_all_of_it_and_nothing_else(self, index: Index, texts: Stream) -> None:
        other, vectors = documents(), Stream(Kind.VECTORS, texts.uid)
        write_texts(index, other, [item(1, "file")], 1)
        writer = index.vector_writer(vectors, at(1))
        writer.upsert(rows_of(1), np.ones((1, 4), np.float32))
        writer.commit()
        assert {texts.uid, other.uid} <= index.uids()
        assert index.size_bytes(texts.uid) > 0
        index.delete(texts.uid)
        index.delete(texts.uid)
        assert index.state(texts) is None and index.state(vectors) is None
        assert texts.uid not in index.uids() and other.uid in index.uids()
        assert ranked_rows(index, other, "file") == [1]
        write_texts(index, texts, [item(5, "file")], 1)
        assert ranked_rows(index, texts, "file") == [5]

    def test_dense_search_is_exact(self, index: Index) -> None:
        stream, random = Stream(Kind.VECTORS, uuid4().hex), np.random.default_rng(1)
        rows = np.sort(random.choice(10_000, 700, replace=False)).astype(np.uint64)
        vectors = random.normal(size=(700, 24)).astype(np.float32)
        vectors[300] = vectors[20]  # equal vectors tie, the lower row first
        vectors[44] = 0
        writer = index.vector_writer(stream, at(5))
        for start in range(0, 700, 130):
            writer.upsert(rows[start : start + 130], vectors[start : start + 130])
        writer.commit()
        for query in (vectors[20], random.normal(size=24).astype(np.float32)):
            scores = scoring.cosines(query, vectors)
            best = scoring.order(rows, scores)[:50]
            candidates = index.search_vectors(stream, query, 50, None)
            assert candidates.rows.tolist() == rows[best].tolist()
            assert candidates.scores.tolist() == scores[best].tolist()
            assert candidates.total == 700
        allowed = rows[::3]
        candidates = index.search_vectors(stream, vectors[7], 5, allowed)
        expected = scoring.order(allowed, scoring.cosines(vectors[7], vectors[::3]))[:5]
        assert candidates.rows.tolist() == allowed[expected].tolist()
        stored, same = index.vectors(stream, np.append(rows[5:9], np.uint64(10_001)))
        assert stored.tolist() == rows[5:9].tolist()
        assert same.tobytes() == vectors[5:9].tobytes()

    def test_a_vector_of_another_dimension_is_rejected(self, index: Index) -> None:
        stream = Stream(Kind.VECTORS, uuid4().hex)
        writer = index.vector_writer(stream, at(5))
        writer.upsert(rows_of(1), np.ones((1, 4), np.float32))
        writer.commit()
        with pytest.raises(WrongDimension, match="dimension 4"):
            index.search_vectors(stream, np.ones(5, np.float32), 3, None)
        writer = index.vector_writer(stream, at(6))
        with pytest.raises(ValueError, match="dimension 4"):
            writer.upsert(rows_of(2), np.ones((1, 5), np.float32))
        writer.abort()

    def test_vectors_change_and_go(self, index: Index, reopened: Reopen) -> None:
        stream = Stream(Kind.VECTORS, uuid4().hex)
        for revision in range(1, 15):  # enough to be compacted
            writer = index.vector_writer(stream, at(revision))
            writer.upsert(rows_of(1, revision + 1), np.full((2, 3), revision, np.float32))
            if revision > 1:
                writer.delete(rows_of(revision))
            writer.commit()
        for opened in (index, reopened()):
            state = opened.state(stream)
            assert state is not None and (state.position, state.item_count) == (at(14), 2)
            rows, vectors = opened.vectors(stream, rows_of(*range(20)))
            assert rows.tolist() == [1, 15]
            assert vectors[:, 0].tolist() == [14, 14]

    def test_sparse_search_is_exact_and_keeps_the_bits(self, index: Index, reopened: Reopen) -> None:
        stream, rows = Stream(Kind.CODES, uuid4().hex), np.arange(3, 1503, 3, dtype=np.uint64)
        codes = random_codes(rows, 96, 8)
        writer = index.code_writer(stream, at(2))
        writer.upsert(codes.slice(0, 200))
        writer.upsert(codes.slice(200, 500))
        writer.commit()
        query = LatentQuery(np.array([3, 40, 77, 95], np.uint32), np.array([1.0, -2.0, 0.25, 1e-3]))
        scores = scoring.dots(query, codes)
        sharing = np.array([bool(set(codes.row(i)[0].tolist()) & {3, 40, 77, 95}) for i in range(500)])
        expected = scoring.order(rows[sharing], scores[sharing])
        for opened in (index, reopened()):
            candidates = opened.search_codes(stream, query, 1000, None)
            assert candidates.rows.tolist() == rows[sharing][expected].tolist()
            assert candidates.scores.tolist() == scores[sharing][expected].tolist()
            assert candidates.total == int(sharing.sum())
            same = opened.codes(stream, rows)
            for name in ("rows", "indptr", "indices", "values"):
                assert getattr(same, name).tobytes() == getattr(codes, name).tobytes(), name
            assert same.latent_count == 96
        allowed = rows[:100]
        assert set(index.search_codes(stream, query, 10, allowed).rows.tolist()) <= set(allowed.tolist())

    def test_rows_with_a_latent(self, index: Index) -> None:
        stream, rows = Stream(Kind.CODES, uuid4().hex), np.arange(200, dtype=np.uint64)
        codes = random_codes(rows, 16, 4)
        writer = index.code_writer(stream, at(2))
        writer.upsert(codes)
        writer.commit()
        row_of_code = np.repeat(rows, 4)
        bound = float(codes.values[codes.indices == 9][3])
        beside = [(np.nextafter(bound, end), inclusive) for end in (0, np.inf) for inclusive in (True, False)]
        for minimum, inclusive in ((0.0, False), (bound, True), (bound, False), (1e9, False), *beside):
            compare = np.greater_equal if inclusive else np.greater
            expected = row_of_code[(codes.indices == 9) & compare(codes.values.astype(np.float64), minimum)]
            assert index.rows_with_latent(stream, 9, float(minimum), inclusive=inclusive).tolist() == expected.tolist()
        assert index.rows_with_latent(stream, 15_000, 0, inclusive=False).tolist() == []

    def test_the_largest_activations_of_latents(self, index: Index, reopened: Reopen) -> None:
        """Of what is stored now: replaced and deleted codes have no part in it."""
        stream, rows = Stream(Kind.CODES, uuid4().hex), np.arange(200, dtype=np.uint64)
        first, second = random_codes(rows, 16, 4, seed=1), random_codes(rows[50:150], 16, 4, seed=2)
        strongest = int(rows.repeat(4)[np.argmax(np.where(first.rows.repeat(4) < 50, first.values, 0))])
        writer = index.code_writer(stream, at(1))
        writer.upsert(first)
        writer.commit()
        writer = index.code_writer(stream, at(2))
        writer.delete(rows_of(strongest))
        writer.upsert(second)
        writer.commit()
        stored = index.codes(stream, rows)
        latents = np.array([0, 9, 15, 4_000_000], np.uint32)
        expected = [float(stored.values[stored.indices == latent].max(initial=0)) for latent in latents]
        assert len(stored) == 199 and min(expected[:3]) > 0
        for opened in (index, reopened()):
            assert opened.max_activations(stream, latents).tolist() == expected
            assert opened.max_activations(stream, latents[:0]).tolist() == []
            assert opened.latent_count(stream) == 16
        empty = Stream(Kind.CODES, uuid4().hex)
        with pytest.raises(IndexNotReady):
            index.max_activations(empty, latents)
        with pytest.raises(IndexNotReady):
            index.latent_count(empty)
        index.code_writer(empty, at(1)).commit()
        assert index.latent_count(empty) == 0
        assert index.max_activations(empty, latents).tolist() == [0, 0, 0, 0]

    def test_codes_change_and_go(self, index: Index) -> None:
        stream = Stream(Kind.CODES, uuid4().hex)
        first, second = random_codes(rows_of(1, 2, 3), 16, 4, 1), random_codes(rows_of(2, 5), 16, 4, 2)
        writer = index.code_writer(stream, at(1))
        writer.upsert(first)
        writer.commit()
        writer = index.code_writer(stream, at(2))
        writer.delete(rows_of(3))
        writer.upsert(second)
        writer.commit()
        codes = index.codes(stream, rows_of(1, 2, 3, 5))
        assert codes.rows.tolist() == [1, 2, 5]
        assert codes.row(1)[1].tobytes() == second.row(0)[1].tobytes()
        every = LatentQuery(np.arange(16, dtype=np.uint32), np.ones(16))
        assert sorted(index.search_codes(stream, every, 10, None).rows.tolist()) == [1, 2, 5]

    def test_a_commit_without_changes_moves_the_revision(self, index: Index) -> None:
        for kind, open_writer in (
            (Kind.DOCUMENTS, index.text_writer),
            (Kind.VECTORS, index.vector_writer),
            (Kind.CODES, index.code_writer),
        ):
            stream = Stream(kind, uuid4().hex)
            open_writer(stream, at(4)).commit()
            state = index.state(stream)
            assert state is not None and (state.position, state.item_count) == (at(4), 0)

    def test_a_new_history_is_another_position(self, index: Index, texts: Stream, reopened: Reopen) -> None:
        index.text_writer(texts, at(7, "second")).commit()
        for opened in (index, reopened()):
            state = opened.state(texts)
            assert state is not None and state.position == at(7, "second") and state.item_count == len(TEXTS)

    def test_many_small_commits_give_what_one_large_one_gives(self, index: Index, reopened: Reopen) -> None:
        """Enough commits to be merged several times, with rows that are replaced and deleted."""
        stream, random = documents(), np.random.default_rng(5)
        vectors = Stream(Kind.VECTORS, stream.uid)
        texts: dict[int, str] = {}
        for revision in range(1, 40):
            rows = sorted(set(random.integers(0, 60, 5).tolist()))
            deleted = sorted(set(random.integers(0, 60, 2).tolist()) - set(rows))
            texts.update({row: f"file number{revision} word{row}" for row in rows})
            for row in deleted:
                texts.pop(row, None)
            writer = index.text_writer(stream, at(revision))
            writer.delete(rows_of(*deleted))
            writer.upsert([item(row, texts[row], parity=row % 2) for row in rows])
            writer.commit()
            vector_writer = index.vector_writer(vectors, at(revision))
            vector_writer.delete(rows_of(*deleted))
            vector_writer.upsert(rows_of(*rows), np.full((len(rows), 3), revision, np.float32))
            vector_writer.commit()
        for opened in (index, reopened()):
            assert opened.rows(stream).tolist() == opened.rows(vectors).tolist() == sorted(texts)
            candidates = opened.search_text(stream, ["file"], 100)
            assert candidates.statistics.total_length == sum(len(tokens.tokens(text)) for text in texts.values())
            assert candidates.statistics.document_frequencies.tolist() == [len(texts)]
            assert sorted(candidates.profiles.rows.tolist()) == sorted(texts)
            profiles = opened.profile_texts(stream, PROFILED, rows_of(*range(60)))
            words = [tokens.tokens(texts[row]) for row in sorted(texts)]
            assert profiles.rows.tolist() == sorted(texts)
            assert profiles.frequencies.tolist() == [[text.count(term) for term in PROFILED] for text in words]
            odd = opened.rows_where(stream, IsMatching(HasTerm(terms_of({"parity": 1})[0])))
            assert odd.tolist() == [row for row in sorted(texts) if row % 2]
            for row, text in texts.items():
                assert opened.payloads(stream, rows_of(row))[row]["text"] == text

    @pytest.mark.parametrize("mode", [Mode.FULL_TEXT, Mode.SEMANTIC, Mode.HYBRID])
    def test_a_long_document_does_not_fill_the_page(self, index: Index, mode: Mode) -> None:
        long_count, short_count = 900, 5
        uid = self._write_passages(index, long_count, short_count)
        query = DocumentQuery(
            datasets=[uid],
            mode=mode,
            terms=tokens.terms("whale"),
            vector=np.array([1, 0], dtype=np.float32),
            dense_datasets=frozenset([uid]),
            passages_per_document=1,
            limit=20,
        )
        ranker = Ranker(index)
        ranking = ranker.rank(query)
        page = ranker.page(query, ranking)
        hits_of = Counter(hit.payload["passage"]["document"] for hit in page.hits)
        assert hits_of == {"long": 1, **{f"other {n}": 1 for n in range(short_count)}}
        assert page.hits[0].payload["passage"] == {"document": "long", "index": 0, "start": 0, "end": 5, "count": 900}
        assert [hit.rank for hit in page.hits] == list(range(1, short_count + 2))
        assert (page.total, ranking.hidden_count, page.has_more) == (long_count + short_count, long_count - 1, False)
        two = replace(query, passages_per_document=2, offset=1, limit=2)
        rows = [hit.row for hit in ranker.documents(two).hits]
        assert rows == [1, long_count], "the second passage of the first document, then the second document"

    def _write_passages(self, index: Index, long_count: int, short_count: int) -> str:
        """One long document, all of whose passages rank above those of other documents; returns the dataset's uid."""
        texts = documents()
        items = [
            _passage(row, "whale whale", document="long", number=row, count=long_count) for row in range(long_count)
        ]
        items += [
            _passage(long_count + n, "whale and more words", document=f"other {n}", number=0, count=1)
            for n in range(short_count)
        ]
        write_texts(index, texts, items, 1)
        matrix = np.array([[1, row * 1e-3] for row in range(len(items))], dtype=np.float32)
        write_vectors(index, Stream(Kind.VECTORS, texts.uid), np.arange(len(items), dtype=np.uint64), matrix)
        return texts.uid


def _passage(row: int, text: str, *, document: str, number: int, count: int) -> TextItem:
    passage = {"document": document, "index": number, "count": count, "start": number * 5, "end": number * 5 + 5}
    plain = item(row, text)
    return replace(plain, payload={**plain.payload, "passage": passage})
