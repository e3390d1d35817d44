"""Texts: found by tantivy, scored exactly from the words of each text, which lie beside it in segments.

Tantivy finds and ranks candidates, and stores payloads. Its scores use quantised lengths and count deleted texts, so
the exact ones are computed from the segments: for each text its length and its fingerprint, for each word and each term
of metadata the texts that have it. Words are stored as 64-bit hashes. Tantivy has the terms too, so that it filters
what it finds.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from tantivy import Document, Index, IndexWriter, Occur, Query, Schema, SchemaBuilder, Searcher

from services.chassis.array_filters import masks
from services.chassis.files import reporting_full_disk, sync_folder
from services.search import scoring, tokens
from services.search.ascending import places_of
from services.search.backend import (
    Fingerprints,
    Position,
    Rows,
    TextCandidates,
    TextItem,
    TextProfiles,
    TextStatistics,
)
from services.search.embedded import manifest as manifests
from services.search.embedded import postings, term_queries
from services.search.embedded.manifest import DamagedFiles, FileDigest, Manifest
from services.search.embedded.segments import (
    Arrays,
    Segment,
    Segments,
    SegmentStore,
    SegmentWriter,
    concatenated,
    last_of_each,
)
from services.search.embedded.term_dictionary import TermDictionary, dictionary_arrays, terms_of
from services.search.embedded.term_queries import ConditionQueries, TooManyTerms
from services.search.where import EVERYWHERE, IsAmong, IsMatching, Where, evaluate

Hashes = NDArray[np.uint64]

_HEAP_BYTES = 64 << 20
_UNCOMMITTED = (".managed.json", ".tantivy-writer.lock", ".tantivy-meta.lock")
"""Files of tantivy that change without a commit."""
_META = "meta.json"
_WORDS = "word"
"""Columns of a segment: see `_columns`."""


@dataclass(frozen=True)
class _Snapshot:
    """A commit of the full-text index: what one search works on."""

    index: Index
    searcher: Searcher
    text_count: int
    """Its texts, and the deleted ones that it still counts."""


class TextStore(SegmentStore):
    """The texts of one stream: documents of a dataset, or labels of a run."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.schema = _schema()
        self._snapshot = self._open(self.manifest.text_part) if self.manifest and self.manifest.text_part else None

    def search(self, terms: Sequence[str], depth: int, where: Where) -> TextCandidates:
        """The best texts that contain one of the terms, in tantivy's order."""
        snapshot, segments = self._current(), self.segments
        parts, statistics = segments.parts, self._statistics(segments, terms)
        query = self._words_query(snapshot, terms, statistics)
        if where != EVERYWHERE:
            dictionaries = [TermDictionary(part) for part in parts]
            try:
                condition = ConditionQueries(snapshot.index, self.schema, dictionaries).query_of(where)
            except TooManyTerms:
                return _search_postings(
                    zip(parts, dictionaries, strict=True),
                    terms,
                    depth=depth,
                    where=where,
                    statistics=statistics,
                )
            query = Query.boolean_query([(Occur.Must, query), (Occur.Must, Query.const_score_query(condition, 0.0))])
        result = cast(Any, snapshot.searcher.search(query, limit=max(depth, 1), count=True))
        hits = result.hits  # copies them all
        addresses = [address for _, address in hits]
        rows = np.array(snapshot.searcher.fast_field_values("row", addresses), dtype=np.uint64)
        scores = np.array([score for score, _ in hits], dtype=np.float64)
        profiles = _profile(parts, terms, np.sort(rows))
        places, is_profiled = places_of(rows, profiles.rows)
        return TextCandidates(profiles.take(places), scores[is_profiled], statistics, int(result.count))

    def profile(self, terms: Sequence[str], rows: Rows) -> TextProfiles:
        """Profiles of those of the ascending rows that are stored."""
        return _profile(self.segments.parts, terms, rows)

    def payloads(self, rows: Rows) -> dict[int, dict[str, Any]]:
        """Payloads by row."""
        if not len(rows):
            return {}
        searcher = self._current().searcher
        # A set of terms would say the same, at five times the cost for the few rows of a page.
        query = Query.boolean_query([(Occur.Should, self._term("row", row)) for row in rows.tolist()])
        hits = searcher.search(query, limit=len(rows), count=False).hits
        documents = [searcher.doc(address) for _, address in hits]
        return {cast(int, document.get_first("row")): _payload(document) for document in documents}

    def find_row(self, name: str) -> int | None:
        """The row of the text with this name."""
        searcher = self._current().searcher
        hits = searcher.search(self._term("name", name), limit=1).hits
        rows = searcher.fast_field_values("row", [address for _, address in hits])
        return int(cast(int, rows[0])) if rows else None

    def rows_where(self, where: Where) -> Rows:
        """Ascending rows of the texts for which a condition is true."""
        matching = [_rows_where(part, where) for part in self.segments.parts]
        return np.sort(concatenated(matching, np.uint64), kind="stable")  # merges what ascends already

    def unchanged(self, rows: Rows, fingerprints: Fingerprints) -> NDArray[np.bool_]:
        """(R,) whether each text is stored already with this fingerprint."""
        order = np.argsort(rows)
        ordered = rows[order]
        same = np.zeros(len(rows), dtype=bool)
        for part in self.segments.parts:
            places = part.find(ordered)
            targets = order[np.searchsorted(ordered, part.rows[places])]
            same[targets] = part.arrays["fingerprints"][places] == fingerprints[targets]
        return same

    def verify(self) -> None:
        """Raises DamagedFiles when a file is not what was written.

        Tantivy merges by itself, and a crash between its commit and ours leaves it ahead of the manifest. Where its
        meta.json is not the committed one, only those of its files are compared that it still refers to.
        """
        if self.manifest is None or self.manifest.text_part is None:
            return super().verify()
        part, digests = self.manifest.text_part, dict(self.manifest.digests)
        meta = digests.pop(f"{part}/{_META}")
        if manifests.digest_of(self.folder / part / _META) != meta:
            names = _tantivy_segments(self.folder / part, self.manifest)
            digests = {
                name: digest
                for name, digest in digests.items()
                if not name.startswith(f"{part}/") or Path(name).name.partition(".")[0] in names
            }
        return manifests.verify(self.folder, digests)

    @property
    def is_ahead(self) -> bool:
        """Whether the full-text index may hold texts that the manifest does not know.

        A crash, or a full disk, came between the two commits. Where a smaller commit followed, only the number of texts
        tells.
        """
        manifest = self.manifest
        if manifest is None or manifest.text_part is None:
            return False
        folder = self.folder / manifest.text_part
        meta = _meta(folder)
        try:
            return meta["opstamp"] != manifest.detail["opstamp"] or _live_count(meta) != manifest.item_count
        except (KeyError, TypeError) as error:
            raise DamagedFiles(f"{folder / _META} is damaged: {error}") from error

    def commit_texts(
        self, position: Position, writer: TextStoreWriter, *, part: str, detail: Mapping[str, int]
    ) -> None:
        """Makes the full-text index of a part, and the writer's segments, the stream at this position."""
        snapshot = self._open(part)

        def publish() -> None:
            self._snapshot = snapshot

        sync_folder(self.folder / part)
        self.commit(
            position,
            writer.segments,
            detail=detail,
            text_part=part,
            text_digests=self._text_digests(part),
            publish=publish,
        )

    def make_index(self, part: str) -> Index:
        """Opens or creates the full-text index of a part, to write into."""
        return Index(self.schema, str(self.folder / part), reuse=True)

    def _text_digests(self, part: str) -> dict[str, FileDigest]:
        """The digests of tantivy's files. They never change, but for meta.json, so committed ones are reused."""
        committed = self.manifest.digests if self.manifest else {}
        digests: dict[str, FileDigest] = {}
        for path in sorted((self.folder / part).iterdir()):
            name = f"{part}/{path.name}"
            if path.name not in _UNCOMMITTED and path.suffix != ".lock":
                is_same = path.name != _META and name in committed and committed[name].size == path.stat().st_size
                digests[name] = committed[name] if is_same else manifests.digest_of(path)
        return digests

    def _open(self, part: str) -> _Snapshot:
        folder = self.folder / part
        try:
            index = Index(self.schema, str(folder), reuse=True)
            index.reload()
            text_count = sum(segment["max_doc"] for segment in _meta(folder)["segments"])
            return _Snapshot(index, index.searcher(), text_count)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedFiles(f"{folder} cannot be opened: {error}") from error

    def _current(self) -> _Snapshot:
        assert self._snapshot is not None, "only committed streams are read"
        return self._snapshot

    def _statistics(self, segments: Segments, terms: Sequence[str]) -> TextStatistics:
        total_length = self.manifest.detail["total_length"] if self.manifest else 0
        counts = sum((_document_frequencies(part, terms) for part in segments.parts), np.zeros(len(terms)))
        return TextStatistics(segments.live_count, total_length, counts)

    def _words_query(self, snapshot: _Snapshot, terms: Sequence[str], statistics: TextStatistics) -> Query:
        """Texts that have one of the terms. Each term weighs as in exact scores: tantivy counts deleted texts too."""
        exact = scoring.idf(statistics.document_count, statistics.document_frequencies)
        frequencies = np.array([snapshot.searcher.doc_freq("body", term) for term in terms], dtype=np.float64)
        boosts = exact / scoring.idf(snapshot.text_count, frequencies)
        return Query.boolean_query(
            [
                (Occur.Should, Query.boost_query(self._term("body", term), boost))
                for term, boost in zip(terms, boosts.tolist(), strict=True)
            ]
        )

    def _term(self, field: str, value: str | int) -> Query:
        return Query.term_query(self.schema, field, value, index_option="freq" if field == "body" else "basic")


