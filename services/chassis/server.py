"""Starts a service's gRPC server, runs its jobs and followers beside it, and ends it in order.

At SIGTERM: health says NOT_SERVING, new calls are refused so that clients wait for the next process, jobs are handed
back, calls in progress get five seconds (PRISMA_DRAIN_SECONDS), then the process ends.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from grpc import aio
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from prisma.common.v1 import job_pb2, job_pb2_grpc, status_pb2, status_pb2_grpc
from prisma_common import contract
from prisma_common.addresses import listen_variable
from services.chassis import certificates, data_folder, logs, metrics, probe_listener, tracing
from services.chassis.auth import Keys, check_keys, refuse_open_listener
from services.chassis.certificates import CertificateFiles
from services.chassis.channels import SERVER_OPTIONS
from services.chassis.dependency import Degraded, Dependency
from services.chassis.errors import Unavailable
from services.chassis.events import Events
from services.chassis.interceptors import CallInterceptor
from services.chassis.job_journal import JobJournal
from services.chassis.job_sampler import JobSampler
from services.chassis.job_service import JobServicer
from services.chassis.job_sweeper import Sweeper
from services.chassis.job_worker import JobKind, Worker
from services.chassis.jobs import Jobs
from services.chassis.limits import CallLimit
from services.chassis.nats import NatsLink, NatsUnavailable
from services.chassis.nats_access import NatsAccess
from services.chassis.probes import Probes
from services.chassis.settings import ChassisSettings
from services.chassis.startup import StartRefused
from services.chassis.status import StatusServicer
from services.chassis.threads import cancel_until_done

_STREAMS_FACTOR = 4
"""gRPC itself refuses calls beyond this multiple of the limit, before their key is looked at."""
_MESSAGE_SERVER_SECONDS = 10.0
"""How long the first call waits for a message server that accepts connections: until then no job can start."""

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
    """A gRPC service: how it is added to a server, and its full name for reflection and health."""

    add: Callable[[Any, Any], None]
    servicer: Any
    full_name: str


@dataclass(frozen=True)
class Parts:
    """What a service consists of. status: a StatusServicer of its own; None for the usual one."""

    servicers: Sequence[Servicer]
    kinds: Sequence[JobKind] = ()
    tasks: Sequence[Callable[[], Coroutine[Any, Any, None]]] = ()
    """Run beside the server until it stops: followers, sweepers."""
    dependencies: Sequence[Dependency] = ()
    close: Sequence[Callable[[], Awaitable[None]]] = field(default=())
    """Called at the end, the last first."""
    status: StatusServicer | None = None
    ready: Callable[[], bool] = lambda: True
    """A further condition of readiness, where probes ask over HTTP."""


def run_service(
    name: str,
    settings: ChassisSettings,
    listen: str,
    build: Callable[[Chassis], Awaitable[Parts]],
    *,
    migrate: Callable[[Path], str] | None = None,
) -> None:
    """Runs a service until SIGTERM or SIGINT; with the argument `migrate`, migrates its database and returns.

    migrate: migrates the database of the service whose stored files are in a folder, and returns its address; None
    for a process without a database. Raises StartRefused.
    """
    logs.set_up(settings, name)
    tracing.set_up(settings, name)
    if arguments := sys.argv[1:]:
        if arguments != ["migrate"]:
            raise StartRefused(f"expected no argument, or `migrate`; got {' '.join(arguments)!r}")
        _migrate(name, settings, migrate)
        return
    check_keys(settings)
    check_tls(settings)
    refuse_open_listener(settings, listen)
    with data_folder.opened(settings.data_of(name), name, shared=settings.shares_data):
        asyncio.run(_run(name, settings, listen, build))


def _migrate(name: str, settings: ChassisSettings, migrate: Callable[[Path], str] | None) -> None:
    """Brings the tables of a service to this version, without starting it."""
    if migrate is None:
        _log.info("there is nothing to migrate: this process has no database")
        return
    with _refusing_outages(name):
        address = migrate(settings.data_dir / name / "blobs")
    _log.info("migrated", database=address)


@contextmanager
def _refusing_outages(name: str) -> Generator[None]:
    """Ends the process with one sentence where what its start needs is away. Raises StartRefused."""
    try:
        yield
    except Unavailable as error:
        raise StartRefused(f"the {name} cannot start: {error.message}") from error


def check_tls(settings: ChassisSettings) -> None:
    """Raises StartRefused for files that cannot be used."""
    files = certificates.of_process(settings)
    if settings.tls_client_certificates == "required" and (
        settings.tls_authority is None or files.current.pair is None
    ):
        raise StartRefused(
            "PRISMA_TLS_CLIENT_CERTIFICATES=required needs PRISMA_TLS_AUTHORITY, which signs them, and "
            "PRISMA_TLS_CERTIFICATE with PRISMA_TLS_KEY"
        )


def nats_dependency(link: NatsLink) -> Dependency:
    """The message server as a dependency that a process's status shows."""

    async def check() -> dict[str, str]:
        if not link.connected:
            raise NatsUnavailable(f"{link.problem}. No job can start or end meanwhile; everything else works")
        if link.violation is not None:
            raise Degraded(link.violation)
        return {"version": link.version}

    return Dependency("nats", link.address, check)


