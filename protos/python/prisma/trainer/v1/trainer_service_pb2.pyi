from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import httpbody_pb2 as _httpbody_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from prisma.common.v1 import access_pb2 as _access_pb2
from prisma.common.v1 import block_pb2 as _block_pb2
from prisma.common.v1 import job_pb2 as _job_pb2
from prisma.trainer.v1 import resources_pb2 as _resources_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateRunRequest(_message.Message):
    __slots__ = ("run_id", "run", "request_id", "allow_pending_documents")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ALLOW_PENDING_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    run: _resources_pb2.Run
    request_id: str
    allow_pending_documents: bool
    def __init__(self, run_id: _Optional[str] = ..., run: _Optional[_Union[_resources_pb2.Run, _Mapping]] = ..., request_id: _Optional[str] = ..., allow_pending_documents: _Optional[bool] = ...) -> None: ...

class GetRunRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListRunsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "filter", "show_deleted")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    SHOW_DELETED_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    filter: str
    show_deleted: bool
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ..., show_deleted: _Optional[bool] = ...) -> None: ...

class ListRunsResponse(_message.Message):
    __slots__ = ("runs", "next_page_token")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Run]
    next_page_token: str
    def __init__(self, runs: _Optional[_Iterable[_Union[_resources_pb2.Run, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateRunRequest(_message.Message):
    __slots__ = ("run", "update_mask")
    RUN_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    run: _resources_pb2.Run
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, run: _Optional[_Union[_resources_pb2.Run, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class DeleteRunRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class TrainRunRequest(_message.Message):
    __slots__ = ("name", "request_id", "allow_pending_documents")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ALLOW_PENDING_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    allow_pending_documents: bool
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ..., allow_pending_documents: _Optional[bool] = ...) -> None: ...

class EncodeDatasetRequest(_message.Message):
    __slots__ = ("name", "dataset", "run_id", "display_name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    dataset: str
    run_id: str
    display_name: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., dataset: _Optional[str] = ..., run_id: _Optional[str] = ..., display_name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class PauseRunRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class CloneRunRequest(_message.Message):
    __slots__ = ("name", "run_id", "display_name", "config", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    run_id: str
    display_name: str
    config: _resources_pb2.Config
    request_id: str
    def __init__(self, name: _Optional[str] = ..., run_id: _Optional[str] = ..., display_name: _Optional[str] = ..., config: _Optional[_Union[_resources_pb2.Config, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class SweepRunsRequest(_message.Message):
    __slots__ = ("dataset", "config", "ks", "expansions", "learning_rates", "seeds", "request_id", "allow_pending_documents")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    KS_FIELD_NUMBER: _ClassVar[int]
    EXPANSIONS_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATES_FIELD_NUMBER: _ClassVar[int]
    SEEDS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ALLOW_PENDING_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    config: _resources_pb2.Config
    ks: _containers.RepeatedScalarFieldContainer[int]
    expansions: _containers.RepeatedScalarFieldContainer[int]
    learning_rates: _containers.RepeatedScalarFieldContainer[float]
    seeds: _containers.RepeatedScalarFieldContainer[int]
    request_id: str
    allow_pending_documents: bool
    def __init__(self, dataset: _Optional[str] = ..., config: _Optional[_Union[_resources_pb2.Config, _Mapping]] = ..., ks: _Optional[_Iterable[int]] = ..., expansions: _Optional[_Iterable[int]] = ..., learning_rates: _Optional[_Iterable[float]] = ..., seeds: _Optional[_Iterable[int]] = ..., request_id: _Optional[str] = ..., allow_pending_documents: _Optional[bool] = ...) -> None: ...

class EvaluateRunRequest(_message.Message):
    __slots__ = ("name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class PushRunRequest(_message.Message):
    __slots__ = ("name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class CompareRunsRequest(_message.Message):
    __slots__ = ("first", "second", "min_cosine")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    MIN_COSINE_FIELD_NUMBER: _ClassVar[int]
    first: str
    second: str
    min_cosine: float
    def __init__(self, first: _Optional[str] = ..., second: _Optional[str] = ..., min_cosine: _Optional[float] = ...) -> None: ...

class CompareRunsResponse(_message.Message):
    __slots__ = ("matches", "lost", "gained", "split", "merged", "mean_max_cosine")
    class Match(_message.Message):
        __slots__ = ("first", "second", "cosine")
        FIRST_FIELD_NUMBER: _ClassVar[int]
        SECOND_FIELD_NUMBER: _ClassVar[int]
        COSINE_FIELD_NUMBER: _ClassVar[int]
        first: int
        second: int
        cosine: float
        def __init__(self, first: _Optional[int] = ..., second: _Optional[int] = ..., cosine: _Optional[float] = ...) -> None: ...
    class Parts(_message.Message):
        __slots__ = ("whole", "parts")
        WHOLE_FIELD_NUMBER: _ClassVar[int]
        PARTS_FIELD_NUMBER: _ClassVar[int]
        whole: int
        parts: _containers.RepeatedScalarFieldContainer[int]
        def __init__(self, whole: _Optional[int] = ..., parts: _Optional[_Iterable[int]] = ...) -> None: ...
    MATCHES_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    GAINED_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    MERGED_FIELD_NUMBER: _ClassVar[int]
    MEAN_MAX_COSINE_FIELD_NUMBER: _ClassVar[int]
    matches: _containers.RepeatedCompositeFieldContainer[CompareRunsResponse.Match]
    lost: _containers.RepeatedScalarFieldContainer[int]
    gained: _containers.RepeatedScalarFieldContainer[int]
    split: _containers.RepeatedCompositeFieldContainer[CompareRunsResponse.Parts]
    merged: _containers.RepeatedCompositeFieldContainer[CompareRunsResponse.Parts]
    mean_max_cosine: float
    def __init__(self, matches: _Optional[_Iterable[_Union[CompareRunsResponse.Match, _Mapping]]] = ..., lost: _Optional[_Iterable[int]] = ..., gained: _Optional[_Iterable[int]] = ..., split: _Optional[_Iterable[_Union[CompareRunsResponse.Parts, _Mapping]]] = ..., merged: _Optional[_Iterable[_Union[CompareRunsResponse.Parts, _Mapping]]] = ..., mean_max_cosine: _Optional[float] = ...) -> None: ...

class ImportWeightsRequest(_message.Message):
    __slots__ = ("config", "chunk")
    class Config(_message.Message):
        __slots__ = ("dataset", "run_id", "display_name", "request_id")
        DATASET_FIELD_NUMBER: _ClassVar[int]
        RUN_ID_FIELD_NUMBER: _ClassVar[int]
        DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
        REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
        dataset: str
        run_id: str
        display_name: str
        request_id: str
        def __init__(self, dataset: _Optional[str] = ..., run_id: _Optional[str] = ..., display_name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    config: ImportWeightsRequest.Config
    chunk: bytes
    def __init__(self, config: _Optional[_Union[ImportWeightsRequest.Config, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class WatchMetricsRequest(_message.Message):
    __slots__ = ("name", "after_step")
    NAME_FIELD_NUMBER: _ClassVar[int]
    AFTER_STEP_FIELD_NUMBER: _ClassVar[int]
    name: str
    after_step: int
    def __init__(self, name: _Optional[str] = ..., after_step: _Optional[int] = ...) -> None: ...

class EncodeRequest(_message.Message):
    __slots__ = ("run", "vectors")
    RUN_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    run: str
    vectors: _block_pb2.VectorBlock
    def __init__(self, run: _Optional[str] = ..., vectors: _Optional[_Union[_block_pb2.VectorBlock, _Mapping]] = ...) -> None: ...

class EncodeResponse(_message.Message):
    __slots__ = ("codes", "unexplained_fractions")
    CODES_FIELD_NUMBER: _ClassVar[int]
    UNEXPLAINED_FRACTIONS_FIELD_NUMBER: _ClassVar[int]
    codes: _block_pb2.CodeBlock
    unexplained_fractions: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, codes: _Optional[_Union[_block_pb2.CodeBlock, _Mapping]] = ..., unexplained_fractions: _Optional[_Iterable[float]] = ...) -> None: ...

class DecodeRequest(_message.Message):
    __slots__ = ("run", "codes")
    RUN_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    run: str
    codes: _block_pb2.CodeBlock
    def __init__(self, run: _Optional[str] = ..., codes: _Optional[_Union[_block_pb2.CodeBlock, _Mapping]] = ...) -> None: ...

class DecodeResponse(_message.Message):
    __slots__ = ("vectors",)
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    vectors: _block_pb2.VectorBlock
    def __init__(self, vectors: _Optional[_Union[_block_pb2.VectorBlock, _Mapping]] = ...) -> None: ...

class ReadCodesRequest(_message.Message):
    __slots__ = ("run", "since_revision", "row_ranges", "start_row", "history", "held_out")
    RUN_FIELD_NUMBER: _ClassVar[int]
    SINCE_REVISION_FIELD_NUMBER: _ClassVar[int]
    ROW_RANGES_FIELD_NUMBER: _ClassVar[int]
    START_ROW_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    HELD_OUT_FIELD_NUMBER: _ClassVar[int]
    run: str
    since_revision: int
    row_ranges: _containers.RepeatedCompositeFieldContainer[_block_pb2.RowRange]
    start_row: int
    history: str
    held_out: bool
    def __init__(self, run: _Optional[str] = ..., since_revision: _Optional[int] = ..., row_ranges: _Optional[_Iterable[_Union[_block_pb2.RowRange, _Mapping]]] = ..., start_row: _Optional[int] = ..., history: _Optional[str] = ..., held_out: _Optional[bool] = ...) -> None: ...

class ReadCodesResponse(_message.Message):
    __slots__ = ("codes", "revision", "run_uid", "deleted_rows", "history")
    CODES_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RUN_UID_FIELD_NUMBER: _ClassVar[int]
    DELETED_ROWS_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    codes: _block_pb2.CodeBlock
    revision: int
    run_uid: str
    deleted_rows: _containers.RepeatedScalarFieldContainer[int]
    history: str
    def __init__(self, codes: _Optional[_Union[_block_pb2.CodeBlock, _Mapping]] = ..., revision: _Optional[int] = ..., run_uid: _Optional[str] = ..., deleted_rows: _Optional[_Iterable[int]] = ..., history: _Optional[str] = ...) -> None: ...

class ReadDecoderRequest(_message.Message):
    __slots__ = ("run", "latent_ranges")
    RUN_FIELD_NUMBER: _ClassVar[int]
    LATENT_RANGES_FIELD_NUMBER: _ClassVar[int]
    run: str
    latent_ranges: _containers.RepeatedCompositeFieldContainer[_block_pb2.RowRange]
    def __init__(self, run: _Optional[str] = ..., latent_ranges: _Optional[_Iterable[_Union[_block_pb2.RowRange, _Mapping]]] = ...) -> None: ...

class ReadDecoderResponse(_message.Message):
    __slots__ = ("directions", "run_uid", "stabilities", "agreements", "scales", "weights_digest")
    DIRECTIONS_FIELD_NUMBER: _ClassVar[int]
    RUN_UID_FIELD_NUMBER: _ClassVar[int]
    STABILITIES_FIELD_NUMBER: _ClassVar[int]
    AGREEMENTS_FIELD_NUMBER: _ClassVar[int]
    SCALES_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    directions: _block_pb2.VectorBlock
    run_uid: str
    stabilities: _containers.RepeatedScalarFieldContainer[float]
    agreements: _containers.RepeatedScalarFieldContainer[float]
    scales: _containers.RepeatedScalarFieldContainer[float]
    weights_digest: str
    def __init__(self, directions: _Optional[_Union[_block_pb2.VectorBlock, _Mapping]] = ..., run_uid: _Optional[str] = ..., stabilities: _Optional[_Iterable[float]] = ..., agreements: _Optional[_Iterable[float]] = ..., scales: _Optional[_Iterable[float]] = ..., weights_digest: _Optional[str] = ...) -> None: ...

class ExportWeightsRequest(_message.Message):
    __slots__ = ("run", "layout")
    class Layout(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        LAYOUT_UNSPECIFIED: _ClassVar[ExportWeightsRequest.Layout]
        LAYOUT_PRISMA: _ClassVar[ExportWeightsRequest.Layout]
        LAYOUT_SAE_LENS: _ClassVar[ExportWeightsRequest.Layout]
    LAYOUT_UNSPECIFIED: ExportWeightsRequest.Layout
    LAYOUT_PRISMA: ExportWeightsRequest.Layout
    LAYOUT_SAE_LENS: ExportWeightsRequest.Layout
    RUN_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    run: str
    layout: ExportWeightsRequest.Layout
    def __init__(self, run: _Optional[str] = ..., layout: _Optional[_Union[ExportWeightsRequest.Layout, str]] = ...) -> None: ...
