"""Filters: how long a search with one takes on each back end, beside tantivy used directly with typed fields.

Makes documents with metadata in this process, in a temporary folder: no RPC, and no model. The same filter goes to the
embedded index (full text, and the rows that vectors and codes are searched among), to SQLite (a page of a list of
documents, with the total), to OpenSearch where `--opensearch` says one is, and, written by hand for typed fast fields,
to tantivy. All must count the same matches. Each case is measured in rounds, so that all meet the same conditions, and
`ratio` is the median beside that of tantivy.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import tantivy
from tantivy import Occur, Query

from services.chassis.blobs import Blobs, Records
from services.chassis.database import Database
from services.chassis.filters import evaluate, parse_filter
from services.chassis.metadata_filters import METADATA, OPERATORS, metadata_test
from services.chassis.metadata_schema import Types
from services.chassis.metadata_terms import Type, index_terms_of
from services.embedder import __file__ as embedder
from services.embedder.documents import NewDataset, NewDocument
from services.embedder.store import Store
from services.embedder.tables import BLOBS
from services.search.backend import Index, Kind, Position, Stream, TextItem
from services.search.embedded import EmbeddedIndex
from services.search.opensearch import Access, OpenSearchIndex
from services.search.where import EVERYWHERE, WHERE, IsMatching, Where

Record = dict[str, Any]
Metadata = Mapping[str, Any]
Count = Callable[[], int]
"""Runs one filtered search, and returns how many documents match."""

PAGE = 20
BATCH = 2000
WORDS = {"rare": 0.01, "common": 0.5}
"""Words that are searched for, with the share of documents that have them."""
FIELDS = {METADATA: OPERATORS}
TYPES: Types = {
    "cat": Type.STRING,
    "year": Type.INTEGER,
    "score": Type.NUMBER,
    "day": Type.DATE,
    "title": Type.STRING,
    "note": Type.STRING,
}


@dataclass(frozen=True)
class Case:
    """A filter, and the same written by hand for typed fields of tantivy."""

    filter: str
    by_hand: Callable[[tantivy.Schema], Query]


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `python -m benchmarks filters` takes."""
    parser.add_argument("--documents", type=int, default=100_000, help="number of documents")
    parser.add_argument("--rounds", type=int, default=31, help="searches measured of each case and subject")
    parser.add_argument("--opensearch", help="the address of an OpenSearch cluster to measure as well")


def run(options: argparse.Namespace) -> list[Record]:
    """All records."""
    metadata = list(_metadata(options.documents))
    records: list[Record] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subjects = _subjects(folder, metadata, options.opensearch)
        for case in CASES:
            for word in WORDS:
                label = f"{options.documents} documents, {word} word, {case.filter or 'no filter'}"
                searches = {subject: search(case, word) for subject, search in subjects.items()}
                records += _measured(label, searches, options.rounds)
    return records


def _measured(label: str, searches: Mapping[str, Count], rounds: int) -> Iterator[Record]:
    """Medians of one case, and how they compare with tantivy. Raises SystemExit where the counts differ."""
    counts = {subject: count() for subject, count in searches.items()}
    by_words = {count for subject, count in counts.items() if subject not in WITHOUT_WORDS}
    if len(by_words) > 1:
        raise SystemExit(f"{label}: the subjects count different matches: {counts}")
    seconds: dict[str, list[float]] = {subject: [] for subject in searches}
    for _round in range(rounds):
        for subject, count in searches.items():
            start = time.perf_counter()
            count()
            seconds[subject].append(time.perf_counter() - start)
    medians = {subject: median(times) * 1000 for subject, times in seconds.items()}
    for subject, milliseconds in medians.items():
        names = {"benchmark": "filters", "subject": subject, "case": label}
        yield {**names, "metric": "p50", "value": milliseconds, "unit": "ms"}
        yield {**names, "metric": "ratio", "value": milliseconds / medians["tantivy"], "unit": "times tantivy"}
        yield {**names, "metric": "matches", "value": counts[subject], "unit": "documents"}


def _metadata(count: int) -> Iterator[dict[str, Any]]:
    """The metadata of documents: some keys of few values, others of a value for each document."""
    chance = random.Random(7)  # noqa: S311 - the same documents each time
    for number in range(count):
        yield {
            "cat": f"c{chance.randrange(10)}",
            "year": chance.randrange(1990, 2025),
            "score": round(chance.random(), 9),
            "day": f"{chance.randrange(2000, 2025)}-{chance.randrange(1, 13):02d}-{chance.randrange(1, 29):02d}",
            "title": f"A Study of {chance.choice(('Heart', 'Liver', 'Brain', 'Skin'))} {number}",
            **({"note": "seen"} if chance.random() < 0.3 else {}),
            "words": [word for word, share in WORDS.items() if chance.random() < share],
        }


def _text(metadata: Metadata, number: int) -> str:
    return " ".join([*metadata["words"], *(f"w{number * step % 5003}" for step in range(1, 30))])


def _without_words(metadata: Metadata) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key != "words"}


Subject = Callable[[Case, str], Count]

WITHOUT_WORDS = ("embedded rows", "sqlite")
"""Subjects that filter all documents, not only those with a word."""


def _subjects(folder: Path, metadata: Sequence[Metadata], opensearch: str | None) -> dict[str, Subject]:
    embedded = _filled(EmbeddedIndex(folder / "index"), metadata)
    subjects = {"tantivy": _by_hand(metadata), "embedded": _full_text(*embedded), "embedded rows": _rows(*embedded)}
    if opensearch:
        subjects["opensearch"] = _full_text(
            *_filled(OpenSearchIndex(Access(urls=[opensearch]), prefix=f"benchmark-{uuid4().hex[:8]}"), metadata)
        )
    return {**subjects, "sqlite": _list(folder, metadata)}