async def _run(name: str, settings: ChassisSettings, listen: str, build: Callable[[Chassis], Awaitable[Parts]]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        link = NatsLink(NatsAccess.of(settings), replicas=settings.nats_replicas)
        link.start()
        stack.push_async_callback(link.close)
        jobs = Jobs(link)
        with _refusing_outages(name):
            parts = await build(Chassis(settings, link, jobs, Events(link)))
        for close in parts.close:
            stack.push_async_callback(close)
        worker = Worker(link, jobs, parts.kinds)
        keys = Keys(settings)
        nats = nats_dependency(link)
        files = [certificates.of_process(settings), *link.certificate_files]
        own_certificates = [certificate for file in files for certificate in file.dependencies]
        dependencies = [nats, *own_certificates, *parts.dependencies]
        status = parts.status or StatusServicer(
            name, settings.data_of(name), dependencies, lambda: worker.running_count
        )
        servicers = [*_common_servicers(jobs, status), *parts.servicers]
        needs = {servicer.full_name: parts.dependencies for servicer in servicers}
        probes = Probes({**needs, "": parts.dependencies, _name(job_pb2, "JobService"): [nats]})
        server = _Server(name, settings, listen=listen, keys=keys, probes=probes)
        server.add(*servicers)
        await link.attempted(seconds=_MESSAGE_SERVER_SECONDS)
        await server.start(parts.ready)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(task()) for task in (probes.run, *(file.watch for file in files), *parts.tasks)]
            if parts.kinds:
                journal = JobJournal(settings.data_of(name) / "jobs")
                sweeper = Sweeper(link, jobs, name, journal=journal, running=lambda: worker.running_jobs)
                tasks += [group.create_task(worker.run()), group.create_task(sweeper.run())]
            if settings.metrics_listen:
                metrics.listen(settings.metrics_address(name), keys)
                if parts.kinds:
                    tasks.append(group.create_task(JobSampler(jobs.store, parts.kinds).run()))
            _log.info("serving", address=listen)
            await stop.wait()
            _log.info("stopping")
            await asyncio.gather(server.stop(), worker.stop())
            await cancel_until_done(*tasks)


def _common_servicers(jobs: Jobs, status: StatusServicer) -> list[Servicer]:
    """What every process serves."""
    return [
        Servicer(job_pb2_grpc.add_JobServiceServicer_to_server, JobServicer(jobs), _name(job_pb2, "JobService")),
        Servicer(status_pb2_grpc.add_StatusServiceServicer_to_server, status, _name(status_pb2, "StatusService")),
    ]


class _Server:
    """A gRPC server with health and reflection."""

    def __init__(self, name: str, settings: ChassisSettings, *, listen: str, keys: Keys, probes: Probes) -> None:
        self._name = name
        self._name = name
        self._settings = settings
        self._listen = listen
        self._probes = probes
        self._names = [health.SERVICE_NAME]
        limit = CallLimit(total=settings.max_calls, per_caller=settings.max_calls_per_caller)
        self._server = aio.server(
            interceptors=[CallInterceptor(name, keys, limit, self._names)],
            options=[*SERVER_OPTIONS, ("grpc.max_connection_age_ms", round(1000 * settings.connection_age_seconds))],
            maximum_concurrent_rpcs=_STREAMS_FACTOR * settings.max_calls,
        )
        health_pb2_grpc.add_HealthServicer_to_server(probes.servicer, self._server)

    def add(self, *servicers: Servicer) -> None:
        """Adds services, before the start."""
        for servicer in servicers:
            servicer.add(servicer.servicer, self._server)
            self._names.append(servicer.full_name)
            if served := contract.services().get(servicer.full_name.rpartition(".")[2]):
                metrics.start_at_zero(self._name, served)

    async def start(self, ready: Callable[[], bool]) -> None:
        """Listens. ready: a further condition of readiness, where probes ask over HTTP. Raises StartRefused."""
        reflection.enable_server_reflection([reflection.SERVICE_NAME, *self._names], self._server)
        try:
            self._bind()
        except RuntimeError as error:
            raise StartRefused(
                f"the {self._name} cannot listen on {self._listen}: {error}. Is another one running? "
                f"{listen_variable(self._name)} sets another address."
            ) from error
        await self._probes.prepare()
        await self._server.start()
        await self._probes.start()
        if self._settings.probe_listen:
            self._probe_listener = await probe_listener.listen(self._settings, self._name, self._probes, ready)

    async def stop(self) -> None:
        """Refuses new calls; those in progress get the time that the settings say."""
        await self._probes.stop()
        await self._server.stop(self._settings.drain_seconds)

    def _bind(self) -> None:
        files = certificates.of_process(self._settings)
        if files.current.pair is None:
            self._server.add_insecure_port(self._listen)
            return
        credentials = grpc.dynamic_ssl_server_credentials(
            _configuration(files),
            lambda: _configuration(files),
            require_client_authentication=_demands_certificates(self._name, self._settings),
        )
        self._server.add_secure_port(self._listen, credentials)
        self._credentials = credentials  # gRPC calls it for each connection


def _configuration(files: CertificateFiles) -> Any:
    """What gRPC shows and believes in the next connection."""
    current = files.current
    assert current.pair is not None
    return grpc.ssl_server_certificate_configuration([(current.pair.key, current.pair.certificate)], current.authority)


def _demands_certificates(name: str, settings: ChassisSettings) -> bool:
    if settings.tls_client_certificates == "auto":
        return settings.tls_authority is not None and name != "gateway"
    return settings.tls_client_certificates == "required"


def _name(module: Any, service: str) -> str:
    return module.DESCRIPTOR.services_by_name[service].full_name
