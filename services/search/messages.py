"""Results as messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from prisma.embedder.v1.resources_pb2 import Passage
from prisma.interpreter.v1 import resources_pb2 as interpreter_resources
from prisma.search.v1 import search_service_pb2 as pb2
from services.chassis.paging import Page
from services.search.query import (
    REACHABLE_HITS,
    Answer,
    DocumentSearch,
    FeatureHit,
    FeaturePage,
    FeatureSearch,
    Hit,
    Reliability,
    StreamStatus,
    reliability_of,
)


def document_page(search: DocumentSearch, page: Page, answer: Answer) -> pb2.SearchDocumentsResponse:
    """A page of documents, with the token of the next one."""
    end = search.offset + search.limit
    response = pb2.SearchDocumentsResponse(
        total_size=answer.page.total,
        query_features=_query_features(answer),
        notices=answer.notices,
        next_page_token=page.next_token(end) if answer.page.has_more and end < REACHABLE_HITS else None,
    )
    for hit in answer.page.hits:
        _write_hit(hit, response.hits.add())
    return response


def feature_page(search: FeatureSearch, page: Page, features: FeaturePage) -> pb2.SearchFeaturesResponse:
    """A page of features, with the token of the next one."""
    end = search.offset + search.limit
    return pb2.SearchFeaturesResponse(
        hits=[_feature_hit(search.run, hit) for hit in features.hits],
        total_size=features.total,
        next_page_token=page.next_token(end) if end < features.total else None,
        notices=features.notices,
    )


def similar_documents(hits: Sequence[Hit], notices: Sequence[str]) -> pb2.FindSimilarDocumentsResponse:
    """Documents that are like another one."""
    response = pb2.FindSimilarDocumentsResponse(notices=notices)
    for hit in hits:
        _write_hit(hit, response.hits.add())
    return response


def index_status(dataset: str, *, backend: str, streams: Sequence[StreamStatus], size_bytes: int) -> pb2.IndexStatus:
    """How far the index of a dataset is."""
    return pb2.IndexStatus(
        dataset=dataset,
        backend=backend,
        current=all(stream.is_current for stream in streams),
        streams=[_stream_status(stream) for stream in streams],
        size_bytes=size_bytes,
    )


def _stream_status(status: StreamStatus) -> pb2.IndexStatus.Stream:
    return pb2.IndexStatus.Stream(
        kind=status.kind.value,
        resource=status.resource,
        indexed_revision=status.indexed_revision,
        owner_revision=status.owner_revision,
        item_count=status.item_count,
        update_time=_timestamp(status.update_time) if status.update_time is not None else None,
        error=status.error,
        current=status.is_current,
        recall=status.recall,
    )


def _query_features(answer: Answer) -> list[pb2.QueryFeature]:
    """The latents of a query, the strongest first."""
    return [
        pb2.QueryFeature(
            index=feature.latent,
            label=feature.label.text if feature.label else None,
            activation=feature.activation,
            tail=feature.tail,
            reliability=_reliability(feature.label.reliability) if feature.label else None,
        )
        for feature in answer.query_features
    ]


def _feature_hit(run: str, hit: FeatureHit) -> pb2.FeatureHit:
    return pb2.FeatureHit(
        feature=f"{run}/features/{hit.index}",
        index=hit.index,
        score=hit.score,
        label=hit.payload["label"],
        description=hit.payload["description"],
        density=hit.payload["density"],
        max_activation=hit.payload["max_activation"],
        reliability=_reliability(reliability_of(hit.payload)),
    )


def _reliability(value: Reliability) -> interpreter_resources.Reliability:
    return interpreter_resources.Reliability(
        trust=value.trust, score=value.score, score_low=value.score_low, score_high=value.score_high
    )


def _write_hit(hit: Hit, message: pb2.DocumentHit) -> None:
    """Writes a document that matches, and why, into its message: `add` copies nothing, which halves the cost."""
    message.document = hit.payload["name"]
    message.key = hit.payload["key"]
    message.row = hit.row
    message.rank = hit.rank
    message.score = hit.score
    for part in hit.parts:
        message.parts.add(part=part.name, score=part.score, rank=part.rank, contribution=part.contribution)
    message.snippet = hit.snippet.text
    for start, end in hit.snippet.highlights:
        message.highlights.add(start=start, end=end)
    for feature in hit.shared:
        message.shared_features.add(
            index=feature.latent,
            label=feature.label.text if feature.label else None,
            query_activation=feature.query_activation,
            document_activation=feature.document_activation,
            contribution=feature.contribution,
            tail=feature.tail,
            reliability=_reliability(feature.label.reliability) if feature.label else None,
        )
    message.unsteered_rank = hit.unsteered_rank or 0
    for steered in hit.steering:
        message.steering.add(
            index=steered.latent,
            label=steered.label.text if steered.label else None,
            activation=steered.activation,
            contribution=steered.contribution,
            tail=steered.tail,
            reliability=_reliability(steered.label.reliability) if steered.label else None,
        )
    if "passage" in hit.payload:
        message.passage.MergeFrom(Passage(name=message.document, row=hit.row, **hit.payload["passage"]))
    message.metadata.SetInParent()
    for key, value in hit.payload["metadata"].items():
        _set(message.metadata.fields[key], value)


def _set(target: Value, value: object) -> None:
    if isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int | float):
        target.number_value = value
    elif isinstance(value, str):
        target.string_value = value
    elif isinstance(value, Mapping):
        target.struct_value.SetInParent()
        for key, item in cast("Mapping[str, object]", value).items():
            _set(target.struct_value.fields[key], item)
    elif isinstance(value, list | tuple):
        target.list_value.SetInParent()
        for item in cast("Sequence[object]", value):
            _set(target.list_value.values.add(), item)
    else:
        target.null_value = 0  # type: ignore[assignment]  # NULL_VALUE


def _timestamp(seconds: float) -> Timestamp:
    """A moment, from seconds since 1970."""
    stamp = Timestamp()
    stamp.FromNanoseconds(int(seconds * 1e9))
    return stamp
