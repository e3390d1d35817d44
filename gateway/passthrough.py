"""gRPC for all services on one port: calls are passed on by their method's name, as raw bytes in both directions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
from grpc import aio

from prisma_common import contract
from services.chassis.calls import Context
from services.chassis.channels import Ending, translate


class Passthrough(grpc.GenericRpcHandler):
    """Finds the service of a method. channels: by the service's short name, `embedder` …"""

    def __init__(self, channels: Mapping[str, aio.Channel]) -> None:
        self._channels = {
            contract.full_name(method): (name, channels[name])
            for method in contract.methods()
            if (name := method.containing_service.file.package.split(".")[1]) in channels
        }

    def service_names(self) -> list[str]:
        """The full names of the services that are passed through."""
        return sorted({method.strip("/").rpartition("/")[0] for method in self._channels})

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of a method; None for one of no service here."""
        method = handler_call_details.method
        if method not in self._channels:
            return None
        name, channel = self._channels[method]

        async def pass_on(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
            call: Any = channel.stream_stream(method)(requests, timeout=context.time_remaining())
            ending = Ending(call)
            try:
                async for response in call:
                    yield response
            except aio.AioRpcError as error:
                raise translate(await ending.error(error), name) from error
            finally:
                call.cancel()

        return grpc.stream_stream_rpc_method_handler(pass_on)
