"""The services of the API by descriptor, and the scope that each RPC requires."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from importlib import import_module

from google.protobuf.descriptor import FileDescriptor, MethodDescriptor, ServiceDescriptor

from prisma.common.v1 import access_pb2
from prisma_common.keys import Scope

_MODULES = (
    "prisma.common.v1.job_pb2",
    "prisma.common.v1.status_pb2",
    "prisma.embedder.v1.embedder_service_pb2",
    "prisma.trainer.v1.trainer_service_pb2",
    "prisma.interpreter.v1.interpreter_service_pb2",
    "prisma.search.v1.search_service_pb2",
)


@lru_cache(maxsize=1)
def services() -> Mapping[str, ServiceDescriptor]:
    """All services by their short names: `EmbedderService`, `JobService` …"""
    files: list[FileDescriptor] = [import_module(module).DESCRIPTOR for module in _MODULES]
    return {name: service for file in files for name, service in file.services_by_name.items()}


def methods() -> Iterator[MethodDescriptor]:
    """All RPCs."""
    for service in services().values():
        yield from service.methods


def full_name(method: MethodDescriptor) -> str:
    """`/package.Service/Method`, the name of an RPC on the wire."""
    return f"/{method.containing_service.full_name}/{method.name}"


@cache
def required_scope(method: MethodDescriptor) -> Scope:
    """The scope that the proto declares for an RPC. Raises ValueError where it declares none."""
    number: int = method.GetOptions().Extensions[access_pb2.required_scope]  # pyright: ignore[reportArgumentType]
    if number == access_pb2.SCOPE_UNSPECIFIED:
        raise ValueError(f"{method.full_name} declares no required_scope")
    return Scope(number)
