import datetime

from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from prisma.common.v1 import access_pb2 as _access_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetStatusRequest(_message.Message):
    __slots__ = ("service",)
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    service: str
    def __init__(self, service: _Optional[str] = ...) -> None: ...

class ServiceStatus(_message.Message):
    __slots__ = ("service", "health", "message", "version", "start_time", "cpu_cores_used", "cpu_cores", "memory_resident_bytes", "memory_total_bytes", "memory_available_bytes", "disk_free_bytes", "accelerators", "dependencies", "running_jobs", "host", "pid")
    class Health(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        HEALTH_UNSPECIFIED: _ClassVar[ServiceStatus.Health]
        HEALTH_OK: _ClassVar[ServiceStatus.Health]
        HEALTH_DEGRADED: _ClassVar[ServiceStatus.Health]
        HEALTH_DOWN: _ClassVar[ServiceStatus.Health]
    HEALTH_UNSPECIFIED: ServiceStatus.Health
    HEALTH_OK: ServiceStatus.Health
    HEALTH_DEGRADED: ServiceStatus.Health
    HEALTH_DOWN: ServiceStatus.Health
    class Dependency(_message.Message):
        __slots__ = ("name", "health", "address", "message", "milliseconds", "details")
        class DetailsEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: str
            def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
        NAME_FIELD_NUMBER: _ClassVar[int]
        HEALTH_FIELD_NUMBER: _ClassVar[int]
        ADDRESS_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
        DETAILS_FIELD_NUMBER: _ClassVar[int]
        name: str
        health: ServiceStatus.Health
        address: str
        message: str
        milliseconds: float
        details: _containers.ScalarMap[str, str]
        def __init__(self, name: _Optional[str] = ..., health: _Optional[_Union[ServiceStatus.Health, str]] = ..., address: _Optional[str] = ..., message: _Optional[str] = ..., milliseconds: _Optional[float] = ..., details: _Optional[_Mapping[str, str]] = ...) -> None: ...
    class Accelerator(_message.Message):
        __slots__ = ("name", "model", "memory_used_bytes", "memory_total_bytes")
        NAME_FIELD_NUMBER: _ClassVar[int]
        MODEL_FIELD_NUMBER: _ClassVar[int]
        MEMORY_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
        MEMORY_TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
        name: str
        model: str
        memory_used_bytes: int
        memory_total_bytes: int
        def __init__(self, name: _Optional[str] = ..., model: _Optional[str] = ..., memory_used_bytes: _Optional[int] = ..., memory_total_bytes: _Optional[int] = ...) -> None: ...
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    CPU_CORES_USED_FIELD_NUMBER: _ClassVar[int]
    CPU_CORES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_RESIDENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_AVAILABLE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    ACCELERATORS_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCIES_FIELD_NUMBER: _ClassVar[int]
    RUNNING_JOBS_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    service: str
    health: ServiceStatus.Health
    message: str
    version: str
    start_time: _timestamp_pb2.Timestamp
    cpu_cores_used: float
    cpu_cores: int
    memory_resident_bytes: int
    memory_total_bytes: int
    memory_available_bytes: int
    disk_free_bytes: int
    accelerators: _containers.RepeatedCompositeFieldContainer[ServiceStatus.Accelerator]
    dependencies: _containers.RepeatedCompositeFieldContainer[ServiceStatus.Dependency]
    running_jobs: int
    host: str
    pid: int
    def __init__(self, service: _Optional[str] = ..., health: _Optional[_Union[ServiceStatus.Health, str]] = ..., message: _Optional[str] = ..., version: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., cpu_cores_used: _Optional[float] = ..., cpu_cores: _Optional[int] = ..., memory_resident_bytes: _Optional[int] = ..., memory_total_bytes: _Optional[int] = ..., memory_available_bytes: _Optional[int] = ..., disk_free_bytes: _Optional[int] = ..., accelerators: _Optional[_Iterable[_Union[ServiceStatus.Accelerator, _Mapping]]] = ..., dependencies: _Optional[_Iterable[_Union[ServiceStatus.Dependency, _Mapping]]] = ..., running_jobs: _Optional[int] = ..., host: _Optional[str] = ..., pid: _Optional[int] = ...) -> None: ...
