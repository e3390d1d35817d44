"""Search in this process at many documents, beside other engines on the same data: `benchmarks search --engines N`.

Texts are windows of 12 words out of the Python sources that are installed, and pairs of half windows where these do not
suffice. Vectors are the built-in model's. Codes have the 32 strongest of 8,192 directions, which are vectors of the
data. Queries are six words out of texts. PRISMA ranks and makes a page of 20 hits with snippets; the engines return the
20 best and, where they have them, the texts. Times are of one thread, one query after the other.
"""

from __future__ import annotations

import importlib.util
import re
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tantivy
from numpy.typing import NDArray

from prisma_common.folders import files_below
from prisma_common.wire import Codes
from services.embedder.documents import Failure
from services.embedder.providers.builtin import DIMENSION, BuiltinProvider
from services.search import tokens
from services.search.backend import Kind, LatentQuery, Position, Stream, TextItem, Vectors
from services.search.embedded import EmbeddedIndex
from services.search.embedded.screens import load_faiss
from services.search.query import DocumentQuery, Mode
from services.search.ranking import Ranker

Record = dict[str, Any]
Rows = list[int]
Search = Callable[[int], Rows]
"""The rows that are best for the query of this number, which count from 0."""

TEXT_WORDS, QUERY_WORDS, PAGE, RECALL_DEPTH = 12, 6, 20, 10
LATENTS, ACTIVE_LATENTS = 8192, 32
WARM_UP, BATCH, SEED = 20, 4096, 0
_DOCSTRING = re.compile(r'"""(.*?)"""', re.DOTALL)
_DOCUMENTS, _VECTORS, _CODES = Stream(Kind.DOCUMENTS, "d"), Stream(Kind.VECTORS, "d"), Stream(Kind.CODES, "r")


@dataclass(frozen=True)
class _Data:
    """N documents, and queries."""

    texts: Sequence[str]
    vectors: Vectors
    codes: Codes
    queries: Sequence[str]
    query_vectors: Vectors
    query_codes: Sequence[LatentQuery]


def run(count: int, query_count: int) -> list[Record]:
    """All records."""
    data = _data(count, WARM_UP + query_count)
    records: list[Record] = []

    def record(subject: str, case: str, metric: str, value: float, unit: str) -> None:
        names = {"benchmark": "search", "subject": subject, "case": f"{count:,} documents in process, {case}"}
        records.append({**names, "metric": metric, "value": value, "unit": unit})

    with tempfile.TemporaryDirectory() as folder:
        for metric, value, unit in _write(Path(folder), data):
            record("prisma", "index", metric, value, unit)
        index = EmbeddedIndex(Path(folder))
        start = time.perf_counter()
        ranker = Ranker(index)
        states = {stream.kind: index.state(stream) for stream in (_DOCUMENTS, _VECTORS, _CODES)}
        record("prisma", "index", "opening", time.perf_counter() - start, "s")
        index.screens.wait()
        record("prisma", "index", "until screened", time.perf_counter() - start, "s")
        vector_state = index.state(_VECTORS)
        assert all(states.values()) and vector_state is not None
        record("prisma", "index", "reported recall", 1.0 if vector_state.recall is None else vector_state.recall, "")
        exact = _exact(data)
        subjects = {mode: {"prisma": _prisma(ranker, data, mode)} for mode in Mode}
        subjects[Mode.SEMANTIC] |= _faiss(data)
        subjects[Mode.FULL_TEXT] |= {"tantivy": _tantivy(data), **_bm25s(data)}
        for mode, searches in subjects.items():
            for subject, search in searches.items():
                for metric, value, unit in _measure(search, query_count, exact if mode is Mode.SEMANTIC else None):
                    record(subject, mode.name.lower(), metric, value, unit)
        record(
            "prisma",
            "index",
            "memory of this process, with the data",
            psutil.Process().memory_info().rss / 2**20,
            "MiB",
        )
        index.close()
    return records


def _measure(search: Search, count: int, exact: Sequence[Rows] | None) -> Iterator[tuple[str, float, str]]:
    wall, cpu, recalls = list[float](), list[float](), list[float]()
    for number in range(WARM_UP + count):
        start, cpu_start = time.perf_counter(), time.process_time()
        rows = search(number)
        wall.append(1000 * (time.perf_counter() - start))
        cpu.append(1000 * (time.process_time() - cpu_start))
        if exact is not None:
            recalls.append(len(set(exact[number]) & set(rows[:RECALL_DEPTH])) / RECALL_DEPTH)
    yield "p50", float(np.percentile(wall[WARM_UP:], 50)), "ms"
    yield "p99", float(np.percentile(wall[WARM_UP:], 99)), "ms"
    yield "cpu", float(np.median(cpu[WARM_UP:])), "ms"
    if recalls:
        yield f"recall of {RECALL_DEPTH}", float(np.mean(recalls)), ""


