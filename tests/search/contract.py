"""What every search back end must do: the suite that both are held to.

A back end's test module subclasses `Contract` and gives the fixtures `index` (an empty one) and `reopened`
(closes it and opens it again on the same data).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import uuid4

import numpy as np
import pytest

from prisma_common.wire import Codes
from services.search import analysis, scoring
from services.search.errors import IndexNotReady
from services.search.index import Index, Kind, LatentQuery, Rows, Stream, TextItem

Reopen = Callable[[], Index]


def rows_of(*rows: int) -> Rows:
    return np.array(rows, dtype=np.uint64)


def documents() -> Stream:
    return Stream(Kind.DOCUMENTS, uuid4().hex)


def item(row: int, text: str, **metadata: object) -> TextItem:
    payload = {"name": f"datasets/d/documents/{row}", "key": str(row), "text": text, "metadata": metadata}
    return TextItem(row, analysis.tokens(text), payload, analysis.facets(metadata))


def write_texts(index: Index, stream: Stream, items: Sequence[TextItem], revision: int, anew: bool = False) -> None:
    writer = index.text_writer(stream, revision, anew=anew)
    writer.upsert(items)
    writer.commit()


def found(index: Index, stream: Stream, query: str, depth: int = 10, allowed: Rows | None = None) -> list[int]:
    """Rows by exact score, as the service ranks them."""
    candidates = index.search_text(stream, analysis.terms(query), depth, allowed)
    scores = scoring.bm25(candidates.profiles, candidates.statistics)
    return [int(row) for row in candidates.profiles.rows[scoring.order(candidates.profiles.rows, scores)]]


def random_codes(rows: Rows, latents: int, k: int, seed: int = 0) -> Codes:
    random = np.random.default_rng(seed)
    indices = np.concatenate([np.sort(random.choice(latents, k, replace=False)) for _ in rows]).astype(np.uint32)
    values = random.exponential(1.0, len(indices)).astype(np.float32) + np.float32(1e-7)
    return Codes(rows, (np.arange(len(rows) + 1) * k).astype(np.uint32), indices, values, latents)


TEXTS = [
    "Return the absolute value of a number.",
    "Open a file and return a file object; the file must exist.",
    "HTTPServer handles requests: see readFile and read_all_lines.",
    "Parse JSON text into Python objects. json.loads raises ValueError.",
    "The naïve café in 東京 serves file after file after file, file!",
    "!!! ???",
]


class Contract:
    """Statements about any back end."""

    @pytest.fixture
    def texts(self, index: Index) -> Stream:
        stream = documents()
        write_texts(index, stream, [item(row, text, parity=row % 2) for row, text in enumerate(TEXTS)], 7)
        return stream

    def test_a_stream_without_commit_is_not_ready(self, index: Index) -> None:
        stream = documents()
        assert index.state(stream) is None
        with pytest.raises(IndexNotReady):
            index.search_text(stream, ["file"], 10, None)
        with pytest.raises(IndexNotReady):
            index.search_vectors(Stream(Kind.VECTORS, stream.uid), np.ones(3, np.float32), 10, None)
        with pytest.raises(IndexNotReady):
            index.codes(Stream(Kind.CODES, stream.uid), rows_of(1))

    def test_a_commit_carries_revision_and_count(self, index: Index, texts: Stream, reopened: Reopen) -> None:
        state = index.state(texts)
        assert state is not None
        assert (state.revision, state.item_count) == (7, len(TEXTS))
        assert state.update_time > 1.7e9
        assert reopened().state(texts) == state

    def test_an_aborted_writer_leaves_the_old_revision(self, index: Index, texts: Stream) -> None:
        writer = index.text_writer(texts, 8)
        writer.abort()
        state = index.state(texts)
        assert state is not None and state.revision == 7
        assert index.search_text(texts, ["file"], 10, None).total == 3

    def test_writing_again_neither_loses_nor_doubles(self, index: Index, texts: Stream) -> None:
        for revision in (8, 9):
            write_texts(index, texts, [item(row, text) for row, text in enumerate(TEXTS)], revision)
        state = index.state(texts)
        assert state is not None and state.item_count == len(TEXTS)
        assert index.search_text(texts, ["file"], 10, None).total == 3

    def test_the_better_text_comes_first_and_what_has_no_word_does_not_come(self, index: Index, texts: Stream) -> None:
        assert found(index, texts, "file") == [4, 1, 2]
        assert found(index, texts, "absolute VALUE")[0] == 0
        assert found(index, texts, "cafe naive") == [4]
        assert found(index, texts, "東") == [4]
        assert found(index, texts, "readfile") == [2]
        assert found(index, texts, "lines read all")[0] == 2
        assert found(index, texts, "xyzzy") == []

    def test_statistics_are_exact_whatever_was_deleted(self, index: Index, texts: Stream) -> None:
        writer = index.text_writer(texts, 8)
        writer.delete(rows_of(1, 99))
        writer.upsert([item(3, "entirely different")])
        writer.commit()
        candidates = index.search_text(texts, ["file", "differ"], 10, None)
        live = [item(row, text) for row, text in enumerate(TEXTS) if row not in (1, 3)]
        live.append(item(3, "entirely different"))
        assert candidates.statistics.document_count == 5
        assert candidates.statistics.total_length == sum(len(each.tokens) for each in live)
        assert candidates.statistics.document_frequencies.tolist() == [2, 1]
        assert candidates.total == 3

    @pytest.mark.parametrize(
        "query",
        ["", '"', '"unclosed', "a AND OR NOT (", "file:*", "/[", "field:x^2~", "\\", "\x00", "🙂", "a" * 50_000],
    )
    def test_no_query_is_a_parse_error(self, index: Index, texts: Stream, query: str) -> None:
        terms = analysis.terms(query)
        if terms:
            index.search_text(texts, terms, 10, None)

    def test_a_query_of_the_most_terms_is_answered(self, index: Index, texts: Stream) -> None:
        terms = analysis.terms("file " + " ".join(f"w{number}x" for number in range(2000)))
        assert len(terms) == analysis.MAXIMUM_TERMS
        assert index.search_text(texts, terms, 10, None).total == 3

    def test_allowed_rows_bound_texts(self, index: Index, texts: Stream) -> None:
        assert found(index, texts, "file", allowed=rows_of(1, 2, 77)) == [1, 2]
        assert found(index, texts, "file", allowed=rows_of()) == []

    def test_facets_are_exact_values(self, index: Index, texts: Stream) -> None:
        write_texts(index, texts, [item(10, "ten", kind=["a", "b"], module={"name": "os.path"}, deep=1.0)], 8)
        assert index.rows_with_facets(texts, [analysis.facet("parity", 1)]).tolist() == [1, 3, 5]
        assert index.rows_with_facets(texts, [analysis.facet("kind", "b"), "module.name=os.path"]).tolist() == [10]
        assert index.rows_with_facets(texts, [analysis.facet("deep", "1")]).tolist() == [10]
        assert index.rows_with_facets(texts, [analysis.facet("kind", "B")]).tolist() == []
        assert index.rows_with_facets(texts, ["kind=b", "parity=1"]).tolist() == []

    def test_payloads_come_back_as_they_were(self, index: Index, texts: Stream) -> None:
        odd = {"name": "x", "text": 'é "quoted" \u0000 🙂', "metadata": {"a": [1, 2.5, None, {"b": True}]}}
        write_texts(index, texts, [TextItem(2**40, ["x"], odd)], 8)
        assert index.payloads(texts, rows_of(2**40, 0, 999))[2**40] == odd
        assert set(index.payloads(texts, rows_of(2**40, 0, 999))) == {0, 2**40}
        assert index.payloads(texts, rows_of()) == {}

    def test_profiles_of_given_rows(self, index: Index, texts: Stream) -> None:
        profiles = index.profile_texts(texts, ["file", "json"], rows_of(1, 3, 5, 42))
        assert profiles.rows.tolist() == [1, 3, 5]
        assert profiles.frequencies.tolist() == [[3, 0], [0, 2], [0, 0]]
        assert profiles.lengths.tolist() == [len(analysis.tokens(TEXTS[row])) for row in (1, 3, 5)]

    def test_anew_takes_the_place_of_the_old_at_the_commit(self, index: Index, texts: Stream) -> None:
        writer = index.text_writer(texts, 3, anew=True)
        writer.upsert([item(100, "only this file")])
        assert len(found(index, texts, "file")) == 3
        writer.commit()
        assert found(index, texts, "file") == [100]
        state = index.state(texts)
        assert state is not None and (state.revision, state.item_count) == (3, 1)

    def test_anew_aborted_leaves_the_old(self, index: Index, texts: Stream, reopened: Reopen) -> None:
        writer = index.text_writer(texts, 3, anew=True)
        writer.upsert([item(100, "only this file")])
        writer.abort()
        assert len(found(index, texts, "file")) == 3
        assert len(found(reopened(), texts, "file")) == 3

    def test_deleting_a_uid_takes_all_of_it_and_nothing_else(self, index: Index, texts: Stream) -> None:
        other, vectors = documents(), Stream(Kind.VECTORS, texts.uid)
        write_texts(index, other, [item(1, "file")], 1)
        writer = index.vector_writer(vectors, 1)
        writer.upsert(rows_of(1), np.ones((1, 4), np.float32))
        writer.commit()
        assert {texts.uid, other.uid} <= index.uids()
        assert index.size_bytes(texts.uid) > 0
        index.delete(texts.uid)
        index.delete(texts.uid)
        assert index.state(texts) is None and index.state(vectors) is None
        assert texts.uid not in index.uids() and other.uid in index.uids()
        assert found(index, other, "file") == [1]
        write_texts(index, texts, [item(5, "file")], 1)
        assert found(index, texts, "file") == [5]

    def test_dense_search_is_exact(self, index: Index) -> None:
        stream, random = Stream(Kind.VECTORS, uuid4().hex), np.random.default_rng(1)
        rows = np.sort(random.choice(10_000, 700, replace=False)).astype(np.uint64)
        vectors = random.normal(size=(700, 24)).astype(np.float32)
        vectors[300] = vectors[20]  # equal vectors tie, the lower row first
        vectors[44] = 0
        writer = index.vector_writer(stream, 5)
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
        held, same = index.vectors(stream, np.append(rows[5:9], np.uint64(10_001)))
        assert held.tolist() == rows[5:9].tolist()
        assert same.tobytes() == vectors[5:9].tobytes()

    def test_a_query_of_another_dimension_is_told(self, index: Index) -> None:
        stream = Stream(Kind.VECTORS, uuid4().hex)
        writer = index.vector_writer(stream, 5)
        writer.upsert(rows_of(1), np.ones((1, 4), np.float32))
        writer.commit()
        with pytest.raises(ValueError, match="dimension 4"):
            index.search_vectors(stream, np.ones(5, np.float32), 3, None)
        writer = index.vector_writer(stream, 6)
        with pytest.raises(ValueError, match="dimension 4"):
            writer.upsert(rows_of(2), np.ones((1, 5), np.float32))
        writer.abort()

    def test_vectors_change_and_go(self, index: Index, reopened: Reopen) -> None:
        stream = Stream(Kind.VECTORS, uuid4().hex)
        for revision in range(1, 15):  # enough to be compacted
            writer = index.vector_writer(stream, revision)
            writer.upsert(rows_of(1, revision + 1), np.full((2, 3), revision, np.float32))
            if revision > 1:
                writer.delete(rows_of(revision))
            writer.commit()
        for each in (index, reopened()):
            state = each.state(stream)
            assert state is not None and (state.revision, state.item_count) == (14, 2)
            rows, vectors = each.vectors(stream, rows_of(*range(20)))
            assert rows.tolist() == [1, 15]
            assert vectors[:, 0].tolist() == [14, 14]

    def test_sparse_search_is_exact_and_keeps_the_bits(self, index: Index, reopened: Reopen) -> None:
        stream, rows = Stream(Kind.CODES, uuid4().hex), np.arange(3, 1503, 3, dtype=np.uint64)
        codes = random_codes(rows, 96, 8)
        writer = index.code_writer(stream, 2)
        writer.upsert(codes.slice(0, 200))
        writer.upsert(codes.slice(200, 500))
        writer.commit()
        query = LatentQuery(np.array([3, 40, 77, 95], np.uint32), np.array([1.0, -2.0, 0.25, 1e-3]))
        scores = scoring.dots(query, codes)
        sharing = np.array([bool(set(codes.row(i)[0].tolist()) & {3, 40, 77, 95}) for i in range(500)])
        expected = scoring.order(rows[sharing], scores[sharing])
        for each in (index, reopened()):
            candidates = each.search_codes(stream, query, 1000, None)
            assert candidates.rows.tolist() == rows[sharing][expected].tolist()
            assert candidates.scores.tolist() == scores[sharing][expected].tolist()
            assert candidates.total == int(sharing.sum())
            same = each.codes(stream, rows)
            for name in ("rows", "indptr", "indices", "values"):
                assert getattr(same, name).tobytes() == getattr(codes, name).tobytes(), name
            assert same.latent_count == 96
        allowed = rows[:100]
        assert set(index.search_codes(stream, query, 10, allowed).rows.tolist()) <= set(allowed.tolist())

    def test_rows_with_a_latent(self, index: Index) -> None:
        stream, rows = Stream(Kind.CODES, uuid4().hex), np.arange(200, dtype=np.uint64)
        codes = random_codes(rows, 16, 4)
        writer = index.code_writer(stream, 2)
        writer.upsert(codes)
        writer.commit()
        owner = np.repeat(rows, 4)
        bound = float(codes.values[codes.indices == 9][3])
        for minimum, inclusive in ((0.0, False), (bound, True), (bound, False), (1e9, False)):
            compare = np.greater_equal if inclusive else np.greater
            expected = owner[(codes.indices == 9) & compare(codes.values.astype(np.float64), minimum)]
            assert index.rows_with_latent(stream, 9, minimum, inclusive=inclusive).tolist() == expected.tolist()
        assert index.rows_with_latent(stream, 15_000, 0, inclusive=False).tolist() == []

    def test_codes_change_and_go(self, index: Index) -> None:
        stream = Stream(Kind.CODES, uuid4().hex)
        first, second = random_codes(rows_of(1, 2, 3), 16, 4, 1), random_codes(rows_of(2, 5), 16, 4, 2)
        writer = index.code_writer(stream, 1)
        writer.upsert(first)
        writer.commit()
        writer = index.code_writer(stream, 2)
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
            open_writer(stream, 4).commit()
            state = index.state(stream)
            assert state is not None and (state.revision, state.item_count) == (4, 0)
