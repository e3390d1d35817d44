from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import httpbody_pb2 as _httpbody_pb2
from prisma.common.v1 import access_pb2 as _access_pb2
from prisma.common.v1 import job_pb2 as _job_pb2
from prisma.common.v1 import table_pb2 as _table_pb2
from prisma.interpreter.v1 import analyses_pb2 as _analyses_pb2
from prisma.interpreter.v1 import resources_pb2 as _resources_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ComputeStatisticsRequest(_message.Message):
    __slots__ = ("run", "request_id")
    RUN_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    run: str
    request_id: str
    def __init__(self, run: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetInterpretationRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListFeaturesRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token", "query", "filter", "order_by", "view")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    query: str
    filter: str
    order_by: str
    view: _resources_pb2.FeatureView
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., query: _Optional[str] = ..., filter: _Optional[str] = ..., order_by: _Optional[str] = ..., view: _Optional[_Union[_resources_pb2.FeatureView, str]] = ...) -> None: ...

class ListFeaturesResponse(_message.Message):
    __slots__ = ("features", "next_page_token", "total_size")
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    features: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Feature]
    next_page_token: str
    total_size: int
    def __init__(self, features: _Optional[_Iterable[_Union[_resources_pb2.Feature, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_size: _Optional[int] = ...) -> None: ...

class GetFeatureRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListExamplesRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token", "kind", "decile")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[ListExamplesRequest.Kind]
        KIND_STRONGEST: _ClassVar[ListExamplesRequest.Kind]
        KIND_DECILE: _ClassVar[ListExamplesRequest.Kind]
        KIND_NEAR_MISS: _ClassVar[ListExamplesRequest.Kind]
        KIND_RANDOM: _ClassVar[ListExamplesRequest.Kind]
    KIND_UNSPECIFIED: ListExamplesRequest.Kind
    KIND_STRONGEST: ListExamplesRequest.Kind
    KIND_DECILE: ListExamplesRequest.Kind
    KIND_NEAR_MISS: ListExamplesRequest.Kind
    KIND_RANDOM: ListExamplesRequest.Kind
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    DECILE_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    kind: ListExamplesRequest.Kind
    decile: int
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., kind: _Optional[_Union[ListExamplesRequest.Kind, str]] = ..., decile: _Optional[int] = ...) -> None: ...

class ListExamplesResponse(_message.Message):
    __slots__ = ("examples", "next_page_token", "deciles")
    class Decile(_message.Message):
        __slots__ = ("decile", "max_activation", "min_activation", "score")
        DECILE_FIELD_NUMBER: _ClassVar[int]
        MAX_ACTIVATION_FIELD_NUMBER: _ClassVar[int]
        MIN_ACTIVATION_FIELD_NUMBER: _ClassVar[int]
        SCORE_FIELD_NUMBER: _ClassVar[int]
        decile: int
        max_activation: float
        min_activation: float
        score: float
        def __init__(self, decile: _Optional[int] = ..., max_activation: _Optional[float] = ..., min_activation: _Optional[float] = ..., score: _Optional[float] = ...) -> None: ...
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    DECILES_FIELD_NUMBER: _ClassVar[int]
    examples: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Example]
    next_page_token: str
    deciles: _containers.RepeatedCompositeFieldContainer[ListExamplesResponse.Decile]
    def __init__(self, examples: _Optional[_Iterable[_Union[_resources_pb2.Example, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., deciles: _Optional[_Iterable[_Union[ListExamplesResponse.Decile, _Mapping]]] = ...) -> None: ...

class ExportFeaturesRequest(_message.Message):
    __slots__ = ("run", "byte_order_mark", "format", "filter", "query", "order_by", "keep_formulas")
    RUN_FIELD_NUMBER: _ClassVar[int]
    BYTE_ORDER_MARK_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    KEEP_FORMULAS_FIELD_NUMBER: _ClassVar[int]
    run: str
    byte_order_mark: bool
    format: _table_pb2.TableFormat
    filter: str
    query: str
    order_by: str
    keep_formulas: bool
    def __init__(self, run: _Optional[str] = ..., byte_order_mark: _Optional[bool] = ..., format: _Optional[_Union[_table_pb2.TableFormat, str]] = ..., filter: _Optional[str] = ..., query: _Optional[str] = ..., order_by: _Optional[str] = ..., keep_formulas: _Optional[bool] = ...) -> None: ...

class ExportLabelsRequest(_message.Message):
    __slots__ = ("run", "format", "include_history", "byte_order_mark", "keep_formulas")
    RUN_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_HISTORY_FIELD_NUMBER: _ClassVar[int]
    BYTE_ORDER_MARK_FIELD_NUMBER: _ClassVar[int]
    KEEP_FORMULAS_FIELD_NUMBER: _ClassVar[int]
    run: str
    format: _table_pb2.TableFormat
    include_history: bool
    byte_order_mark: bool
    keep_formulas: bool
    def __init__(self, run: _Optional[str] = ..., format: _Optional[_Union[_table_pb2.TableFormat, str]] = ..., include_history: _Optional[bool] = ..., byte_order_mark: _Optional[bool] = ..., keep_formulas: _Optional[bool] = ...) -> None: ...

class ExportActivationsRequest(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: str
    def __init__(self, run: _Optional[str] = ...) -> None: ...

class ExportTableRequest(_message.Message):
    __slots__ = ("run", "format", "filter", "feature_filter", "indices", "include_tail", "feature_count", "strongest_count", "omit_text", "omit_metadata", "metadata_keys", "byte_order_mark", "keep_formulas")
    RUN_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    FEATURE_FILTER_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_TAIL_FIELD_NUMBER: _ClassVar[int]
    FEATURE_COUNT_FIELD_NUMBER: _ClassVar[int]
    STRONGEST_COUNT_FIELD_NUMBER: _ClassVar[int]
    OMIT_TEXT_FIELD_NUMBER: _ClassVar[int]
    OMIT_METADATA_FIELD_NUMBER: _ClassVar[int]
    METADATA_KEYS_FIELD_NUMBER: _ClassVar[int]
    BYTE_ORDER_MARK_FIELD_NUMBER: _ClassVar[int]
    KEEP_FORMULAS_FIELD_NUMBER: _ClassVar[int]
    run: str
    format: _table_pb2.TableFormat
    filter: str
    feature_filter: str
    indices: _containers.RepeatedScalarFieldContainer[int]
    include_tail: bool
    feature_count: int
    strongest_count: int
    omit_text: bool
    omit_metadata: bool
    metadata_keys: _containers.RepeatedScalarFieldContainer[str]
    byte_order_mark: bool
    keep_formulas: bool
    def __init__(self, run: _Optional[str] = ..., format: _Optional[_Union[_table_pb2.TableFormat, str]] = ..., filter: _Optional[str] = ..., feature_filter: _Optional[str] = ..., indices: _Optional[_Iterable[int]] = ..., include_tail: _Optional[bool] = ..., feature_count: _Optional[int] = ..., strongest_count: _Optional[int] = ..., omit_text: _Optional[bool] = ..., omit_metadata: _Optional[bool] = ..., metadata_keys: _Optional[_Iterable[str]] = ..., byte_order_mark: _Optional[bool] = ..., keep_formulas: _Optional[bool] = ...) -> None: ...

class SampleActivationsRequest(_message.Message):
    __slots__ = ("run", "row_count", "feature_count", "include_tail")
    RUN_FIELD_NUMBER: _ClassVar[int]
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    FEATURE_COUNT_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_TAIL_FIELD_NUMBER: _ClassVar[int]
    run: str
    row_count: int
    feature_count: int
    include_tail: bool
    def __init__(self, run: _Optional[str] = ..., row_count: _Optional[int] = ..., feature_count: _Optional[int] = ..., include_tail: _Optional[bool] = ...) -> None: ...

class GetFeatureMatrixRequest(_message.Message):
    __slots__ = ("run", "kind", "feature_count", "filter", "include_tail")
    RUN_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    FEATURE_COUNT_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_TAIL_FIELD_NUMBER: _ClassVar[int]
    run: str
    kind: _resources_pb2.FeatureMatrix.Kind
    feature_count: int
    filter: str
    include_tail: bool
    def __init__(self, run: _Optional[str] = ..., kind: _Optional[_Union[_resources_pb2.FeatureMatrix.Kind, str]] = ..., feature_count: _Optional[int] = ..., filter: _Optional[str] = ..., include_tail: _Optional[bool] = ...) -> None: ...

class LabelFeaturesRequest(_message.Message):
    __slots__ = ("run", "options", "indices", "limit", "relabel", "request_id")
    RUN_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    RELABEL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    run: str
    options: _resources_pb2.LabelOptions
    indices: _containers.RepeatedScalarFieldContainer[int]
    limit: int
    relabel: bool
    request_id: str
    def __init__(self, run: _Optional[str] = ..., options: _Optional[_Union[_resources_pb2.LabelOptions, _Mapping]] = ..., indices: _Optional[_Iterable[int]] = ..., limit: _Optional[int] = ..., relabel: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class CarryLabelsRequest(_message.Message):
    __slots__ = ("run", "from_run", "min_cosine", "request_id")
    RUN_FIELD_NUMBER: _ClassVar[int]
    FROM_RUN_FIELD_NUMBER: _ClassVar[int]
    MIN_COSINE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    run: str
    from_run: str
    min_cosine: float
    request_id: str
    def __init__(self, run: _Optional[str] = ..., from_run: _Optional[str] = ..., min_cosine: _Optional[float] = ..., request_id: _Optional[str] = ...) -> None: ...

class CarryLabelsResponse(_message.Message):
    __slots__ = ("matched_count", "carried_count")
    MATCHED_COUNT_FIELD_NUMBER: _ClassVar[int]
    CARRIED_COUNT_FIELD_NUMBER: _ClassVar[int]
    matched_count: int
    carried_count: int
    def __init__(self, matched_count: _Optional[int] = ..., carried_count: _Optional[int] = ...) -> None: ...

class LabelFeatureRequest(_message.Message):
    __slots__ = ("name", "options", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    options: _resources_pb2.LabelOptions
    request_id: str
    def __init__(self, name: _Optional[str] = ..., options: _Optional[_Union[_resources_pb2.LabelOptions, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateLabelRequest(_message.Message):
    __slots__ = ("parent", "label", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    label: _resources_pb2.Label
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., label: _Optional[_Union[_resources_pb2.Label, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class ScoreLabelsRequest(_message.Message):
    __slots__ = ("run", "indices", "limit", "rescore", "judge", "request_id")
    RUN_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    RESCORE_FIELD_NUMBER: _ClassVar[int]
    JUDGE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    run: str
    indices: _containers.RepeatedScalarFieldContainer[int]
    limit: int
    rescore: bool
    judge: JudgeOptions
    request_id: str
    def __init__(self, run: _Optional[str] = ..., indices: _Optional[_Iterable[int]] = ..., limit: _Optional[int] = ..., rescore: _Optional[bool] = ..., judge: _Optional[_Union[JudgeOptions, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class JudgeOptions(_message.Message):
    __slots__ = ("model", "document_count", "max_questions")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    MAX_QUESTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    document_count: int
    max_questions: int
    def __init__(self, model: _Optional[str] = ..., document_count: _Optional[int] = ..., max_questions: _Optional[int] = ...) -> None: ...

class ActivateLabelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListLabelsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListLabelsResponse(_message.Message):
    __slots__ = ("labels", "next_page_token")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Label]
    next_page_token: str
    def __init__(self, labels: _Optional[_Iterable[_Union[_resources_pb2.Label, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ReadLabelsRequest(_message.Message):
    __slots__ = ("run", "since_revision", "history")
    RUN_FIELD_NUMBER: _ClassVar[int]
    SINCE_REVISION_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    run: str
    since_revision: int
    history: str
    def __init__(self, run: _Optional[str] = ..., since_revision: _Optional[int] = ..., history: _Optional[str] = ...) -> None: ...

class ReadLabelsResponse(_message.Message):
    __slots__ = ("features", "unlabelled_indices", "revision", "run_uid", "history")
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    UNLABELLED_INDICES_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RUN_UID_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    features: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Feature]
    unlabelled_indices: _containers.RepeatedScalarFieldContainer[int]
    revision: int
    run_uid: str
    history: str
    def __init__(self, features: _Optional[_Iterable[_Union[_resources_pb2.Feature, _Mapping]]] = ..., unlabelled_indices: _Optional[_Iterable[int]] = ..., revision: _Optional[int] = ..., run_uid: _Optional[str] = ..., history: _Optional[str] = ...) -> None: ...

class ImportLabelsRequest(_message.Message):
    __slots__ = ("config", "chunk")
    class OnDuplicate(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ON_DUPLICATE_UNSPECIFIED: _ClassVar[ImportLabelsRequest.OnDuplicate]
        ON_DUPLICATE_REJECT: _ClassVar[ImportLabelsRequest.OnDuplicate]
        ON_DUPLICATE_SKIP: _ClassVar[ImportLabelsRequest.OnDuplicate]
        ON_DUPLICATE_REPLACE: _ClassVar[ImportLabelsRequest.OnDuplicate]
    ON_DUPLICATE_UNSPECIFIED: ImportLabelsRequest.OnDuplicate
    ON_DUPLICATE_REJECT: ImportLabelsRequest.OnDuplicate
    ON_DUPLICATE_SKIP: ImportLabelsRequest.OnDuplicate
    ON_DUPLICATE_REPLACE: ImportLabelsRequest.OnDuplicate
    class Config(_message.Message):
        __slots__ = ("run", "validate_only", "on_duplicate", "ignore_weights")
        RUN_FIELD_NUMBER: _ClassVar[int]
        VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
        ON_DUPLICATE_FIELD_NUMBER: _ClassVar[int]
        IGNORE_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
        run: str
        validate_only: bool
        on_duplicate: ImportLabelsRequest.OnDuplicate
        ignore_weights: bool
        def __init__(self, run: _Optional[str] = ..., validate_only: _Optional[bool] = ..., on_duplicate: _Optional[_Union[ImportLabelsRequest.OnDuplicate, str]] = ..., ignore_weights: _Optional[bool] = ...) -> None: ...
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    config: ImportLabelsRequest.Config
    chunk: bytes
    def __init__(self, config: _Optional[_Union[ImportLabelsRequest.Config, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class ImportLabelsResponse(_message.Message):
    __slots__ = ("added_count", "unchanged_count", "skipped_count", "rejected_count", "rejections", "changes", "notes")
    class Rejection(_message.Message):
        __slots__ = ("item", "index", "reason", "message")
        class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
            __slots__ = ()
            REASON_UNSPECIFIED: _ClassVar[ImportLabelsResponse.Rejection.Reason]
            REASON_INVALID_ROW: _ClassVar[ImportLabelsResponse.Rejection.Reason]
            REASON_INVALID_INDEX: _ClassVar[ImportLabelsResponse.Rejection.Reason]
            REASON_INVALID_LABEL: _ClassVar[ImportLabelsResponse.Rejection.Reason]
            REASON_INVALID_DESCRIPTION: _ClassVar[ImportLabelsResponse.Rejection.Reason]
            REASON_INVALID_SOURCE: _ClassVar[ImportLabelsResponse.Rejection.Reason]
            REASON_DUPLICATE_IN_FILE: _ClassVar[ImportLabelsResponse.Rejection.Reason]
            REASON_DUPLICATE: _ClassVar[ImportLabelsResponse.Rejection.Reason]
        REASON_UNSPECIFIED: ImportLabelsResponse.Rejection.Reason
        REASON_INVALID_ROW: ImportLabelsResponse.Rejection.Reason
        REASON_INVALID_INDEX: ImportLabelsResponse.Rejection.Reason
        REASON_INVALID_LABEL: ImportLabelsResponse.Rejection.Reason
        REASON_INVALID_DESCRIPTION: ImportLabelsResponse.Rejection.Reason
        REASON_INVALID_SOURCE: ImportLabelsResponse.Rejection.Reason
        REASON_DUPLICATE_IN_FILE: ImportLabelsResponse.Rejection.Reason
        REASON_DUPLICATE: ImportLabelsResponse.Rejection.Reason
        ITEM_FIELD_NUMBER: _ClassVar[int]
        INDEX_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        item: int
        index: str
        reason: ImportLabelsResponse.Rejection.Reason
        message: str
        def __init__(self, item: _Optional[int] = ..., index: _Optional[str] = ..., reason: _Optional[_Union[ImportLabelsResponse.Rejection.Reason, str]] = ..., message: _Optional[str] = ...) -> None: ...
    class Change(_message.Message):
        __slots__ = ("index", "text", "previous_text", "source")
        INDEX_FIELD_NUMBER: _ClassVar[int]
        TEXT_FIELD_NUMBER: _ClassVar[int]
        PREVIOUS_TEXT_FIELD_NUMBER: _ClassVar[int]
        SOURCE_FIELD_NUMBER: _ClassVar[int]
        index: int
        text: str
        previous_text: str
        source: _resources_pb2.Label.Source
        def __init__(self, index: _Optional[int] = ..., text: _Optional[str] = ..., previous_text: _Optional[str] = ..., source: _Optional[_Union[_resources_pb2.Label.Source, str]] = ...) -> None: ...
    ADDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_COUNT_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_COUNT_FIELD_NUMBER: _ClassVar[int]
    REJECTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    REJECTIONS_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    added_count: int
    unchanged_count: int
    skipped_count: int
    rejected_count: int
    rejections: _containers.RepeatedCompositeFieldContainer[ImportLabelsResponse.Rejection]
    changes: _containers.RepeatedCompositeFieldContainer[ImportLabelsResponse.Change]
    notes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, added_count: _Optional[int] = ..., unchanged_count: _Optional[int] = ..., skipped_count: _Optional[int] = ..., rejected_count: _Optional[int] = ..., rejections: _Optional[_Iterable[_Union[ImportLabelsResponse.Rejection, _Mapping]]] = ..., changes: _Optional[_Iterable[_Union[ImportLabelsResponse.Change, _Mapping]]] = ..., notes: _Optional[_Iterable[str]] = ...) -> None: ...

class ListLabelModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListLabelModelsResponse(_message.Message):
    __slots__ = ("label_models", "unreachable")
    class UnreachableProvider(_message.Message):
        __slots__ = ("provider", "message")
        PROVIDER_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        provider: str
        message: str
        def __init__(self, provider: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...
    LABEL_MODELS_FIELD_NUMBER: _ClassVar[int]
    UNREACHABLE_FIELD_NUMBER: _ClassVar[int]
    label_models: _containers.RepeatedCompositeFieldContainer[_resources_pb2.LabelModel]
    unreachable: _containers.RepeatedCompositeFieldContainer[ListLabelModelsResponse.UnreachableProvider]
    def __init__(self, label_models: _Optional[_Iterable[_Union[_resources_pb2.LabelModel, _Mapping]]] = ..., unreachable: _Optional[_Iterable[_Union[ListLabelModelsResponse.UnreachableProvider, _Mapping]]] = ...) -> None: ...

class BuildFamiliesRequest(_message.Message):
    __slots__ = ("run", "threshold", "rounds", "request_id", "method", "include_tail")
    class Method(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        METHOD_UNSPECIFIED: _ClassVar[BuildFamiliesRequest.Method]
        METHOD_CORRECTED: _ClassVar[BuildFamiliesRequest.Method]
        METHOD_PUBLISHED: _ClassVar[BuildFamiliesRequest.Method]
    METHOD_UNSPECIFIED: BuildFamiliesRequest.Method
    METHOD_CORRECTED: BuildFamiliesRequest.Method
    METHOD_PUBLISHED: BuildFamiliesRequest.Method
    RUN_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_TAIL_FIELD_NUMBER: _ClassVar[int]
    run: str
    threshold: float
    rounds: int
    request_id: str
    method: BuildFamiliesRequest.Method
    include_tail: bool
    def __init__(self, run: _Optional[str] = ..., threshold: _Optional[float] = ..., rounds: _Optional[int] = ..., request_id: _Optional[str] = ..., method: _Optional[_Union[BuildFamiliesRequest.Method, str]] = ..., include_tail: _Optional[bool] = ...) -> None: ...

class ListFamiliesRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token", "query")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    query: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., query: _Optional[str] = ...) -> None: ...

class ListFamiliesResponse(_message.Message):
    __slots__ = ("families", "next_page_token", "total_size")
    FAMILIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    families: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Family]
    next_page_token: str
    total_size: int
    def __init__(self, families: _Optional[_Iterable[_Union[_resources_pb2.Family, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_size: _Optional[int] = ...) -> None: ...

class GetGraphRequest(_message.Message):
    __slots__ = ("run", "round")
    RUN_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    run: str
    round: int
    def __init__(self, run: _Optional[str] = ..., round: _Optional[int] = ...) -> None: ...

class AnalyzeTextRequest(_message.Message):
    __slots__ = ("run", "text", "name_tail")
    RUN_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    NAME_TAIL_FIELD_NUMBER: _ClassVar[int]
    run: str
    text: str
    name_tail: bool
    def __init__(self, run: _Optional[str] = ..., text: _Optional[str] = ..., name_tail: _Optional[bool] = ...) -> None: ...

class AnalyzeDocumentRequest(_message.Message):
    __slots__ = ("run", "document", "name_tail")
    RUN_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    NAME_TAIL_FIELD_NUMBER: _ClassVar[int]
    run: str
    document: str
    name_tail: bool
    def __init__(self, run: _Optional[str] = ..., document: _Optional[str] = ..., name_tail: _Optional[bool] = ...) -> None: ...
