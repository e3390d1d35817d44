import datetime

from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import httpbody_pb2 as _httpbody_pb2
from google.api import resource_pb2 as _resource_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from prisma.common.v1 import access_pb2 as _access_pb2
from prisma.common.v1 import block_pb2 as _block_pb2
from prisma.common.v1 import job_pb2 as _job_pb2
from prisma.embedder.v1 import resources_pb2 as _resources_pb2
from prisma.embedder.v1 import statistics_pb2 as _statistics_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateDatasetRequest(_message.Message):
    __slots__ = ("dataset_id", "dataset", "request_id")
    DATASET_ID_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    dataset_id: str
    dataset: _resources_pb2.Dataset
    request_id: str
    def __init__(self, dataset_id: _Optional[str] = ..., dataset: _Optional[_Union[_resources_pb2.Dataset, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetDatasetRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListDatasetsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "show_deleted")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SHOW_DELETED_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    show_deleted: bool
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., show_deleted: _Optional[bool] = ...) -> None: ...

class ListDatasetsResponse(_message.Message):
    __slots__ = ("datasets", "next_page_token")
    DATASETS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    datasets: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Dataset]
    next_page_token: str
    def __init__(self, datasets: _Optional[_Iterable[_Union[_resources_pb2.Dataset, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateDatasetRequest(_message.Message):
    __slots__ = ("dataset", "update_mask")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    dataset: _resources_pb2.Dataset
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, dataset: _Optional[_Union[_resources_pb2.Dataset, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class DeleteDatasetRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ImportDocumentsRequest(_message.Message):
    __slots__ = ("config", "chunk", "vectors")
    class OnDuplicate(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ON_DUPLICATE_UNSPECIFIED: _ClassVar[ImportDocumentsRequest.OnDuplicate]
        ON_DUPLICATE_REJECT: _ClassVar[ImportDocumentsRequest.OnDuplicate]
        ON_DUPLICATE_SKIP: _ClassVar[ImportDocumentsRequest.OnDuplicate]
        ON_DUPLICATE_REPLACE: _ClassVar[ImportDocumentsRequest.OnDuplicate]
    ON_DUPLICATE_UNSPECIFIED: ImportDocumentsRequest.OnDuplicate
    ON_DUPLICATE_REJECT: ImportDocumentsRequest.OnDuplicate
    ON_DUPLICATE_SKIP: ImportDocumentsRequest.OnDuplicate
    ON_DUPLICATE_REPLACE: ImportDocumentsRequest.OnDuplicate
    class Config(_message.Message):
        __slots__ = ("dataset", "id_field", "text_fields", "request_id", "validate_only", "metadata_fields", "format", "encoding", "delimiter", "has_header", "sheet", "is_partial", "on_duplicate", "file_name", "metadata_types", "vector_field", "id_source", "no_metadata", "file_token", "keep_file")
        DATASET_FIELD_NUMBER: _ClassVar[int]
        ID_FIELD_FIELD_NUMBER: _ClassVar[int]
        TEXT_FIELDS_FIELD_NUMBER: _ClassVar[int]
        REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
        VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
        METADATA_FIELDS_FIELD_NUMBER: _ClassVar[int]
        FORMAT_FIELD_NUMBER: _ClassVar[int]
        ENCODING_FIELD_NUMBER: _ClassVar[int]
        DELIMITER_FIELD_NUMBER: _ClassVar[int]
        HAS_HEADER_FIELD_NUMBER: _ClassVar[int]
        SHEET_FIELD_NUMBER: _ClassVar[int]
        IS_PARTIAL_FIELD_NUMBER: _ClassVar[int]
        ON_DUPLICATE_FIELD_NUMBER: _ClassVar[int]
        FILE_NAME_FIELD_NUMBER: _ClassVar[int]
        METADATA_TYPES_FIELD_NUMBER: _ClassVar[int]
        VECTOR_FIELD_FIELD_NUMBER: _ClassVar[int]
        ID_SOURCE_FIELD_NUMBER: _ClassVar[int]
        NO_METADATA_FIELD_NUMBER: _ClassVar[int]
        FILE_TOKEN_FIELD_NUMBER: _ClassVar[int]
        KEEP_FILE_FIELD_NUMBER: _ClassVar[int]
        dataset: str
        id_field: str
        text_fields: _containers.RepeatedScalarFieldContainer[str]
        request_id: str
        validate_only: bool
        metadata_fields: _containers.RepeatedScalarFieldContainer[str]
        format: _resources_pb2.FileLayout.Format
        encoding: str
        delimiter: str
        has_header: bool
        sheet: str
        is_partial: bool
        on_duplicate: ImportDocumentsRequest.OnDuplicate
        file_name: str
        metadata_types: _containers.RepeatedScalarFieldContainer[str]
        vector_field: str
        id_source: _resources_pb2.FileLayout.IdSource
        no_metadata: bool
        file_token: str
        keep_file: bool
        def __init__(self, dataset: _Optional[str] = ..., id_field: _Optional[str] = ..., text_fields: _Optional[_Iterable[str]] = ..., request_id: _Optional[str] = ..., validate_only: _Optional[bool] = ..., metadata_fields: _Optional[_Iterable[str]] = ..., format: _Optional[_Union[_resources_pb2.FileLayout.Format, str]] = ..., encoding: _Optional[str] = ..., delimiter: _Optional[str] = ..., has_header: _Optional[bool] = ..., sheet: _Optional[str] = ..., is_partial: _Optional[bool] = ..., on_duplicate: _Optional[_Union[ImportDocumentsRequest.OnDuplicate, str]] = ..., file_name: _Optional[str] = ..., metadata_types: _Optional[_Iterable[str]] = ..., vector_field: _Optional[str] = ..., id_source: _Optional[_Union[_resources_pb2.FileLayout.IdSource, str]] = ..., no_metadata: _Optional[bool] = ..., file_token: _Optional[str] = ..., keep_file: _Optional[bool] = ...) -> None: ...
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    config: ImportDocumentsRequest.Config
    chunk: bytes
    vectors: bytes
    def __init__(self, config: _Optional[_Union[ImportDocumentsRequest.Config, _Mapping]] = ..., chunk: _Optional[bytes] = ..., vectors: _Optional[bytes] = ...) -> None: ...

class ImportDocumentsResponse(_message.Message):
    __slots__ = ("imported_count", "rejected_count", "rejections", "rejection_counts", "dataset", "layout", "notes", "updated_count", "skipped_count", "import_name", "passage_count")
    class Rejection(_message.Message):
        __slots__ = ("item", "key", "reason", "message", "table", "table_item")
        class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
            __slots__ = ()
            REASON_UNSPECIFIED: _ClassVar[ImportDocumentsResponse.Rejection.Reason]
            REASON_INVALID_JSON: _ClassVar[ImportDocumentsResponse.Rejection.Reason]
            REASON_NOT_AN_OBJECT: _ClassVar[ImportDocumentsResponse.Rejection.Reason]
            REASON_MISSING_ID: _ClassVar[ImportDocumentsResponse.Rejection.Reason]
            REASON_INVALID_ID: _ClassVar[ImportDocumentsResponse.Rejection.Reason]
            REASON_MISSING_TEXT: _ClassVar[ImportDocumentsResponse.Rejection.Reason]
            REASON_INVALID_TEXT: _ClassVar[ImportDocumentsResponse.Rejection.Reason]
            REASON_TEXT_TOO_LONG: _ClassVar[ImportDocumentsResponse.Rejection.Reason]
            REASON_DUPLICATE_IN_FILE: _ClassVar[ImportDocumentsResponse.Rejection.Reason]
            REASON_DUPLICATE_IN_DATASET: _ClassVar[ImportDocumentsResponse.Rejection.Reason]
            REASON_INVALID_UTF8: _ClassVar[ImportDocumentsResponse.Rejection.Reason]
            REASON_INVALID_METADATA: _ClassVar[ImportDocumentsResponse.Rejection.Reason]
            REASON_INVALID_ROW: _ClassVar[ImportDocumentsResponse.Rejection.Reason]
            REASON_INVALID_VECTOR: _ClassVar[ImportDocumentsResponse.Rejection.Reason]
            REASON_MISSING_VECTOR: _ClassVar[ImportDocumentsResponse.Rejection.Reason]
            REASON_VECTOR_LENGTH: _ClassVar[ImportDocumentsResponse.Rejection.Reason]
            REASON_ZERO_VECTOR: _ClassVar[ImportDocumentsResponse.Rejection.Reason]
        REASON_UNSPECIFIED: ImportDocumentsResponse.Rejection.Reason
        REASON_INVALID_JSON: ImportDocumentsResponse.Rejection.Reason
        REASON_NOT_AN_OBJECT: ImportDocumentsResponse.Rejection.Reason
        REASON_MISSING_ID: ImportDocumentsResponse.Rejection.Reason
        REASON_INVALID_ID: ImportDocumentsResponse.Rejection.Reason
        REASON_MISSING_TEXT: ImportDocumentsResponse.Rejection.Reason
        REASON_INVALID_TEXT: ImportDocumentsResponse.Rejection.Reason
        REASON_TEXT_TOO_LONG: ImportDocumentsResponse.Rejection.Reason
        REASON_DUPLICATE_IN_FILE: ImportDocumentsResponse.Rejection.Reason
        REASON_DUPLICATE_IN_DATASET: ImportDocumentsResponse.Rejection.Reason
        REASON_INVALID_UTF8: ImportDocumentsResponse.Rejection.Reason
        REASON_INVALID_METADATA: ImportDocumentsResponse.Rejection.Reason
        REASON_INVALID_ROW: ImportDocumentsResponse.Rejection.Reason
        REASON_INVALID_VECTOR: ImportDocumentsResponse.Rejection.Reason
        REASON_MISSING_VECTOR: ImportDocumentsResponse.Rejection.Reason
        REASON_VECTOR_LENGTH: ImportDocumentsResponse.Rejection.Reason
        REASON_ZERO_VECTOR: ImportDocumentsResponse.Rejection.Reason
        ITEM_FIELD_NUMBER: _ClassVar[int]
        KEY_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        TABLE_FIELD_NUMBER: _ClassVar[int]
        TABLE_ITEM_FIELD_NUMBER: _ClassVar[int]
        item: int
        key: str
        reason: ImportDocumentsResponse.Rejection.Reason
        message: str
        table: str
        table_item: int
        def __init__(self, item: _Optional[int] = ..., key: _Optional[str] = ..., reason: _Optional[_Union[ImportDocumentsResponse.Rejection.Reason, str]] = ..., message: _Optional[str] = ..., table: _Optional[str] = ..., table_item: _Optional[int] = ...) -> None: ...
    class ReasonCount(_message.Message):
        __slots__ = ("reason", "count")
        REASON_FIELD_NUMBER: _ClassVar[int]
        COUNT_FIELD_NUMBER: _ClassVar[int]
        reason: ImportDocumentsResponse.Rejection.Reason
        count: int
        def __init__(self, reason: _Optional[_Union[ImportDocumentsResponse.Rejection.Reason, str]] = ..., count: _Optional[int] = ...) -> None: ...
    IMPORTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    REJECTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    REJECTIONS_FIELD_NUMBER: _ClassVar[int]
    REJECTION_COUNTS_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    UPDATED_COUNT_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_COUNT_FIELD_NUMBER: _ClassVar[int]
    IMPORT_NAME_FIELD_NUMBER: _ClassVar[int]
    PASSAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    imported_count: int
    rejected_count: int
    rejections: _containers.RepeatedCompositeFieldContainer[ImportDocumentsResponse.Rejection]
    rejection_counts: _containers.RepeatedCompositeFieldContainer[ImportDocumentsResponse.ReasonCount]
    dataset: _resources_pb2.Dataset
    layout: _resources_pb2.FileLayout
    notes: _containers.RepeatedScalarFieldContainer[str]
    updated_count: int
    skipped_count: int
    import_name: str
    passage_count: int
    def __init__(self, imported_count: _Optional[int] = ..., rejected_count: _Optional[int] = ..., rejections: _Optional[_Iterable[_Union[ImportDocumentsResponse.Rejection, _Mapping]]] = ..., rejection_counts: _Optional[_Iterable[_Union[ImportDocumentsResponse.ReasonCount, _Mapping]]] = ..., dataset: _Optional[_Union[_resources_pb2.Dataset, _Mapping]] = ..., layout: _Optional[_Union[_resources_pb2.FileLayout, _Mapping]] = ..., notes: _Optional[_Iterable[str]] = ..., updated_count: _Optional[int] = ..., skipped_count: _Optional[int] = ..., import_name: _Optional[str] = ..., passage_count: _Optional[int] = ...) -> None: ...

class Import(_message.Message):
    __slots__ = ("name", "state", "create_time", "end_time", "file_name", "file_bytes", "on_duplicate", "layout", "notes", "read_count", "added_count", "updated_count", "skipped_count", "rejected_count", "rejection_counts", "stored_rejection_count", "error")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Import.State]
        STATE_RUNNING: _ClassVar[Import.State]
        STATE_SUCCEEDED: _ClassVar[Import.State]
        STATE_FAILED: _ClassVar[Import.State]
        STATE_CANCELLED: _ClassVar[Import.State]
        STATE_INTERRUPTED: _ClassVar[Import.State]
    STATE_UNSPECIFIED: Import.State
    STATE_RUNNING: Import.State
    STATE_SUCCEEDED: Import.State
    STATE_FAILED: Import.State
    STATE_CANCELLED: Import.State
    STATE_INTERRUPTED: Import.State
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    FILE_BYTES_FIELD_NUMBER: _ClassVar[int]
    ON_DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    READ_COUNT_FIELD_NUMBER: _ClassVar[int]
    ADDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_COUNT_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_COUNT_FIELD_NUMBER: _ClassVar[int]
    REJECTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    REJECTION_COUNTS_FIELD_NUMBER: _ClassVar[int]
    STORED_REJECTION_COUNT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: Import.State
    create_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    file_name: str
    file_bytes: int
    on_duplicate: ImportDocumentsRequest.OnDuplicate
    layout: _resources_pb2.FileLayout
    notes: _containers.RepeatedScalarFieldContainer[str]
    read_count: int
    added_count: int
    updated_count: int
    skipped_count: int
    rejected_count: int
    rejection_counts: _containers.RepeatedCompositeFieldContainer[ImportDocumentsResponse.ReasonCount]
    stored_rejection_count: int
    error: _status_pb2.Status
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[Import.State, str]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., file_name: _Optional[str] = ..., file_bytes: _Optional[int] = ..., on_duplicate: _Optional[_Union[ImportDocumentsRequest.OnDuplicate, str]] = ..., layout: _Optional[_Union[_resources_pb2.FileLayout, _Mapping]] = ..., notes: _Optional[_Iterable[str]] = ..., read_count: _Optional[int] = ..., added_count: _Optional[int] = ..., updated_count: _Optional[int] = ..., skipped_count: _Optional[int] = ..., rejected_count: _Optional[int] = ..., rejection_counts: _Optional[_Iterable[_Union[ImportDocumentsResponse.ReasonCount, _Mapping]]] = ..., stored_rejection_count: _Optional[int] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class PreviewDocumentsRequest(_message.Message):
    __slots__ = ("config", "chunk")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    config: ImportDocumentsRequest.Config
    chunk: bytes
    def __init__(self, config: _Optional[_Union[ImportDocumentsRequest.Config, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class PreviewDocumentsResponse(_message.Message):
    __slots__ = ("layout", "notes", "columns", "documents", "rejections", "file_token")
    class Column(_message.Message):
        __slots__ = ("name", "kind")
        class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
            __slots__ = ()
            KIND_UNSPECIFIED: _ClassVar[PreviewDocumentsResponse.Column.Kind]
            KIND_STRING: _ClassVar[PreviewDocumentsResponse.Column.Kind]
            KIND_INTEGER: _ClassVar[PreviewDocumentsResponse.Column.Kind]
            KIND_NUMBER: _ClassVar[PreviewDocumentsResponse.Column.Kind]
            KIND_BOOLEAN: _ClassVar[PreviewDocumentsResponse.Column.Kind]
            KIND_LIST: _ClassVar[PreviewDocumentsResponse.Column.Kind]
            KIND_OBJECT: _ClassVar[PreviewDocumentsResponse.Column.Kind]
            KIND_MIXED: _ClassVar[PreviewDocumentsResponse.Column.Kind]
            KIND_VECTOR: _ClassVar[PreviewDocumentsResponse.Column.Kind]
        KIND_UNSPECIFIED: PreviewDocumentsResponse.Column.Kind
        KIND_STRING: PreviewDocumentsResponse.Column.Kind
        KIND_INTEGER: PreviewDocumentsResponse.Column.Kind
        KIND_NUMBER: PreviewDocumentsResponse.Column.Kind
        KIND_BOOLEAN: PreviewDocumentsResponse.Column.Kind
        KIND_LIST: PreviewDocumentsResponse.Column.Kind
        KIND_OBJECT: PreviewDocumentsResponse.Column.Kind
        KIND_MIXED: PreviewDocumentsResponse.Column.Kind
        KIND_VECTOR: PreviewDocumentsResponse.Column.Kind
        NAME_FIELD_NUMBER: _ClassVar[int]
        KIND_FIELD_NUMBER: _ClassVar[int]
        name: str
        kind: PreviewDocumentsResponse.Column.Kind
        def __init__(self, name: _Optional[str] = ..., kind: _Optional[_Union[PreviewDocumentsResponse.Column.Kind, str]] = ...) -> None: ...
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    REJECTIONS_FIELD_NUMBER: _ClassVar[int]
    FILE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    layout: _resources_pb2.FileLayout
    notes: _containers.RepeatedScalarFieldContainer[str]
    columns: _containers.RepeatedCompositeFieldContainer[PreviewDocumentsResponse.Column]
    documents: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Document]
    rejections: _containers.RepeatedCompositeFieldContainer[ImportDocumentsResponse.Rejection]
    file_token: str
    def __init__(self, layout: _Optional[_Union[_resources_pb2.FileLayout, _Mapping]] = ..., notes: _Optional[_Iterable[str]] = ..., columns: _Optional[_Iterable[_Union[PreviewDocumentsResponse.Column, _Mapping]]] = ..., documents: _Optional[_Iterable[_Union[_resources_pb2.Document, _Mapping]]] = ..., rejections: _Optional[_Iterable[_Union[ImportDocumentsResponse.Rejection, _Mapping]]] = ..., file_token: _Optional[str] = ...) -> None: ...

class ListImportsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListImportsResponse(_message.Message):
    __slots__ = ("imports", "next_page_token")
    IMPORTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    imports: _containers.RepeatedCompositeFieldContainer[Import]
    next_page_token: str
    def __init__(self, imports: _Optional[_Iterable[_Union[Import, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetImportRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DownloadRejectionsRequest(_message.Message):
    __slots__ = ("name", "format")
    class Format(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FORMAT_UNSPECIFIED: _ClassVar[DownloadRejectionsRequest.Format]
        FORMAT_CSV: _ClassVar[DownloadRejectionsRequest.Format]
        FORMAT_JSON_LINES: _ClassVar[DownloadRejectionsRequest.Format]
    FORMAT_UNSPECIFIED: DownloadRejectionsRequest.Format
    FORMAT_CSV: DownloadRejectionsRequest.Format
    FORMAT_JSON_LINES: DownloadRejectionsRequest.Format
    NAME_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    name: str
    format: DownloadRejectionsRequest.Format
    def __init__(self, name: _Optional[str] = ..., format: _Optional[_Union[DownloadRejectionsRequest.Format, str]] = ...) -> None: ...

class ListDocumentsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token", "filter")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    filter: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ...) -> None: ...

class ListDocumentsResponse(_message.Message):
    __slots__ = ("documents", "next_page_token", "total_size", "notices")
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    documents: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Document]
    next_page_token: str
    total_size: int
    notices: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, documents: _Optional[_Iterable[_Union[_resources_pb2.Document, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_size: _Optional[int] = ..., notices: _Optional[_Iterable[str]] = ...) -> None: ...

class GetDocumentRequest(_message.Message):
    __slots__ = ("name", "view")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    name: str
    view: _resources_pb2.DocumentView
    def __init__(self, name: _Optional[str] = ..., view: _Optional[_Union[_resources_pb2.DocumentView, str]] = ...) -> None: ...

class BatchGetDocumentsRequest(_message.Message):
    __slots__ = ("parent", "names", "rows", "view")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    parent: str
    names: _containers.RepeatedScalarFieldContainer[str]
    rows: _containers.RepeatedScalarFieldContainer[int]
    view: _resources_pb2.DocumentView
    def __init__(self, parent: _Optional[str] = ..., names: _Optional[_Iterable[str]] = ..., rows: _Optional[_Iterable[int]] = ..., view: _Optional[_Union[_resources_pb2.DocumentView, str]] = ...) -> None: ...

class BatchGetDocumentsResponse(_message.Message):
    __slots__ = ("documents", "missing")
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    documents: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Document]
    missing: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, documents: _Optional[_Iterable[_Union[_resources_pb2.Document, _Mapping]]] = ..., missing: _Optional[_Iterable[str]] = ...) -> None: ...

class DeleteDocumentRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteDocumentsRequest(_message.Message):
    __slots__ = ("parent", "filter", "force", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    filter: str
    force: bool
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., filter: _Optional[str] = ..., force: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteDocumentsResponse(_message.Message):
    __slots__ = ("document_count", "sample", "job", "notices")
    DOCUMENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    document_count: int
    sample: _containers.RepeatedScalarFieldContainer[str]
    job: _job_pb2.Job
    notices: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, document_count: _Optional[int] = ..., sample: _Optional[_Iterable[str]] = ..., job: _Optional[_Union[_job_pb2.Job, _Mapping]] = ..., notices: _Optional[_Iterable[str]] = ...) -> None: ...

class ReadDocumentsRequest(_message.Message):
    __slots__ = ("dataset", "since_revision", "row_ranges", "read_mask", "start_row", "history", "whole_documents")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    SINCE_REVISION_FIELD_NUMBER: _ClassVar[int]
    ROW_RANGES_FIELD_NUMBER: _ClassVar[int]
    READ_MASK_FIELD_NUMBER: _ClassVar[int]
    START_ROW_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    WHOLE_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    since_revision: int
    row_ranges: _containers.RepeatedCompositeFieldContainer[_block_pb2.RowRange]
    read_mask: _field_mask_pb2.FieldMask
    start_row: int
    history: str
    whole_documents: bool
    def __init__(self, dataset: _Optional[str] = ..., since_revision: _Optional[int] = ..., row_ranges: _Optional[_Iterable[_Union[_block_pb2.RowRange, _Mapping]]] = ..., read_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., start_row: _Optional[int] = ..., history: _Optional[str] = ..., whole_documents: _Optional[bool] = ...) -> None: ...

class ReadDocumentsResponse(_message.Message):
    __slots__ = ("documents", "deleted_rows", "revision", "dataset_uid", "history", "whole_documents")
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    DELETED_ROWS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DATASET_UID_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    WHOLE_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    documents: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Document]
    deleted_rows: _containers.RepeatedScalarFieldContainer[int]
    revision: int
    dataset_uid: str
    history: str
    whole_documents: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Document]
    def __init__(self, documents: _Optional[_Iterable[_Union[_resources_pb2.Document, _Mapping]]] = ..., deleted_rows: _Optional[_Iterable[int]] = ..., revision: _Optional[int] = ..., dataset_uid: _Optional[str] = ..., history: _Optional[str] = ..., whole_documents: _Optional[_Iterable[_Union[_resources_pb2.Document, _Mapping]]] = ...) -> None: ...

class EmbedDatasetRequest(_message.Message):
    __slots__ = ("name", "request_id", "again")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AGAIN_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    again: bool
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ..., again: _Optional[bool] = ...) -> None: ...

class RetryFailedDocumentsRequest(_message.Message):
    __slots__ = ("name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class EmbedTextsRequest(_message.Message):
    __slots__ = ("embedding_model", "texts", "encoding", "purpose")
    class Purpose(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        PURPOSE_UNSPECIFIED: _ClassVar[EmbedTextsRequest.Purpose]
        PURPOSE_DOCUMENT: _ClassVar[EmbedTextsRequest.Purpose]
        PURPOSE_QUERY: _ClassVar[EmbedTextsRequest.Purpose]
    PURPOSE_UNSPECIFIED: EmbedTextsRequest.Purpose
    PURPOSE_DOCUMENT: EmbedTextsRequest.Purpose
    PURPOSE_QUERY: EmbedTextsRequest.Purpose
    EMBEDDING_MODEL_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    embedding_model: str
    texts: _containers.RepeatedScalarFieldContainer[str]
    encoding: _block_pb2.VectorEncoding
    purpose: EmbedTextsRequest.Purpose
    def __init__(self, embedding_model: _Optional[str] = ..., texts: _Optional[_Iterable[str]] = ..., encoding: _Optional[_Union[_block_pb2.VectorEncoding, str]] = ..., purpose: _Optional[_Union[EmbedTextsRequest.Purpose, str]] = ...) -> None: ...

class EmbedTextsResponse(_message.Message):
    __slots__ = ("vectors", "truncated")
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    vectors: _block_pb2.VectorBlock
    truncated: _containers.RepeatedScalarFieldContainer[bool]
    def __init__(self, vectors: _Optional[_Union[_block_pb2.VectorBlock, _Mapping]] = ..., truncated: _Optional[_Iterable[bool]] = ...) -> None: ...

class ReadVectorsRequest(_message.Message):
    __slots__ = ("dataset", "since_revision", "row_ranges", "start_row", "encoding", "rows_only", "history")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    SINCE_REVISION_FIELD_NUMBER: _ClassVar[int]
    ROW_RANGES_FIELD_NUMBER: _ClassVar[int]
    START_ROW_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    ROWS_ONLY_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    since_revision: int
    row_ranges: _containers.RepeatedCompositeFieldContainer[_block_pb2.RowRange]
    start_row: int
    encoding: _block_pb2.VectorEncoding
    rows_only: bool
    history: str
    def __init__(self, dataset: _Optional[str] = ..., since_revision: _Optional[int] = ..., row_ranges: _Optional[_Iterable[_Union[_block_pb2.RowRange, _Mapping]]] = ..., start_row: _Optional[int] = ..., encoding: _Optional[_Union[_block_pb2.VectorEncoding, str]] = ..., rows_only: _Optional[bool] = ..., history: _Optional[str] = ...) -> None: ...

class ReadVectorsResponse(_message.Message):
    __slots__ = ("vectors", "deleted_rows", "revision", "dataset_uid", "row_ranges", "history", "fingerprint")
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    DELETED_ROWS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DATASET_UID_FIELD_NUMBER: _ClassVar[int]
    ROW_RANGES_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    vectors: _block_pb2.VectorBlock
    deleted_rows: _containers.RepeatedScalarFieldContainer[int]
    revision: int
    dataset_uid: str
    row_ranges: _containers.RepeatedCompositeFieldContainer[_block_pb2.RowRange]
    history: str
    fingerprint: str
    def __init__(self, vectors: _Optional[_Union[_block_pb2.VectorBlock, _Mapping]] = ..., deleted_rows: _Optional[_Iterable[int]] = ..., revision: _Optional[int] = ..., dataset_uid: _Optional[str] = ..., row_ranges: _Optional[_Iterable[_Union[_block_pb2.RowRange, _Mapping]]] = ..., history: _Optional[str] = ..., fingerprint: _Optional[str] = ...) -> None: ...

class CompareRowsRequest(_message.Message):
    __slots__ = ("dataset", "row_ranges")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    ROW_RANGES_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    row_ranges: _containers.RepeatedCompositeFieldContainer[_block_pb2.RowRange]
    def __init__(self, dataset: _Optional[str] = ..., row_ranges: _Optional[_Iterable[_Union[_block_pb2.RowRange, _Mapping]]] = ...) -> None: ...

class CompareRowsResponse(_message.Message):
    __slots__ = ("added_count", "deleted_count", "changed_count", "fingerprint")
    ADDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    DELETED_COUNT_FIELD_NUMBER: _ClassVar[int]
    CHANGED_COUNT_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    added_count: int
    deleted_count: int
    changed_count: int
    fingerprint: str
    def __init__(self, added_count: _Optional[int] = ..., deleted_count: _Optional[int] = ..., changed_count: _Optional[int] = ..., fingerprint: _Optional[str] = ...) -> None: ...

class ComputeDatasetStatisticsRequest(_message.Message):
    __slots__ = ("dataset", "request_id")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    request_id: str
    def __init__(self, dataset: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetDatasetStatisticsRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ComputeDatasetMapRequest(_message.Message):
    __slots__ = ("dataset", "request_id")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    request_id: str
    def __init__(self, dataset: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetDatasetMapRequest(_message.Message):
    __slots__ = ("name", "method", "color_field")
    NAME_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    COLOR_FIELD_FIELD_NUMBER: _ClassVar[int]
    name: str
    method: _statistics_pb2.DatasetMap.Method
    color_field: str
    def __init__(self, name: _Optional[str] = ..., method: _Optional[_Union[_statistics_pb2.DatasetMap.Method, str]] = ..., color_field: _Optional[str] = ...) -> None: ...

class ListEmbeddingModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListEmbeddingModelsResponse(_message.Message):
    __slots__ = ("embedding_models", "unreachable")
    class UnreachableProvider(_message.Message):
        __slots__ = ("provider", "message")
        PROVIDER_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        provider: str
        message: str
        def __init__(self, provider: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...
    EMBEDDING_MODELS_FIELD_NUMBER: _ClassVar[int]
    UNREACHABLE_FIELD_NUMBER: _ClassVar[int]
    embedding_models: _containers.RepeatedCompositeFieldContainer[_resources_pb2.EmbeddingModel]
    unreachable: _containers.RepeatedCompositeFieldContainer[ListEmbeddingModelsResponse.UnreachableProvider]
    def __init__(self, embedding_models: _Optional[_Iterable[_Union[_resources_pb2.EmbeddingModel, _Mapping]]] = ..., unreachable: _Optional[_Iterable[_Union[ListEmbeddingModelsResponse.UnreachableProvider, _Mapping]]] = ...) -> None: ...