def _write(folder: Path, data: _Data) -> Iterator[tuple[str, float, str]]:
    """Writes the index, one stream after the other, and then one more row of each."""
    index, count = EmbeddedIndex(folder), len(data.texts)
    for stream, write in ((_DOCUMENTS, _write_texts), (_VECTORS, _write_vectors), (_CODES, _write_codes)):
        for name, revision, rows in (("all", 1, range(count)), ("one more", 2, range(1))):
            start = time.perf_counter()
            write(index, data, rows, Position("benchmark", revision))
            yield f"writing {name} of {stream.kind}", time.perf_counter() - start, "s"
    start = time.perf_counter()
    index.screens.wait()
    yield "screens, after the last commit", time.perf_counter() - start, "s"
    index.close()
    for stream in (_DOCUMENTS, _VECTORS, _CODES):
        size = sum(path.stat().st_size for path in files_below(folder / stream.uid / stream.kind.value))
        yield f"disk of {stream.kind}", size / 2**20, "MiB"


def _write_texts(index: EmbeddedIndex, data: _Data, rows: range, position: Position) -> None:
    writer = index.text_writer(_DOCUMENTS, position)
    for start in rows[::BATCH]:
        items: list[TextItem] = []
        for row in rows[start : start + BATCH]:
            name, text = f"datasets/d/documents/{row}", data.texts[row]
            payload = {"name": name, "key": str(row), "text": text, "metadata": {}}
            items.append(TextItem(row=row, text=text, payload=payload, fingerprint=row, name=name))
        writer.upsert(items)
    writer.commit()


def _write_vectors(index: EmbeddedIndex, data: _Data, rows: range, position: Position) -> None:
    writer = index.vector_writer(_VECTORS, position)
    for start in rows[::BATCH]:
        block = rows[start : start + BATCH]
        writer.upsert(np.array(block, dtype=np.uint64), data.vectors[block.start : block.stop])
    writer.commit()


def _write_codes(index: EmbeddedIndex, data: _Data, rows: range, position: Position) -> None:
    writer = index.code_writer(_CODES, position)
    for start in rows[::BATCH]:
        block = rows[start : start + BATCH]
        writer.upsert(data.codes.slice(block.start, block.stop))
    writer.commit()


def _prisma(ranker: Ranker, data: _Data, mode: Mode) -> Search:
    is_dense = mode.is_dense

    def search(number: int) -> Rows:
        query = DocumentQuery(
            datasets=["d"],
            mode=mode,
            terms=tokens.terms(data.queries[number]),
            vector=data.query_vectors[number] if is_dense else None,
            dense_datasets=frozenset(["d"]) if is_dense else frozenset(),
            run="r" if mode is Mode.SPARSE else None,
            code=data.query_codes[number] if mode is Mode.SPARSE else None,
            limit=PAGE,
        )
        return [hit.row for hit in ranker.documents(query).hits]

    return search


