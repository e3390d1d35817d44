"""Starts the gateway: `python -P -m gateway`."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from functools import partial
from typing import Any

import grpc
from grpc import aio

from gateway import app
from gateway.doors import Doors
from gateway.grpc_web import GrpcWeb
from gateway.http_server import http_server
from gateway.https import certificate_files
from gateway.listener import address_of, http_listener
from gateway.local import LocalServices
from gateway.overview import Overview
from gateway.passthrough import Passthrough
from gateway.settings import GatewaySettings
from gateway.transcoder import Transcoder
from prisma.common.v1 import job_pb2, status_pb2
from services.chassis import certificates
from services.chassis.auth import check_keys, refuse_open_listener
from services.chassis.channels import open_channel
from services.chassis.job_service import JobServicer
from services.chassis.limits import CallLimit
from services.chassis.server import Chassis, Parts, Servicer, nats_dependency, run_service
from services.chassis.status import StatusServicer

SERVICE = "gateway"


def main() -> None:
    """Runs until SIGTERM."""
    settings = GatewaySettings()
    check_keys(settings)
    listener = http_listener(settings, os.environ)
    settings = settings.model_copy(update={"http_listen": address_of(listener)})
    refuse_open_listener(settings, settings.http_listen)
    run_service(SERVICE, settings, settings.gateway_listen, partial(_build, settings, listener))


async def _build(settings: GatewaySettings, listener: socket.socket, chassis: Chassis) -> Parts:
    addresses = {
        "embedder": settings.embedder_address,
        "trainer": settings.trainer_address,
        "interpreter": settings.interpreter_address,
        "search": settings.search_address,
    }
    channels = {name: open_channel(address, settings) for name, address in addresses.items()}
    folder = settings.data_of(SERVICE)
    grpc_files, http_files = certificates.of_process(settings), certificate_files(settings)
    own_files = dict.fromkeys((grpc_files, http_files or grpc_files))
    dependencies = [nats_dependency(chassis.link), *(entry for files in own_files for entry in files.dependencies)]
    own_status = StatusServicer(SERVICE, folder, dependencies, lambda: 0)
    local = LocalServices(
        {
            job_pb2.DESCRIPTOR.services_by_name["JobService"].full_name: JobServicer(chassis.jobs),
            status_pb2.DESCRIPTOR.services_by_name["StatusService"].full_name: own_status,
        }
    )
    application = app.build(
        transcoder=Transcoder(channels, local, settings.max_body_bytes),
        web_calls=GrpcWeb(channels, local, settings.max_body_bytes),
        doors=Doors(settings, folder),
        overview=Overview(channels, addresses, own_status),
        limit=CallLimit(total=settings.max_calls, per_caller=settings.max_calls_per_caller),
        ready=lambda: _any_reachable(channels),
    )

    async def close() -> None:
        for channel in channels.values():
            await channel.close()

    return Parts(
        servicers=_passed_through(channels),
        tasks=[
            partial(http_server(application, http_files, close_seconds=settings.drain_seconds).serve_on, listener),
            *(files.watch for files in own_files if files is not grpc_files),
        ],
        close=[close],
        status=own_status,
        ready=lambda: _any_reachable(channels),
    )


def _passed_through(channels: Mapping[str, aio.Channel]) -> list[Servicer]:
    handler = Passthrough(channels)
    first, *further_names = handler.service_names()

    def add(_servicer: Any, server: Any) -> None:
        server.add_generic_rpc_handlers((handler,))

    def add_nothing(_servicer: Any, _server: Any) -> None:
        """The handler of the first name answers for all."""

    return [Servicer(add, handler, first), *(Servicer(add_nothing, handler, name) for name in further_names)]


def _any_reachable(channels: Mapping[str, aio.Channel]) -> bool:
    """Whether some requests can be answered: the page shows which service is missing."""
    away = (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN)
    return any(channel.get_state(try_to_connect=True) not in away for channel in channels.values())


if __name__ == "__main__":
    main()
