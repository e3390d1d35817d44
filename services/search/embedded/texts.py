"""Texts in a tantivy index: found by BM25, with what exact scoring needs stored beside."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from tantivy import Document, Index, Occur, Query, Schema, SchemaBuilder, Searcher

from services.chassis.files import sync_folder
from services.search import scoring
from services.search.embedded import manifest as manifests
from services.search.embedded.manifest import Manifest, TornIndex
from services.search.index import Rows, TextCandidates, TextItem, TextProfiles, TextStatistics

_HEAP_BYTES = 64 << 20


@dataclass(frozen=True)
class _Snapshot:
    """A commit of the index, with its counts: what one search works on."""

    index: Index
    searcher: Searcher
    document_count: int
    total_length: int


class TextStore:
    """The texts of one stream: documents of a dataset, or labels of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._schema = _schema()
        folder.mkdir(parents=True, exist_ok=True)
        self.manifest = manifests.load(folder)
        parts = self.manifest.parts if self.manifest else []
        for path in manifests.strangers(folder, parts):
            shutil.rmtree(path)
        self._snapshot = self._open(parts[0]) if self.manifest else None

    def search(self, terms: Sequence[str], depth: int, allowed: Rows | None) -> TextCandidates:
        """The best texts that hold one of the terms, in tantivy's order."""
        snapshot = self._current()
        frequencies = np.array(
            [self._count(snapshot.searcher, self._term("body", term)) for term in terms], dtype=np.float64
        )
        statistics = TextStatistics(snapshot.document_count, snapshot.total_length, frequencies)
        query = Query.boolean_query([(Occur.Should, self._term("body", term)) for term in terms])
        if allowed is not None:
            chosen = Query.const_score_query(self._rows(allowed), 0.0)
            query = Query.boolean_query([(Occur.Must, query), (Occur.Must, chosen)])
        result = cast(Any, snapshot.searcher.search(query, limit=max(depth, 1), count=True))
        documents = [snapshot.searcher.doc(address) for _, address in result.hits]
        scores = np.array([score for score, _ in result.hits], dtype=np.float64)
        return TextCandidates(_profiles(documents, terms), scores, statistics, int(result.count))

    def profile(self, terms: Sequence[str], rows: Rows) -> TextProfiles:
        """Profiles of given rows, those that are there, rising."""
        documents = sorted(self._documents(rows), key=lambda document: cast(int, document.get_first("row")))
        return _profiles(documents, terms)

    def payloads(self, rows: Rows) -> dict[int, dict[str, Any]]:
        """Payloads by row."""
        return {
            cast(int, document.get_first("row")): json.loads(bytes(cast(bytes, document.get_first("payload"))))
            for document in self._documents(rows)
        }

    def rows_with(self, facets: Sequence[str]) -> Rows:
        """Rising rows of the texts that have all facets."""
        searcher = self._current().searcher
        query = Query.boolean_query([(Occur.Must, self._term("facets", facet)) for facet in facets])
        count = self._count(searcher, query)
        if not count:
            return np.empty(0, np.uint64)
        addresses = [address for _, address in searcher.search(query, limit=count).hits]
        return np.sort(np.array(searcher.fast_field_values("row", addresses), dtype=np.uint64))

    def _documents(self, rows: Rows) -> list[Document]:
        if not len(rows):
            return []
        searcher = self._current().searcher
        return [searcher.doc(address) for _, address in searcher.search(self._rows(rows), limit=len(rows)).hits]

    def _current(self) -> _Snapshot:
        assert self._snapshot is not None, "only committed streams are read"
        return self._snapshot

    def _open(self, part: str) -> _Snapshot:
        folder = self.folder / part
        try:
            stamp = json.loads((folder / "meta.json").read_bytes())["opstamp"]
            index = Index(self._schema, str(folder), reuse=True)
            index.reload()
            searcher = index.searcher()
            lengths = searcher.aggregate(Query.all_query(), {"length": {"stats": {"field": "length"}}})["length"]
        except (OSError, ValueError, KeyError) as error:
            raise TornIndex(f"{folder} cannot be opened: {error}") from error
        if self.manifest and part in self.manifest.parts and stamp < self.manifest.detail["opstamp"]:
            raise TornIndex(f"{folder} is older than its manifest")
        return _Snapshot(index, searcher, int(lengths["count"]), int(lengths["sum"] or 0))

    def commit(self, revision: int, part: str, opstamp: int) -> None:
        """Makes the folder the stream, at this revision."""
        snapshot = self._open(part)
        manifest = Manifest(revision, snapshot.document_count, time.time(), [part], detail={"opstamp": opstamp})
        sync_folder(self.folder / part)
        sync_folder(self.folder)
        manifests.save(self.folder, manifest)
        self.manifest, self._snapshot = manifest, snapshot
        for path in manifests.strangers(self.folder, [part]):
            shutil.rmtree(path)

    def make_index(self, part: str) -> Index:
        """Opens or makes the tantivy index of a part, to write into."""
        return Index(self._schema, str(self.folder / part), reuse=True)

    def rows_query(self, rows: Rows) -> Query:
        """A query for given rows."""
        return self._rows(rows)

    def _rows(self, rows: Rows) -> Query:
        return Query.term_set_query(self._schema, "row", rows.tolist())

    def _term(self, field: str, value: str) -> Query:
        return Query.term_query(self._schema, field, value, index_option="freq" if field == "body" else "basic")

    @staticmethod
    def _count(searcher: Searcher, query: Query) -> int:
        return int(cast(Any, searcher.search(query, limit=1, count=True)).count)


