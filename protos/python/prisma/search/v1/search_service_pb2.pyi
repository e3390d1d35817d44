import datetime

from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import httpbody_pb2 as _httpbody_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from prisma.common.v1 import access_pb2 as _access_pb2
from prisma.common.v1 import job_pb2 as _job_pb2
from prisma.common.v1 import table_pb2 as _table_pb2
from prisma.embedder.v1 import resources_pb2 as _resources_pb2
from prisma.interpreter.v1 import resources_pb2 as _resources_pb2_1
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LatentWeight(_message.Message):
    __slots__ = ("index", "weight")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    index: int
    weight: float
    def __init__(self, index: _Optional[int] = ..., weight: _Optional[float] = ...) -> None: ...

class LatentSet(_message.Message):
    __slots__ = ("indices", "weight")
    INDICES_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    indices: _containers.RepeatedScalarFieldContainer[int]
    weight: float
    def __init__(self, indices: _Optional[_Iterable[int]] = ..., weight: _Optional[float] = ...) -> None: ...

class SearchDocumentsRequest(_message.Message):
    __slots__ = ("parent", "query", "mode", "run", "page_size", "page_token", "fusion", "text_weight", "dense_weight", "latents", "filter", "include_tail", "steering", "sparse_weight", "steering_sets", "passages_per_document", "vector")
    class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        MODE_UNSPECIFIED: _ClassVar[SearchDocumentsRequest.Mode]
        MODE_FULL_TEXT: _ClassVar[SearchDocumentsRequest.Mode]
        MODE_SEMANTIC: _ClassVar[SearchDocumentsRequest.Mode]
        MODE_SPARSE: _ClassVar[SearchDocumentsRequest.Mode]
        MODE_HYBRID: _ClassVar[SearchDocumentsRequest.Mode]
    MODE_UNSPECIFIED: SearchDocumentsRequest.Mode
    MODE_FULL_TEXT: SearchDocumentsRequest.Mode
    MODE_SEMANTIC: SearchDocumentsRequest.Mode
    MODE_SPARSE: SearchDocumentsRequest.Mode
    MODE_HYBRID: SearchDocumentsRequest.Mode
    class Fusion(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FUSION_UNSPECIFIED: _ClassVar[SearchDocumentsRequest.Fusion]
        FUSION_MIN_MAX: _ClassVar[SearchDocumentsRequest.Fusion]
        FUSION_RECIPROCAL_RANK: _ClassVar[SearchDocumentsRequest.Fusion]
    FUSION_UNSPECIFIED: SearchDocumentsRequest.Fusion
    FUSION_MIN_MAX: SearchDocumentsRequest.Fusion
    FUSION_RECIPROCAL_RANK: SearchDocumentsRequest.Fusion
    PARENT_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FUSION_FIELD_NUMBER: _ClassVar[int]
    TEXT_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    DENSE_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    LATENTS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_TAIL_FIELD_NUMBER: _ClassVar[int]
    STEERING_FIELD_NUMBER: _ClassVar[int]
    SPARSE_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    STEERING_SETS_FIELD_NUMBER: _ClassVar[int]
    PASSAGES_PER_DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    parent: str
    query: str
    mode: SearchDocumentsRequest.Mode
    run: str
    page_size: int
    page_token: str
    fusion: SearchDocumentsRequest.Fusion
    text_weight: float
    dense_weight: float
    latents: _containers.RepeatedCompositeFieldContainer[LatentWeight]
    filter: str
    include_tail: bool
    steering: _containers.RepeatedCompositeFieldContainer[LatentWeight]
    sparse_weight: float
    steering_sets: _containers.RepeatedCompositeFieldContainer[LatentSet]
    passages_per_document: int
    vector: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, parent: _Optional[str] = ..., query: _Optional[str] = ..., mode: _Optional[_Union[SearchDocumentsRequest.Mode, str]] = ..., run: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., fusion: _Optional[_Union[SearchDocumentsRequest.Fusion, str]] = ..., text_weight: _Optional[float] = ..., dense_weight: _Optional[float] = ..., latents: _Optional[_Iterable[_Union[LatentWeight, _Mapping]]] = ..., filter: _Optional[str] = ..., include_tail: _Optional[bool] = ..., steering: _Optional[_Iterable[_Union[LatentWeight, _Mapping]]] = ..., sparse_weight: _Optional[float] = ..., steering_sets: _Optional[_Iterable[_Union[LatentSet, _Mapping]]] = ..., passages_per_document: _Optional[int] = ..., vector: _Optional[_Iterable[float]] = ...) -> None: ...

