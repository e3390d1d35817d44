"""Starts a service's gRPC server, runs its jobs and followers beside it, and ends it in order.

At SIGTERM: health says NOT_SERVING, jobs are handed back, open calls get five seconds, then the process ends.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from prisma.common.v1 import job_pb2, job_pb2_grpc, status_pb2, status_pb2_grpc
from services.chassis import logs, metrics
from services.chassis.auth import Keys, refuse_open_door
from services.chassis.channels import OPTIONS
from services.chassis.dependency import Dependency
from services.chassis.events import Events
from services.chassis.interceptors import CallInterceptor
from services.chassis.job_journal import JobJournal
from services.chassis.job_service import JobServicer
from services.chassis.job_sweeper import Sweeper
from services.chassis.job_worker import JobKind, Worker
from services.chassis.jobs import Jobs
from services.chassis.nats import NatsLink, NatsUnavailable
from services.chassis.settings import ChassisSettings
from services.chassis.status import StatusServicer

DRAIN_SECONDS = 5.0

_log = logs.get(__name__)


@dataclass(frozen=True)
class Chassis:
    """What a service's parts are built on."""

    settings: ChassisSettings
    link: NatsLink
    jobs: Jobs
    events: Events


@dataclass(frozen=True)
class Servicer:
    """A gRPC service: how it is added to a server, and its full name for reflection."""

    add: Callable[[Any, Any], None]
    servicer: Any
    full_name: str


@dataclass(frozen=True)
class Parts:
    """What a service is made of."""

    servicers: Sequence[Servicer]
    kinds: Sequence[JobKind] = ()
    tasks: Sequence[Callable[[], Coroutine[Any, Any, None]]] = ()
    """Run beside the server until it stops: followers, sweepers."""
    dependencies: Sequence[Dependency] = ()
    close: Sequence[Callable[[], Awaitable[None]]] = field(default=())
    """Called at the end, the last first."""


def run_service(
    name: str, settings: ChassisSettings, listen: str, build: Callable[[Chassis], Awaitable[Parts]]
) -> None:
    """Runs a service until SIGTERM or SIGINT."""
    logs.set_up(settings, name)
    refuse_open_door(settings, listen)
    asyncio.run(_run(name, settings, listen, build))


async def _run(name: str, settings: ChassisSettings, listen: str, build: Callable[[Chassis], Awaitable[Parts]]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        link = NatsLink(settings.nats_url.get_secret_value())
        link.start()
        stack.push_async_callback(link.close)
        jobs = Jobs(link)
        parts = await build(Chassis(settings, link, jobs, Events(link)))
        for close in parts.close:
            stack.push_async_callback(close)
        worker = Worker(link, jobs, parts.kinds)
        server, healthy = await _serve(name, settings, listen, parts, link, jobs, worker)
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(task()) for task in parts.tasks]
            if parts.kinds:
                journal = JobJournal(settings.data_of(name) / "jobs")
                sweeper = Sweeper(link, jobs, name, journal=journal, running=lambda: worker.running_jobs)
                beside += [group.create_task(worker.run()), group.create_task(sweeper.run())]
            if settings.metrics_listen:
                metrics.listen(settings.metrics_listen)
            _log.info("serving", address=listen)
            await stop.wait()
            _log.info("stopping")
            await healthy.enter_graceful_shutdown()
            await asyncio.gather(server.stop(DRAIN_SECONDS), worker.stop())
            for task in beside:
                task.cancel()


async def _serve(
    name: str,
    settings: ChassisSettings,
    listen: str,
    parts: Parts,
    link: NatsLink,
    jobs: Jobs,
    worker: Worker,
) -> tuple[aio.Server, Any]:
    server = aio.server(
        interceptors=[CallInterceptor(name, Keys(settings))], options=[*OPTIONS, ("grpc.so_reuseport", 0)]
    )
    healthy = health.aio.HealthServicer()
    dependencies = [Dependency("nats", link.address, lambda: _check_nats(link)), *parts.dependencies]
    status = StatusServicer(name, settings.data_of(name), dependencies, lambda: worker.running_count)
    servicers = [
        Servicer(health_pb2_grpc.add_HealthServicer_to_server, healthy, health.SERVICE_NAME),
        Servicer(job_pb2_grpc.add_JobServiceServicer_to_server, JobServicer(jobs), _name(job_pb2, "JobService")),
        Servicer(status_pb2_grpc.add_StatusServiceServicer_to_server, status, _name(status_pb2, "StatusService")),
        *parts.servicers,
    ]
    for each in servicers:
        each.add(each.servicer, server)
    reflection.enable_server_reflection([reflection.SERVICE_NAME, *(each.full_name for each in servicers)], server)
    try:
        _bind(server, settings, listen)
    except RuntimeError as error:
        raise SystemExit(
            f"the {name} can't listen on {listen}: {error}. Is one running already? "
            f"PRISMA_{name.upper()}_LISTEN chooses another address."
        ) from error
    await server.start()
    for each in servicers:
        await healthy.set(each.full_name, health_pb2.HealthCheckResponse.SERVING)
    await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    return server, healthy


def _bind(server: aio.Server, settings: ChassisSettings, listen: str) -> None:
    if settings.tls_certificate is None or settings.tls_key is None:
        server.add_insecure_port(listen)
        return
    authority = settings.tls_authority.read_bytes() if settings.tls_authority else None
    pair = (settings.tls_key.read_bytes(), settings.tls_certificate.read_bytes())
    credentials = grpc.ssl_server_credentials([pair], authority, require_client_auth=authority is not None)
    server.add_secure_port(listen, credentials)


async def _check_nats(link: NatsLink) -> dict[str, str]:
    if not link.connected:
        raise NatsUnavailable("the message server does not answer: no job can start or end, the rest goes on")
    return {"version": link.version}


def _name(module: Any, service: str) -> str:
    return module.DESCRIPTOR.services_by_name[service].full_name
