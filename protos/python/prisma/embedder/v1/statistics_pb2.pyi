import datetime

from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import resource_pb2 as _resource_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from prisma.common.v1 import block_pb2 as _block_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DatasetStatistics(_message.Message):
    __slots__ = ("name", "compute_time", "revision", "fingerprint", "stale", "document_count", "texts", "languages", "exact_duplicates", "near_duplicates", "vectors")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_TIME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    EXACT_DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    NEAR_DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    name: str
    compute_time: _timestamp_pb2.Timestamp
    revision: int
    fingerprint: str
    stale: bool
    document_count: int
    texts: TextStatistics
    languages: LanguageStatistics
    exact_duplicates: DuplicateStatistics
    near_duplicates: DuplicateStatistics
    vectors: VectorStatistics
    def __init__(self, name: _Optional[str] = ..., compute_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revision: _Optional[int] = ..., fingerprint: _Optional[str] = ..., stale: _Optional[bool] = ..., document_count: _Optional[int] = ..., texts: _Optional[_Union[TextStatistics, _Mapping]] = ..., languages: _Optional[_Union[LanguageStatistics, _Mapping]] = ..., exact_duplicates: _Optional[_Union[DuplicateStatistics, _Mapping]] = ..., near_duplicates: _Optional[_Union[DuplicateStatistics, _Mapping]] = ..., vectors: _Optional[_Union[VectorStatistics, _Mapping]] = ...) -> None: ...

class TextStatistics(_message.Message):
    __slots__ = ("empty_count", "truncated_count", "characters", "words")
    EMPTY_COUNT_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_COUNT_FIELD_NUMBER: _ClassVar[int]
    CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    empty_count: int
    truncated_count: int
    characters: Distribution
    words: Distribution
    def __init__(self, empty_count: _Optional[int] = ..., truncated_count: _Optional[int] = ..., characters: _Optional[_Union[Distribution, _Mapping]] = ..., words: _Optional[_Union[Distribution, _Mapping]] = ...) -> None: ...

class Distribution(_message.Message):
    __slots__ = ("min", "median", "p90", "p99", "max", "mean", "edges", "counts")
    MIN_FIELD_NUMBER: _ClassVar[int]
    MEDIAN_FIELD_NUMBER: _ClassVar[int]
    P90_FIELD_NUMBER: _ClassVar[int]
    P99_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    min: float
    median: float
    p90: float
    p99: float
    max: float
    mean: float
    edges: _containers.RepeatedScalarFieldContainer[float]
    counts: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, min: _Optional[float] = ..., median: _Optional[float] = ..., p90: _Optional[float] = ..., p99: _Optional[float] = ..., max: _Optional[float] = ..., mean: _Optional[float] = ..., edges: _Optional[_Iterable[float]] = ..., counts: _Optional[_Iterable[int]] = ...) -> None: ...

class LanguageStatistics(_message.Message):
    __slots__ = ("method", "unavailable_reason", "sampled_count", "undetermined_count", "languages")
    class Language(_message.Message):
        __slots__ = ("code", "document_count")
        CODE_FIELD_NUMBER: _ClassVar[int]
        DOCUMENT_COUNT_FIELD_NUMBER: _ClassVar[int]
        code: str
        document_count: int
        def __init__(self, code: _Optional[str] = ..., document_count: _Optional[int] = ...) -> None: ...
    METHOD_FIELD_NUMBER: _ClassVar[int]
    UNAVAILABLE_REASON_FIELD_NUMBER: _ClassVar[int]
    SAMPLED_COUNT_FIELD_NUMBER: _ClassVar[int]
    UNDETERMINED_COUNT_FIELD_NUMBER: _ClassVar[int]
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    method: str
    unavailable_reason: str
    sampled_count: int
    undetermined_count: int
    languages: _containers.RepeatedCompositeFieldContainer[LanguageStatistics.Language]
    def __init__(self, method: _Optional[str] = ..., unavailable_reason: _Optional[str] = ..., sampled_count: _Optional[int] = ..., undetermined_count: _Optional[int] = ..., languages: _Optional[_Iterable[_Union[LanguageStatistics.Language, _Mapping]]] = ...) -> None: ...