@dataclass(frozen=True)
class _Words:
    """What a segment stores of one text."""

    row: int
    length: int
    fingerprint: int
    terms: Hashes
    counts: NDArray[np.uint32]
    """(T,) how often each term occurs."""
    metadata_terms: Sequence[bytes]


class TextStoreWriter(SegmentWriter[_Words]):
    """Adds texts to a store: tantivy commits first, then the manifest, which counts."""

    BUFFER_SIZE = 4 << 20
    """Distinct words of texts."""

    def __init__(self, store: TextStore, position: Position, *, rebuild: bool) -> None:
        self._deletes_unknown_rows = store.is_ahead
        self._texts = store
        part = None if rebuild or store.manifest is None else store.manifest.text_part
        self._part = part or manifests.new_part(store.folder)
        self._index: IndexWriter | None = self._new_writer() if part is None else None
        super().__init__(store, position, rebuild=rebuild)
        self.detail.setdefault("total_length", 0)

    def upsert(self, items: Sequence[TextItem]) -> None:
        """Adds texts, or replaces those of the same rows."""
        latest = {item.row: item for item in items}
        self._delete_texts(np.array(sorted(latest), dtype=np.uint64))
        with reporting_full_disk(self.store.folder):
            for item in latest.values():
                words = tokens.tokens(item.text)
                self._open_index().add_document(_document(item, words))
                self.add(_words(item, words))

    def delete(self, rows: Rows) -> None:
        super().delete(rows)
        self._delete_texts(np.unique(rows).astype(np.uint64))

    def commit(self) -> None:
        with reporting_full_disk(self.store.folder):
            self._flush()
            if (index := self._index) is not None:
                self.detail["opstamp"] = index.commit()
                self._index = None  # there is nothing to roll back any more, and the wait uses the writer up
                index.wait_merging_threads()
        super().commit()

    def finish(self) -> None:
        self._texts.commit_texts(self.position, self, part=self._part, detail=self.detail)

    def abort(self) -> None:
        if self._closed:
            return
        index, self._index = self._index, None
        try:
            if index is not None:
                index.rollback()
                index.wait_merging_threads()
        finally:
            if self.store.manifest is None or self._part not in self.store.manifest.folders:
                shutil.rmtree(self.store.folder / self._part, ignore_errors=True)
            super().abort()

    def size(self, block: _Words) -> int:
        return len(block.terms) + 4 * len(block.metadata_terms)  # these are texts, the others numbers

    def joined(self, blocks: Sequence[_Words]) -> tuple[Rows, Arrays]:
        rows = np.array([block.row for block in blocks], dtype=np.uint64)
        texts = [blocks[place] for place in last_of_each(rows).tolist()]
        arrays = {
            "lengths": np.array([text.length for text in texts], dtype=np.uint32),
            "fingerprints": np.array([text.fingerprint for text in texts], dtype=np.uint64),
            **_columns(
                _WORDS,
                concatenated([text.terms for text in texts], np.uint64),
                {
                    "places": _places([text.terms for text in texts]),
                    "counts": concatenated([text.counts for text in texts], np.uint32),
                },
            ),
            **_dictionary([text.metadata_terms for text in texts]),
        }
        return np.array([text.row for text in texts], dtype=np.uint64), arrays

    def merged(self, parts: Sequence[Segment]) -> tuple[Rows, Arrays]:
        rows = concatenated([part.rows[part.live] for part in parts], np.uint64)
        order = np.argsort(rows)
        lengths = concatenated([part.arrays["lengths"][part.live] for part in parts], np.uint32)
        fingerprints = concatenated([part.arrays["fingerprints"][part.live] for part in parts], np.uint64)
        arrays = {
            "lengths": lengths[order],
            "fingerprints": fingerprints[order],
            **_merged_columns(parts, order, _WORDS, [part.arrays["word_keys"] for part in parts], counted=True),
            **_merged_dictionary(parts, order),
        }
        return rows[order], arrays

    def empty(self) -> Arrays:
        return self.joined([])[1]

    def appended(self, segment: Segment) -> None:
        """Keeps the sum of all lengths: the new ones come, those of replaced and deleted texts go."""
        hidden = np.union1d(segment.rows, segment.deleted)
        replaced = sum(int(part.arrays["lengths"][part.find(hidden)].sum()) for part in self.segments.parts)
        self.detail["total_length"] += int(segment.arrays["lengths"].sum()) - replaced

    def _open_index(self) -> IndexWriter:
        """Tantivy's writer; opened by the first change, because a position often moves without one."""
        if self._index is None:
            self._index = self._new_writer()
        return self._index

    def _new_writer(self) -> IndexWriter:
        return self._texts.make_index(self._part).writer(heap_size=_HEAP_BYTES, num_threads=1)

    def _delete_texts(self, rows: Rows) -> None:
        """Deletes rows from the full-text index, of those that may be there."""
        buffered = np.array([block.row for block in self._blocks], dtype=np.uint64)
        stored = rows[self.segments.existing(rows) | np.isin(rows, buffered) | self._deletes_unknown_rows]
        if len(stored):
            self._open_index().delete_documents_by_query(
                Query.term_set_query(self._texts.schema, "row", stored.tolist())
            )


