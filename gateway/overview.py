"""`/v1/status`: the status of all processes, requested at once. One that does not respond is listed as down."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from grpc import aio

from prisma.common.v1 import status_pb2_grpc
from prisma.common.v1.status_pb2 import GetStatusRequest, ServiceStatus
from services.chassis.channels import translate
from services.chassis.errors import PrismaError
from services.chassis.status import StatusServicer

SECONDS = 5.0
_OFFERS = {
    "embedder": "documents, new embeddings and the texts of hits",
    "trainer": "training, and the features of new texts; labels and statistics remain available",
    "interpreter": "features, labels and families",
    "search": "search and similar documents",
}


class Overview:
    """The status of all processes.

    channels and addresses: of the other processes, by name. own: the gateway's own status.
    """

    def __init__(self, channels: Mapping[str, aio.Channel], addresses: Mapping[str, str], own: StatusServicer) -> None:
        self._stubs = {name: status_pb2_grpc.StatusServiceStub(channel) for name, channel in channels.items()}
        self._addresses = addresses
        self._own = own

    async def status(self) -> dict[str, Any]:
        """`{"health", "services": [ServiceStatus …]}`; health is the worst of all."""
        statuses = await asyncio.gather(*(self._status_of(name) for name in self._stubs), self._own.status())
        worst = max(status.health for status in statuses)
        services = [json_format.MessageToDict(status, always_print_fields_with_no_presence=True) for status in statuses]
        return {"health": ServiceStatus.Health.Name(worst), "services": services}

    async def _status_of(self, name: str) -> ServiceStatus:
        stub: Any = self._stubs[name]
        try:
            return await stub.GetStatus(GetStatusRequest(service=name), timeout=SECONDS)
        except aio.AioRpcError as error:
            return self._down(name, translate(error, name))
        except PrismaError as error:
            return self._down(name, error)

    def _down(self, name: str, error: PrismaError) -> ServiceStatus:
        return ServiceStatus(
            service=name,
            health=ServiceStatus.HEALTH_DOWN,
            message=f"{error.message}. Not available meanwhile: {_OFFERS[name]}. Expected at {self._addresses[name]}; "
            f"PRISMA_{name.upper()}_ADDRESS sets another address.",
        )
