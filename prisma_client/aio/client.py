"""A gateway: its datasets, runs and jobs. Responses are the messages of the protos."""

from __future__ import annotations

import os
from collections.abc import Mapping
from os import PathLike
from types import TracebackType
from typing import Any, Self

from prisma.embedder.v1 import embedder_service_pb2 as embedder_pb2
from prisma.interpreter.v1 import interpreter_service_pb2 as interpreter_pb2
from prisma_client.aio.datasets import Datasets
from prisma_client.aio.jobs import Jobs
from prisma_client.aio.runs import Runs
from prisma_client.aio.transport import Transport
from prisma_client.outage import PATIENCE_SECONDS
from prisma_common import addresses

DEFAULT_URL = addresses.HTTP_URL


class AsyncPrisma:
    """A gateway.

    url: its address; by default PRISMA_URL, or this machine's. key: an API key; by default PRISMA_API_KEY, or none.
    seconds: how long a response may take. patience: how many seconds following a job outlasts an outage.
    tls_authority: PEM file of the authorities that an https address is verified by; by default PRISMA_TLS_AUTHORITY, or
    those that are public.

    >>> prisma = AsyncPrisma()
    >>> data = await prisma.datasets.create("abstracts", documents=["one text", "another"])
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        seconds: float = 120.0,
        patience: float = PATIENCE_SECONDS,
        tls_authority: str | PathLike[str] | None = None,
    ) -> None:
        address = url or os.environ.get("PRISMA_URL") or DEFAULT_URL
        authority = tls_authority or os.environ.get("PRISMA_TLS_AUTHORITY") or None
        self.transport = Transport(address, key or os.environ.get("PRISMA_API_KEY"), seconds, authority=authority)
        self.jobs = Jobs(self.transport, patience)
        self.runs = Runs(self.transport, self.jobs)
        self.datasets = Datasets(self.transport, self.jobs, self.runs)

    async def close(self) -> None:
        """Closes the connections."""
        await self.transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def status(self) -> Mapping[str, Any]:
        """Returns the health of all services, `{"health", "services": [prisma.common.v1.ServiceStatus …]}`, as JSON."""
        return await self.transport.get_json("/v1/status", "services")

    async def embedding_models(self) -> embedder_pb2.ListEmbeddingModelsResponse:
        """Returns the embedding models, and the providers that are unreachable."""
        return await self.transport.call(
            "EmbedderService/ListEmbeddingModels",
            embedder_pb2.ListEmbeddingModelsRequest(),
            embedder_pb2.ListEmbeddingModelsResponse,
        )

    async def label_models(self) -> interpreter_pb2.ListLabelModelsResponse:
        """Returns the models that write labels, and the providers that are unreachable."""
        return await self.transport.call(
            "InterpreterService/ListLabelModels",
            interpreter_pb2.ListLabelModelsRequest(),
            interpreter_pb2.ListLabelModelsResponse,
        )