class DuplicateStatistics(_message.Message):
    __slots__ = ("compared_count", "group_count", "excess_count", "largest_groups")
    class Group(_message.Message):
        __slots__ = ("document_count", "documents", "text", "keys")
        DOCUMENT_COUNT_FIELD_NUMBER: _ClassVar[int]
        DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
        TEXT_FIELD_NUMBER: _ClassVar[int]
        KEYS_FIELD_NUMBER: _ClassVar[int]
        document_count: int
        documents: _containers.RepeatedScalarFieldContainer[str]
        text: str
        keys: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, document_count: _Optional[int] = ..., documents: _Optional[_Iterable[str]] = ..., text: _Optional[str] = ..., keys: _Optional[_Iterable[str]] = ...) -> None: ...
    COMPARED_COUNT_FIELD_NUMBER: _ClassVar[int]
    GROUP_COUNT_FIELD_NUMBER: _ClassVar[int]
    EXCESS_COUNT_FIELD_NUMBER: _ClassVar[int]
    LARGEST_GROUPS_FIELD_NUMBER: _ClassVar[int]
    compared_count: int
    group_count: int
    excess_count: int
    largest_groups: _containers.RepeatedCompositeFieldContainer[DuplicateStatistics.Group]
    def __init__(self, compared_count: _Optional[int] = ..., group_count: _Optional[int] = ..., excess_count: _Optional[int] = ..., largest_groups: _Optional[_Iterable[_Union[DuplicateStatistics.Group, _Mapping]]] = ...) -> None: ...

class VectorStatistics(_message.Message):
    __slots__ = ("vector_count", "dimension", "encoding", "norms", "normalized", "mean_vector_norm", "mean_cosine", "effective_rank", "spectrum_count", "cumulative_variance", "duplicates")
    VECTOR_COUNT_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    NORMS_FIELD_NUMBER: _ClassVar[int]
    NORMALIZED_FIELD_NUMBER: _ClassVar[int]
    MEAN_VECTOR_NORM_FIELD_NUMBER: _ClassVar[int]
    MEAN_COSINE_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_RANK_FIELD_NUMBER: _ClassVar[int]
    SPECTRUM_COUNT_FIELD_NUMBER: _ClassVar[int]
    CUMULATIVE_VARIANCE_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    vector_count: int
    dimension: int
    encoding: _block_pb2.VectorEncoding
    norms: Distribution
    normalized: bool
    mean_vector_norm: float
    mean_cosine: float
    effective_rank: float
    spectrum_count: int
    cumulative_variance: _containers.RepeatedScalarFieldContainer[float]
    duplicates: DuplicateStatistics
    def __init__(self, vector_count: _Optional[int] = ..., dimension: _Optional[int] = ..., encoding: _Optional[_Union[_block_pb2.VectorEncoding, str]] = ..., norms: _Optional[_Union[Distribution, _Mapping]] = ..., normalized: _Optional[bool] = ..., mean_vector_norm: _Optional[float] = ..., mean_cosine: _Optional[float] = ..., effective_rank: _Optional[float] = ..., spectrum_count: _Optional[int] = ..., cumulative_variance: _Optional[_Iterable[float]] = ..., duplicates: _Optional[_Union[DuplicateStatistics, _Mapping]] = ...) -> None: ...

class DatasetMap(_message.Message):
    __slots__ = ("name", "method", "rows", "x", "y", "vector_count", "explained_variance", "compute_time", "revision", "fingerprint", "stale", "colors")
    class Method(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        METHOD_UNSPECIFIED: _ClassVar[DatasetMap.Method]
        METHOD_PCA: _ClassVar[DatasetMap.Method]
        METHOD_UMAP: _ClassVar[DatasetMap.Method]
    METHOD_UNSPECIFIED: DatasetMap.Method
    METHOD_PCA: DatasetMap.Method
    METHOD_UMAP: DatasetMap.Method
    NAME_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    VECTOR_COUNT_FIELD_NUMBER: _ClassVar[int]
    EXPLAINED_VARIANCE_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_TIME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    COLORS_FIELD_NUMBER: _ClassVar[int]
    name: str
    method: DatasetMap.Method
    rows: _containers.RepeatedScalarFieldContainer[int]
    x: _containers.RepeatedScalarFieldContainer[float]
    y: _containers.RepeatedScalarFieldContainer[float]
    vector_count: int
    explained_variance: _containers.RepeatedScalarFieldContainer[float]
    compute_time: _timestamp_pb2.Timestamp
    revision: int
    fingerprint: str
    stale: bool
    colors: MapColors
    def __init__(self, name: _Optional[str] = ..., method: _Optional[_Union[DatasetMap.Method, str]] = ..., rows: _Optional[_Iterable[int]] = ..., x: _Optional[_Iterable[float]] = ..., y: _Optional[_Iterable[float]] = ..., vector_count: _Optional[int] = ..., explained_variance: _Optional[_Iterable[float]] = ..., compute_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revision: _Optional[int] = ..., fingerprint: _Optional[str] = ..., stale: _Optional[bool] = ..., colors: _Optional[_Union[MapColors, _Mapping]] = ...) -> None: ...

class MapColors(_message.Message):
    __slots__ = ("field", "categories", "category", "numbers")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    field: str
    categories: _containers.RepeatedScalarFieldContainer[str]
    category: _containers.RepeatedScalarFieldContainer[int]
    numbers: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, field: _Optional[str] = ..., categories: _Optional[_Iterable[str]] = ..., category: _Optional[_Iterable[int]] = ..., numbers: _Optional[_Iterable[float]] = ...) -> None: ...