def _filled(index: Index, metadata: Sequence[Metadata]) -> tuple[Index, Stream]:
    stream = Stream(Kind.DOCUMENTS, uuid4().hex)
    writer = index.text_writer(stream, Position("h", 1))
    items: list[TextItem] = []
    for row, values in enumerate(metadata):
        terms = index_terms_of(_without_words(values))
        items.append(TextItem(row=row, text=_text(values, row), payload={}, fingerprint=row, terms=terms))
        if len(items) == BATCH or row == len(metadata) - 1:
            writer.upsert(items)
            items = []
    writer.commit()
    return index, stream


def _where(case: Case) -> Where:
    condition = parse_filter(case.filter, FIELDS)
    if not case.filter:
        return EVERYWHERE
    return evaluate(condition, lambda leaf: metadata_test(leaf, TYPES, IsMatching, WHERE), WHERE)


def _full_text(index: Index, stream: Stream) -> Subject:
    return lambda case, word: lambda: index.search_text(stream, [word], PAGE, _where(case)).total


def _rows(index: Index, stream: Stream) -> Subject:
    return lambda case, _word: lambda: len(index.rows_where(stream, _where(case)))


def _list(folder: Path, metadata: Sequence[Metadata]) -> Subject:
    database = Database(f"sqlite:///{folder / 'embedder.db'}", Path(embedder).parent / "migrations")
    database.migrate()
    store = Store(database, Blobs(folder / "blobs", records=Records(database, BLOBS)))
    dataset = store.create_dataset(
        NewDataset(id="d", display_name=None, description="", embedding_model="builtin/wordllama-256")
    )
    documents = [
        NewDocument(str(row), _text(values, row), _without_words(values)) for row, values in enumerate(metadata)
    ]
    for start in range(0, len(documents), BATCH):
        store.add_documents("d", dataset.uid, documents[start : start + BATCH])

    def search(case: Case, _word: str) -> Count:
        condition = parse_filter(case.filter, FIELDS)
        return lambda: store.list_documents("d", condition, after_row=-1, limit=PAGE).total

    return search


def _by_hand(metadata: Sequence[Metadata]) -> Subject:
    """Tantivy in memory, with a typed fast field for each key."""
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("body", tokenizer_name="whitespace", index_option="freq")
    for name in ("cat", "title", "note"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
    builder.add_unsigned_field("year", indexed=True, fast=True)
    builder.add_float_field("score", indexed=True, fast=True)
    builder.add_unsigned_field("day", indexed=True, fast=True)
    schema = builder.build()
    index = tantivy.Index(schema)
    writer = index.writer(heap_size=64 << 20, num_threads=1)
    for row, values in enumerate(metadata):
        document = tantivy.Document()
        document.add_text("body", _text(values, row))
        for name in ("cat", "title", "note"):
            if name in values:
                document.add_text(name, values[name].lower())
        document.add_unsigned("year", values["year"])
        document.add_float("score", values["score"])
        document.add_unsigned("day", int(values["day"].replace("-", "")))
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    searcher = index.searcher()

    def search(case: Case, word: str) -> Count:
        query = Query.term_query(schema, "body", word, index_option="freq")
        if case.filter:
            condition = Query.const_score_query(case.by_hand(schema), 0.0)
            query = Query.boolean_query([(Occur.Must, query), (Occur.Must, condition)])
        return lambda: int(searcher.search(query, limit=PAGE, count=True).count)  # pyright: ignore

    return search


def _term(field: str, value: str) -> Callable[[tantivy.Schema], Query]:
    return lambda schema: Query.term_query(schema, field, value, index_option="basic")


def _between(field: str, low: float | None, high: float | None = None, *, inclusive: bool) -> Callable[..., Query]:
    kind = tantivy.FieldType.Float if field == "score" else tantivy.FieldType.Unsigned

    def query(schema: tantivy.Schema) -> Query:
        return Query.range_query(
            schema,
            field,
            kind,
            lower_bound=low,
            upper_bound=high,
            include_lower=inclusive or low is None,
            include_upper=inclusive or high is None,
        )

    return query


def _contains(field: str, text: str) -> Callable[[tantivy.Schema], Query]:
    return lambda schema: Query.regex_query(schema, field, f".*{text}.*")


def _either(first: Callable[..., Query], second: Callable[..., Query]) -> Callable[[tantivy.Schema], Query]:
    return lambda schema: Query.boolean_query([(Occur.Should, first(schema)), (Occur.Should, second(schema))])


def _not(part: Callable[..., Query]) -> Callable[[tantivy.Schema], Query]:
    return lambda schema: Query.boolean_query([(Occur.Must, Query.all_query()), (Occur.MustNot, part(schema))])


CASES = [
    Case("", _term("cat", "c3")),
    Case("metadata.cat = c3", _term("cat", "c3")),
    Case("metadata.note:*", _term("note", "seen")),
    Case("metadata.year >= 2000", _between("year", 2000, inclusive=True)),
    Case("metadata.score > 0.5", _between("score", 0.5, inclusive=False)),
    Case("metadata.day < 2012-06-01", _between("day", None, 20120601, inclusive=False)),
    Case(
        "NOT metadata.cat = c3 OR metadata.score <= 0.2",
        _either(_not(_term("cat", "c3")), _between("score", None, 0.2, inclusive=True)),
    ),
    Case('metadata.cat : "C"', _contains("cat", "c")),
    Case('metadata.title : "heart 99"', _contains("title", "heart 99")),
    Case('metadata.title : "heart"', _contains("title", "heart")),
]
