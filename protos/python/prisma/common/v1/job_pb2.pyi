import datetime

from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import any_pb2 as _any_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from prisma.common.v1 import access_pb2 as _access_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Job(_message.Message):
    __slots__ = ("name", "service", "kind", "state", "resources", "progress", "attempt", "create_time", "start_time", "update_time", "end_time", "error", "cancel_requested", "log", "retry_time", "time_use", "bottleneck", "origin_request_id")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Job.State]
        STATE_SUBMITTED: _ClassVar[Job.State]
        STATE_RUNNING: _ClassVar[Job.State]
        STATE_SUCCEEDED: _ClassVar[Job.State]
        STATE_FAILED: _ClassVar[Job.State]
        STATE_CANCELLED: _ClassVar[Job.State]
        STATE_WAITING: _ClassVar[Job.State]
    STATE_UNSPECIFIED: Job.State
    STATE_SUBMITTED: Job.State
    STATE_RUNNING: Job.State
    STATE_SUCCEEDED: Job.State
    STATE_FAILED: Job.State
    STATE_CANCELLED: Job.State
    STATE_WAITING: Job.State
    class Progress(_message.Message):
        __slots__ = ("done", "total", "unit", "rate", "seconds_left", "message")
        DONE_FIELD_NUMBER: _ClassVar[int]
        TOTAL_FIELD_NUMBER: _ClassVar[int]
        UNIT_FIELD_NUMBER: _ClassVar[int]
        RATE_FIELD_NUMBER: _ClassVar[int]
        SECONDS_LEFT_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        done: int
        total: int
        unit: str
        rate: float
        seconds_left: float
        message: str
        def __init__(self, done: _Optional[int] = ..., total: _Optional[int] = ..., unit: _Optional[str] = ..., rate: _Optional[float] = ..., seconds_left: _Optional[float] = ..., message: _Optional[str] = ...) -> None: ...
    class TimeUse(_message.Message):
        __slots__ = ("total_seconds", "job_seconds", "provider_seconds", "service_seconds", "storage_seconds", "compute_seconds", "cpu_seconds", "cpu_cores", "provider", "provider_requests", "provider_median_seconds")
        TOTAL_SECONDS_FIELD_NUMBER: _ClassVar[int]
        JOB_SECONDS_FIELD_NUMBER: _ClassVar[int]
        PROVIDER_SECONDS_FIELD_NUMBER: _ClassVar[int]
        SERVICE_SECONDS_FIELD_NUMBER: _ClassVar[int]
        STORAGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
        COMPUTE_SECONDS_FIELD_NUMBER: _ClassVar[int]
        CPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
        CPU_CORES_FIELD_NUMBER: _ClassVar[int]
        PROVIDER_FIELD_NUMBER: _ClassVar[int]
        PROVIDER_REQUESTS_FIELD_NUMBER: _ClassVar[int]
        PROVIDER_MEDIAN_SECONDS_FIELD_NUMBER: _ClassVar[int]
        total_seconds: float
        job_seconds: float
        provider_seconds: float
        service_seconds: float
        storage_seconds: float
        compute_seconds: float
        cpu_seconds: float
        cpu_cores: int
        provider: str
        provider_requests: int
        provider_median_seconds: float
        def __init__(self, total_seconds: _Optional[float] = ..., job_seconds: _Optional[float] = ..., provider_seconds: _Optional[float] = ..., service_seconds: _Optional[float] = ..., storage_seconds: _Optional[float] = ..., compute_seconds: _Optional[float] = ..., cpu_seconds: _Optional[float] = ..., cpu_cores: _Optional[int] = ..., provider: _Optional[str] = ..., provider_requests: _Optional[int] = ..., provider_median_seconds: _Optional[float] = ...) -> None: ...
    class Bottleneck(_message.Message):
        __slots__ = ("kind", "queued_ahead", "share", "explanation")
        class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
            __slots__ = ()
            KIND_UNSPECIFIED: _ClassVar[Job.Bottleneck.Kind]
            KIND_QUEUE: _ClassVar[Job.Bottleneck.Kind]
            KIND_OUTAGE: _ClassVar[Job.Bottleneck.Kind]
            KIND_JOB: _ClassVar[Job.Bottleneck.Kind]
            KIND_PROVIDER: _ClassVar[Job.Bottleneck.Kind]
            KIND_SERVICE: _ClassVar[Job.Bottleneck.Kind]
            KIND_STORAGE: _ClassVar[Job.Bottleneck.Kind]
            KIND_CPU: _ClassVar[Job.Bottleneck.Kind]
        KIND_UNSPECIFIED: Job.Bottleneck.Kind
        KIND_QUEUE: Job.Bottleneck.Kind
        KIND_OUTAGE: Job.Bottleneck.Kind
        KIND_JOB: Job.Bottleneck.Kind
        KIND_PROVIDER: Job.Bottleneck.Kind
        KIND_SERVICE: Job.Bottleneck.Kind
        KIND_STORAGE: Job.Bottleneck.Kind
        KIND_CPU: Job.Bottleneck.Kind
        KIND_FIELD_NUMBER: _ClassVar[int]
        QUEUED_AHEAD_FIELD_NUMBER: _ClassVar[int]
        SHARE_FIELD_NUMBER: _ClassVar[int]
        EXPLANATION_FIELD_NUMBER: _ClassVar[int]
        kind: Job.Bottleneck.Kind
        queued_ahead: int
        share: float
        explanation: str
        def __init__(self, kind: _Optional[_Union[Job.Bottleneck.Kind, str]] = ..., queued_ahead: _Optional[int] = ..., share: _Optional[float] = ..., explanation: _Optional[str] = ...) -> None: ...
    class LogLine(_message.Message):
        __slots__ = ("time", "text")
        TIME_FIELD_NUMBER: _ClassVar[int]
        TEXT_FIELD_NUMBER: _ClassVar[int]
        time: _timestamp_pb2.Timestamp
        text: str
        def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., text: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CANCEL_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    RETRY_TIME_FIELD_NUMBER: _ClassVar[int]
    TIME_USE_FIELD_NUMBER: _ClassVar[int]
    BOTTLENECK_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    service: str
    kind: str
    state: Job.State
    resources: _containers.RepeatedScalarFieldContainer[str]
    progress: Job.Progress
    attempt: int
    create_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    error: _status_pb2.Status
    cancel_requested: bool
    log: _containers.RepeatedCompositeFieldContainer[Job.LogLine]
    retry_time: _timestamp_pb2.Timestamp
    time_use: Job.TimeUse
    bottleneck: Job.Bottleneck
    origin_request_id: str
    def __init__(self, name: _Optional[str] = ..., service: _Optional[str] = ..., kind: _Optional[str] = ..., state: _Optional[_Union[Job.State, str]] = ..., resources: _Optional[_Iterable[str]] = ..., progress: _Optional[_Union[Job.Progress, _Mapping]] = ..., attempt: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., cancel_requested: _Optional[bool] = ..., log: _Optional[_Iterable[_Union[Job.LogLine, _Mapping]]] = ..., retry_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., time_use: _Optional[_Union[Job.TimeUse, _Mapping]] = ..., bottleneck: _Optional[_Union[Job.Bottleneck, _Mapping]] = ..., origin_request_id: _Optional[str] = ...) -> None: ...

class GetJobRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListJobsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "filter")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    filter: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ...) -> None: ...

class ListJobsResponse(_message.Message):
    __slots__ = ("jobs", "next_page_token")
    JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[Job]
    next_page_token: str
    def __init__(self, jobs: _Optional[_Iterable[_Union[Job, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchJobRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class CancelJobRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RetryJobRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class JobRecord(_message.Message):
    __slots__ = ("job", "request", "request_id", "lease", "lease_expire_time", "attempts_without_checkpoint", "publish_count", "publish_time", "origin_request_id", "user", "outage_count", "outage_start_time", "resubmit_count", "partitions", "partition", "partition_of", "result", "divided_resubmit_count", "traceparent")
    class Partition(_message.Message):
        __slots__ = ("id", "start", "stop", "size", "indices")
        ID_FIELD_NUMBER: _ClassVar[int]
        START_FIELD_NUMBER: _ClassVar[int]
        STOP_FIELD_NUMBER: _ClassVar[int]
        SIZE_FIELD_NUMBER: _ClassVar[int]
        INDICES_FIELD_NUMBER: _ClassVar[int]
        id: str
        start: int
        stop: int
        size: int
        indices: _containers.RepeatedScalarFieldContainer[int]
        def __init__(self, id: _Optional[str] = ..., start: _Optional[int] = ..., stop: _Optional[int] = ..., size: _Optional[int] = ..., indices: _Optional[_Iterable[int]] = ...) -> None: ...
    JOB_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    LEASE_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_WITHOUT_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_COUNT_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_TIME_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    OUTAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    OUTAGE_START_TIME_FIELD_NUMBER: _ClassVar[int]
    RESUBMIT_COUNT_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    PARTITION_OF_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    DIVIDED_RESUBMIT_COUNT_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    job: Job
    request: _any_pb2.Any
    request_id: str
    lease: str
    lease_expire_time: _timestamp_pb2.Timestamp
    attempts_without_checkpoint: int
    publish_count: int
    publish_time: _timestamp_pb2.Timestamp
    origin_request_id: str
    user: str
    outage_count: int
    outage_start_time: _timestamp_pb2.Timestamp
    resubmit_count: int
    partitions: _containers.RepeatedCompositeFieldContainer[JobRecord.Partition]
    partition: JobRecord.Partition
    partition_of: str
    result: _struct_pb2.Struct
    divided_resubmit_count: int
    traceparent: str
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ..., request: _Optional[_Union[_any_pb2.Any, _Mapping]] = ..., request_id: _Optional[str] = ..., lease: _Optional[str] = ..., lease_expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., attempts_without_checkpoint: _Optional[int] = ..., publish_count: _Optional[int] = ..., publish_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., origin_request_id: _Optional[str] = ..., user: _Optional[str] = ..., outage_count: _Optional[int] = ..., outage_start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., resubmit_count: _Optional[int] = ..., partitions: _Optional[_Iterable[_Union[JobRecord.Partition, _Mapping]]] = ..., partition: _Optional[_Union[JobRecord.Partition, _Mapping]] = ..., partition_of: _Optional[str] = ..., result: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., divided_resubmit_count: _Optional[int] = ..., traceparent: _Optional[str] = ...) -> None: ...

class JobRecords(_message.Message):
    __slots__ = ("records",)
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedCompositeFieldContainer[JobRecord]
    def __init__(self, records: _Optional[_Iterable[_Union[JobRecord, _Mapping]]] = ...) -> None: ...

class JobMessage(_message.Message):
    __slots__ = ("name", "publish_count")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_COUNT_FIELD_NUMBER: _ClassVar[int]
    name: str
    publish_count: int
    def __init__(self, name: _Optional[str] = ..., publish_count: _Optional[int] = ...) -> None: ...
