"""The OpenSearch back end: an index for each stream, reached by an alias, so that a new one replaces it at once.

Names: alias `<prefix>-<kind>-<uid>`, index `<prefix>-<kind>-<uid>-<number>`. The cluster finds candidates, in full
where it can (vectors, codes); the exact scores that all back ends share are computed by the service from stored values.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from opensearchpy.exceptions import NotFoundError, RequestError

from prisma_common.wire import Codes
from services.search import scoring
from services.search.backend import (
    MAX_DEPTH,
    Candidates,
    Fingerprints,
    Kind,
    LatentQuery,
    Latents,
    Position,
    Rows,
    Scores,
    Stream,
    StreamState,
    TextCandidates,
    TextProfiles,
    TextStatistics,
    Vectors,
    WrongDimension,
)
from services.search.errors import BackendRefusal, BackendUnavailable, IndexNotReady, WrittenElsewhere
from services.search.opensearch import mappings, packing
from services.search.opensearch.bulk import BulkWriter
from services.search.opensearch.cluster import Access, Cluster, among
from services.search.opensearch.frequencies import DocumentFrequencies
from services.search.opensearch.layout import Layout, Settings, flat_settings, new_settings
from services.search.opensearch.leases import Leases
from services.search.opensearch.term_queries import query_of
from services.search.opensearch.writers import CodeWriter, TextWriter, VectorWriter
from services.search.where import EVERYWHERE, Where

_log = logging.getLogger(__name__)
_STATE_SECONDS = 1.0
_LEAST_BOOST = 1e-6
_IS_ZERO = {"term": {"zero": True}}
_BARE: dict[str, Any] = {"_source": False, "stored_fields": "_none_"}
"""Of hits that are doc values and sort values alone."""
_WRITE = "-write"
"""Of the alias that an index is written through: see BulkWriter."""
_ANY_LAYOUT = Layout()
_NUMBER_DIGITS = 12
_MARGIN = 32
_FETCHED = 1000


class OpenSearchIndex:
    """Indices of one prefix in a cluster."""

    def __init__(
        self,
        access: Access,
        *,
        prefix: str = "prisma",
        layout: Layout = _ANY_LAYOUT,
        lease_seconds: float = 30.0,
        patience_seconds: float = 60.0,
    ) -> None:
        """lease_seconds: of silence after which another process writes a stream. patience_seconds: see BulkWriter."""
        self.cluster = Cluster(access)
        self._prefix = prefix
        kinds = "|".join(kind.value for kind in Kind)
        self._own_name = re.compile(f"{re.escape(prefix)}-(?:{kinds})-([^-]+)-[0-9a-f]{{{_NUMBER_DIGITS}}}")
        """Of an index of ours; others may have names with our prefix."""
        self._layout = layout
        self._leases = Leases(self.cluster, prefix, seconds=lease_seconds)
        self._patience = patience_seconds
        self._frequencies = DocumentFrequencies()
        self._states: dict[Stream, tuple[float, tuple[str, dict[str, Any]]]] = {}

    @property
    def name(self) -> str:
        return "opensearch"

    def check(self) -> str:
        lease_name = f"{self._prefix}_leases"
        patterns = ",".join([*(self._pattern(kind) for kind in Kind), f"{lease_name}*"])
        with self.cluster.outages():
            health = self.cluster.client.cluster.health(
                index=patterns, params={"expand_wildcards": "all", "level": "indices"}
            )
            version = self.cluster.client.info()["version"]["number"]
        indices: Mapping[str, Any] = health.get("indices", {})
        states = {index["status"] for name, index in indices.items() if self._is_ours(name) or name == lease_name}
        if "red" in states:
            raise BackendUnavailable(
                f"OpenSearch at {self.cluster.address}: shards of our indices have no copy at work"
            )
        status = "yellow" if "yellow" in states else "green"
        nodes, name = health["number_of_nodes"], health["cluster_name"]
        return f"OpenSearch {version} at {self.cluster.address}, cluster {name}, {status}, nodes: {nodes}"

    def state(self, stream: Stream) -> StreamState | None:
        current = self._recent(stream)
        if current is None or "revision" not in current[1]:
            return None
        meta = current[1]
        return StreamState(Position(meta["history"], meta["revision"]), meta["item_count"], meta["update_time"])

    def scrub(self) -> list[Stream]:
        """None: the cluster verifies its own files."""
        return []

    def uids(self) -> set[str]:
        with self.cluster.outages():
            names = self.cluster.client.indices.get_alias(index=f"{self._prefix}-*", params=_ANY)
        return {match[1] for name in names if (match := self._own_name.fullmatch(name))}

    def size_bytes(self, uid: str) -> int:
        with self.cluster.outages():
            stats = self.cluster.client.indices.stats(index=self._patterns(uid), metric="store")
        return int(stats["_all"]["total"].get("store", {}).get("size_in_bytes", 0))

    def delete(self, uid: str) -> None:
        with self.cluster.outages():
            names = self.cluster.client.indices.get_alias(index=self._patterns(uid), params=_ANY)
        self._delete_all([name for name in names if self._is_ours(name)])
        for kind in Kind:
            self.forget(Stream(kind, uid))

    def claim(self, stream: Stream) -> None:
        self._leases.take(stream)
        self.forget(stream)

    def release(self, stream: Stream) -> None:
        try:
            self._leases.release(stream)
        except BackendUnavailable as error:
            _log.info("a lease is left to run out: %s", error.message)

    def text_writer(self, stream: Stream, position: Position, *, rebuild: bool = False) -> TextWriter:
        return TextWriter(self, stream, position, rebuild=rebuild)

    def vector_writer(self, stream: Stream, position: Position, *, rebuild: bool = False) -> VectorWriter:
        return VectorWriter(self, stream, position, rebuild=rebuild)

    def code_writer(self, stream: Stream, position: Position, *, rebuild: bool = False) -> CodeWriter:
        return CodeWriter(self, stream, position, rebuild=rebuild)

    def unchanged(self, stream: Stream, rows: Rows, fingerprints: Fingerprints) -> NDArray[np.bool_]:
        hits = self._fetch(stream, np.sort(rows), ["fingerprint"])
        stored = {_row(hit): hit["fields"]["fingerprint"][0] for hit in hits}
        pairs = zip(rows.tolist(), fingerprints.tolist(), strict=True)
        same = [stored.get(row) == format(value, packing.FINGERPRINT_FORMAT) for row, value in pairs]
        return np.array(same, dtype=bool)

    def search_text(
        self, stream: Stream, terms: Sequence[str], depth: int, where: Where = EVERYWHERE
    ) -> TextCandidates:
        _, meta = self._ready(stream)
        statistics = self._text_statistics(stream, meta, terms)
        weights = scoring.idf(statistics.document_count, statistics.document_frequencies)
        matches = [_term(term, boost=weight) for term, weight in zip(terms, weights.tolist(), strict=True)]
        condition = {} if where == EVERYWHERE else {"filter": [query_of(where)]}
        body = {
            "query": {"bool": {"should": matches, "minimum_should_match": 1, **condition}},
            "size": min(max(depth, 1), MAX_DEPTH),
            "sort": ["_score", {"row": "asc"}],
            "track_scores": True,
            "track_total_hits": True,
            **_counted(terms),
        }
        if not terms:
            body["query"] = {"match_none": {}}
        answer = self._search(stream, body, scored=True)
        hits = answer["hits"]["hits"]
        scores = np.array([hit["sort"][0] for hit in hits], dtype=np.float64)
        return TextCandidates(_profiles(hits, terms), scores, statistics, answer["hits"]["total"]["value"])

    def _text_statistics(self, stream: Stream, meta: Mapping[str, Any], terms: Sequence[str]) -> TextStatistics:
        """Those of the last commit; words that nobody has searched since then are counted."""
        frequencies = self._frequencies.stored(stream, meta, terms)
        new_terms = [term for term in terms if term not in frequencies]
        if new_terms:
            counted = {str(place): {"filter": _term(term)} for place, term in enumerate(new_terms)}
            buckets = self._search(stream, {"size": 0, "track_total_hits": False, "aggs": counted})["aggregations"]
            counts = {term: int(buckets[str(place)]["doc_count"]) for place, term in enumerate(new_terms)}
            self._frequencies.store(stream, meta, counts)
            frequencies |= counts
        # a commit in progress shows its texts before their number
        document_count = max(meta["item_count"], *frequencies.values(), 0)
        counts_in_order = np.array([frequencies[term] for term in terms], dtype=np.float64)
        return TextStatistics(document_count, meta["total_length"], counts_in_order)

    def profile_texts(self, stream: Stream, terms: Sequence[str], rows: Rows) -> TextProfiles:
        return _profiles(self._fetch(stream, rows, [], body=_counted(terms)), terms)

    def payloads(self, stream: Stream, rows: Rows) -> dict[int, dict[str, Any]]:
        hits = self._fetch(stream, rows, [], body={"_source": True, "stored_fields": ["_source"]})
        return {_row(hit): hit["_source"]["payload"] for hit in hits}

    def rows(self, stream: Stream) -> Rows:
        return self._rows(stream, {"match_all": {}})

    def existing(self, stream: Stream, rows: Rows) -> NDArray[np.bool_]:
        if self._count(stream, among(rows)) == len(rows):
            return np.ones(len(rows), dtype=bool)
        return np.isin(rows, _rows(self._fetch(stream, np.sort(rows), [])))

    def find_row(self, stream: Stream, name: str) -> int | None:
        body = {"query": {"term": {"name": name}}, "size": 1, "sort": [{"row": "asc"}], **_BARE}
        hits = self._search(stream, body)["hits"]["hits"]
        return _row(hits[0]) if hits else None

    def rows_where(self, stream: Stream, where: Where) -> Rows:
        return self._rows(stream, {"bool": {"filter": [query_of(where)]}})

    def search_vectors(self, stream: Stream, query: Vectors, depth: int, allowed: Rows | None) -> Candidates:
        """A script over all vectors, in float32; the best and a margin are then scored exactly."""
        _, meta = self._ready(stream)
        dimension = meta.get("dimension", 0)
        if dimension and query.shape != (dimension,):
            raise WrongDimension(f"expected a query vector of dimension {dimension}, got {query.shape}")
        if not dimension:
            rows = self._rows(stream, {"bool": {"filter": among(allowed)}})
            return Candidates(rows[:depth], np.zeros(min(depth, len(rows))), len(rows))
        has_zeros = meta.get("zero_count", 1) > 0
        try:
            answer = self._search(stream, _nearest(query, depth, allowed, has_zeros=has_zeros))
        except BackendRefusal:  # another process has just written a zero vector, which the script refuses
            if has_zeros:
                raise
            has_zeros = True
            answer = self._search(stream, _nearest(query, depth, allowed, has_zeros=has_zeros))
        total = answer["hits"]["total"]["value"]
        if has_zeros:
            total += answer["aggregations"]["all"]["zeros"]["doc_count"]
        rows, vectors = _vectors(answer["hits"]["hits"], dimension)
        if len(rows) < min(depth, total):  # zero vectors have cosine 0 with everything
            zero_rows = self._rows(stream, _zeros(allowed))[:depth]
            rows = np.append(rows, zero_rows)
            vectors = np.vstack([vectors, np.zeros((len(zero_rows), dimension), np.float32)])
        scores = scoring.cosines(query, vectors)
        best = scoring.order(rows, scores)[:depth]
        return Candidates(rows[best], scores[best], total)

    def vectors(self, stream: Stream, rows: Rows) -> tuple[Rows, Vectors]:
        _, meta = self._ready(stream)
        return _vectors(self._fetch(stream, rows, ["bits"]), meta.get("dimension", 0))

    def search_codes(self, stream: Stream, query: LatentQuery, depth: int, allowed: Rows | None) -> Candidates:
        """Features choose candidates, which are scored exactly; more of them, until no other can be among the best.

        Negative weights, which features cannot have, are left to a script over all rows that share a latent.
        """
        if not len(query.indices):
            self._ready(stream)
            return Candidates(np.empty(0, np.uint64), np.empty(0), 0)
        size = depth + max(_MARGIN, depth // 2)
        while query.weights.min() > 0 and size < MAX_DEPTH:
            candidates, bound = self._search_features(stream, query, size, allowed)
            if len(candidates.rows) < size or candidates.scores[depth - 1] > bound:
                best = slice(None, depth)
                return Candidates(candidates.rows[best], candidates.scores[best], candidates.total)
            size *= 4
        return self._search_all_codes(stream, query, depth, allowed)

    def _search_features(
        self, stream: Stream, query: LatentQuery, size: int, allowed: Rows | None
    ) -> tuple[Candidates, float]:
        """Candidates with their exact scores, and a bound of the scores of all others."""
        _, meta = self._ready(stream)
        scale = float(query.weights.max())  # boosts are float32
        sharing = [
            {"rank_feature": {"field": f"features.{latent}", "boost": max(weight / scale, _LEAST_BOOST), "linear": {}}}
            for latent, weight in zip(query.indices.tolist(), query.weights.tolist(), strict=True)
        ]
        body = {
            "query": {"bool": {"should": sharing, "minimum_should_match": 1, "filter": among(allowed)}},
            "size": size,
            "sort": ["_score", {"row": "asc"}],
            "docvalue_fields": ["codes"],
            "track_total_hits": True,
            **_BARE,
        }
        answer = self._search(stream, body)
        hits = answer["hits"]["hits"]
        order = np.argsort(_rows(hits))
        hits = [hits[place] for place in order]
        codes = _codes(hits, meta.get("latent_count", 0))
        scores = scoring.dots(query, codes)
        best = scoring.order(codes.rows, scores)
        least = min((hit["sort"][0] for hit in hits), default=0.0) * scale
        bound = least * (1 + packing.FEATURE_ERROR) + _LEAST_BOOST * scale
        return Candidates(codes.rows[best], scores[best], answer["hits"]["total"]["value"]), bound

    def _search_all_codes(self, stream: Stream, query: LatentQuery, depth: int, allowed: Rows | None) -> Candidates:
        """A script over the rows that share a latent: exactly, in double, as the embedded back end does."""
        sharing = [{"range": {"codes": packing.latent_range(int(i), 0.0, inclusive=False)}} for i in query.indices]
        parameters = {"indices": query.indices.tolist(), "weights": query.weights.tolist()}
        script = {"lang": "painless", "source": packing.DOT_PRODUCT, "params": parameters}
        body: dict[str, Any] = {
            "query": {"bool": {"filter": [{"bool": {"should": sharing, "minimum_should_match": 1}}, *among(allowed)]}},
            "size": min(depth, MAX_DEPTH),
            "sort": [{"_script": {"type": "number", "order": "desc", "script": script}}, {"row": "asc"}],
            "track_total_hits": True,
            **_BARE,
        }
        answer = self._search(stream, body)
        hits = answer["hits"]["hits"]
        rows = _rows(hits)
        scores = np.array([hit["sort"][0] for hit in hits], dtype=np.float64).round(scoring.DECIMALS)
        order = scoring.order(rows, scores)
        return Candidates(rows[order], scores[order], answer["hits"]["total"]["value"])

    def codes(self, stream: Stream, rows: Rows) -> Codes:
        _, meta = self._ready(stream)
        return _codes(self._fetch(stream, rows, ["codes"]), meta.get("latent_count", 0))

    def rows_with_latent(self, stream: Stream, latent: int, minimum: float, *, inclusive: bool) -> Rows:
        bounds = packing.latent_range(latent, minimum, inclusive=inclusive)
        return self._rows(stream, {"range": {"codes": bounds}})

    def max_activations(self, stream: Stream, latents: Latents) -> Scores:
        """A script over the rows of each latent reads its activation: its dot product with a weight of 1."""
        if not len(latents):
            return np.empty(0)
        body = {"size": 0, "aggs": {str(latent): _max_activation(latent) for latent in latents.tolist()}}
        maxima = self._search(stream, body)["aggregations"]
        return np.array([maxima[str(latent)]["max"]["value"] or 0.0 for latent in latents.tolist()], dtype=np.float64)

    def latent_count(self, stream: Stream) -> int:
        return int(self._ready(stream)[1].get("latent_count", 0))

    def close(self) -> None:
        self.cluster.client.close()

    def current(self, stream: Stream) -> tuple[str, dict[str, Any]] | None:
        """The index in use, and its mapping's `_meta`; None for none, or one of another version."""
        with self.cluster.outages():
            try:
                indices = self.cluster.client.indices.get_mapping(index=self._alias(stream))
            except NotFoundError:
                return None
        name, index = next(iter(indices.items()))
        meta = index["mappings"].get("_meta", {})
        return (name, meta) if meta.get("version") == mappings.VERSION else None

    def renew(self, stream: Stream) -> None:
        """Shows that this process still writes a stream. Raises WrittenElsewhere where another one does."""
        self._leases.renew(stream)

    def bulk(self, stream: Stream, name: str) -> BulkWriter:
        return BulkWriter(
            self.cluster, f"{name}{_WRITE}", patience=self._patience, before=partial(self._leases.renew, stream)
        )

    def forget(self, stream: Stream) -> None:
        """Has the state of a stream read again."""
        self._states.pop(stream, None)

    def _recent(self, stream: Stream) -> tuple[str, dict[str, Any]] | None:
        """As `current`, at most a second old where another process commits."""
        now = time.monotonic()
        read_time, state = self._states.get(stream, (-math.inf, None))
        if state is None or now - read_time > _STATE_SECONDS:
            state = self.current(stream)
            if state is not None and "revision" in state[1]:
                self._states[stream] = (now, state)
        return state

    def make(self, stream: Stream, meta: dict[str, Any]) -> str:
        """Creates an empty index that is not in use yet, after deleting what rebuilds that were killed have left."""
        alias = self._alias(stream)
        name = f"{alias}-{uuid4().hex[:_NUMBER_DIGITS]}"
        self._delete_all(self.unused(stream))
        replaced, recorded = self._replaced_settings(stream)
        settings = new_settings(self.cluster, name, self._layout, replaced=replaced, recorded=recorded)
        body = {
            "settings": {**settings, **mappings.settings(stream.kind)},
            "mappings": mappings.mapping(stream.kind, 0, meta),
            "aliases": {f"{name}{_WRITE}": {}},
        }
        with self.cluster.outages():
            try:
                self.cluster.client.indices.create(index=name, body=body)
            except RequestError as error:  # the answer to a first try was lost
                if error.error != "resource_already_exists_exception":
                    raise
        meta["settings"] = flat_settings(self.cluster, name)
        return name

    def take(self, stream: Stream, name: str) -> None:
        """Switches the stream to an index, in one step of the cluster, then deletes the old one."""
        alias = self._alias(stream)
        self._leases.renew(stream)
        with self.cluster.outages():
            try:
                old_names = [other for other in self.cluster.client.indices.get_alias(name=alias) if other != name]
            except NotFoundError:
                old_names = []
            actions = [{"remove": {"index": other, "alias": alias}} for other in old_names]
            try:
                self.cluster.client.indices.update_aliases(
                    body={"actions": [*actions, {"add": {"index": name, "alias": alias}}]}
                )
            except NotFoundError as error:
                if name in self.unused(stream):  # otherwise it was done, and the answer was lost
                    raise WrittenElsewhere("another search service has replaced the index meanwhile") from error
        self._delete_all(self.unused(stream))

    def discard(self, stream: Stream, name: str) -> None:
        """Deletes an index unless it is in use."""
        if name in self.unused(stream):
            self._delete_all([name])

    def unused(self, stream: Stream) -> list[str]:
        """The stream's indices that its alias does not lead to."""
        alias = self._alias(stream)
        with self.cluster.outages():
            indices = self.cluster.client.indices.get_alias(index=f"{alias}-*", params=_ANY)
        own = {name: index for name, index in indices.items() if self._is_ours(name)}
        return [name for name, index in own.items() if alias not in index["aliases"]]

    def _delete_all(self, names: Sequence[str]) -> None:
        if names:  # by name: clusters may refuse to delete by pattern
            with self.cluster.outages():
                self.cluster.client.indices.delete(index=",".join(names), params={"ignore_unavailable": "true"})

    def _replaced_settings(self, stream: Stream) -> tuple[Settings, Settings]:
        """Of the index in use, of whatever version: its settings, and those that it was created with."""
        with self.cluster.outages():
            try:
                name, index = next(iter(self.cluster.client.indices.get_mapping(index=self._alias(stream)).items()))
            except NotFoundError:
                return {}, {}
        recorded = index["mappings"].get("_meta", {}).get("settings", {})
        return flat_settings(self.cluster, name), recorded

    def _ready(self, stream: Stream) -> tuple[str, dict[str, Any]]:
        current = self._recent(stream)
        if current is None or "revision" not in current[1]:
            raise _not_ready(stream)
        return current

    def _search(self, stream: Stream, body: dict[str, Any], *, scored: bool = False) -> dict[str, Any]:
        answer = self.cluster.search(self._alias(stream), body, scored=scored)
        if answer is None:
            raise _not_ready(stream)
        return answer

    def _rows(self, stream: Stream, query: dict[str, Any]) -> Rows:
        rows = self.cluster.rows(self._alias(stream), query)
        if rows is None:
            raise _not_ready(stream)
        return rows

    def _count(self, stream: Stream, clauses: list[dict[str, Any]]) -> int:
        body = {"query": {"bool": {"filter": clauses}}, "size": 0, "track_total_hits": True}
        return int(self._search(stream, body)["hits"]["total"]["value"])

    def _fetch(
        self, stream: Stream, rows: Rows, fields: list[str], body: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """The hits of some rows, ascending, with doc values of fields. body: more of the request."""
        hits: list[dict[str, Any]] = []
        for start in count(0, _FETCHED):
            part = rows[start : start + _FETCHED]
            if start and not len(part):
                break
            request = {
                "query": {"bool": {"filter": among(part)}},
                "size": max(len(part), 1),
                "sort": [{"row": "asc"}],
                **({"docvalue_fields": fields} if fields else {}),
                "track_total_hits": False,
                **_BARE,
                **(body or {}),
            }
            hits += self._search(stream, request)["hits"]["hits"]
        return sorted(hits, key=_row)

    def _is_ours(self, name: str) -> bool:
        return self._own_name.fullmatch(name) is not None

    def _patterns(self, uid: str) -> str:
        return ",".join(self._pattern(kind, uid) for kind in Kind)

    def _pattern(self, kind: Kind, uid: str = "*") -> str:
        return f"{self._prefix}-{kind.value}-{uid}-*"

    def _alias(self, stream: Stream) -> str:
        return f"{self._prefix}-{stream.kind.value}-{stream.uid}"


_ANY = {"ignore_unavailable": "true", "allow_no_indices": "true"}


def _not_ready(stream: Stream) -> IndexNotReady:
    return IndexNotReady(f"the index has not reached the {stream.kind} yet; try again in a moment")


def _term(term: str, *, boost: float = 1.0) -> dict[str, Any]:
    return {"term": {"body": {"value": term, "boost": boost}}}


def _max_activation(latent: int) -> dict[str, Any]:
    parameters = {"indices": [latent], "weights": [1.0]}
    script = {"lang": "painless", "source": packing.DOT_PRODUCT, "params": parameters}
    active = {"range": {"codes": packing.latent_range(latent, 0.0, inclusive=False)}}
    return {"filter": active, "aggs": {"max": {"max": {"script": script}}}}


def _row(hit: Mapping[str, Any]) -> int:
    """The row of a hit: what hits are sorted by in the end."""
    return int(hit["sort"][-1])


def _rows(hits: Sequence[Mapping[str, Any]]) -> Rows:
    return np.array([hit["sort"][-1] for hit in hits], dtype=np.uint64)


def _vectors(hits: Sequence[Mapping[str, Any]], dimension: int) -> tuple[Rows, Vectors]:
    return _rows(hits), packing.unpack_vectors([hit["fields"]["bits"][0] for hit in hits], dimension)


def _nearest(query: Vectors, depth: int, allowed: Rows | None, *, has_zeros: bool) -> dict[str, Any]:
    """The request for vectors that are nearest by their products with the unit vector of a query."""
    norm = float(np.sqrt((query.astype(np.float64) ** 2).sum()))
    unit = (query.astype(np.float64) / (norm or 1.0)).astype(np.float32).tolist()
    parameters = {"field": "unit", "query_value": unit, "space_type": "innerproduct"}
    script = {"lang": "knn", "source": "knn_score", "params": parameters}
    searched: dict[str, Any] = {"match_all": {}} if allowed is None else {"bool": {"filter": among(allowed)}}
    body: dict[str, Any] = {}
    if has_zeros:
        searched = {"bool": {"must": [searched], "must_not": [_IS_ZERO]}}
        body = {"aggs": {"all": {"global": {}, "aggs": {"zeros": {"filter": _zeros(allowed)}}}}}
    return {
        "query": {"script_score": {"query": searched, "script": script}},
        "size": min(depth + _MARGIN, MAX_DEPTH),
        "sort": ["_score", {"row": "asc"}],
        "docvalue_fields": ["bits"],
        "track_total_hits": True,
        **body,
        **_BARE,
    }


def _zeros(allowed: Rows | None) -> dict[str, Any]:
    """The query of zero vectors, which have no direction."""
    return {"bool": {"filter": [_IS_ZERO, *among(allowed)]}}


def _codes(hits: Sequence[Mapping[str, Any]], latent_count: int) -> Codes:
    """Of hits by ascending row."""
    codes = [hit.get("fields", {}).get("codes", []) for hit in hits]
    return packing.unpack_codes(_rows(hits), codes, latent_count)


def _counted(terms: Sequence[str]) -> dict[str, Any]:
    """Of a request whose hits come with the counts of terms and the lengths of texts."""
    words = sorted(packing.digest(term) for term in terms)
    script = {"lang": "painless", "source": packing.COUNTS, "params": {"words": words}}
    return {"script_fields": {"counts": {"script": script}}, **_BARE}


def _profiles(hits: Sequence[Mapping[str, Any]], terms: Sequence[str]) -> TextProfiles:
    frequencies, lengths = packing.unpack_counts([hit["fields"]["counts"] for hit in hits], terms)
    return TextProfiles(_rows(hits), frequencies, lengths)
