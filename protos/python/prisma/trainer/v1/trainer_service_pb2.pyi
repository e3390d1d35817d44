from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import httpbody_pb2 as _httpbody_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from prisma.common.v1 import block_pb2 as _block_pb2
from prisma.common.v1 import job_pb2 as _job_pb2
from prisma.trainer.v1 import resources_pb2 as _resources_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateRunRequest(_message.Message):
    __slots__ = ("run_id", "run", "request_id")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    run: _resources_pb2.Run
    request_id: str
    def __init__(self, run_id: _Optional[str] = ..., run: _Optional[_Union[_resources_pb2.Run, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

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
    __slots__ = ("name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

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

class ReadCodesRequest(_message.Message):
    __slots__ = ("run", "since_revision", "row_ranges", "start_row")
    RUN_FIELD_NUMBER: _ClassVar[int]
    SINCE_REVISION_FIELD_NUMBER: _ClassVar[int]
    ROW_RANGES_FIELD_NUMBER: _ClassVar[int]
    START_ROW_FIELD_NUMBER: _ClassVar[int]
    run: str
    since_revision: int
    row_ranges: _containers.RepeatedCompositeFieldContainer[_block_pb2.RowRange]
    start_row: int
    def __init__(self, run: _Optional[str] = ..., since_revision: _Optional[int] = ..., row_ranges: _Optional[_Iterable[_Union[_block_pb2.RowRange, _Mapping]]] = ..., start_row: _Optional[int] = ...) -> None: ...

class ReadCodesResponse(_message.Message):
    __slots__ = ("codes", "revision", "run_uid", "deleted_rows")
    CODES_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RUN_UID_FIELD_NUMBER: _ClassVar[int]
    DELETED_ROWS_FIELD_NUMBER: _ClassVar[int]
    codes: _block_pb2.CodeBlock
    revision: int
    run_uid: str
    deleted_rows: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, codes: _Optional[_Union[_block_pb2.CodeBlock, _Mapping]] = ..., revision: _Optional[int] = ..., run_uid: _Optional[str] = ..., deleted_rows: _Optional[_Iterable[int]] = ...) -> None: ...

class ReadDecoderRequest(_message.Message):
    __slots__ = ("run", "latent_ranges")
    RUN_FIELD_NUMBER: _ClassVar[int]
    LATENT_RANGES_FIELD_NUMBER: _ClassVar[int]
    run: str
    latent_ranges: _containers.RepeatedCompositeFieldContainer[_block_pb2.RowRange]
    def __init__(self, run: _Optional[str] = ..., latent_ranges: _Optional[_Iterable[_Union[_block_pb2.RowRange, _Mapping]]] = ...) -> None: ...

class ReadDecoderResponse(_message.Message):
    __slots__ = ("directions", "run_uid")
    DIRECTIONS_FIELD_NUMBER: _ClassVar[int]
    RUN_UID_FIELD_NUMBER: _ClassVar[int]
    directions: _block_pb2.VectorBlock
    run_uid: str
    def __init__(self, directions: _Optional[_Union[_block_pb2.VectorBlock, _Mapping]] = ..., run_uid: _Optional[str] = ...) -> None: ...

class ExportWeightsRequest(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: str
    def __init__(self, run: _Optional[str] = ...) -> None: ...