def _faiss(data: _Data) -> Mapping[str, Search]:
    """All vectors compared; and lists of vectors in 8 bits a number, of which it reads as many as are measured."""
    faiss = load_faiss()
    faiss.omp_set_num_threads(1)
    flat = faiss.IndexFlatIP(DIMENSION)
    flat.add(data.vectors)
    lists = faiss.index_factory(DIMENSION, f"IVF{int(4 * len(data.texts) ** 0.5)},SQ8", faiss.METRIC_INNER_PRODUCT)
    lists.train(data.vectors[:: max(1, len(data.vectors) // 160_000)])
    lists.add(data.vectors)
    lists.nprobe = 64

    def searching(index: Any) -> Search:
        return lambda number: index.search(data.query_vectors[number : number + 1], PAGE)[1][0].tolist()

    return {"faiss flat": searching(flat), "faiss IVF SQ8": searching(lists)}


def _tantivy(data: _Data) -> Search:
    """The same tokens, without the scores of PRISMA, its counts, its snippets and what it stores of each text."""
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("row", stored=True, fast=True)
    builder.add_text_field("text", stored=True, tokenizer_name="whitespace", index_option="freq")
    schema = builder.build()
    index = tantivy.Index(schema)
    writer = index.writer(num_threads=1)
    for row, text in enumerate(data.texts):
        document = tantivy.Document()
        document.add_unsigned("row", row)
        document.add_text("text", " ".join(tokens.tokens(text)))
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    searcher = index.searcher()

    def search(number: int) -> Rows:
        words = [
            (tantivy.Occur.Should, tantivy.Query.term_query(schema, "text", term, index_option="freq"))
            for term in tokens.terms(data.queries[number])
        ]
        hits = searcher.search(tantivy.Query.boolean_query(words), limit=PAGE, count=False).hits
        return [int(str(searcher.doc(address).get_first("row"))) for _, address in hits]

    return search


def _bm25s(data: _Data) -> Mapping[str, Search]:
    """Nothing where it is not installed."""
    if importlib.util.find_spec("bm25s") is None:
        return {}
    bm25s: Any = importlib.import_module("bm25s")
    quiet = {"show_progress": False}
    retriever = bm25s.BM25()
    retriever.index(bm25s.tokenize(list(data.texts), stopwords=None, **quiet), **quiet)

    def search(number: int) -> Rows:
        query = bm25s.tokenize([data.queries[number]], stopwords=None, **quiet)
        return retriever.retrieve(query, k=PAGE, n_threads=1, **quiet)[0][0].tolist()

    return {"bm25s": search}


def _exact(data: _Data) -> list[Rows]:
    """The rows of the nearest vectors of each query."""
    scores = np.concatenate(
        [data.vectors[start : start + BATCH] @ data.query_vectors.T for start in range(0, len(data.vectors), BATCH)]
    )
    return [np.argpartition(-column, RECALL_DEPTH)[:RECALL_DEPTH].tolist() for column in scores.T]


def _data(count: int, query_count: int) -> _Data:
    texts = list(islice(_texts(count), count))
    random = np.random.default_rng(SEED)
    queries: list[str] = []
    for place in random.choice(count, query_count, replace=False).tolist():
        words = texts[place].split()
        start = int(random.integers(0, len(words) - QUERY_WORDS + 1))
        queries.append(" ".join(words[start : start + QUERY_WORDS]))
    vectors, query_vectors = _embed(texts), _embed(queries)
    directions = vectors[random.choice(count, LATENTS, replace=count < LATENTS)]
    codes = _codes(vectors, directions)
    query_codes = _codes(query_vectors, directions)
    return _Data(
        texts=texts,
        vectors=vectors,
        codes=codes,
        queries=queries,
        query_vectors=query_vectors,
        query_codes=[
            LatentQuery(indices, values.astype(np.float64))
            for indices, values in (query_codes.row(place) for place in range(query_count))
        ],
    )


def _texts(count: int) -> Iterator[str]:
    """Distinct texts, in an order of no meaning."""
    windows: dict[str, None] = {}
    for file in sorted(Path(sysconfig.get_paths()["purelib"]).rglob("*.py")):
        for match in _DOCSTRING.finditer(file.read_text(encoding="utf-8", errors="replace")):
            words = tokens.normalize(match[1]).split()
            for start in range(0, len(words) - TEXT_WORDS, TEXT_WORDS):
                window = " ".join(words[start : start + TEXT_WORDS])
                if len(window) < 200 and sum(map(str.isalpha, window)) > 0.6 * len(window):
                    windows[window] = None
    random = np.random.default_rng(SEED)
    texts = list(windows)
    while len(windows) < count:
        first, second = (texts[place].split() for place in random.integers(0, len(texts), 2).tolist())
        windows[" ".join([*first[:QUERY_WORDS], *second[QUERY_WORDS:]])] = None
    texts = list(windows)
    yield from (texts[place] for place in random.permutation(len(texts)).tolist())


def _embed(texts: Sequence[str]) -> Vectors:
    provider, vectors = BuiltinProvider(), np.zeros((len(texts), DIMENSION), np.float32)
    for start in range(0, len(texts), BATCH):
        for place, result in enumerate(provider.embed_now(texts[start : start + BATCH]), start):
            if not isinstance(result, Failure):
                vectors[place] = result.vector
    return vectors


def _codes(vectors: Vectors, directions: Vectors) -> Codes:
    """The strongest directions of each vector."""
    mean = directions.mean(axis=0)
    centred = directions - mean
    units = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    indices, values = list[NDArray[np.uint32]](), list[NDArray[np.float32]]()
    for start in range(0, len(vectors), BATCH):
        products = (vectors[start : start + BATCH] - mean) @ units.T
        active = np.sort(np.argpartition(-products, ACTIVE_LATENTS, axis=1)[:, :ACTIVE_LATENTS], axis=1)
        indices.append(active.astype(np.uint32).reshape(-1))
        values.append(np.maximum(np.take_along_axis(products, active, 1), 1e-3).astype(np.float32).reshape(-1))
    return Codes(
        rows=np.arange(len(vectors), dtype=np.uint64),
        indptr=np.arange(0, len(vectors) * ACTIVE_LATENTS + 1, ACTIVE_LATENTS, dtype=np.uint32),
        indices=np.concatenate(indices),
        values=np.concatenate(values),
        latent_count=LATENTS,
    )
