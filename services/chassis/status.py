"""StatusService: how this process is, and what it needs."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from grpc import aio

from prisma.common.v1 import status_pb2, status_pb2_grpc
from prisma.common.v1.status_pb2 import ServiceStatus
from services.chassis.database import Database
from services.chassis.errors import InvalidArgument, PrismaError
from services.chassis.job_store import now

CHECK_SECONDS = 3.0
Check = Callable[[], Awaitable[Mapping[str, str]]]
"""Returns facts for people, or raises what is wrong."""


class Dependency:
    """Something that a process needs, and how to see whether it works.

    essential: the process is down without it, else it works in part. wanted: false for what nobody has set up; that it
    is not there is shown, and is no fault.
    """

    def __init__(self, name: str, address: str, check: Check, *, essential: bool = True, wanted: bool = True) -> None:
        self.name = name
        self.essential = essential
        self.wanted = wanted
        self._address = address
        self._check = check

    async def look(self) -> ServiceStatus.Dependency:
        """How it is at this moment."""
        began = time.perf_counter()
        result = ServiceStatus.Dependency(name=self.name, address=self._address, health=ServiceStatus.HEALTH_OK)
        try:
            result.details.update(await asyncio.wait_for(self._check(), CHECK_SECONDS))
        except TimeoutError:
            result.health = ServiceStatus.HEALTH_DOWN
            result.message = f"no answer in {CHECK_SECONDS:.0f} s"
        except PrismaError as error:
            result.health = ServiceStatus.HEALTH_DOWN
            result.message = error.message
        except Exception as error:  # noqa: BLE001 - whatever a dependency does wrong is its status
            result.health = ServiceStatus.HEALTH_DOWN
            result.message = f"{type(error).__name__}: {error}"
        result.milliseconds = (time.perf_counter() - began) * 1000
        return result


def database_dependency(database: Database) -> Dependency:
    """A service's database, to be looked at."""

    async def check() -> Mapping[str, str]:
        await asyncio.to_thread(database.check)
        return {}

    return Dependency("database", database.url.partition("?")[0].rpartition("@")[2], check)


class StatusServicer(status_pb2_grpc.StatusServiceServicer):
    """Answers for this process."""

    def __init__(
        self, service: str, data: Path, dependencies: list[Dependency], running_jobs: Callable[[], int]
    ) -> None:
        self._service = service
        self._data = data
        self._dependencies = dependencies
        self._running_jobs = running_jobs
        self._process = psutil.Process()
        self._process.cpu_percent()
        self._started = now()

    async def GetStatus(
        self, request: status_pb2.GetStatusRequest, context: aio.ServicerContext[Any, Any]
    ) -> ServiceStatus:
        if request.service not in ("", self._service):
            raise InvalidArgument.field("service", f"this process is the {self._service}, got {request.service!r}")
        memory = psutil.virtual_memory()
        found = await asyncio.gather(*(each.look() for each in self._dependencies))
        status = ServiceStatus(
            service=self._service,
            health=ServiceStatus.HEALTH_OK,
            version=metadata.version("prisma-suite"),
            start_time=self._started,
            cpu_cores_used=self._process.cpu_percent() / 100,
            cpu_cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            memory_resident_bytes=self._process.memory_info().rss,
            memory_total_bytes=memory.total,
            memory_available_bytes=memory.available,
            disk_free_bytes=shutil.disk_usage(self._data).free,
            dependencies=found,
            running_jobs=self._running_jobs(),
            host=socket.gethostname(),
            pid=os.getpid(),
        )
        wanted = {each.name for each in self._dependencies if each.wanted}
        down = [each for each in found if each.health == ServiceStatus.HEALTH_DOWN and each.name in wanted]
        if down:
            essential = {each.name for each in self._dependencies if each.essential}
            hurt = any(each.name in essential for each in down)
            status.health = ServiceStatus.HEALTH_DOWN if hurt else ServiceStatus.HEALTH_DEGRADED
            status.message = "; ".join(f"{each.name}: {each.message}" for each in down)
        return status