class ExportHitsRequest(_message.Message):
    __slots__ = ("search", "format", "limit", "byte_order_mark", "keep_formulas")
    SEARCH_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    BYTE_ORDER_MARK_FIELD_NUMBER: _ClassVar[int]
    KEEP_FORMULAS_FIELD_NUMBER: _ClassVar[int]
    search: SearchDocumentsRequest
    format: _table_pb2.TableFormat
    limit: int
    byte_order_mark: bool
    keep_formulas: bool
    def __init__(self, search: _Optional[_Union[SearchDocumentsRequest, _Mapping]] = ..., format: _Optional[_Union[_table_pb2.TableFormat, str]] = ..., limit: _Optional[int] = ..., byte_order_mark: _Optional[bool] = ..., keep_formulas: _Optional[bool] = ...) -> None: ...

class SearchDocumentsResponse(_message.Message):
    __slots__ = ("hits", "next_page_token", "total_size", "query_features", "notices", "milliseconds")
    HITS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    QUERY_FEATURES_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[DocumentHit]
    next_page_token: str
    total_size: int
    query_features: _containers.RepeatedCompositeFieldContainer[QueryFeature]
    notices: _containers.RepeatedScalarFieldContainer[str]
    milliseconds: float
    def __init__(self, hits: _Optional[_Iterable[_Union[DocumentHit, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_size: _Optional[int] = ..., query_features: _Optional[_Iterable[_Union[QueryFeature, _Mapping]]] = ..., notices: _Optional[_Iterable[str]] = ..., milliseconds: _Optional[float] = ...) -> None: ...

class QueryFeature(_message.Message):
    __slots__ = ("index", "label", "activation", "tail", "reliability")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    RELIABILITY_FIELD_NUMBER: _ClassVar[int]
    index: int
    label: str
    activation: float
    tail: bool
    reliability: _resources_pb2_1.Reliability
    def __init__(self, index: _Optional[int] = ..., label: _Optional[str] = ..., activation: _Optional[float] = ..., tail: _Optional[bool] = ..., reliability: _Optional[_Union[_resources_pb2_1.Reliability, _Mapping]] = ...) -> None: ...

class DocumentHit(_message.Message):
    __slots__ = ("document", "key", "row", "rank", "score", "parts", "snippet", "highlights", "shared_features", "metadata", "unsteered_rank", "steering", "passage")
    class ScorePart(_message.Message):
        __slots__ = ("part", "score", "rank", "contribution")
        PART_FIELD_NUMBER: _ClassVar[int]
        SCORE_FIELD_NUMBER: _ClassVar[int]
        RANK_FIELD_NUMBER: _ClassVar[int]
        CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
        part: str
        score: float
        rank: int
        contribution: float
        def __init__(self, part: _Optional[str] = ..., score: _Optional[float] = ..., rank: _Optional[int] = ..., contribution: _Optional[float] = ...) -> None: ...
    class SteeringFeature(_message.Message):
        __slots__ = ("index", "label", "activation", "contribution", "tail", "reliability")
        INDEX_FIELD_NUMBER: _ClassVar[int]
        LABEL_FIELD_NUMBER: _ClassVar[int]
        ACTIVATION_FIELD_NUMBER: _ClassVar[int]
        CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
        TAIL_FIELD_NUMBER: _ClassVar[int]
        RELIABILITY_FIELD_NUMBER: _ClassVar[int]
        index: int
        label: str
        activation: float
        contribution: float
        tail: bool
        reliability: _resources_pb2_1.Reliability
        def __init__(self, index: _Optional[int] = ..., label: _Optional[str] = ..., activation: _Optional[float] = ..., contribution: _Optional[float] = ..., tail: _Optional[bool] = ..., reliability: _Optional[_Union[_resources_pb2_1.Reliability, _Mapping]] = ...) -> None: ...
    class SharedFeature(_message.Message):
        __slots__ = ("index", "label", "query_activation", "document_activation", "contribution", "tail", "reliability")
        INDEX_FIELD_NUMBER: _ClassVar[int]
        LABEL_FIELD_NUMBER: _ClassVar[int]
        QUERY_ACTIVATION_FIELD_NUMBER: _ClassVar[int]
        DOCUMENT_ACTIVATION_FIELD_NUMBER: _ClassVar[int]
        CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
        TAIL_FIELD_NUMBER: _ClassVar[int]
        RELIABILITY_FIELD_NUMBER: _ClassVar[int]
        index: int
        label: str
        query_activation: float
        document_activation: float
        contribution: float
        tail: bool
        reliability: _resources_pb2_1.Reliability
        def __init__(self, index: _Optional[int] = ..., label: _Optional[str] = ..., query_activation: _Optional[float] = ..., document_activation: _Optional[float] = ..., contribution: _Optional[float] = ..., tail: _Optional[bool] = ..., reliability: _Optional[_Union[_resources_pb2_1.Reliability, _Mapping]] = ...) -> None: ...
    class Highlight(_message.Message):
        __slots__ = ("start", "end")
        START_FIELD_NUMBER: _ClassVar[int]
        END_FIELD_NUMBER: _ClassVar[int]
        start: int
        end: int
        def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    SNIPPET_FIELD_NUMBER: _ClassVar[int]
    HIGHLIGHTS_FIELD_NUMBER: _ClassVar[int]
    SHARED_FEATURES_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    UNSTEERED_RANK_FIELD_NUMBER: _ClassVar[int]
    STEERING_FIELD_NUMBER: _ClassVar[int]
    PASSAGE_FIELD_NUMBER: _ClassVar[int]
    document: str
    key: str
    row: int
    rank: int
    score: float
    parts: _containers.RepeatedCompositeFieldContainer[DocumentHit.ScorePart]
    snippet: str
    highlights: _containers.RepeatedCompositeFieldContainer[DocumentHit.Highlight]
    shared_features: _containers.RepeatedCompositeFieldContainer[DocumentHit.SharedFeature]
    metadata: _struct_pb2.Struct
    unsteered_rank: int
    steering: _containers.RepeatedCompositeFieldContainer[DocumentHit.SteeringFeature]
    passage: _resources_pb2.Passage
    def __init__(self, document: _Optional[str] = ..., key: _Optional[str] = ..., row: _Optional[int] = ..., rank: _Optional[int] = ..., score: _Optional[float] = ..., parts: _Optional[_Iterable[_Union[DocumentHit.ScorePart, _Mapping]]] = ..., snippet: _Optional[str] = ..., highlights: _Optional[_Iterable[_Union[DocumentHit.Highlight, _Mapping]]] = ..., shared_features: _Optional[_Iterable[_Union[DocumentHit.SharedFeature, _Mapping]]] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., unsteered_rank: _Optional[int] = ..., steering: _Optional[_Iterable[_Union[DocumentHit.SteeringFeature, _Mapping]]] = ..., passage: _Optional[_Union[_resources_pb2.Passage, _Mapping]] = ...) -> None: ...

class SearchFeaturesRequest(_message.Message):
    __slots__ = ("parent", "query", "page_size", "page_token", "filter")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    parent: str
    query: str
    page_size: int
    page_token: str
    filter: str
    def __init__(self, parent: _Optional[str] = ..., query: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ...) -> None: ...

class SearchFeaturesResponse(_message.Message):
    __slots__ = ("hits", "next_page_token", "total_size", "notices")
    HITS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[FeatureHit]
    next_page_token: str
    total_size: int
    notices: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, hits: _Optional[_Iterable[_Union[FeatureHit, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_size: _Optional[int] = ..., notices: _Optional[_Iterable[str]] = ...) -> None: ...

class FeatureHit(_message.Message):
    __slots__ = ("feature", "index", "label", "description", "score", "density", "max_activation", "reliability")
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    DENSITY_FIELD_NUMBER: _ClassVar[int]
    MAX_ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    RELIABILITY_FIELD_NUMBER: _ClassVar[int]
    feature: str
    index: int
    label: str
    description: str
    score: float
    density: float
    max_activation: float
    reliability: _resources_pb2_1.Reliability
    def __init__(self, feature: _Optional[str] = ..., index: _Optional[int] = ..., label: _Optional[str] = ..., description: _Optional[str] = ..., score: _Optional[float] = ..., density: _Optional[float] = ..., max_activation: _Optional[float] = ..., reliability: _Optional[_Union[_resources_pb2_1.Reliability, _Mapping]] = ...) -> None: ...

class FindSimilarDocumentsRequest(_message.Message):
    __slots__ = ("document", "run", "page_size", "include_tail")
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_TAIL_FIELD_NUMBER: _ClassVar[int]
    document: str
    run: str
    page_size: int
    include_tail: bool
    def __init__(self, document: _Optional[str] = ..., run: _Optional[str] = ..., page_size: _Optional[int] = ..., include_tail: _Optional[bool] = ...) -> None: ...

class FindSimilarDocumentsResponse(_message.Message):
    __slots__ = ("hits", "notices")
    HITS_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[DocumentHit]
    notices: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, hits: _Optional[_Iterable[_Union[DocumentHit, _Mapping]]] = ..., notices: _Optional[_Iterable[str]] = ...) -> None: ...

class ReindexDatasetRequest(_message.Message):
    __slots__ = ("dataset", "request_id")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    request_id: str
    def __init__(self, dataset: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ReindexRunRequest(_message.Message):
    __slots__ = ("run", "request_id")
    RUN_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    run: str
    request_id: str
    def __init__(self, run: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetIndexStatusRequest(_message.Message):
    __slots__ = ("dataset",)
    DATASET_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    def __init__(self, dataset: _Optional[str] = ...) -> None: ...

class IndexStatus(_message.Message):
    __slots__ = ("dataset", "backend", "current", "streams", "size_bytes")
    class Stream(_message.Message):
        __slots__ = ("kind", "resource", "indexed_revision", "owner_revision", "item_count", "update_time", "error", "current", "recall")
        KIND_FIELD_NUMBER: _ClassVar[int]
        RESOURCE_FIELD_NUMBER: _ClassVar[int]
        INDEXED_REVISION_FIELD_NUMBER: _ClassVar[int]
        OWNER_REVISION_FIELD_NUMBER: _ClassVar[int]
        ITEM_COUNT_FIELD_NUMBER: _ClassVar[int]
        UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
        ERROR_FIELD_NUMBER: _ClassVar[int]
        CURRENT_FIELD_NUMBER: _ClassVar[int]
        RECALL_FIELD_NUMBER: _ClassVar[int]
        kind: str
        resource: str
        indexed_revision: int
        owner_revision: int
        item_count: int
        update_time: _timestamp_pb2.Timestamp
        error: str
        current: bool
        recall: float
        def __init__(self, kind: _Optional[str] = ..., resource: _Optional[str] = ..., indexed_revision: _Optional[int] = ..., owner_revision: _Optional[int] = ..., item_count: _Optional[int] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., error: _Optional[str] = ..., current: _Optional[bool] = ..., recall: _Optional[float] = ...) -> None: ...
    DATASET_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    backend: str
    current: bool
    streams: _containers.RepeatedCompositeFieldContainer[IndexStatus.Stream]
    size_bytes: int
    def __init__(self, dataset: _Optional[str] = ..., backend: _Optional[str] = ..., current: _Optional[bool] = ..., streams: _Optional[_Iterable[_Union[IndexStatus.Stream, _Mapping]]] = ..., size_bytes: _Optional[int] = ...) -> None: ...
