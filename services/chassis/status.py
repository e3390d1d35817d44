"""StatusService: how this process is, and what it needs."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import psutil
from grpc import aio

from prisma.common.v1 import status_pb2_grpc
from prisma.common.v1.status_pb2 import GetStatusRequest, ServiceStatus
from prisma_common.cores import core_count
from services.chassis.dependency import Dependency
from services.chassis.errors import InvalidArgument
from services.chassis.moments import stamp, utc_now


class StatusServicer(status_pb2_grpc.StatusServiceServicer):
    """Reports on this process. data: the folder whose file system must have free space."""

    def __init__(
        self, service: str, data: Path, dependencies: Sequence[Dependency], running_jobs: Callable[[], int]
    ) -> None:
        self._service = service
        self._data = data
        self._dependencies = dependencies
        self._running_jobs = running_jobs
        self._process = psutil.Process()
        self._process.cpu_percent()
        self._start_time = stamp(utc_now())

    async def GetStatus(
        self, request: GetStatusRequest, context: aio.ServicerContext[GetStatusRequest, ServiceStatus]
    ) -> ServiceStatus:
        """The status of this process. Raises InvalidArgument for the name of another one."""
        if request.service not in ("", self._service):
            raise InvalidArgument.field("service", f"this process is the {self._service}, got {request.service!r}")
        return await self.status()

    async def status(self) -> ServiceStatus:
        """The status of this process."""
        states = await asyncio.gather(*(dependency.state() for dependency in self._dependencies))
        status = self._load()
        status.dependencies.extend(states)
        status.health, status.message = self._health(states)
        return status

    def _load(self) -> ServiceStatus:
        memory = psutil.virtual_memory()
        return ServiceStatus(
            service=self._service,
            version=metadata.version("prisma-suite"),
            start_time=self._start_time,
            cpu_cores_used=self._process.cpu_percent() / 100,
            cpu_cores=core_count(),
            memory_resident_bytes=self._process.memory_info().rss,
            memory_total_bytes=memory.total,
            memory_available_bytes=memory.available,
            disk_free_bytes=shutil.disk_usage(self._data).free,
            running_jobs=self._running_jobs(),
            host=socket.gethostname(),
            pid=os.getpid(),
        )

    def _health(self, states: Sequence[ServiceStatus.Dependency]) -> tuple[ServiceStatus.Health, str]:
        failures = [
            (dependency, state)
            for dependency, state in zip(self._dependencies, states, strict=True)
            if dependency.configured and state.health != ServiceStatus.HEALTH_OK
        ]
        if not failures:
            return ServiceStatus.HEALTH_OK, ""
        message = "; ".join(f"{state.name}: {state.message}" for _, state in failures)
        if any(dependency.essential and state.health == ServiceStatus.HEALTH_DOWN for dependency, state in failures):
            return ServiceStatus.HEALTH_DOWN, message
        return ServiceStatus.HEALTH_DEGRADED, message