def hashes_of(words: Sequence[str]) -> Hashes:
    """(W,) 64-bit hashes of words."""
    return np.array([_hash(word) for word in words], dtype=np.uint64)


@lru_cache(maxsize=1 << 17)
def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")


def _words(item: TextItem, words: Sequence[str]) -> _Words:
    frequencies = Counter(words)
    return _Words(
        row=item.row,
        length=len(words),
        fingerprint=item.fingerprint,
        terms=hashes_of(list(frequencies)),
        counts=np.fromiter(frequencies.values(), dtype=np.uint32, count=len(frequencies)),
        metadata_terms=[term.encode() for term in item.terms],
    )


def _document(item: TextItem, words: Sequence[str]) -> Document:
    document = Document()
    document.add_unsigned("row", item.row)
    document.add_text("body", " ".join(words))
    document.add_bytes("payload", json.dumps(item.payload, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    if item.name is not None:
        document.add_text("name", item.name)
    indexed_terms, columns = term_queries.indexed_terms(item.terms)
    for term in indexed_terms:
        document.add_text(term_queries.TERMS, term)
    if columns:
        document.add_json(term_queries.COLUMNS, columns)
    return document


def _payload(document: Document) -> dict[str, Any]:
    return json.loads(bytes(cast(bytes, document.get_first("payload"))).decode("utf-8", "surrogatepass"))


def _profile(parts: Sequence[Segment], terms: Sequence[str], rows: Rows) -> TextProfiles:
    """Profiles of those of the ascending rows that are stored, ascending."""
    hashes = hashes_of(terms)
    profiles = [_profile_in(part, hashes, places) for part in parts if len(places := part.find(rows))]
    stored = _joined_profiles(profiles, len(terms))
    return stored.take(np.argsort(stored.rows))


def _joined_profiles(profiles: Sequence[TextProfiles], term_count: int) -> TextProfiles:
    """Profiles of several segments, one after the other."""
    return TextProfiles(
        concatenated([profile.rows for profile in profiles], np.uint64),
        np.concatenate([np.empty((0, term_count)), *(profile.frequencies for profile in profiles)]),
        concatenated([profile.lengths for profile in profiles], np.float64),
    )


def _profile_in(part: Segment, hashes: Hashes, places: NDArray[np.intp]) -> TextProfiles:
    """Profiles of texts of one segment, at ascending places, by the hashes of the terms."""
    frequencies = np.zeros((len(places), len(hashes)))
    texts = places.astype(np.uint32)  # of the type of what it is looked up among, which is not copied then
    for term, column in enumerate(_column(part, _WORDS, hashes)):
        if column is not None:
            entries, has_term = places_of(texts, part.arrays["word_places"][column])
            frequencies[has_term, term] = part.arrays["word_counts"][column][entries]
    return TextProfiles(part.rows[places], frequencies, part.arrays["lengths"][places].astype(np.float64))


def _places(keys: Sequence[Hashes] | Sequence[Sequence[bytes]]) -> NDArray[np.uint32]:
    """The place of the text of each of its keys."""
    return np.repeat(np.arange(len(keys), dtype=np.uint32), [len(part) for part in keys])


def _columns(name: str, keys: Hashes, values: Mapping[str, NDArray[np.uint32]]) -> Arrays:
    """The texts that have each key, in CSC form: ascending `keys`, and of each its ascending `places` and `counts`.

    keys: (E,) of each text and each of its keys. values: (E,) `places` of the texts, which ascend for each key, and
    how often the text has the key, if that is counted.
    """
    order = np.argsort(keys, kind="stable")
    distinct, starts = np.unique(keys[order], return_index=True)
    return {
        f"{name}_keys": distinct,
        f"{name}_starts": np.append(starts, len(keys)).astype(np.uint64),
        **{f"{name}_{value}": column[order] for value, column in values.items()},
    }


def _dictionary(terms: Sequence[Sequence[bytes]]) -> Arrays:
    """The dictionary of texts with these terms."""
    distinct = sorted({term for text in terms for term in text})
    numbers = {term: number for number, term in enumerate(distinct)}
    keys = np.array([numbers[term] for text in terms for term in text], dtype=np.uint64)
    columns = _columns("term", keys, {"places": _places(terms)})
    return dictionary_arrays(distinct, columns["term_starts"], columns["term_places"])


def _merged_dictionary(parts: Sequence[Segment], order: NDArray[np.intp]) -> Arrays:
    """The dictionary of a merge whose texts are the live ones of all parts, in this order."""
    dictionaries = [terms_of(part) for part in parts]
    distinct = sorted({term for terms in dictionaries for term in terms})
    numbers = {term: number for number, term in enumerate(distinct)}
    keys = [np.array([numbers[term] for term in terms], dtype=np.uint64) for terms in dictionaries]
    columns = _merged_columns(parts, order, "term", keys, counted=False)
    live_terms = [distinct[number] for number in columns["term_keys"].tolist()]
    return dictionary_arrays(live_terms, columns["term_starts"], columns["term_places"])


def _merged_columns(
    parts: Sequence[Segment], order: NDArray[np.intp], name: str, part_keys: Sequence[Hashes], *, counted: bool
) -> Arrays:
    """The columns of a merge whose texts are the live ones of all parts, in this order. part_keys: of the parts."""
    new_places = np.empty(len(order), dtype=np.uint32)
    new_places[order] = np.arange(len(order), dtype=np.uint32)
    keys, places, counts = list[Hashes](), list[NDArray[np.uint32]](), list[NDArray[np.uint32]]()
    offset = 0
    for part, distinct_keys in zip(parts, part_keys, strict=True):
        texts = part.arrays[f"{name}_places"]
        live = part.live[texts]
        text_counts = np.diff(part.arrays[f"{name}_starts"].astype(np.int64))
        keys.append(np.repeat(distinct_keys, text_counts)[live])
        places.append(new_places[offset + (np.cumsum(part.live) - 1)[texts[live]]])
        if counted:
            counts.append(part.arrays[f"{name}_counts"][live])
        offset += int(part.live.sum())
    all_keys, values = concatenated(keys, np.uint64), {"places": concatenated(places, np.uint32)}
    if counted:
        values["counts"] = concatenated(counts, np.uint32)
    if np.any(np.diff(order) < 0):  # rows of one part lie between those of another, as where rows were replaced
        by_place = np.argsort(values["places"], kind="stable")
        all_keys, values = all_keys[by_place], {value: column[by_place] for value, column in values.items()}
    return _columns(name, all_keys, values)


def _column(part: Segment, name: str, keys: Hashes) -> list[slice | None]:
    """Where the places of each key lie in a segment; None for a key that no text has."""
    stored, starts = part.arrays[f"{name}_keys"], part.arrays[f"{name}_starts"]
    places = np.searchsorted(stored, keys)
    return [
        slice(int(starts[place]), int(starts[place + 1])) if place < len(stored) and stored[place] == key else None
        for place, key in zip(places.tolist(), keys, strict=True)
    ]


def _document_frequencies(part: Segment, terms: Sequence[str]) -> NDArray[np.float64]:
    """(T,): live texts of a segment that have each term."""
    hashes, places = hashes_of(terms), part.arrays["word_places"]
    counts = [
        0 if column is None else postings.count_live(part, key, places[column])
        for key, column in zip(hashes.tolist(), _column(part, _WORDS, hashes), strict=True)
    ]
    return np.array(counts, dtype=np.float64)


def _rows_where(part: Segment, where: Where) -> Rows:
    """Live rows of a segment for which a condition is true."""
    return part.rows[_mask(part, TermDictionary(part), where)]


def _mask(part: Segment, dictionary: TermDictionary, where: Where) -> NDArray[np.bool_]:
    """(R,) which texts of a segment are live, and the condition is true of them."""

    def leaf(leaf: IsMatching | IsAmong) -> NDArray[np.bool_]:
        return dictionary.texts_with(leaf.test) if isinstance(leaf, IsMatching) else part.allowed(leaf.rows)

    return evaluate(where, leaf, masks(len(part.rows))) & part.live


def _search_postings(
    parts: Iterable[tuple[Segment, TermDictionary]],
    terms: Sequence[str],
    depth: int,
    where: Where,
    statistics: TextStatistics,
) -> TextCandidates:
    """The best texts that contain one of the terms, and for which a condition is true, by the segments alone."""
    hashes = hashes_of(terms)
    profiles: list[TextProfiles] = []
    for part, dictionary in parts:
        columns = [column for column in _column(part, _WORDS, hashes) if column is not None]
        mask = np.zeros(len(part.rows), dtype=bool)
        for column in columns:
            mask[part.arrays["word_places"][column]] = True
        if columns:
            profiles.append(_profile_in(part, hashes, np.flatnonzero(mask & _mask(part, dictionary, where))))
    matching = _joined_profiles(profiles, len(terms))
    scores = scoring.bm25(matching, statistics)
    best = scoring.best(matching.rows, scores, max(depth, 1))
    return TextCandidates(matching.take(best), scores[best], statistics, len(matching.rows))


def _meta(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / _META).read_bytes())
    except (OSError, ValueError) as error:
        raise DamagedFiles(f"{folder / _META} cannot be read: {error}") from error


def _live_count(meta: Mapping[str, Any]) -> int:
    """How many texts tantivy has. Raises KeyError, TypeError."""
    return sum(
        segment["max_doc"] - (segment["deletes"] or {"num_deleted_docs": 0})["num_deleted_docs"]
        for segment in meta["segments"]
    )


def _tantivy_segments(folder: Path, manifest: Manifest) -> set[str]:
    """The names that the files of tantivy's segments begin with. Raises DamagedFiles when it is behind the manifest."""
    meta = _meta(folder)
    try:
        live = _live_count(meta)
        committed = manifest.detail["opstamp"]
        if meta["opstamp"] < committed or (meta["opstamp"] == committed and live != manifest.item_count):
            raise DamagedFiles(f"{folder / _META} is not what was committed")
        return {str(segment["segment_id"]).replace("-", "") for segment in meta["segments"]}
    except (KeyError, TypeError) as error:
        raise DamagedFiles(f"{folder / _META} is damaged: {error}") from error


def _schema() -> Schema:
    builder = SchemaBuilder()
    builder.add_unsigned_field("row", stored=True, indexed=True, fast=True)
    builder.add_text_field("body", tokenizer_name="whitespace", index_option="freq")
    builder.add_bytes_field("payload", stored=True)
    builder.add_text_field("name", tokenizer_name="raw", index_option="basic")
    builder.add_text_field(term_queries.TERMS, tokenizer_name="raw", index_option="basic")
    builder.add_json_field(term_queries.COLUMNS, tokenizer_name="raw", index_option="basic", fast=True)
    return builder.build()
