import datetime

from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import resource_pb2 as _resource_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from prisma.common.v1 import block_pb2 as _block_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DocumentView(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DOCUMENT_VIEW_UNSPECIFIED: _ClassVar[DocumentView]
    DOCUMENT_VIEW_BASIC: _ClassVar[DocumentView]
    DOCUMENT_VIEW_FULL: _ClassVar[DocumentView]
DOCUMENT_VIEW_UNSPECIFIED: DocumentView
DOCUMENT_VIEW_BASIC: DocumentView
DOCUMENT_VIEW_FULL: DocumentView

class Dataset(_message.Message):
    __slots__ = ("name", "uid", "display_name", "description", "embedding_model", "dimension", "revision", "document_count", "pending_count", "embedded_count", "failed_count", "text_bytes", "next_row", "create_time", "update_time", "delete_time", "history", "fingerprint", "metadata_fields", "query_model", "vector_encoding", "passages")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_MODEL_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    PENDING_COUNT_FIELD_NUMBER: _ClassVar[int]
    EMBEDDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    FAILED_COUNT_FIELD_NUMBER: _ClassVar[int]
    TEXT_BYTES_FIELD_NUMBER: _ClassVar[int]
    NEXT_ROW_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    DELETE_TIME_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELDS_FIELD_NUMBER: _ClassVar[int]
    QUERY_MODEL_FIELD_NUMBER: _ClassVar[int]
    VECTOR_ENCODING_FIELD_NUMBER: _ClassVar[int]
    PASSAGES_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    display_name: str
    description: str
    embedding_model: str
    dimension: int
    revision: int
    document_count: int
    pending_count: int
    embedded_count: int
    failed_count: int
    text_bytes: int
    next_row: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    delete_time: _timestamp_pb2.Timestamp
    history: str
    fingerprint: str
    metadata_fields: _containers.RepeatedCompositeFieldContainer[MetadataField]
    query_model: str
    vector_encoding: _block_pb2.VectorEncoding
    passages: Passages
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., display_name: _Optional[str] = ..., description: _Optional[str] = ..., embedding_model: _Optional[str] = ..., dimension: _Optional[int] = ..., revision: _Optional[int] = ..., document_count: _Optional[int] = ..., pending_count: _Optional[int] = ..., embedded_count: _Optional[int] = ..., failed_count: _Optional[int] = ..., text_bytes: _Optional[int] = ..., next_row: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., delete_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., history: _Optional[str] = ..., fingerprint: _Optional[str] = ..., metadata_fields: _Optional[_Iterable[_Union[MetadataField, _Mapping]]] = ..., query_model: _Optional[str] = ..., vector_encoding: _Optional[_Union[_block_pb2.VectorEncoding, str]] = ..., passages: _Optional[_Union[Passages, _Mapping]] = ...) -> None: ...

class MetadataField(_message.Message):
    __slots__ = ("key", "type", "document_count", "is_override")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        TYPE_UNSPECIFIED: _ClassVar[MetadataField.Type]
        TYPE_STRING: _ClassVar[MetadataField.Type]
        TYPE_INTEGER: _ClassVar[MetadataField.Type]
        TYPE_NUMBER: _ClassVar[MetadataField.Type]
        TYPE_BOOLEAN: _ClassVar[MetadataField.Type]
        TYPE_DATE: _ClassVar[MetadataField.Type]
    TYPE_UNSPECIFIED: MetadataField.Type
    TYPE_STRING: MetadataField.Type
    TYPE_INTEGER: MetadataField.Type
    TYPE_NUMBER: MetadataField.Type
    TYPE_BOOLEAN: MetadataField.Type
    TYPE_DATE: MetadataField.Type
    KEY_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    IS_OVERRIDE_FIELD_NUMBER: _ClassVar[int]
    key: str
    type: MetadataField.Type
    document_count: int
    is_override: bool
    def __init__(self, key: _Optional[str] = ..., type: _Optional[_Union[MetadataField.Type, str]] = ..., document_count: _Optional[int] = ..., is_override: _Optional[bool] = ...) -> None: ...

class Passages(_message.Message):
    __slots__ = ("max_tokens", "overlap_tokens", "passage_count")
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PASSAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    max_tokens: int
    overlap_tokens: int
    passage_count: int
    def __init__(self, max_tokens: _Optional[int] = ..., overlap_tokens: _Optional[int] = ..., passage_count: _Optional[int] = ...) -> None: ...

class Passage(_message.Message):
    __slots__ = ("name", "document", "index", "count", "start", "end", "row")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    name: str
    document: str
    index: int
    count: int
    start: int
    end: int
    row: int
    def __init__(self, name: _Optional[str] = ..., document: _Optional[str] = ..., index: _Optional[int] = ..., count: _Optional[int] = ..., start: _Optional[int] = ..., end: _Optional[int] = ..., row: _Optional[int] = ...) -> None: ...