class TextStoreWriter:
    """Adds texts to a store; tantivy makes its own commit first, the manifest follows and counts."""

    def __init__(self, store: TextStore, revision: int, *, anew: bool) -> None:
        self._store, self._revision, self._closed = store, revision, False
        fresh = anew or store.manifest is None
        self._part = manifests.new_part(store.folder).name if fresh else cast(Manifest, store.manifest).parts[0]
        self._writer = store.make_index(self._part).writer(heap_size=_HEAP_BYTES, num_threads=1)

    def upsert(self, items: Sequence[TextItem]) -> None:
        self.delete(np.array([item.row for item in items], dtype=np.uint64))
        for item in {item.row: item for item in items}.values():
            document = Document()
            document.add_unsigned("row", item.row)
            document.add_text("body", scoring.pack_tokens(item.tokens))
            document.add_unsigned("length", len(item.tokens))
            document.add_bytes("payload", json.dumps(item.payload).encode())
            for facet in item.facets:
                document.add_text("facets", facet)
            self._writer.add_document(document)

    def delete(self, rows: Rows) -> None:
        if len(rows):
            self._writer.delete_documents_by_query(self._store.rows_query(rows))

    def commit(self) -> None:
        opstamp = self._writer.commit()
        self._writer.wait_merging_threads()
        self._closed = True
        self._store.commit(self._revision, self._part, opstamp)

    def abort(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._writer.rollback()
        self._writer.wait_merging_threads()
        if self._store.manifest is None or self._part not in self._store.manifest.parts:
            shutil.rmtree(self._store.folder / self._part, ignore_errors=True)


def _profiles(documents: Sequence[Document], terms: Sequence[str]) -> TextProfiles:
    return scoring.profiles(
        [cast(int, document.get_first("row")) for document in documents],
        [cast(str, document.get_first("body")) for document in documents],
        [cast(int, document.get_first("length")) for document in documents],
        terms,
    )


def _schema() -> Schema:
    builder = SchemaBuilder()
    builder.add_unsigned_field("row", stored=True, indexed=True, fast=True)
    builder.add_text_field("body", stored=True, tokenizer_name="whitespace", index_option="freq")
    builder.add_unsigned_field("length", stored=True, fast=True)
    builder.add_bytes_field("payload", stored=True)
    builder.add_text_field("facets", tokenizer_name="raw", index_option="basic")
    return builder.build()
