"""Requests as searches: everything that a request may contain is checked here."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from prisma.search.v1 import search_service_pb2 as pb2
from prisma_common.words import is_blank
from services.chassis import feature_filters, names
from services.chassis.errors import InvalidArgument
from services.chassis.filters import Filter, parse_filter
from services.chassis.metadata_filters import METADATA, OPERATORS, check_literals
from services.chassis.paging import InvalidPageToken, Page
from services.chassis.table_files import FileOptions
from services.chassis.table_options import file_options
from services.search import tokens
from services.search.backend import LatentQuery, Vectors
from services.search.fusion import Fusion
from services.search.query import (
    ALL_DATASETS,
    DENSE_WEIGHT,
    LATENT,
    REACHABLE_HITS,
    SPARSE_WEIGHT,
    TEXT_WEIGHT,
    DocumentSearch,
    FeatureSearch,
    Mode,
    Scoring,
    SimilarSearch,
    SteeringSet,
    latent_conditions,
)

MAX_QUERY_CHARACTERS = 100_000
MAX_LATENTS = 256
MAX_STEERING_LATENTS = 32
MAX_STEERING_SETS = 16
MAX_STEERING_SET_LATENTS = 256
"""Of all sets of a request together."""
MAX_STEERING_WEIGHT = 3.0
MAX_FEATURES_OFFSET = 1 << 31
_MODES = {
    pb2.SearchDocumentsRequest.MODE_UNSPECIFIED: Mode.HYBRID,
    pb2.SearchDocumentsRequest.MODE_FULL_TEXT: Mode.FULL_TEXT,
    pb2.SearchDocumentsRequest.MODE_SEMANTIC: Mode.SEMANTIC,
    pb2.SearchDocumentsRequest.MODE_SPARSE: Mode.SPARSE,
    pb2.SearchDocumentsRequest.MODE_HYBRID: Mode.HYBRID,
}
_FUSIONS = {
    pb2.SearchDocumentsRequest.FUSION_UNSPECIFIED: Fusion.MIN_MAX,
    pb2.SearchDocumentsRequest.FUSION_MIN_MAX: Fusion.MIN_MAX,
    pb2.SearchDocumentsRequest.FUSION_RECIPROCAL_RANK: Fusion.RECIPROCAL_RANK,
}
_FILTER_FIELDS = {METADATA: OPERATORS, LATENT: "> >="}


@dataclass(frozen=True)
class PagedDocumentSearch:
    """A search for documents, and the page that tokens of the next one are made from."""

    search: DocumentSearch
    page: Page


@dataclass(frozen=True)
class PagedFeatureSearch:
    """A search for features, and the page that tokens of the next one are made from."""

    search: FeatureSearch
    page: Page


def document_search(request: pb2.SearchDocumentsRequest) -> PagedDocumentSearch:
    """Raises InvalidArgument, InvalidFilter, InvalidPageToken."""
    if request.parent != ALL_DATASETS:
        names.parse("datasets/{dataset}", request.parent, "parent")
    run = run_name(request.run, "run") if request.run else None
    mode, fusion = _MODES.get(request.mode), _FUSIONS.get(request.fusion)
    if mode is None:
        raise InvalidArgument.field("mode", f"expected a mode that this server knows, got {request.mode}")
    if fusion is None:
        raise InvalidArgument.field("fusion", f"expected a fusion that this server knows, got {request.fusion}")
    scoring = _scoring(request, mode, fusion)
    vector = _vector(request, mode)
    if vector is not None and request.mode == pb2.SearchDocumentsRequest.MODE_UNSPECIFIED and is_blank(request.query):
        mode = Mode.SEMANTIC
    by_words = mode in (Mode.FULL_TEXT, Mode.HYBRID)
    text = _query(request.query, required=by_words or not (request.latents or vector is not None))
    condition = _condition(request.filter)
    latents, steering = _latents(request.latents), _steering(request)
    if latents and mode not in (Mode.SPARSE, Mode.HYBRID):
        raise InvalidArgument.field("latents", "expected none: only MODE_SPARSE and MODE_HYBRID search by latents")
    if run is not None and request.parent == ALL_DATASETS:
        raise InvalidArgument.field("run", "expected none with `datasets/-`: a run belongs to one dataset")
    page = _page(request, mode, scoring)
    search = DocumentSearch(
        dataset=request.parent,
        run=run,
        text=text,
        mode=mode,
        vector=vector,
        latents=latents,
        steering=steering,
        condition=condition,
        scoring=scoring,
        offset=_offset(page, REACHABLE_HITS),
        limit=page.size,
        include_tail=request.include_tail,
        passages_per_document=_passages_per_document(request),
    )
    if run is None and (search.needs_codes or latents):
        raise InvalidArgument.field("run", "expected a run: latents are those of a run")
    return PagedDocumentSearch(search, page)


def hit_export(request: pb2.ExportHitsRequest) -> tuple[DocumentSearch, FileOptions]:
    """The search whose hits are written to a file, and how. Raises InvalidArgument, InvalidFilter."""
    if request.limit > REACHABLE_HITS:
        raise InvalidArgument.field("limit", f"expected at most {REACHABLE_HITS:,}, got {request.limit:,}")
    request.search.page_size, request.search.page_token = 0, ""
    search = document_search(request.search).search
    return replace(search, limit=request.limit or REACHABLE_HITS), file_options(request)


def feature_search(request: pb2.SearchFeaturesRequest) -> PagedFeatureSearch:
    """Raises InvalidArgument, InvalidFilter, InvalidPageToken."""
    run = run_name(request.parent, "parent")
    terms = tokens.terms(_query(request.query, required=True))
    condition = parse_filter(request.filter, feature_filters.FIELDS)
    feature_filters.check_values(condition)
    bound_to = (request.parent, request.query, *([request.filter] if request.filter else []))
    page = Page.of(request.page_size, request.page_token, bound_to=bound_to, default=50, maximum=1000)
    offset = _offset(page, MAX_FEATURES_OFFSET)
    search = FeatureSearch(run=run, terms=terms, offset=offset, limit=page.size, condition=condition)
    return PagedFeatureSearch(search, page)


def similar_search(request: pb2.FindSimilarDocumentsRequest) -> SimilarSearch:
    """Raises InvalidArgument."""
    dataset = names.parse("datasets/{dataset}/documents/{document}", request.document, "document")[0]
    return SimilarSearch(
        dataset=f"datasets/{dataset}",
        document=request.document,
        run=run_name(request.run, "run") if request.run else None,
        limit=Page.of(request.page_size, "", bound_to=(), default=5, maximum=100).size,
        include_tail=request.include_tail,
    )


def run_name(name: str, field: str) -> str:
    """`runs/{run}`, checked. Raises InvalidArgument that names the field."""
    names.parse("runs/{run}", name, field)
    return name


def dataset_name(name: str, field: str) -> str:
    """`datasets/{dataset}`, checked. Raises InvalidArgument that names the field."""
    names.parse("datasets/{dataset}", name, field)
    return name


def _vector(request: pb2.SearchDocumentsRequest, mode: Mode) -> Vectors | None:
    """(d,) float32 the vector to search by; None for none. Raises InvalidArgument."""
    if not request.vector:
        return None
    if mode is Mode.FULL_TEXT:
        raise InvalidArgument.field("vector", "expected none: MODE_FULL_TEXT ranks by words")
    if request.parent == ALL_DATASETS:
        raise InvalidArgument.field("vector", "expected none with `datasets/-`: a vector is of one model")
    vector = np.array(request.vector, np.float32)
    if not np.isfinite(vector).all():
        raise InvalidArgument.field("vector", "expected finite numbers")
    if not vector.any():
        raise InvalidArgument.field(
            "vector", "expected numbers that are not all zero: such a vector is close to nothing"
        )
    return vector


def _page(request: pb2.SearchDocumentsRequest, mode: Mode, scoring: Scoring) -> Page:
    bound_to = (
        request.parent,
        request.query,
        mode.value,
        request.run,
        request.filter,
        scoring.fusion.value,
        scoring.text_weight,
        scoring.dense_weight,
        scoring.sparse_weight,
        [(latent.index, latent.weight) for latent in request.steering],
        [(list(steering_set.indices), steering_set.weight) for steering_set in request.steering_sets],
        request.include_tail and bool(request.steering or request.steering_sets),
        [(latent.index, latent.weight) for latent in request.latents],
        *([request.passages_per_document] if request.HasField("passages_per_document") else []),
        *([list(request.vector)] if request.vector else []),
    )
    return Page.of(request.page_size, request.page_token, bound_to=bound_to, default=20, maximum=200)


def _passages_per_document(request: pb2.SearchDocumentsRequest) -> int:
    if not request.HasField("passages_per_document"):
        return 1
    if not 1 <= request.passages_per_document <= REACHABLE_HITS:
        raise InvalidArgument.field(
            "passages_per_document", f"expected 1 to {REACHABLE_HITS:,}, got {request.passages_per_document:,}"
        )
    return request.passages_per_document


def _offset(page: Page, end: int) -> int:
    """How many hits come before the page. Raises InvalidPageToken."""
    if page.after is None:
        return 0
    if not isinstance(page.after, int) or not 0 < page.after < end:
        raise InvalidPageToken("page_token: it is damaged; start again without a token")
    return page.after


def _query(text: str, *, required: bool) -> str:
    if required and is_blank(text):
        raise InvalidArgument.field("query", "expected words to search for, got none")
    if len(text) > MAX_QUERY_CHARACTERS:
        raise InvalidArgument.field("query", f"expected at most {MAX_QUERY_CHARACTERS} characters, got {len(text)}")
    return text


def _scoring(request: pb2.SearchDocumentsRequest, mode: Mode, fusion: Fusion) -> Scoring:
    text_weight = request.text_weight if request.HasField("text_weight") else TEXT_WEIGHT
    dense_weight = request.dense_weight if request.HasField("dense_weight") else DENSE_WEIGHT
    default_sparse_weight = SPARSE_WEIGHT if request.latents else 0.0
    sparse_weight = request.sparse_weight if request.HasField("sparse_weight") else default_sparse_weight
    weights = {"text_weight": text_weight, "dense_weight": dense_weight, "sparse_weight": sparse_weight}
    for field, weight in weights.items():
        if not 0 <= weight <= 1:
            raise InvalidArgument.field(field, f"expected 0 to 1, got {weight}")
    if mode is Mode.HYBRID and not any(weights.values()):
        raise InvalidArgument.field(
            "text_weight", "expected more than 0 for it or another weight: with all 0, every document scores 0"
        )
    return Scoring(fusion, **weights)


def _latents(latents: Sequence[pb2.LatentWeight]) -> LatentQuery | None:
    if not latents:
        return None
    weights = _weights("latents", latents, MAX_LATENTS)
    if not any(weights.values()):
        raise InvalidArgument.field("latents", "expected a weight that is not 0: else every document scores 0")
    return _latent_query(weights)


def _steering(request: pb2.SearchDocumentsRequest) -> tuple[SteeringSet, ...]:
    weights = _weights("steering", request.steering, MAX_STEERING_LATENTS)
    if any(abs(weight) > MAX_STEERING_WEIGHT for weight in weights.values()):
        raise InvalidArgument.field("steering", f"expected weights of at most {MAX_STEERING_WEIGHT:g}, up or down")
    sets = _steering_sets(request.steering_sets)
    count_of = Counter([*weights, *(latent for steering_set in sets for latent in steering_set.latents)])
    repeated = sorted(latent for latent, count in count_of.items() if count > 1)
    if repeated:
        raise InvalidArgument.field(
            "steering_sets",
            f"expected each feature once, in `steering` or in one set, got {', '.join(map(str, repeated[:10]))} again",
        )
    return (*(SteeringSet((latent,), weight) for latent, weight in sorted(weights.items())), *sets)


def _steering_sets(sets: Sequence[pb2.LatentSet]) -> list[SteeringSet]:
    """Bounded sets that are not empty, with weights in range."""
    if len(sets) > MAX_STEERING_SETS:
        raise InvalidArgument.field("steering_sets", f"expected at most {MAX_STEERING_SETS} sets, got {len(sets)}")
    if not all(steering_set.indices for steering_set in sets):
        raise InvalidArgument.field("steering_sets", "expected at least one index in each set")
    latent_count = sum(len(steering_set.indices) for steering_set in sets)
    if latent_count > MAX_STEERING_SET_LATENTS:
        raise InvalidArgument.field(
            "steering_sets", f"expected at most {MAX_STEERING_SET_LATENTS} features in all sets, got {latent_count}"
        )
    if not all(abs(steering_set.weight) <= MAX_STEERING_WEIGHT for steering_set in sets):  # false for NaN, too
        raise InvalidArgument.field("steering_sets", f"expected weights of at most {MAX_STEERING_WEIGHT:g}, up or down")
    return [
        SteeringSet(tuple(sorted(steering_set.indices)), steering_set.weight, field="steering_sets")
        for steering_set in sets
    ]


def _weights(field: str, latents: Sequence[pb2.LatentWeight], maximum: int) -> dict[int, float]:
    """Finite weights by index."""
    if len(latents) > maximum:
        raise InvalidArgument.field(field, f"expected at most {maximum}, got {len(latents)}")
    weights = {latent.index: latent.weight for latent in latents}
    if len(weights) < len(latents):
        raise InvalidArgument.field(field, "expected each latent once")
    if not all(math.isfinite(weight) for weight in weights.values()):
        raise InvalidArgument.field(field, "expected finite weights")
    return weights


def _latent_query(weights: Mapping[int, float]) -> LatentQuery:
    indices = sorted(weights)
    return LatentQuery(
        np.array(indices, dtype=np.uint32),
        np.array([weights[index] for index in indices], dtype=np.float64),
    )


def _condition(text: str) -> Filter:
    """The filter of documents. Raises InvalidFilter."""
    condition = parse_filter(text, _FILTER_FIELDS)
    check_literals(condition)
    latent_conditions(condition)
    return condition
