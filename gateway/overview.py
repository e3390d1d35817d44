"""`/v1/status`: all processes, asked at once. One that does not answer is listed as down, with what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from grpc import aio

from prisma.common.v1 import status_pb2_grpc
from prisma.common.v1.status_pb2 import GetStatusRequest, ServiceStatus
from services.chassis.channels import translate

SECONDS = 5.0
_NEEDS = {
    "embedder": "documents, new embeddings and the texts of hits",
    "trainer": "training, and the features of new texts; labels and statistics go on",
    "interpreter": "features, labels and families",
    "search": "search and similar documents",
    "gateway": "jobs",
}


class Overview:
    """How all parts are."""

    def __init__(self, channels: Mapping[str, aio.Channel], addresses: Mapping[str, str]) -> None:
        self._stubs: Mapping[str, Any] = {
            name: status_pb2_grpc.StatusServiceStub(channel) for name, channel in channels.items() if name in _NEEDS
        }
        self._addresses = addresses

    async def look(self) -> dict[str, Any]:
        """`{"health", "services": [ServiceStatus …]}`; health is the worst of all."""
        found = await asyncio.gather(*(self._ask(name) for name in self._stubs))
        worst = max(each.health for each in found)
        listed = [json_format.MessageToDict(each, always_print_fields_with_no_presence=True) for each in found]
        return {"health": ServiceStatus.Health.Name(worst), "services": listed}

    async def _ask(self, name: str) -> ServiceStatus:
        try:
            return await self._stubs[name].GetStatus(GetStatusRequest(service=name), timeout=SECONDS)
        except aio.AioRpcError as error:
            told = translate(error, name).message
            return ServiceStatus(
                service=name,
                health=ServiceStatus.HEALTH_DOWN,
                message=f"{told}. Missing meanwhile: {_NEEDS[name]}. Expected it at {self._addresses[name]}; "
                f"PRISMA_{name.upper()}_ADDRESS says where it is looked for.",
            )