class Document(_message.Message):
    __slots__ = ("name", "key", "row", "text", "text_truncated", "metadata", "state", "error", "embedding_truncated", "revision", "create_time", "update_time", "vector", "unreadable_metadata", "passage", "passages", "passage_count")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Document.State]
        STATE_PENDING: _ClassVar[Document.State]
        STATE_EMBEDDED: _ClassVar[Document.State]
        STATE_FAILED: _ClassVar[Document.State]
    STATE_UNSPECIFIED: Document.State
    STATE_PENDING: Document.State
    STATE_EMBEDDED: Document.State
    STATE_FAILED: Document.State
    NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TEXT_TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_METADATA_FIELD_NUMBER: _ClassVar[int]
    PASSAGE_FIELD_NUMBER: _ClassVar[int]
    PASSAGES_FIELD_NUMBER: _ClassVar[int]
    PASSAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    name: str
    key: str
    row: int
    text: str
    text_truncated: bool
    metadata: _struct_pb2.Struct
    state: Document.State
    error: _status_pb2.Status
    embedding_truncated: bool
    revision: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    vector: _block_pb2.VectorBlock
    unreadable_metadata: _containers.RepeatedScalarFieldContainer[str]
    passage: Passage
    passages: _containers.RepeatedCompositeFieldContainer[Passage]
    passage_count: int
    def __init__(self, name: _Optional[str] = ..., key: _Optional[str] = ..., row: _Optional[int] = ..., text: _Optional[str] = ..., text_truncated: _Optional[bool] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., state: _Optional[_Union[Document.State, str]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., embedding_truncated: _Optional[bool] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., vector: _Optional[_Union[_block_pb2.VectorBlock, _Mapping]] = ..., unreadable_metadata: _Optional[_Iterable[str]] = ..., passage: _Optional[_Union[Passage, _Mapping]] = ..., passages: _Optional[_Iterable[_Union[Passage, _Mapping]]] = ..., passage_count: _Optional[int] = ...) -> None: ...

class EmbeddingModel(_message.Message):
    __slots__ = ("id", "display_name", "dimension", "max_tokens", "is_default", "description", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: str
    display_name: str
    dimension: int
    max_tokens: int
    is_default: bool
    description: str
    error: str
    def __init__(self, id: _Optional[str] = ..., display_name: _Optional[str] = ..., dimension: _Optional[int] = ..., max_tokens: _Optional[int] = ..., is_default: _Optional[bool] = ..., description: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...

class FileLayout(_message.Message):
    __slots__ = ("format", "encoding", "delimiter", "has_header", "sheet", "columns", "id_field", "text_fields", "metadata_fields", "vector_field", "id_source", "no_metadata")
    class Format(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FORMAT_UNSPECIFIED: _ClassVar[FileLayout.Format]
        FORMAT_JSON: _ClassVar[FileLayout.Format]
        FORMAT_JSON_LINES: _ClassVar[FileLayout.Format]
        FORMAT_CSV: _ClassVar[FileLayout.Format]
        FORMAT_PARQUET: _ClassVar[FileLayout.Format]
        FORMAT_ARROW: _ClassVar[FileLayout.Format]
        FORMAT_SPREADSHEET: _ClassVar[FileLayout.Format]
        FORMAT_TEXT_FILES: _ClassVar[FileLayout.Format]
        FORMAT_TEXT_LINES: _ClassVar[FileLayout.Format]
        FORMAT_NPY: _ClassVar[FileLayout.Format]
    FORMAT_UNSPECIFIED: FileLayout.Format
    FORMAT_JSON: FileLayout.Format
    FORMAT_JSON_LINES: FileLayout.Format
    FORMAT_CSV: FileLayout.Format
    FORMAT_PARQUET: FileLayout.Format
    FORMAT_ARROW: FileLayout.Format
    FORMAT_SPREADSHEET: FileLayout.Format
    FORMAT_TEXT_FILES: FileLayout.Format
    FORMAT_TEXT_LINES: FileLayout.Format
    FORMAT_NPY: FileLayout.Format
    class IdSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ID_SOURCE_UNSPECIFIED: _ClassVar[FileLayout.IdSource]
        ID_SOURCE_FIELD: _ClassVar[FileLayout.IdSource]
        ID_SOURCE_TEXT: _ClassVar[FileLayout.IdSource]
        ID_SOURCE_ROW: _ClassVar[FileLayout.IdSource]
    ID_SOURCE_UNSPECIFIED: FileLayout.IdSource
    ID_SOURCE_FIELD: FileLayout.IdSource
    ID_SOURCE_TEXT: FileLayout.IdSource
    ID_SOURCE_ROW: FileLayout.IdSource
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    DELIMITER_FIELD_NUMBER: _ClassVar[int]
    HAS_HEADER_FIELD_NUMBER: _ClassVar[int]
    SHEET_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELDS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELDS_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_FIELD_NUMBER: _ClassVar[int]
    ID_SOURCE_FIELD_NUMBER: _ClassVar[int]
    NO_METADATA_FIELD_NUMBER: _ClassVar[int]
    format: FileLayout.Format
    encoding: str
    delimiter: str
    has_header: bool
    sheet: str
    columns: _containers.RepeatedScalarFieldContainer[str]
    id_field: str
    text_fields: _containers.RepeatedScalarFieldContainer[str]
    metadata_fields: _containers.RepeatedScalarFieldContainer[str]
    vector_field: str
    id_source: FileLayout.IdSource
    no_metadata: bool
    def __init__(self, format: _Optional[_Union[FileLayout.Format, str]] = ..., encoding: _Optional[str] = ..., delimiter: _Optional[str] = ..., has_header: _Optional[bool] = ..., sheet: _Optional[str] = ..., columns: _Optional[_Iterable[str]] = ..., id_field: _Optional[str] = ..., text_fields: _Optional[_Iterable[str]] = ..., metadata_fields: _Optional[_Iterable[str]] = ..., vector_field: _Optional[str] = ..., id_source: _Optional[_Union[FileLayout.IdSource, str]] = ..., no_metadata: _Optional[bool] = ...) -> None: ...
